"""Values of flags of the form NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spar.config.yaml_text import load_yaml
from spar.errors import UsageError
from spar.rows.json_text import parse_json
from spar.types import ROLES, Role

_SECRET_FLAGS = ("--header",)
"""Flags whose values no message repeats."""


def parse_arguments(
    values: Sequence[str], flag: str = "--engine-arg", *, dashes: bool = False
) -> dict[str, Any]:
    """Read `NAME=VALUE` into a dictionary; values are YAML, such as `4`, `true` and `{a: 1}`.

    A JSON object stands for as many pairs.

    Parameters
    ----------
    flag:
        Their flag, for messages.
    dashes:
        Whether names have dashes, which else become underscores.

    Raises
    ------
    UsageError
        A text without `=`, a value that is not YAML or JSON, a number that is not finite, or a name that is given twice.
    """
    arguments: dict[str, Any] = {}
    for text in values:
        for name, value in _pairs(text, flag, dashes=dashes):
            if name in arguments:
                raise UsageError(f"{flag} {name} is given twice")
            arguments[name] = value
    return arguments


def _pairs(text: str, flag: str, *, dashes: bool) -> list[tuple[str, Any]]:
    shown = "" if flag in _SECRET_FLAGS else f" {text!r}"
    if text.lstrip().startswith("{"):
        try:
            return list(parse_json(text, flag, "a JSON object").items())
        except UsageError:
            if shown:
                raise
            raise UsageError(
                f"{flag}: not a JSON object with finite numbers and each key once"
            ) from None
    name, equals, value = text.partition("=")
    name = name.strip().lstrip("-")
    name = name if dashes else name.replace("-", "_")
    if not equals or not name:
        form = "NAME=env:VARIABLE" if flag in _SECRET_FLAGS else "NAME=VALUE"
        raise UsageError(f"{flag}{shown}: expected {form}")
    try:
        return [(name, load_yaml(value))]
    except ValueError as error:
        why = "quote it" if flag in _SECRET_FLAGS else error
        raise UsageError(f"{flag}{shown}: the value is not YAML ({why})") from None


def parse_adapters(values: Sequence[str]) -> dict[Role, str]:
    """Read `FOLDER`, for all roles, or `ROLE=FOLDER` into a dictionary by role.

    Raises
    ------
    UsageError
        A blank folder, or a role with two adapters.
    """
    adapters: dict[Role, str] = {}
    for text in values:
        head, equals, tail = text.partition("=")
        chosen = [role for role in ROLES if equals and head == role]
        folder = tail if chosen else text
        if not folder.strip():
            raise UsageError(f"--adapter {text!r}: expected FOLDER or ROLE=FOLDER")
        for role in chosen or ROLES:
            if role in adapters:
                raise UsageError(
                    f"--adapter: the {role} has two adapters, {adapters[role]} and {folder}"
                )
            adapters[role] = folder
    return adapters
