"""JSON that can be written again as it was read: each key once, and only numbers that JSON has."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from spar.rows.row import cut, reject, shown


def parse_json(text: str, where: str, accepted: str) -> Any:
    """The value of a JSON text, with neither a key twice nor a number that JSON lacks.

    Raises
    ------
    UsageError
        It is not JSON; `where` and `accepted` are part of the message.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_float=_number, parse_constant=_no_number
        )
    except _NotPlainError as error:
        reject(where, str(error), "JSON with each key once and finite numbers")
    except (ValueError, RecursionError) as error:
        reject(where, f"not JSON{_place(error)}: {cut(ascii(text)[1:-1])}", accepted)


def _place(error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return ""
    line = f" at line {error.lineno}," if error.lineno > 1 else " at"
    return f"{line} column {error.colno}"


class _NotPlainError(ValueError):
    """JSON that could not be written again as it was read."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _NotPlainError(f"the key {shown(twice)} twice in one object")
    return values


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NotPlainError(f"the number {cut(text)}, which is too large")
    return value


def _no_number(text: str) -> NoReturn:
    raise _NotPlainError(f"the number {text}, which JSON does not have")
