"""Matches external answers and grader replies to a benchmark's examples.

    match_answers("answers.jsonl", examples)          .by_example is {"1000": Answer("..."), ...}
    read_grader_replies("judged/", examples)          {"content/14/3": ("... ['YES', 'NO']",), ...}

A row belongs to the example with its id (`id`, `key`, `custom_id`, `task_id`), else to the example with its prompt,
compared without the white space around it where no prompt is equal, or with the example's bare question
(`Benchmark.row_texts`). Rows without an example and examples without a row are errors unless `--allow-missing` is
set. A response of null means that the example has no answer. Thinking is removed from responses and replies
(`spar.thinking`); thinking that does not end leaves no answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from spar.errors import UsageError
from spar.eval.benchmark import Answer
from spar.eval.external_answers.rows import AnswerRow, prompt_text, quote, read_rows
from spar.eval.external_answers.texts import (
    CHOICES,
    RESPONSE_FIELDS,
    TextCounts,
    answer_of_row,
    grader_replies_of,
    logged_sample,
)
from spar.rows.row import reject
from spar.types import Prompt, SearchTree

MAX_LISTED = 5
"""Most rows or examples that a message lists."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MatchedRows(Generic[T]):
    """The content of a file, by example."""

    path: str | Path
    by_example: Mapping[str, T]
    """Example's id to the content of its row, in the order of the rows."""
    missing: tuple[str, ...]
    """Examples without a row, as messages name them."""
    unknown: tuple[str, ...]
    """Rows without an example, as messages name them."""
    num_thought: int = 0
    """Texts from which thinking was removed."""
    num_unfinished: int = 0
    """Those of them whose thinking does not end, so that nothing is left."""
    own_field: str = ""
    """The field of the responses, where all are the data set's own texts."""
    other_texts: tuple[str, ...] = ()
    """Rows that have the id of an example, and a prompt that is no example's."""

    def thinking_report(self) -> str:
        """One line about removed thinking, "" if there was none."""
        if not self.num_thought:
            return ""
        unfinished = f"; in {self.num_unfinished} it does not end, so nothing is left"
        return f"{self.path}: thinking was removed from {self.num_thought} texts" + (
            unfinished * bool(self.num_unfinished)
        )

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

    def other_texts_report(self) -> str:
        """One line about rows whose prompt is no example's, though their id is; "" if there are none."""
        if not self.other_texts:
            return ""
        count = f"{len(self.other_texts)} of {len(self.by_example) + len(self.unknown)}"
        return f"{self.path}: rows with the id of an example and another prompt, {count}: {_listed(self.other_texts)}"

    def own_report(self) -> str:
        """One line about responses that are all the data set's own; "" if they are not."""
        if not self.own_field:
            return ""
        return (
            f"{self.path}: {self.own_field!r}, which is scored, is the data set's own text in every row; if that is no reply, "
            "name the reply 'response'"
        )

    def notes(self) -> tuple[str, ...]:
        """A line for each of these reports that has something to say."""
        reports = (self.report(), self.other_texts_report(), self.own_report())
        return tuple(filter(None, (*reports, self.thinking_report())))

    def check(self) -> None:
        """Raise `UsageError` if a row or an example has no match."""
        if report := self.report():
            raise UsageError(
                f"{report}; give each row its example's id (field 'id', 'key' or 'custom_id'), or use --allow-missing "
                "to leave out such rows and count such examples as unanswered"
            )


def match_answers(
    path: str | Path,
    examples: Sequence[Prompt],
    *,
    scored: Collection[str] | None = None,
    answer_of: Callable[[SearchTree], Answer] = Answer.of,
    row_texts: Callable[[Prompt], Sequence[str]] = lambda _: (),
    row_fields: Callable[[Prompt], Mapping[str, Any]] = lambda _: {},
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
    row_texts:
        Further texts by which rows may name an example.
    row_fields:
        The fields of an example in its data set, by which what would be right is told from a response.

    Raises
    ------
    UsageError
        A row is malformed, is the second row of its example, or has the prompt of several examples; or what looks like the
        response is the data set's own text in every row, and another field may be the response.
    """
    thinking = TextCounts()
    matched = _match(
        path,
        _ExampleIndex(examples, scored, row_texts),
        lambda row, prompt: answer_of_row(
            row, answer_of, prompt, thinking, row_fields(prompt) if prompt else {}
        ),
    )
    own = [name for name, count in thinking.own.items() if count == thinking.num_matched]
    if own and thinking.has_long and thinking.other_fields:
        raise UsageError(
            f"{path}: {own[0]!r} is the data set's own text in every row, not a reply; name the reply 'response' (it may be "
            f"{' or '.join(map(repr, thinking.other_fields))})"
        )
    if thinking.num_rows and thinking.num_rows == thinking.num_empty:
        accepted = f"{', '.join(RESPONSE_FIELDS)} or {CHOICES}"
        raise UsageError(f"{path}: no row has a response; accepted: a field {accepted}")
    return replace(
        matched,
        num_thought=thinking.num_thought,
        num_unfinished=thinking.num_unfinished,
        own_field=own[0] if own else "",
    )


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


def match_grader_replies(
    path: str | Path,
    examples: Sequence[Prompt],
    *,
    graded_example: Callable[[str], str | None] = lambda _: None,
) -> MatchedRows[tuple[str, ...]]:
    """Read a grader's replies, all attempts in order, and match them to examples.

    Parameters
    ----------
    path:
        A file, a folder of files, or the run directory of a grading job, where the responses of a tree's
        nodes are the replies.
    examples:
        All examples of the benchmark. They need not all have a row, as not every example is graded.
    graded_example:
        Id of the example that a grader's prompt is about, for rows whose prompt is no example's.

    Raises
    ------
    UsageError
        As in `match_answers`.
    """
    counts = TextCounts()
    index = _ExampleIndex(examples, scored=(), graded_example=graded_example)
    matched = _match(path, index, lambda row, prompt: grader_replies_of(row, prompt, counts))
    return replace(matched, num_thought=counts.num_thought, num_unfinished=counts.num_unfinished)


def read_grader_replies(
    path: str | Path, examples: Sequence[Prompt], *, allow_missing: bool = False
) -> dict[str, tuple[str, ...]]:
    """A grader's replies for each example, none for examples without a row.

    Parameters
    ----------
    allow_missing:
        Leave out rows without an example.

    Raises
    ------
    UsageError
        As in `match_answers`; or a row has no example and `allow_missing` is not set.
    """
    matched = match_grader_replies(path, examples)
    if not allow_missing:
        matched.check()
    return dict(matched.by_example)


@dataclass(slots=True)
class _ExampleIndex:
    """Examples by id and by text."""

    prompts: Sequence[Prompt]
    scored: Collection[str] | None
    """Ids of the examples that need a row, None for all."""
    row_texts: Callable[[Prompt], Sequence[str]] = lambda _: ()
    graded_example: Callable[[str], str | None] = lambda _: None
    ids: dict[str, Prompt] = field(init=False)
    by_text: dict[str, list[str]] = field(init=False)
    by_trimmed_text: dict[str, list[str]] = field(init=False)
    other_texts: list[str] = field(default_factory=list)
    """Rows found by their id whose prompt is no example's, as messages name them."""

    def __post_init__(self) -> None:
        self.ids = {prompt.id: prompt for prompt in self.prompts}
        self.by_text, self.by_trimmed_text = defaultdict(list), defaultdict(list)
        for prompt in self.prompts:
            text = prompt_text(prompt)
            self.by_text[text].append(prompt.id)
            for name in {text.strip(), *(more.strip() for more in self.row_texts(prompt))}:
                self.by_trimmed_text[name].append(prompt.id)

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
            if row.text is not None and not with_text:
                self.other_texts.append(f"{Path(row.where).name} ({quote(with_id[0])})")
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
        found = self.by_text.get(text) or self.by_trimmed_text.get(text.strip())
        if not found and (graded := self.graded_example(text)) is not None:
            return [graded]
        return found or []


def _match(
    path: str | Path, examples: _ExampleIndex, read: Callable[[AnswerRow, Prompt | None], T]
) -> MatchedRows[T]:
    by_example: dict[str, T] = {}
    positions: dict[str, str] = {}
    samples: dict[str, tuple[str, Any]] = {}
    unknown = []
    for row in read_rows(path):
        id_ = examples.find(row)
        sample = logged_sample(row)
        if id_ is not None and sample is not None:
            name, responses = samples.setdefault(id_, sample)
            if name != sample[0] and responses == sample[1]:
                continue  # the same sample of lm-eval, read by another filter
        content = read(row, examples.ids.get(id_ or ""))
        if id_ is None:
            named = ", ".join(map(quote, row.ids)) or quote(row.text)
            unknown.append(f"{Path(row.where).name} ({named})")
        elif id_ in positions:
            problem = f"a second row for {quote(id_)}, first at {positions[id_]}"
            reject(row.where, problem, "one row an example")
        else:
            by_example[id_], positions[id_] = content, row.where
    if not by_example and not unknown:
        raise UsageError(f"{path} holds no row; expected one object a row")
    return MatchedRows(
        path,
        by_example,
        examples.missing_from(by_example),
        tuple(unknown),
        other_texts=tuple(examples.other_texts),
    )


def _listed(labels: Sequence[str]) -> str:
    more = [f"and {len(labels) - MAX_LISTED} more"] if len(labels) > MAX_LISTED else []
    return ", ".join([*labels[:MAX_LISTED], *more])
