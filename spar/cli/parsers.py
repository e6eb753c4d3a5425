"""Values of flags of the form NAME=VALUE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from spar.errors import UsageError
from spar.types import ROLES, Role


def parse_arguments(values: Sequence[str], flag: str = "--engine-arg") -> dict[str, Any]:
    """Read `NAME=VALUE` into a dictionary; values are YAML, such as `4`, `true` and `{a: 1}`.

    A JSON object stands for as many pairs.

    Parameters
    ----------
    flag:
        Their flag, for messages.

    Raises
    ------
    UsageError
        A text without `=`, a value that is not YAML, or a name that is given twice.
    """
    arguments: dict[str, Any] = {}
    for text in values:
        for name, value in _pairs(text, flag):
            if name in arguments:
                raise UsageError(f"{flag} {name} is given twice")
            arguments[name] = value
    return arguments


def _pairs(text: str, flag: str) -> list[tuple[str, Any]]:
    if text.lstrip().startswith("{"):
        try:
            return list(json.loads(text).items())
        except ValueError as error:
            raise UsageError(f"{flag} {text!r}: not a JSON object ({error})") from error
    name, equals, value = text.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    if not equals or not name:
        raise UsageError(f"{flag} {text!r}: expected NAME=VALUE")
    try:
        return [(name, yaml.safe_load(value))]
    except yaml.YAMLError as error:
        raise UsageError(f"{flag} {text!r}: the value is not YAML") from error


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
