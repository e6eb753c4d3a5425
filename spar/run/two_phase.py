"""Drafts first, search later: for an actor and a refiner that do not fit in memory together.

The drafts are a run of their own in `drafts/` below the run directory: trees of unjudged nodes, written,
resumed and read like any other. The search then uses `StoredDrafts` as its actor, with the same
seeds and the same budget, so the trees are those of a run with both models loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from spar.config import DecodeConfig
from spar.infer.cut_replies import CutReplies
from spar.infer.decode import decode
from spar.infer.roles import AttemptFailed, Generation, Roles, Seeds
from spar.infer.rounds import FurtherSearch, rounds_of
from spar.infer.search import Budget, SearchSettings
from spar.infer.seeds import child_indexes
from spar.infer.strategy import UNLIMITED, Expand, Plan, SearchConfig
from spar.infer.summary import Summary, responses_spent
from spar.listener import Listener
from spar.manifest import Manifest
from spar.plugins import strategy_with
from spar.store import TREES, RunStore, stored_trees, tree_at, tree_offsets
from spar.types import Node, Prompt, SearchTree, Usage

FOLDER = "drafts"
"""Folder of the drafts' run in a run directory."""


def unjudged(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """As many drafts as the budget allows; none is judged."""
    yield [Expand(None, UNLIMITED, judged=False)]


@dataclass(frozen=True, slots=True)
class DraftPhase:
    """The first half of a run in two halves."""

    directory: Path
    """The run's directory."""
    manifest: Manifest
    """The run's manifest."""
    settings: SearchSettings
    """The search that the drafts are for."""
    num_drafts: int
    """Most drafts that a search may ask for, one after the other or at once."""

    async def write(
        self,
        prompts: Iterable[Prompt],
        roles: Roles,
        room: Callable[[], int],
        listener: Listener,
        *,
        cut_replies: CutReplies | None = None,
        searches: Mapping[str, FurtherSearch] | None = None,
    ) -> None:
        """Write the missing drafts of every prompt; calls only the actor's model.

        Parameters
        ----------
        searches:
            The prompts that lack drafts and how many they need (`missing_drafts`); None for all without any.

        Raises
        ------
        RunStopped
            A request could not be served. What was written can be resumed.
        """
        settings = replace(
            self.settings,
            strategy=unjudged,
            name="drafts",
            budget=Budget(self.num_drafts),
        )
        with RunStore.open(self.directory / FOLDER, self.manifest) as store:
            await decode(
                prompts,
                roles,
                settings,
                store,
                summary=Summary(),
                room=room,
                listener=listener,
                cut_replies=cut_replies,
                searches={name: each.run for name, each in searches.items()} if searches else None,
            )
            if searches:
                store.discard_replaced()


def num_drafts(config: DecodeConfig, budget: int) -> int:
    """How many drafts a prompt may need in a search with a budget.

    Where a strategy makes so many at most whatever the budget, as many as with the largest that the prompt may get, so
    that the actor's model is loaded once.
    """
    spec = strategy_with(config.strategy, config.strategy_args)
    total = config.total_budget
    return spec.num_drafts(budget if total is None or spec.max_drafts is None else total)


def missing_drafts(
    directory: Path, searched: Iterable[tuple[Prompt, int]]
) -> Iterator[tuple[str, FurtherSearch]]:
    """Ids of the prompts with too few drafts, and what adds those that are missing.

    Parameters
    ----------
    searched:
        Prompts with the number of their drafts, 0 where those that are stored will do.
    """
    path = directory / FOLDER / TREES
    drafts = StoredDrafts(path.parent, None) if path.is_file() else None
    for prompt, needed in searched:
        tree = drafts.read(prompt.id) if drafts else None
        if tree is not None and tree.prompt.digest != prompt.digest:
            tree = None
        written = responses_spent(tree) if tree else 0
        if tree is None or (tree.stop == "budget" and written < needed):
            rounds = rounds_of(tree, written) if tree else ()
            yield prompt.id, FurtherSearch(needed, rounds, tree)


def discard_drafts(
    directory: Path, manifest: Manifest, prompts: Iterable[Prompt], *, unanswered: bool
) -> None:
    """Take the drafts of other contents out of a run's drafts, and with `unanswered` those that all failed."""
    path = directory / FOLDER / TREES
    stored = stored_trees(path) if path.is_file() else {}
    ids = {
        prompt.id
        for prompt in prompts
        if (drafts := stored.get(prompt.id)) is not None
        and (drafts.digest != prompt.digest or (unanswered and not drafts.answered))
    }
    if ids:
        with RunStore.open(directory / FOLDER, manifest) as store:
            store.discard(ids)


class StoredDrafts:
    """The actor of the second half: its drafts are read from the disk.

    Parameters
    ----------
    drafts:
        The run directory of the drafts.
    seed:
        The run's, of which the drafts' seeds were made; None where they have none.
    """

    def __init__(self, drafts: Path, seed: int | None) -> None:
        self._path, self._seed = drafts / TREES, seed
        self._offsets = tree_offsets(self._path)

    async def draft(self, prompt: Prompt, index: int, seeds: Seeds) -> Generation:
        """The draft at `index` among the prompt's drafts."""
        tree = self.read(prompt.id)
        if tree is None or index >= len(tree.nodes) + len(tree.faults):
            raise AttemptFailed(
                "no further draft is stored; the actor's model is not loaded", "", Usage()
            )
        seed = seeds(0)
        # The seed identifies the draft; without seeds any draft will do.
        matching = tree.nodes[index:] if seed is None else [n for n in tree.nodes if n.seed == seed]
        if matching:
            return Generation(matching[0].response, None, matching[0].usage, matching[0].seed)
        raise self._failure(tree, index)

    def _failure(self, tree: SearchTree, index: int) -> AttemptFailed:
        """What went wrong with the draft at `index`: nodes and faults are both stored in the order of the drafts."""
        before = len(tree.nodes)
        if self._seed is not None:
            most = len(tree.nodes) + len(tree.faults)
            indexes = child_indexes(self._seed, tree.prompt.id, None, most)
            before = sum(indexes.get(node.seed, index) < index for node in tree.nodes)
        if index - before >= len(tree.faults):
            return AttemptFailed("no draft with this seed is stored", "", Usage())
        fault = tree.faults[index - before]
        return AttemptFailed(fault.reason, fault.text, fault.usage)

    def read(self, prompt_id: str) -> SearchTree | None:
        """The stored drafts of a prompt; None where it has none."""
        if prompt_id not in self._offsets:
            return None
        with self._path.open("rb") as handle:
            return tree_at(handle, self._offsets[prompt_id])
