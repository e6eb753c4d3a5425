"""The runs that a build reads, and what its first reading of them finds: which examples there are.

A survey holds tickets and counts, never a text, so its memory hangs on the number of examples alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spar.errors import UsageError
from spar.manifest import Manifest
from spar.record.training_data import (
    ExportFormat,
    JudgementFilter,
    Pair,
    Pairing,
    RefinerExample,
    SourceRun,
    is_encodable,
)
from spar.store import read_manifest, read_trees
from spar.templates import Templates, load
from spar.train.data.measure import VoteTally
from spar.train.data.pairs import independent_pair, refined_pair
from spar.train.data.refiner_data import (
    draft_judgements,
    refine_example,
    tree_judgements,
)
from spar.train.data.selection import Ticket, order, ticket
from spar.train.specs import BuildSpec
from spar.types import SearchTree


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """What to build from which runs."""

    out: Path
    """Folder of the files."""
    search: Path | None = None
    """Run directory of searches from failing drafts."""
    drafts: Path | None = None
    """Run directory of several judged drafts a prompt."""
    pairs: Pairing = "refined"
    """Draft and refinement, out of the searches (paper), or two drafts, out of the drafts (its ablation)."""
    shuffle_labels: bool = False
    """Whether chance swaps the pairs' sides: a control that must teach nothing."""
    judgements: JudgementFilter = "split"
    """Which of them the refiner learns from (paper: split ones)."""
    quotas: str = "balanced"
    """Name in `mix.QUOTAS`."""
    export: ExportFormat = "trl"
    """Whose format the files have."""
    seed: int = 0
    """Decides draws and order."""
    min_pairs: int = 1
    """Fewer pairs than this are an error."""
    max_pairs: int | None = None
    """Most pairs, drawn by the seed; None keeps all (paper)."""
    templates: Path | None = None
    """Folder of the runs' templates; None for the one that each run names, else spar's own."""
    embedding_model: str = ""
    """A sentence-transformers model to measure the pairs with as well; "" for none."""

    @classmethod
    def from_spec(cls, spec: BuildSpec) -> BuildSettings:
        """The settings of a stage."""
        values = spec.model_dump(exclude={"kind", "out", "search", "drafts"})
        out, search, drafts = Path(spec.out), Path(spec.search), Path(spec.drafts)
        return cls(out=out, search=search, drafts=drafts, **values)


@dataclass(frozen=True, slots=True)
class Source:
    """A run to build from."""

    run: SourceRun
    directory: Path
    manifest: Manifest
    templates: Templates
    """Those that the run used."""

    def trees(self) -> Iterator[SearchTree]:
        """Its trees, as a stream; one a prompt."""
        seen = set()
        for tree in read_trees(self.directory):
            if tree.prompt.id in seen:
                raise UsageError(
                    f"{self.directory}: prompt {tree.prompt.id!a} has two trees; delete one of them"
                )
            seen.add(tree.prompt.id)
            yield tree

    def pair(self, tree: SearchTree, settings: BuildSettings) -> Pair | None:
        """The tree's pair; None where it has none, or pairs are made of the other run."""
        if self.run != paired_run(settings):
            return None
        if self.run == "search":
            return refined_pair(tree)
        return independent_pair(tree, settings.seed)

    def examples(self, tree: SearchTree, settings: BuildSettings) -> tuple[RefinerExample, ...]:
        """The refiner's examples in a tree."""
        if self.run == "drafts":
            return draft_judgements(tree, self.templates, settings.judgements)
        refinement = refine_example(tree, self.templates)
        judgements = tree_judgements(tree, self.templates, settings.seed, settings.judgements)
        return judgements if refinement is None else (refinement, *judgements)


def paired_run(settings: BuildSettings) -> SourceRun:
    """The run that the pairs come from."""
    return "search" if settings.pairs == "refined" else "drafts"


def open_sources(settings: BuildSettings) -> tuple[Source, ...]:
    """The runs that were given, each with the templates that it used.

    Raises
    ------
    UsageError
        The run that the pairs come from was not given, a directory is no run, or the templates at hand
        are not those that it used.
    """
    given: dict[SourceRun, Path | None] = {"search": settings.search, "drafts": settings.drafts}
    if given[paired_run(settings)] is None:
        raise UsageError(
            f"--pairs {settings.pairs} are made from --{paired_run(settings)}, which was not given; "
            "give that run directory"
        )
    return tuple(
        open_source(run, directory, settings.templates)
        for run, directory in given.items()
        if directory is not None
    )


def open_source(run: SourceRun, directory: Path, folder: Path | None = None) -> Source:
    """A run to build from.

    Parameters
    ----------
    folder:
        Of the templates that it used; None for the one that it names, else spar's own.

    Raises
    ------
    UsageError
        The directory is no run, or the templates at hand are not those that it used.
    """
    manifest = read_manifest(directory)
    named = manifest.config.get("templates")
    folder = folder or (Path(named) if named else None)
    templates = load(folder)
    digests = templates.digests()
    changed = [name for name in digests if manifest.templates.get(name) != digests[name]]
    if changed:
        name = changed[0]
        raise UsageError(
            f"{directory} was searched with another {name}.txt (digest "
            f"{manifest.templates.get(name, 'unknown')}) than {folder or 'spar has'} "
            f"({digests[name]}); give the folder of its templates with --templates"
        )
    return Source(run, directory, manifest, templates)


@dataclass(slots=True)
class Survey:
    """What the first reading found."""

    pairs: dict[str, bytes] = field(default_factory=dict)
    """Prompt id of each pair, and where the seed puts it."""
    tickets: list[Ticket] = field(default_factory=list)
    """One for each of the refiner's examples."""
    trees: Counter[SourceRun] = field(default_factory=Counter)
    solved: Counter[SourceRun] = field(default_factory=Counter)
    votes: dict[SourceRun, VoteTally] = field(default_factory=dict)
    without_tokens: int = 0
    """Pairs and examples with a lone surrogate, which are left out."""

    def add(self, source: Source, tree: SearchTree, settings: BuildSettings) -> None:
        """Note what one tree has to give."""
        self.trees[source.run] += 1
        self.solved[source.run] += tree.solved
        self.votes.setdefault(source.run, VoteTally()).add(tree.nodes)
        pair = source.pair(tree, settings)
        if pair is not None and self._usable(pair):
            self.pairs[pair.prompt_id] = order(settings.seed, "pair", pair.prompt_id)
        examples = filter(self._usable, source.examples(tree, settings))
        self.tickets += [ticket(example, settings.seed) for example in examples]

    def _usable(self, example: Pair | RefinerExample) -> bool:
        usable = is_encodable(example)
        self.without_tokens += not usable
        return usable


def survey(sources: tuple[Source, ...], settings: BuildSettings) -> Survey:
    """Read every run once."""
    found = Survey()
    for source in sources:
        for tree in source.trees():
            found.add(source, tree, settings)
    return found
