"""The manifest of a run: what ran, and the check that a resumed run is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from spar.errors import ConfigChanged
from spar.files import is_same_file
from spar.models.cache import ModelSource
from spar.plugin_code import is_code
from spar.types import SCHEMA_VERSION, Record, Text

KINDS: Mapping[str, str] = {
    "begins": "training loop",
    "student": "bootstrap",
    "template_digest": "evolution of prompts",
    "benchmark": "evaluation",
    "data_digest": "training",
}
"""A key of the configuration that only runs of one kind have, to that kind; the first one that is there counts."""
START_OVER = "\nstart over with --overwrite, or choose another --out"
"""End of the message of `refuse_changes`; a command without these flags puts its own words there."""
SHOWN_CHARACTERS = 200
"""Length at which values in a configuration diff are cut."""
_PARTIAL = '"functools:partial'
"""How the JSON of every `functools.partial` began in runs of earlier versions."""


class Manifest(Record):
    """Describes a run well enough to repeat it, and to detect a run with another configuration."""

    schema_version: int = SCHEMA_VERSION
    """Version of the records in the run directory."""
    spar_version: Text
    """The version of spar that started the run."""
    config: dict[str, Any]
    """The resolved configuration, defaults included, as JSON values."""
    free: tuple[Text, ...] = ()
    """Dotted keys of `config` that do not affect results, such as concurrency; each covers the keys below
    it. They may differ when the run is resumed and are not part of `digest`."""
    digest: Text = Field(
        default_factory=lambda data: config_digest(data["config"], free=data["free"])
    )
    """`config_digest` of `config` without `free`, and of `objects` where there are any; every tree of the run carries it."""
    git_commit: Text | None = None
    """Commit of the source tree; None if spar did not run from one."""
    packages: dict[Text, Text] = Field(default_factory=dict)
    """Package name -> installed version."""
    models: dict[Text, Text] = Field(default_factory=dict)
    """Role -> model id."""
    model_sources: dict[Text, ModelSource] = Field(
        default_factory=dict, exclude_if=lambda sources: not sources
    )
    """Model id -> where its weights come from, for known models and GGUF files; like `config`, it must not change on
    resuming. Left out if there are none."""
    templates: dict[Text, Text] = Field(default_factory=dict)
    """Template name -> digest of its text; like `config`, it must not change on resuming."""
    objects: dict[Text, dict[str, Any]] = Field(
        default_factory=dict, exclude_if=lambda objects: not objects
    )
    """Setting to the plain parameters of the object that Python passed for it
    (`spar.plugin_parameters.plain_parameters`); like `config`, they must not change on resuming. Left out if there
    are none."""
    seed: int | None = None
    """Seed of the run; None for an unseeded run."""
    created: Text = Field(default_factory=lambda: utc_now())
    """Start time: UTC, ISO 8601."""

    @property
    def kind(self) -> str:
        """What kind of run it is: one of `KINDS`, or a search."""
        return next((kind for key, kind in KINDS.items() if key in self.config), "search")


def config_digest(config: Mapping[str, Any], *, free: Iterable[str] = ()) -> str:
    """First 16 hex digits of the SHA-256 over canonical JSON of `config` without the keys `free`.

    The order of keys does not matter, and a tuple equals a list.
    """
    fixed = _without(config, frozenset(free))
    text = json.dumps(fixed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def with_sources(manifest: Manifest, models: Iterable[str]) -> Manifest:
    """The manifest with the sources of the known models and GGUF files among `models`, which are on this machine."""
    from spar.models.folders import model_source

    sources = {model: source for model in models if (source := model_source(model))}
    return manifest.model_copy(update={"model_sources": sources})


def refuse_changes(stored: Manifest, current: Manifest, directory: Path) -> None:
    """Raise `ConfigChanged` with a diff if the manifests differ in anything that affects results.

    Two names of the same file or folder do not differ, such as a relative and an absolute path of a model.
    """
    free = frozenset(current.free)
    old, new = (
        leaves(_without({**manifest.config, "templates": manifest.templates}, free))
        for manifest in (stored, current)
    )
    for setting in old.keys() & new.keys():
        if _renamed(old[setting], new[setting], is_described=setting in stored.objects):
            old[setting] = new[setting]
    lines = [
        f"  {key}: {_shown(key, old)} -> {_shown(key, new)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not _same_file(old.get(key), new.get(key))
    ]
    for setting, parameters in stored.objects.items():  # a run of an earlier version has none
        old, new = leaves(parameters), leaves(current.objects.get(setting, {}))
        lines += [
            f"  {key} of the {setting} object: {_shown(key, old)} -> {_shown(key, new)}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key) and not is_code(key)
        ]
        # Other versions of Python, and of spar, have no digest of the same code.
        lines += [
            f"  code of the {setting}, or a value in it: {old[key]} -> {new[key]}"
            for key in sorted(old.keys() & new.keys())
            if is_code(key) and old[key] != new[key]
        ]
    for model, source in stored.model_sources.items():
        same = (
            name for name in current.model_sources if name == model or is_same_file(name, model)
        )
        new_source = current.model_sources.get(next(same, ""))
        if new_source is not None and new_source.sha256 != source.sha256:
            lines.append(f"  weights of {model}: {source.description} -> {new_source.description}")
    if lines:
        raise ConfigChanged(
            f"{directory} has a run with another configuration (old -> new):\n" + "\n".join(lines),
            START_OVER,
        )


def _without(config: Mapping[str, Any], free: frozenset[str], above: str = "") -> dict[str, Any]:
    return {
        name: _without(value, free, f"{above}{name}.") if isinstance(value, Mapping) else value
        for name, value in config.items()
        if f"{above}{name}" not in free
    }


def leaves(config: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Dotted key -> JSON of the value, for every value that is not itself a mapping."""
    flat: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= leaves(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = json.dumps(value, sort_keys=True)
    return flat


def _renamed(old: str, new: str, *, is_described: bool) -> bool:
    """Whether the JSON of an object's name is what earlier versions stored for the new one; its parameters count.

    With a number, or of every `functools.partial` the name of that class.
    """
    if old.startswith(_PARTIAL):
        return is_described or ":partial(" in new
    if not is_described:
        return False
    name, _, number = json.loads(old).partition("#")
    return number.isdigit() and f'"{name}"' == new


def _same_file(old: str | None, new: str | None) -> bool:
    """Whether the JSON of two values are texts that name the same file or folder."""
    values = [json.loads(leaf or "null") for leaf in (old, new)]
    return all(isinstance(value, str) and value for value in values) and is_same_file(*values)


def _shown(key: str, leaves: Mapping[str, str]) -> str:
    value = leaves.get(key, "(absent)")
    return value if len(value) <= SHOWN_CHARACTERS else f"{value[:SHOWN_CHARACTERS]}..."


def utc_now() -> str:
    """The time now: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")
