"""Resuming: which stored trees are those of the prompts at hand, their totals, and whether the run is complete.

A tree belongs to a prompt with its id and its content. A prompt whose id comes from its content finds its tree by the
content, under whatever id the run has it. A tree whose prompt is not at hand stays in the file and is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig
from spar.errors import ConfigChanged, SparError
from spar.infer.summary import Summary
from spar.manifest import refuse_changes
from spar.plugins import ENGINES
from spar.prompts import with_stored_ids
from spar.rows.row import cut
from spar.run.build import make_manifest
from spar.run.resolve import urls
from spar.run.total_budget import next_round
from spar.store import (
    MANIFEST,
    TREES,
    RunStore,
    StoredTree,
    read_manifest,
    read_summary,
    read_trees,
    stored_trees,
    tree_at,
    tree_offsets,
)
from spar.types import Prompt, SearchTree

MAX_NAMED = 3
"""Most prompts that a message names."""


@dataclass(frozen=True, slots=True)
class PromptSource:
    """Prompts that can be read as often as needed."""

    read: Callable[[], Iterator[Prompt]]
    count: int

    def resumed(self, trees: Mapping[str, StoredTree]) -> PromptSource:
        """The same prompts, under the ids that the trees of a run have for their content."""
        digests = {prompt_id: tree.digest for prompt_id, tree in trees.items()}
        if not digests:
            return self
        return PromptSource(lambda: with_stored_ids(self.read(), digests), self.count)


def load_summary(directory: Path, ids: Container[str] | None = None) -> Summary:
    """The totals of a run directory, with the time that it took.

    Parameters
    ----------
    ids:
        The prompts whose trees count, None for all.
    """
    summary = Summary()
    path = directory / TREES
    if path.is_file():
        offsets = tree_offsets(path)
        with path.open("rb") as handle:
            for prompt_id in offsets if ids is None else filter(ids.__contains__, offsets):
                summary.add(tree_at(handle, offsets[prompt_id]))
    try:
        earlier = read_summary(directory)
    except SparError:  # killed before it wrote a summary: the time is lost, the trees are not
        return summary
    summary.seconds = _number(earlier.get("seconds"))
    summary.load_seconds = _number(earlier.get("load_seconds"))
    engines = earlier.get("engines")
    for name, counts in engines.items() if isinstance(engines, dict) else ():
        if isinstance(counts, dict):
            numbers = {k: _number(v) for k, v in counts.items() if k != "busy_share"}
            summary.add_engine(name, {"busy_seconds": 0.0, "request_seconds": 0.0, **numbers})
    return summary


def _number(value: Any) -> float:
    """A count or a time of `summary.json`; 0 where the file was damaged."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and math.isfinite(value) else 0.0


def is_complete(directory: Path, config: DecodeConfig, source: PromptSource) -> bool:
    """Whether a run directory holds a run of these settings with a tree for every prompt.

    Settings that a run fills in count as the same where they were left open, so that neither a server
    nor a model is needed to know.

    Raises
    ------
    ConfigChanged
        Its trees were searched further by a total budget, which the settings do not have.
    """
    if not (directory / MANIFEST).is_file() or not (directory / TREES).is_file():
        return False
    if config.total_budget is not None:
        ids = [prompt.id for prompt in source.resumed(stored_trees(directory / TREES)).read()]
        if next_round(directory, ids, config) is not None:
            return False
    stored = read_manifest(directory)
    try:
        refuse_changes(stored, make_manifest(_filled(config, stored.config)), directory)
    except ConfigChanged:
        return False
    trees = stored_trees(directory / TREES)
    prompts = source.resumed(trees)
    _refuse_extended(directory, trees, config, prompts)
    return len(trees) >= source.count and all(
        prompt.id in trees
        and trees[prompt.id].digest == prompt.digest
        and (trees[prompt.id].answered or "unanswered" not in config.redo)
        for prompt in prompts.read()
    )


def _refuse_extended(
    directory: Path, trees: Mapping[str, StoredTree], config: DecodeConfig, source: PromptSource
) -> None:
    """Raise `ConfigChanged` where trees of the prompts are those of a total budget, and the settings have none."""
    ids = {name for name, tree in trees.items() if tree.extended}
    if config.total_budget is not None or not ids:
        return
    extended = [prompt.id for prompt in source.read() if prompt.id in ids]
    if extended:
        raise ConfigChanged(
            f"{directory} holds trees that --total-budget searched further than --budget {config.budget} ({len(extended)}, the first "
            f"is {extended[0]!r})",
            "; give --total-budget again, or another --out",
        )


def outdated(store: RunStore, config: DecodeConfig, source: PromptSource) -> list[str]:
    """Ids of the prompts whose stored trees the settings say to search again.

    Parameters
    ----------
    source:
        The prompts, under the ids of the run.

    Raises
    ------
    ConfigChanged
        The run has trees of other contents under the ids of some prompts, and the settings do not say that these
        are searched again; or as `is_complete`.
    """
    trees = store.trees
    if not trees:  # the prompts need not be read
        return []
    _refuse_extended(store.directory, trees, config, source)
    present = [prompt for prompt in source.read() if prompt.id in trees]
    changed = [prompt for prompt in present if trees[prompt.id].digest != prompt.digest]
    if changed and "changed" not in config.redo:
        named = "; ".join(_difference(store.directory, prompt) for prompt in changed[:MAX_NAMED])
        more = f"; and {len(changed) - MAX_NAMED} more" if len(changed) > MAX_NAMED else ""
        raise ConfigChanged(
            f"{store.directory} holds trees of other contents under the ids of these prompts ({len(changed)}): {named}"
            f"{more}",
            "; --redo changed searches them again, --overwrite starts over, another --out keeps both",
        )
    ids = [prompt.id for prompt in changed]
    if "unanswered" in config.redo:
        ids += [prompt.id for prompt in present if not trees[prompt.id].answered]
    return ids


def refuse_other_prompts(store: RunStore, config: DecodeConfig, source: PromptSource) -> None:
    """Raise `ConfigChanged` if a run has trees, and none of them is of a prompt at hand: it is of another file."""
    if not store.trees or "changed" in config.redo:
        return
    first = None
    for prompt in source.read():
        first = first or prompt
        if prompt.id in store.trees:
            return
    if first is not None:
        stored = next(read_trees(store.directory)).prompt
        raise ConfigChanged(
            f"{store.directory} holds trees of other prompts ({len(store.trees)}) and none of these: the first there "
            f"is {_beginning(stored)}, here {_beginning(first)}",
            "; choose another --out, or --redo changed to search these beside them",
        )


def _difference(directory: Path, prompt: Prompt) -> str:
    """What differs between a prompt and the one of the same id that is stored."""
    path = directory / TREES
    with path.open("rb") as handle:
        handle.seek(tree_offsets(path)[prompt.id])
        stored = SearchTree.from_json(handle.readline()).prompt
    if stored.messages[-1] != prompt.messages[-1]:
        return f"{prompt.id!a} was {_beginning(stored)} and is {_beginning(prompt)}"
    if stored.messages != prompt.messages:
        return f"{prompt.id!a} has other turns before {_beginning(prompt)}"
    names = [
        name
        for name in sorted(stored.meta.keys() | prompt.meta.keys())
        if stored.meta.get(name) != prompt.meta.get(name)
    ]
    return f"{prompt.id!a} has another {', '.join(map(ascii, names[:MAX_NAMED]))}"


def _beginning(prompt: Prompt) -> str:
    return cut(ascii(prompt.messages[-1].content))


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
