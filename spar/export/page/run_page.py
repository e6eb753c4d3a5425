"""A run as pages: one self-contained file, or several beside each other for a large run.

    pages = run_pages("runs/mine", Annotations(check_constraints))
    for name, parts in pages.files("mine.html"):
        ...                                     # mine.html, mine-2.html, ...

The trees are read once, and what will be written of them is held in memory compressed, since the dashboard of the
first page is of the whole run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from spar.errors import UsageError
from spar.export.page.document import BLOCK, compressed, document
from spar.export.page.run_data import RunFacts, run_facts, totals_data
from spar.export.page.tree_data import Json, identifier, row_data, tree_data
from spar.record.evaluation import EXAMPLES, read_examples, verdict_findings
from spar.record.marks import NOTE_CHARACTERS, Mark, MarkBook
from spar.record.outcomes import outcome_of, with_verdicts
from spar.record.run_outcomes import RunOutcomes
from spar.store import Progress, last_trees
from spar.types import Finding, Node, SearchTree
from spar.view.node_detail import Annotations, ConstraintCheck
from spar.view.text import one_line

PAGE = 5_000
"""Trees in one file."""


@dataclass(slots=True)
class Page:
    """The trees of one file."""

    rows: list[Json] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    """The trees, `BLOCK` at a time, compressed."""


@dataclass(frozen=True, slots=True)
class RunPages:
    """A run, ready to be written."""

    facts: RunFacts
    totals: RunOutcomes
    pages: tuple[Page, ...]
    marks: Mapping[str, Mark] = field(default_factory=dict)
    """Prompt id to what a reader noted."""

    def files(self, first: str) -> Iterator[tuple[str, Iterator[str]]]:
        """Each file's name and the parts of its text; `first` is the name of the first one."""
        names = [_page_name(first, number) for number in range(len(self.pages))]
        start = 0
        for number, page in enumerate(self.pages):
            run = {
                **facts_data(self.facts),
                "totals": totals_data(self.totals),
                "marks": marks_data(self.marks),
                "block": BLOCK,
                "start": start,
                "pages": names if len(names) > 1 else [],
                "page": number,
            }
            yield names[number], document(run, page.rows, page.blocks)
            start += len(page.rows)


def run_pages(
    path: Path,
    annotations: Annotations,
    *,
    page_size: int = PAGE,
    progress: Progress | None = None,
) -> RunPages:
    """Read a run directory or a file of trees; `progress` is called for each tree.

    Raises
    ------
    UsageError
        There is no such run, it has no trees, or a line of it is damaged.
    """
    totals = RunOutcomes()
    pages = [Page()]
    block: list[Json] = []
    grades = Grades.of(path)
    annotations = Annotations(grades.check(annotations.check), annotations.render)
    for number, tree in enumerate(last_trees(path, progress)):
        outcome = outcome_of(tree, annotations.check, graded=grades.passed.get(tree.prompt.id))
        totals.add(outcome)
        if len(pages[-1].rows) == page_size:
            _close(pages[-1], block)
            pages.append(Page())
        pages[-1].rows.append(row_data(tree, outcome, number))
        block.append(tree_data(tree, outcome, number, annotations))
        if len(block) == BLOCK:
            _close(pages[-1], block)
    _close(pages[-1], block)
    if not totals.trees:
        raise UsageError(f"{path} has no trees yet; run spar decode first")
    return RunPages(run_facts(path), totals, tuple(pages), MarkBook(path).all())


def tree_html(tree: SearchTree, annotations: Annotations) -> str:
    """A page of one tree."""
    totals = RunOutcomes()
    outcome = outcome_of(tree, annotations.check)
    totals.add(outcome)
    run = {
        **facts_data(RunFacts(one_line(tree.prompt.id, 80))),
        "totals": totals_data(totals),
        "block": BLOCK,
        "single": True,
    }
    blocks = [compressed([tree_data(tree, outcome, 0, annotations)])]
    return "".join(document(run, [row_data(tree, outcome, 0)], blocks))


def facts_data(facts: RunFacts) -> Json:
    """What a run says of itself, as the page's script reads it."""
    return {
        "name": facts.name,
        "facts": [list(fact) for fact in facts.facts],
        "expected": facts.expected,
        "metrics": list(facts.metrics),
    }


def marks_data(marks: Mapping[str, Mark]) -> Json:
    """Stars and notes by the address of a tree, as the page's script reads them."""
    return {
        identifier(prompt_id): [mark.star, one_line(mark.note, NOTE_CHARACTERS)]
        for prompt_id, mark in marks.items()
    }


@dataclass(frozen=True, slots=True)
class Grades:
    """An evaluation's verdicts on the answers, by prompt id; empty for other runs."""

    passed: dict[str, bool] = field(default_factory=dict)
    findings: dict[str, tuple[Finding, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Grades:
        """The verdicts beside the trees of a run."""
        grades = cls()
        directory = path if path.is_dir() else path.parent
        if (directory / EXAMPLES).is_file():
            for example in read_examples(directory):
                grades.findings[example.id] = verdict_findings(example.verdicts)
                if example.passed is not None:
                    grades.passed[example.id] = example.passed
        return grades

    def check(self, check: ConstraintCheck | None) -> ConstraintCheck:
        """A verifier that knows the evaluation's verdicts on an answer for which `check` has none."""
        return once(with_verdicts(check, lambda prompt_id: self.findings.get(prompt_id, ())))


def once(check: ConstraintCheck) -> ConstraintCheck:
    """A verifier that checks identical responses of a tree once: some take tens of milliseconds."""
    checked: dict[tuple[str, bool], Sequence[Finding]] = {}
    current: SearchTree | None = None

    def findings(tree: SearchTree, node: Node) -> Sequence[Finding]:
        nonlocal current
        if tree is not current:
            checked.clear()
            current = tree
        key = node.response, node.id == tree.selected
        if key not in checked:
            checked[key] = check(tree, node)
        return checked[key]

    return findings


def _close(page: Page, block: list[Json]) -> None:
    if block:
        page.blocks.append(compressed(block))
        block.clear()


def _page_name(first: str, number: int) -> str:
    """`mine.html`, `mine-2.html`, ..."""
    name = PurePath(first)
    return name.name if number == 0 else f"{name.stem}-{number + 1}{name.suffix}"
