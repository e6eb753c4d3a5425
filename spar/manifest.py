"""The manifest of a run: what it is, and the refusal to resume it as something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from spar.errors import ConfigChanged
from spar.types import SCHEMA_VERSION, Record, Text

SHOWN_CHARACTERS = 200
"""A longer value is cut in a configuration diff."""


class Manifest(Record):
    """What a run is: enough to repeat it, and to refuse mixing it with another."""

    schema_version: int = SCHEMA_VERSION
    """Version of the records in the run directory."""
    spar_version: Text
    """The version of spar that started the run."""
    config: dict[str, Any]
    """The whole resolved configuration, defaults included, as plain JSON values."""
    free: tuple[Text, ...] = ()
    """Dotted keys of `config` that change no result (display, concurrency); each covers the keys
    below it. They may differ when the run is resumed and do not count in `digest`."""
    digest: Text = Field(
        default_factory=lambda data: config_digest(data["config"], free=data["free"])
    )
    """`config_digest` of `config` without `free`; every tree of the run carries it."""
    git_commit: Text | None = None
    """Commit of the source tree, None where spar was not run from one."""
    packages: dict[Text, Text] = Field(default_factory=dict)
    """Package name -> installed version."""
    models: dict[Text, Text] = Field(default_factory=dict)
    """Role -> id of the model that plays it."""
    templates: dict[Text, Text] = Field(default_factory=dict)
    """Template name -> digest of its text. Like `config`, it must be the same to resume."""
    seed: int | None = None
    """Seed of the run, None for an unseeded one."""
    created: Text = Field(default_factory=lambda: utc_now())
    """When the run was started: UTC, ISO 8601."""


def config_digest(config: Mapping[str, Any], *, free: Iterable[str] = ()) -> str:
    """First 16 hex digits of the SHA-256 over canonical JSON of `config` without the keys `free`.

    The order of keys does not count, and a tuple equals a list.
    """
    fixed = _without(config, frozenset(free))
    text = json.dumps(fixed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def refuse_changes(stored: Manifest, wanted: Manifest, directory: Path) -> None:
    """Raise `ConfigChanged` with a diff, unless the two agree on all that decides a result."""
    free = frozenset(wanted.free)
    old, new = (
        _leaves(_without({**one.config, "templates": one.templates}, free))
        for one in (stored, wanted)
    )
    lines = [
        f"  {key}: {_shown(key, old)} -> {_shown(key, new)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if lines:
        raise ConfigChanged(
            f"{directory} holds a run with another configuration (old -> new):\n"
            + "\n".join(lines)
            + "\nstart over with --overwrite, or give another --out"
        )


def _without(config: Mapping[str, Any], free: frozenset[str], above: str = "") -> dict[str, Any]:
    return {
        name: _without(value, free, f"{above}{name}.") if isinstance(value, Mapping) else value
        for name, value in config.items()
        if f"{above}{name}" not in free
    }


def _leaves(config: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Dotted key -> JSON of the value, for every value that is not itself a mapping."""
    leaves: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            leaves |= _leaves(value, f"{above}{name}.")
        else:
            leaves[f"{above}{name}"] = json.dumps(value, sort_keys=True)
    return leaves


def _shown(key: str, leaves: Mapping[str, str]) -> str:
    value = leaves.get(key, "(absent)")
    return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}..."


def utc_now() -> str:
    """The time now: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
