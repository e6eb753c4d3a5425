"""The runs that a build reads, and the first pass over them, which finds the candidates for the data set.

A scan holds candidates and counts, never texts, so its memory depends on the number of examples alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from spar.errors import UsageError
from spar.manifest import Manifest
from spar.record.training_data import (
    PAIR_RUNS,
    ExportFormat,
    JudgementFilter,
    NoPair,
    Pair,
    Pairing,
    RefinerExample,
    SourceRun,
    is_encodable,
)
from spar.store import MANIFEST, TREES, read_manifest, read_trees
from spar.templates import Templates, load
from spar.train.data.draft_measures import DraftCounter
from spar.train.data.measure import VoteCounter
from spar.train.data.pairs import (
    ScoreRule,
    best_worst_pair,
    independent_pair,
    reference_pair,
    refined_pair,
)
from spar.train.data.refiner_data import (
    draft_judgements,
    refine_example,
    tree_judgements,
)
from spar.train.data.selection import QUOTAS, Candidate, candidate_of, sort_key
from spar.train.methods import DEFAULT_METHODS
from spar.train.specs import BuildSpec
from spar.types import SearchTree

_FOLDERS: Mapping[SourceRun, tuple[str, ...]] = {
    "search": ("search", "refine"),
    "drafts": ("judge", "draft", "drafts"),
}
"""What a loop, a bootstrap and an evaluation call the folders of such a run, the best one first."""
_RUNS: Mapping[SourceRun, str] = {"search": "searches", "drafts": "judged drafts"}
_SHOWN_FOLDERS = 5
"""Folders that an error message lists."""


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """What to build from which runs."""

    out: Path
    """Folder of the files."""
    search: Path | None = None
    """Run directory of searches from failing drafts."""
    drafts: Path | None = None
    """Run directory of judged drafts."""
    judgement_run: Path | None = None
    """Run directory of judgements to make pairs of as well."""
    comparison_run: Path | None = None
    """Run directory of their comparisons; None where programs rank them."""
    own_answers: bool = False
    """Whether `rft` also learns to answer, from the answers that passed."""
    answer_score: float | None = None
    """An answer is learnt from this score on; None: it passes the gate."""
    seeds: Path | None = None
    """File of answers to learn beside those."""
    max_judgement_characters: int | None = None
    """A pair whose chosen judgement is longer is left out."""
    methods: tuple[str, ...] = DEFAULT_METHODS
    """The trainings to build for: `dpo` takes pairs, `rft` the refiner's examples, `sft` answers."""
    pairs: Pairing = "refined"
    """Draft and refinement, from the searches (paper), two drafts, from the drafts (its ablation), both, or those of other
    methods."""
    score_rule: ScoreRule = ScoreRule()
    """How `best_worst` chooses."""
    cut_drafts: bool = True
    """Whether drafts that ended at their token limit take part in pairs of drafts, and are answers to learn."""
    shuffle_labels: bool = False
    """Whether the sides of pairs are swapped at random: a control that must teach nothing."""
    judgements: JudgementFilter = "split"
    """Judgements that the refiner learns from (paper: split ones)."""
    quotas: str = "balanced"
    """Name in `spar.train.data.selection.QUOTAS`."""
    export: ExportFormat = "trl"
    """Format of the files."""
    seed: int = 0
    """Seed of draws and order."""
    min_pairs: int = 1
    """Fewer pairs than this are an error."""
    is_trained: bool = False
    """Whether trainings follow, so that a refiner without any example is an error."""
    max_pairs: int | None = None
    """Most pairs, drawn by the seed; None keeps all (paper)."""
    templates: Path | None = None
    """Folder of the runs' templates; None for the one in each run's record, else spar's own."""
    embedding_model: str = ""
    """A sentence-transformers model to measure the pairs with as well; "" for none."""

    @classmethod
    def from_spec(cls, spec: BuildSpec) -> BuildSettings:
        """The settings of a stage."""
        rule = {field.name for field in fields(ScoreRule)}
        runs: dict[str, Path | None] = {
            name: Path(folder) if (folder := getattr(spec, name)) else None
            for name in ("search", "drafts", "judgement_run", "comparison_run", "seeds")
        }
        values = spec.model_dump(exclude={"kind", "out", *runs, *rule})
        return cls(
            out=Path(spec.out),
            score_rule=ScoreRule(**{name: getattr(spec, name) for name in rule}),
            is_trained=True,
            **{**values, **runs},
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A run to build from."""

    run: SourceRun
    directory: Path
    manifest: Manifest
    templates: Templates
    """The templates that the run used."""

    def trees(self) -> Iterator[SearchTree]:
        """Stream its trees, one for each prompt."""
        prompt_ids = set()
        for tree in read_trees(self.directory):
            if tree.prompt.id in prompt_ids:
                raise UsageError(
                    f"{self.directory}: prompt {tree.prompt.id!a} has two trees; delete one of them"
                )
            prompt_ids.add(tree.prompt.id)
            yield tree

    def pair(self, tree: SearchTree, settings: BuildSettings) -> Pair | NoPair | None:
        """The tree's pair, or why it has none; None where nothing says why, or pairs come from the other run."""
        seed, cut = settings.seed, settings.cut_drafts
        if self.run not in runs_of_pairs(settings):
            return None
        if self.run == "search":
            return refined_pair(tree, cut_drafts=cut)
        match settings.pairs:
            case "best_worst":
                return best_worst_pair(tree, seed, settings.score_rule, cut_drafts=cut)
            case "reference":
                return reference_pair(tree, seed, cut_drafts=cut)
        most = 0.0 if settings.pairs == "pass_rate" else None
        return independent_pair(tree, seed, cut_drafts=cut, most=most)

    def examples(self, tree: SearchTree, settings: BuildSettings) -> tuple[RefinerExample, ...]:
        """The refiner's examples in a tree."""
        if "rft" not in settings.methods:
            return ()
        if self.run == "drafts":
            return draft_judgements(tree, self.templates, settings.judgements)
        refinement = refine_example(tree, self.templates)
        judgements = tree_judgements(
            tree,
            self.templates,
            settings.seed,
            settings.judgements,
            with_root=QUOTAS[settings.quotas].roots,
        )
        return judgements if refinement is None else (refinement, *judgements)


def learns_answers(settings: BuildSettings) -> bool:
    """Whether answers are part of the data set."""
    return settings.own_answers or "sft" in settings.methods


def runs_of_pairs(settings: BuildSettings) -> tuple[SourceRun, ...]:
    """The runs that the pairs come from."""
    return PAIR_RUNS[settings.pairs] if "dpo" in settings.methods else ()


def open_sources(settings: BuildSettings) -> tuple[Source, ...]:
    """Open the runs, each with the templates that it used.

    Raises
    ------
    UsageError
        A run that pairs come from is missing, a directory is not a run, or its templates have changed.
    """
    runs: dict[SourceRun, Path | None] = {"search": settings.search, "drafts": settings.drafts}
    for needed in runs_of_pairs(settings):
        if runs[needed] is None:
            raise UsageError(f"--pairs {settings.pairs} needs a run directory: give --{needed}")
    return tuple(
        open_source(run, directory, settings.templates)
        for run, directory in runs.items()
        if directory is not None
    )


def open_source(run: SourceRun, directory: Path, folder: Path | None = None) -> Source:
    """Open a run to build from.

    Parameters
    ----------
    folder:
        Folder of the templates that it used; None for the one in its record, else spar's own.

    Raises
    ------
    UsageError
        The directory is not a run of searches, with those below it that may be meant; or its templates have changed.
    """
    _refuse_other_folder(run, directory)
    manifest = read_manifest(directory)
    stored = manifest.config.get("templates")
    folder = folder or (Path(stored) if stored else None)
    templates = load(folder)
    changed = templates.changed_since(manifest.templates)
    if changed:
        name = changed[0]
        raise UsageError(
            f"{directory} was run with another {name}.txt (digest "
            f"{manifest.templates.get(name, 'unknown')}) than {folder or 'spar has'} "
            f"({templates.digests([name])[name]}); give the folder of its templates with --templates"
        )
    return Source(run, directory, manifest, templates)


def _refuse_other_folder(run: SourceRun, directory: Path) -> None:
    """Raise `UsageError` for a folder that only has runs below it, such as a loop's, and for trees that are no answers."""
    kind = read_manifest(directory).kind if (directory / MANIFEST).is_file() else ""
    is_run = kind in ("search", "evaluation") or (not kind and (directory / TREES).is_file())
    if is_run or not directory.is_dir():
        return
    what = f"holds {'an' if kind[0] in 'aeiou' else 'a'} {kind}" if kind else "holds no run"
    below = [
        path.parent for depth in ("*", "*/*") for path in sorted(directory.glob(f"{depth}/{TREES}"))
    ]
    named = ([each for each in below if each.name == name] for name in _FOLDERS[run])
    # A pipeline's other runs are not meant; those of a folder of one's own may have any name.
    below = next(filter(None, named), [] if kind else below)
    shown = ", ".join(map(str, below[:_SHOWN_FOLDERS])) + ", ..." * (len(below) > _SHOWN_FOLDERS)
    advice = (
        f"give {'one of ' * (len(below) > 1)}{shown}"
        if below
        else f"give a run directory of {_RUNS[run]}"
    )
    raise UsageError(f"--{run} {directory}: it {what}; {advice}")


PairKey = tuple[SourceRun, str]
"""The run and the prompt of a pair: a run has one pair of a prompt at most."""


def key_of_pair(pair: Pair) -> PairKey:
    """The key of a pair."""
    return pair.run, pair.prompt_id


@dataclass(slots=True)
class Scan:
    """What the first pass found."""

    pairs: dict[PairKey, bytes] = field(default_factory=dict)
    """Each pair to its sort key."""
    without_pair: Counter[NoPair] = field(default_factory=Counter)
    """Trees without a pair, by reason."""
    candidates: list[Candidate] = field(default_factory=list)
    """The refiner's examples."""
    trees: Counter[SourceRun] = field(default_factory=Counter)
    solved: Counter[SourceRun] = field(default_factory=Counter)
    votes: dict[SourceRun, VoteCounter] = field(default_factory=dict)
    drafts: DraftCounter = field(default_factory=DraftCounter)
    """The drafts, where there is a run of them."""
    not_encodable: int = 0
    """Pairs and examples with a lone surrogate, which are excluded."""

    def add(self, source: Source, tree: SearchTree, settings: BuildSettings) -> None:
        """Add the examples of one tree."""
        self.trees[source.run] += 1
        self.solved[source.run] += tree.solved
        self.votes[source.run].add(tree.nodes)
        if source.run == "drafts":
            self.drafts.add(tree)
        pair = source.pair(tree, settings)
        if isinstance(pair, str):
            self.without_pair[pair] += 1
        elif pair is not None and self._check(pair):
            # The order of one kind of pairs does not depend on whether the other one is there.
            position = (pair.prompt_id,) if settings.pairs != "both" else key_of_pair(pair)
            self.pairs[key_of_pair(pair)] = sort_key(settings.seed, "pair", *position)
        examples = filter(self._check, source.examples(tree, settings))
        self.candidates += [candidate_of(example, settings.seed) for example in examples]

    def _check(self, example: Pair | RefinerExample) -> bool:
        encodable = is_encodable(example)
        self.not_encodable += not encodable
        return encodable


def scan_sources(sources: tuple[Source, ...], settings: BuildSettings) -> Scan:
    """Read every run once."""
    scan = Scan(votes={source.run: VoteCounter() for source in sources})
    for source in sources:
        for tree in source.trees():
            scan.add(source, tree, settings)
    return scan
