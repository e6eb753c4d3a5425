"""Answers and judge outputs from anywhere, matched to a benchmark's examples.

    match_responses("answers.jsonl", examples)     .found is {"1000": Answer("..."), ...}
    read_outputs("judged/", examples)              {"content/14/3": ("... ['YES', 'NO']",), ...}

What may be read is listed in `spar.eval.answer_files`. A row belongs to the example whose id it has (`id`, else
`key`); else to the one whose prompt it has, to the character, or but for white space around it. A row
that belongs to none and an example without a row are refused, unless the person allows it. null for a
response is an example that was asked and gave no answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from spar.errors import UsageError
from spar.eval.answer_files import StoredRow, prompt_text, read_stored, refuse, shown
from spar.eval.benchmark import Answer
from spar.types import Prompt, SearchTree

RESPONSE_FIELDS = ("response", "output", "completion", "answer", "judgement", "judgment")
"""Names of the field with the response; the first that a row has counts."""
OUTPUT_FIELDS = ("outputs", "output", "judgement", "judgment", "response", "completion", "answer")
"""Names of the field with a judge's output, or with the list of its attempts."""
LOGGED_FIELDS = ("filtered_resps", "resps")
"""Where lm-eval logs responses, in lists."""
LISTED = 5
"""Most rows or examples that a message lists."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Matched(Generic[T]):
    """What a file holds, by example."""

    path: Path
    found: Mapping[str, T]
    """Example's id to what its row holds, in the order of the rows."""
    missing: tuple[str, ...]
    """Examples without a row, as messages show them."""
    unknown: tuple[str, ...]
    """Rows without an example, as messages show them."""

    def report(self) -> str:
        """One line about what matches nothing, "" where everything does."""
        parts = []
        if self.unknown:
            count = f"{len(self.unknown)} of {len(self.found) + len(self.unknown)}"
            parts.append(f"rows that match no example, {count}: {_listed(self.unknown)}")
        if self.missing:
            count = str(len(self.missing))
            parts.append(f"examples without a row, {count}: {_listed(self.missing)}")
        return f"{self.path}: {'; '.join(parts)}" if parts else ""

    def refuse_unmatched(self) -> None:
        """Raise `UsageError` if anything matches nothing."""
        if report := self.report():
            raise UsageError(
                f"{report}; give each row its example's id (field 'id' or 'key'), or let "
                "--allow-missing leave out such rows and count such examples as unanswered"
            )


def match_responses(
    path: str | Path,
    examples: Sequence[Prompt],
    *,
    wanted: Collection[str] | None = None,
    answer_of: Callable[[SearchTree], Answer] = Answer.of,
) -> Matched[Answer]:
    """The answers that are there, and what matches nothing.

    Parameters
    ----------
    path:
        A file, a folder of files, or a run directory.
    examples:
        All examples of the benchmark, so that each row finds its own.
    wanted:
        Ids of the examples that are to be scored, None for all; rows of the others are left out.
    answer_of:
        What a tree of a run directory says.

    Raises
    ------
    UsageError
        A row is wrong, or a second one of its example, or its prompt is that of several examples.
    """
    return _matched(path, _Examples(examples, wanted), lambda row: _answer(row, answer_of))


def all_answers(
    matched: Matched[Answer], examples: Sequence[Prompt], *, allow_missing: bool = False
) -> dict[str, Answer]:
    """Answers to the examples, each of which has an entry: `Answer(None)` where it has no answer.

    Parameters
    ----------
    examples:
        Those that are to be scored.
    allow_missing:
        Leave out rows that belong to no example, and take examples without a row for unanswered.

    Raises
    ------
    UsageError
        Something matches nothing and `allow_missing` is not set.
    """
    if not allow_missing:
        matched.refuse_unmatched()
    return {prompt.id: matched.found.get(prompt.id, Answer(None)) for prompt in examples}


def read_outputs(
    path: str | Path, examples: Sequence[Prompt], *, allow_missing: bool = False
) -> dict[str, tuple[str, ...]]:
    """A judge's outputs, each example's attempts in order; examples that were never judged have no entry.

    Parameters
    ----------
    path:
        A file or folder of files; or the run directory of a grading stage, of which each tree gives the
        responses of its nodes.
    examples:
        All examples of the benchmark.
    allow_missing:
        Leave out rows that belong to no example.

    Raises
    ------
    UsageError
        As `match_responses` and `all_answers`, but an example without a row is no mistake: not every one needs a judge.
    """
    matched = _matched(path, _Examples(examples, wanted=()), _outputs)
    if not allow_missing:
        matched.refuse_unmatched()
    return dict(matched.found)


@dataclass(slots=True)
class _Examples:
    """Examples by id and by text."""

    prompts: Sequence[Prompt]
    wanted: Collection[str] | None
    """Ids of those that must have a row, None for all."""
    ids: set[str] = field(init=False)
    exact: dict[str, list[str]] = field(init=False)
    trimmed: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = {prompt.id for prompt in self.prompts}
        self.exact, self.trimmed = defaultdict(list), defaultdict(list)
        for prompt in self.prompts:
            text = prompt_text(prompt)
            self.exact[text].append(prompt.id)
            self.trimmed[text.strip()].append(prompt.id)

    def find(self, row: StoredRow) -> str | None:
        """Id of the row's example, None where it has none."""
        named = [id_ for id_ in dict.fromkeys(row.ids) if id_ in self.ids]
        alike = self._alike(row.text)
        rivals = named[1:] or ([] if not named or named[0] in alike else alike)
        if rivals:
            found = f"it names two examples, {shown(named[0])} and {shown(rivals[0])}"
            refuse(row.where, found, "an id and a prompt of one example, or only one of the two")
        if named:
            return named[0]
        if len(alike) > 1:
            found = f"its prompt is that of {len(alike)} examples ({_listed([*map(shown, alike)])})"
            refuse(row.where, found, "such a row with its example's 'id'")
        return alike[0] if alike else None

    def labels(self, *, without: Mapping[str, Any]) -> tuple[str, ...]:
        """The wanted examples that are not in a mapping."""
        return tuple(
            f"{shown(prompt.id)} ({shown(prompt_text(prompt))})"
            for prompt in self.prompts
            if prompt.id not in without and (self.wanted is None or prompt.id in self.wanted)
        )

    def _alike(self, text: str | None) -> list[str]:
        if text is None:
            return []
        return self.exact.get(text) or self.trimmed.get(text.strip()) or []


def _matched(path: str | Path, examples: _Examples, read: Callable[[StoredRow], T]) -> Matched[T]:
    found: dict[str, T] = {}
    places: dict[str, str] = {}
    unknown = []
    for row in read_stored(path):
        value, id_ = read(row), examples.find(row)
        if id_ is None:
            unknown.append(_row_label(row))
        elif id_ in places:
            found_twice = f"a second row for {shown(id_)}, first at {places[id_]}"
            refuse(row.where, found_twice, "one row an example")
        else:
            found[id_], places[id_] = value, row.where
    if not found and not unknown:
        raise UsageError(f"{path} holds no row; expected one JSON object a line")
    return Matched(Path(path), found, examples.labels(without=found), tuple(unknown))


def _answer(row: StoredRow, of_tree: Callable[[SearchTree], Answer]) -> Answer:
    if isinstance(row.content, SearchTree):
        return of_tree(row.content)
    name, value = _field(row, RESPONSE_FIELDS)
    if name in LOGGED_FIELDS:
        texts = [*_flat(value)]
        if len(texts) != 1:
            refuse(row.where, f"{name!r} holds {len(texts)} responses", "one")
        value = texts[0]
    if value is not None and not isinstance(value, str):
        refuse(row.where, f"{name!r} is {shown(value)}", "a string, or null for no answer")
    return Answer(value)


def _outputs(row: StoredRow) -> tuple[str, ...]:
    if isinstance(row.content, SearchTree):
        return tuple(node.response for node in row.content.nodes)
    name, value = _field(row, OUTPUT_FIELDS)
    texts = () if value is None else tuple(_flat(value))
    for text in texts:
        if not isinstance(text, str):
            refuse(row.where, f"{name!r} holds {shown(text)}", "a string, or a list of strings")
    return texts


def _field(row: StoredRow, names: Sequence[str]) -> tuple[str, Any]:
    assert isinstance(row.content, Mapping)
    name = next((name for name in (*names, *LOGGED_FIELDS) if name in row.content), None)
    if name is None:
        found = f"no response in a row with {shown(list(row.content))}"
        refuse(row.where, found, f"a field {', '.join(names[:-1])} or {names[-1]}")
    return name, row.content[name]


def _flat(value: Any) -> Iterator[Any]:
    """A value, or the values of a list, or of the lists in a list."""
    for item in value if isinstance(value, list) else [value]:
        yield from item if isinstance(item, list) else [item]


def _row_label(row: StoredRow) -> str:
    named = ", ".join(shown(id_) for id_ in row.ids)
    return f"{Path(row.where).name} ({named or shown(row.text)})"


def _listed(labels: Sequence[str]) -> str:
    more = [f"and {len(labels) - LISTED} more"] if len(labels) > LISTED else []
    return ", ".join([*labels[:LISTED], *more])
