"""Resuming: the totals of a run directory, and whether it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig
from spar.errors import ConfigChanged, SparError
from spar.infer.summary import Summary
from spar.manifest import refuse_changes
from spar.plugins import ENGINES
from spar.run.build import make_manifest
from spar.run.resolve import urls
from spar.store import MANIFEST, TREES, read_manifest, read_summary, read_trees, tree_offsets
from spar.types import Prompt


@dataclass(frozen=True, slots=True)
class PromptSource:
    """Prompts that can be read as often as needed."""

    read: Callable[[], Iterator[Prompt]]
    count: int


def load_summary(directory: Path) -> Summary:
    """The totals of what a run directory holds, with the time that it took."""
    summary = Summary()
    if (directory / TREES).is_file():
        for tree in read_trees(directory):
            summary.add(tree)
    try:
        earlier = read_summary(directory)
    except SparError:  # killed before it wrote a summary: the time is lost, the trees are not
        return summary
    summary.seconds = float(earlier.get("seconds", 0.0))
    summary.load_seconds = float(earlier.get("load_seconds", 0.0))
    for name, counts in earlier.get("engines", {}).items():
        summary.add_engine(name, {k: v for k, v in counts.items() if k != "busy_share"})
    return summary


def is_complete(directory: Path, config: DecodeConfig, source: PromptSource) -> bool:
    """Whether a run directory holds a run of these settings with a tree for every prompt.

    Settings that a run fills in count as the same where they were left open, so that neither a server
    nor a model is needed to know.
    """
    if not (directory / MANIFEST).is_file() or not (directory / TREES).is_file():
        return False
    stored = read_manifest(directory)
    try:
        refuse_changes(stored, make_manifest(_filled(config, stored.config)), directory)
    except ConfigChanged:
        return False
    done = tree_offsets(directory / TREES)
    return len(done) >= source.count and all(prompt.id in done for prompt in source.read())


def _filled(config: DecodeConfig, stored: Mapping[str, Any]) -> DecodeConfig:
    """The settings, with open choices filled in from the stored run."""
    names = ["speculative_decoding"] if config.speculative_decoding == "auto" else []
    engine = str(stored.get("engine", ""))
    if config.engine == "auto" and engine in ENGINES and ENGINES.spec(engine).automatic:
        names.append("engine")
    served = [role for role, servers in urls(config).items() if servers]
    names += [f"{role}_model" for role in served if not getattr(config, f"{role}_model")]
    values = config.field_names(stored)
    return config.model_copy(update={name: values.get(name) for name in names})
