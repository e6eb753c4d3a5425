"""Flags of the form name=value, read into settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from spar.errors import UsageError
from spar.types import ROLES, Role


def parse_arguments(flags: Sequence[str]) -> dict[str, Any]:
    """`name=value` to a dictionary; values are read as YAML, so `4`, `true` and `{a: 1}` mean that.

    Raises
    ------
    UsageError
        A flag without `=`, a value that is not YAML, or a name that comes twice.
    """
    found: dict[str, Any] = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals or not name:
            raise UsageError(f"--engine-arg {flag!r}: expected name=value")
        if name in found:
            raise UsageError(f"--engine-arg {name} is given twice")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--engine-arg {flag!r}: the value is not YAML") from error
    return found


def parse_adapters(flags: Sequence[str]) -> dict[Role, str]:
    """`folder` for all roles, or `role=folder`, to a dictionary by role.

    Raises
    ------
    UsageError
        A blank folder, or a role that has an adapter already.
    """
    found: dict[Role, str] = {}
    for flag in flags:
        head, equals, tail = flag.partition("=")
        chosen = [role for role in ROLES if equals and head == role]
        folder = tail if chosen else flag
        if not folder.strip():
            raise UsageError(f"--adapter {flag!r}: expected a folder, or role=folder")
        for role in chosen or ROLES:
            if role in found:
                raise UsageError(f"--adapter: {role} is given two, {found[role]} and {folder}")
            found[role] = folder
    return found
