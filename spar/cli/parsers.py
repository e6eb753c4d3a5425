"""Values of flags of the form NAME=VALUE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from spar.errors import UsageError
from spar.types import ROLES, Role


def parse_arguments(values: Sequence[str], flag: str = "--engine-arg") -> dict[str, Any]:
    """Read `NAME=VALUE` into a dictionary; values are YAML, such as `4`, `true` and `{a: 1}`.

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
        name, equals, value = text.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals or not name:
            raise UsageError(f"{flag} {text!r}: expected NAME=VALUE")
        if name in arguments:
            raise UsageError(f"{flag} {name} is given twice")
        try:
            arguments[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"{flag} {text!r}: the value is not YAML") from error
    return arguments


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
