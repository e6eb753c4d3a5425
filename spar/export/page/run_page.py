"""A run as pages: one self-contained file, or several beside each other for a large run.

    pages = run_pages("runs/mine", Annotations(check_constraints))
    for name, parts in pages.files("mine.html"):
        ...                                     # mine.html, mine-2.html, ...

The trees are read once, and what will be written of them is held in memory compressed, since the dashboard of the
first page is of the whole run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from spar.export.page.document import BLOCK, compressed, document
from spar.export.page.run_data import RunFacts, run_facts, totals_data
from spar.export.page.tree_data import Json, identifier, row_data, tree_data
from spar.record.evaluation import no_trees
from spar.record.grades import Grades
from spar.record.marks import NOTE_CHARACTERS, Mark, MarkBook
from spar.record.outcomes import outcome_of
from spar.record.run_outcomes import RunOutcomes
from spar.store import Progress, last_trees
from spar.types import SearchTree
from spar.view.node_detail import Annotations
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
        raise no_trees(path)
    return RunPages(run_facts(path), totals, tuple(pages), MarkBook(path).all())


def tree_html(tree: SearchTree, annotations: Annotations) -> str:
    """A page of one tree."""
    totals = RunOutcomes()
    outcome = outcome_of(tree, annotations.check, graded=annotations.grade_of(tree))
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


def _close(page: Page, block: list[Json]) -> None:
    if block:
        page.blocks.append(compressed(block))
        block.clear()


def _page_name(first: str, number: int) -> str:
    """`mine.html`, `mine-2.html`, ..."""
    name = PurePath(first)
    return name.name if number == 0 else f"{name.stem}-{number + 1}{name.suffix}"
