"""Matches external answers and grader replies to a benchmark's examples.

    match_answers("answers.jsonl", examples)          .by_example is {"1000": Answer("..."), ...}
    read_grader_replies("judged/", examples)          {"content/14/3": ("... ['YES', 'NO']",), ...}

A row belongs to the example with its id (`id`, else `key`), else to the example with its prompt, compared
without the white space around it where no prompt is equal. Rows without an example and examples without a
row are errors unless `--allow-missing` is set. A response of null means that the example has no answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from spar.errors import UsageError
from spar.eval.benchmark import Answer
from spar.eval.external_answers.rows import AnswerRow, prompt_text, quote, read_rows, reject
from spar.types import Prompt, SearchTree

RESPONSE_FIELDS = ("response", "output", "completion", "answer", "judgement", "judgment")
"""Names of the field with the response; the first that a row has counts."""
REPLY_FIELDS = ("outputs", "output", "judgement", "judgment", "response", "completion", "answer")
"""Names of the field with a grader's reply, or with the list of its attempts."""
LOGGED_FIELDS = ("filtered_resps", "resps")
"""Fields in which lm-eval logs responses, as lists."""
MAX_LISTED = 5
"""Most rows or examples that a message lists."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MatchedRows(Generic[T]):
    """The content of a file, by example."""

    path: Path
    by_example: Mapping[str, T]
    """Example's id to the content of its row, in the order of the rows."""
    missing: tuple[str, ...]
    """Examples without a row, as messages name them."""
    unknown: tuple[str, ...]
    """Rows without an example, as messages name them."""

    def report(self) -> str:
        """One line about rows and examples without a match, "" if there are none."""
        parts = []
        if self.unknown:
            count = f"{len(self.unknown)} of {len(self.by_example) + len(self.unknown)}"
            parts.append(f"rows that match no example, {count}: {_listed(self.unknown)}")
        if self.missing:
            count = str(len(self.missing))
            parts.append(f"examples without a row, {count}: {_listed(self.missing)}")
        return f"{self.path}: {'; '.join(parts)}" if parts else ""

    def check(self) -> None:
        """Raise `UsageError` if a row or an example has no match."""
        if report := self.report():
            raise UsageError(
                f"{report}; give each row its example's id (field 'id' or 'key'), or use --allow-missing "
                "to leave out such rows and count such examples as unanswered"
            )


def match_answers(
    path: str | Path,
    examples: Sequence[Prompt],
    *,
    scored: Collection[str] | None = None,
    answer_of: Callable[[SearchTree], Answer] = Answer.of,
) -> MatchedRows[Answer]:
    """Read answers and match them to examples.

    Parameters
    ----------
    path:
        A file, a folder of files, or a run directory.
    examples:
        All examples of the benchmark, so that each row finds its own.
    scored:
        Ids of the examples that will be scored, None for all. The others need no row.
    answer_of:
        The answer of a tree, where `path` is a run directory.

    Raises
    ------
    UsageError
        A row is malformed, is the second row of its example, or has the prompt of several examples.
    """
    return _match(path, _ExampleIndex(examples, scored), lambda row: _answer(row, answer_of))


def fill_answers(
    matched: MatchedRows[Answer], examples: Sequence[Prompt], *, allow_missing: bool = False
) -> dict[str, Answer]:
    """An answer for each example; `Answer(None)` for those without a row.

    Parameters
    ----------
    examples:
        The examples that will be scored.
    allow_missing:
        Leave out rows without an example and count examples without a row as unanswered.

    Raises
    ------
    UsageError
        A row or an example has no match and `allow_missing` is not set.
    """
    if not allow_missing:
        matched.check()
    return {prompt.id: matched.by_example.get(prompt.id, Answer(None)) for prompt in examples}


def read_grader_replies(
    path: str | Path, examples: Sequence[Prompt], *, allow_missing: bool = False
) -> dict[str, tuple[str, ...]]:
    """A grader's replies for each example, all attempts in order; none for examples without a row.

    Parameters
    ----------
    path:
        A file, a folder of files, or the run directory of a grading job, where the responses of a tree's
        nodes are the replies.
    examples:
        All examples of the benchmark. They need not all have a row, as not every example is graded.
    allow_missing:
        Leave out rows without an example.

    Raises
    ------
    UsageError
        As in `match_answers`; or a row has no example and `allow_missing` is not set.
    """
    matched = _match(path, _ExampleIndex(examples, scored=()), _grader_replies)
    if not allow_missing:
        matched.check()
    return dict(matched.by_example)


@dataclass(slots=True)
class _ExampleIndex:
    """Examples by id and by text."""

    prompts: Sequence[Prompt]
    scored: Collection[str] | None
    """Ids of the examples that need a row, None for all."""
    ids: set[str] = field(init=False)
    by_text: dict[str, list[str]] = field(init=False)
    by_trimmed_text: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = {prompt.id for prompt in self.prompts}
        self.by_text, self.by_trimmed_text = defaultdict(list), defaultdict(list)
        for prompt in self.prompts:
            text = prompt_text(prompt)
            self.by_text[text].append(prompt.id)
            self.by_trimmed_text[text.strip()].append(prompt.id)

    def find(self, row: AnswerRow) -> str | None:
        """Id of the row's example, None if it has none."""
        with_id = [id_ for id_ in dict.fromkeys(row.ids) if id_ in self.ids]
        with_text = self._with_text(row.text)
        conflicting = with_id[1:]
        if not conflicting and with_id and with_id[0] not in with_text:
            conflicting = with_text
        if conflicting:
            problem = f"it names two examples, {quote(with_id[0])} and {quote(conflicting[0])}"
            reject(row.where, problem, "an id and a prompt of one example, or only one of the two")
        if with_id:
            return with_id[0]
        if len(with_text) > 1:
            ids = _listed([*map(quote, with_text)])
            problem = f"its prompt is that of {len(with_text)} examples ({ids})"
            reject(row.where, problem, "such a row with its example's 'id'")
        return with_text[0] if with_text else None

    def missing_from(self, matched: Mapping[str, Any]) -> tuple[str, ...]:
        """The examples that need a row and have none, as messages name them."""
        return tuple(
            f"{quote(prompt.id)} ({quote(prompt_text(prompt))})"
            for prompt in self.prompts
            if prompt.id not in matched and (self.scored is None or prompt.id in self.scored)
        )

    def _with_text(self, text: str | None) -> list[str]:
        if text is None:
            return []
        return self.by_text.get(text) or self.by_trimmed_text.get(text.strip()) or []


def _match(
    path: str | Path, examples: _ExampleIndex, read: Callable[[AnswerRow], T]
) -> MatchedRows[T]:
    by_example: dict[str, T] = {}
    positions: dict[str, str] = {}
    unknown = []
    for row in read_rows(path):
        content, id_ = read(row), examples.find(row)
        if id_ is None:
            named = ", ".join(map(quote, row.ids)) or quote(row.text)
            unknown.append(f"{Path(row.where).name} ({named})")
        elif id_ in positions:
            problem = f"a second row for {quote(id_)}, first at {positions[id_]}"
            reject(row.where, problem, "one row an example")
        else:
            by_example[id_], positions[id_] = content, row.where
    if not by_example and not unknown:
        raise UsageError(f"{path} holds no row; expected one JSON object a line")
    return MatchedRows(Path(path), by_example, examples.missing_from(by_example), tuple(unknown))


def _answer(row: AnswerRow, answer_of: Callable[[SearchTree], Answer]) -> Answer:
    if isinstance(row.content, SearchTree):
        return answer_of(row.content)
    name, value = _field(row, RESPONSE_FIELDS)
    if name in LOGGED_FIELDS:
        texts = [*_flatten(value)]
        if len(texts) != 1:
            reject(row.where, f"{name!r} holds {len(texts)} responses", "one")
        value = texts[0]
    if value is not None and not isinstance(value, str):
        reject(row.where, f"{name!r} is {quote(value)}", "a string, or null for no answer")
    return Answer(value)


def _grader_replies(row: AnswerRow) -> tuple[str, ...]:
    if isinstance(row.content, SearchTree):
        return tuple(node.response for node in row.content.nodes)
    name, value = _field(row, REPLY_FIELDS)
    texts = () if value is None else tuple(_flatten(value))
    for text in texts:
        if not isinstance(text, str):
            reject(row.where, f"{name!r} holds {quote(text)}", "a string, or a list of strings")
    return texts


def _field(row: AnswerRow, names: Sequence[str]) -> tuple[str, Any]:
    assert isinstance(row.content, Mapping)
    name = next((name for name in (*names, *LOGGED_FIELDS) if name in row.content), None)
    if name is None:
        problem = f"no response in a row with {quote(list(row.content))}"
        reject(row.where, problem, f"a field {', '.join(names[:-1])} or {names[-1]}")
    return name, row.content[name]


def _flatten(value: Any) -> Iterator[Any]:
    """A value, or the values of a list, or of the lists in a list."""
    for item in value if isinstance(value, list) else [value]:
        yield from item if isinstance(item, list) else [item]


def _listed(labels: Sequence[str]) -> str:
    more = [f"and {len(labels) - MAX_LISTED} more"] if len(labels) > MAX_LISTED else []
    return ", ".join([*labels[:MAX_LISTED], *more])
