"""lm-eval's results as spar's: every document an example, every metric under lm-eval's name.

`exact_match,strict-match` is a metric and its filter, as lm-eval writes it; the filter `none` is left
out. Of a group, the plain name is the whole group's, and `acc/mmlu_stem` or `acc/mmlu_anatomy` are those
of its parts, weighted as lm-eval does. Values are lm-eval's own: a metric that is a mean over documents
is one here too, with the standard error over these documents; any other (a perplexity, say) is
lm-eval's own number, without one, and is left out where a likelihood in it is missing. A document without an
answer counts as wrong; of a metric that is better the lower it is, it is left out, and no value of such a metric is a pass.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spar.eval.lm_harness.requests import document_id
from spar.record.evaluation import Example, Scored, Share, Verdict
from spar.types import Usage

LOGPROBS = "logprobs"
"""Fact of an example whose texts were scored: each text and its log-probability."""
_SHOWN = 60

Rows = Sequence[Mapping[str, Any]]
"""lm-eval's samples: one a document and filter."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a document."""

    text: str | None
    """None where no attempt gave anything."""
    usage: Usage = Usage()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else goes into its example."""
    is_unscored: bool = False
    """Whether its texts were to be scored, and no model would."""


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of the totals: of a task, or of a group of them."""

    name: str
    key: str
    """lm-eval's `metric,filter`."""
    owner: str
    """The task or the group."""
    tasks: tuple[str, ...]
    """Tasks whose documents count in it."""
    weighted: bool = True
    """Whether each document counts the same; else each task."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document, with what every filter made of it."""

    task: str
    number: int
    values: Mapping[str, Any]
    """`metric,filter` to its value."""
    read: Mapping[str, str]
    """Filter to what it read out of the reply, for those that read a text."""
    target: str
    lower_is_better: frozenset[str] = frozenset()
    """The metrics, as in `values`, that are better the lower they are."""

    @property
    def id(self) -> str:
        """The example's id."""
        return document_id(self.task, self.number)


def as_scored(
    name: str,
    results: Mapping[str, Any],
    *,
    groups: Mapping[str, Any],
    answered: Mapping[str, Answered],
    headline: str = "",
) -> Scored:
    """Examples and metrics of what lm-eval's `evaluate` returned.

    Parameters
    ----------
    name:
        The name in the request: a task, a group or a tag.
    groups:
        Name to lm-eval's group.
    answered:
        Example id to its answer; one without an answer counts as wrong.
    headline:
        The metric that says whether an example passed; "" for its first.
    """
    documents = [
        document
        for task, rows in results["samples"].items()
        for document in _documents(task, rows, (results.get("higher_is_better") or {}).get(task))
    ]
    table = columns(name, documents, groups)
    shares, notes = _shares(table, documents, official=results["results"], answered=answered)
    unanswered = [document for document in documents if _answer(document, answered).text is None]
    return Scored(
        examples=tuple(
            _example(
                document, _answer(document, answered), shares=shares[document.id], headline=headline
            )
            for document in documents
        ),
        means={
            column.name: tuple(f"{metric_name(column.key)}/{task}" for task in column.tasks)
            for column in table
            if not column.weighted
        },
        counts={"unanswered": len(unanswered)},
        notes=tuple(notes),
    )


def metric_name(key: str) -> str:
    """lm-eval's `metric,filter` without the filter `none`."""
    return key.removesuffix(",none")


def columns(name: str, documents: Sequence[Document], groups: Mapping[str, Any]) -> list[Column]:
    """The metrics of the totals: the whole's first, then those of groups, then those of tasks."""
    keys: dict[str, dict[str, None]] = defaultdict(dict)
    for document in documents:
        keys[document.task].update(dict.fromkeys(document.values))
    table = [column for group in groups.values() for column in _group_columns(name, group, keys)]
    for task, own in keys.items():
        ending = "" if task == name else f"/{task}"
        table += [Column(f"{metric_name(key)}{ending}", key, task, (task,)) for key in own]
    return sorted(table, key=lambda column: ("/" in column.name, len(column.tasks) == 1))


def _group_columns(
    name: str, group: Any, keys: Mapping[str, Mapping[str, None]]
) -> Iterator[Column]:
    members = [task.task_name for task in group.get_all_tasks() if task.task_name in keys]
    ending = "" if group.name == name else f"/{group.name}"
    for aggregate in group.aggregate_metric_list or ():
        for key in dict.fromkeys(key for task in members for key in keys[task]):
            metric, _, filter_name = key.rpartition(",")
            selected = aggregate.filter_list is None or filter_name in aggregate.filter_list
            if metric == aggregate.metric and selected:
                tasks = tuple(task for task in members if key in keys[task])
                weighted = bool(aggregate.weight_by_size)
                yield Column(f"{metric_name(key)}{ending}", key, group.name, tasks, weighted)


def _documents(
    task: str, rows: Rows, higher_is_better: Mapping[str, Any] | None
) -> Iterator[Document]:
    lower = {name for name, is_higher in (higher_is_better or {}).items() if is_higher is False}
    numbered: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        numbered[row["doc_id"]].append(row)
    for number, filtered in numbered.items():
        values = {f"{m},{row['filter']}": row[m] for row in filtered for m in row["metrics"]}
        yield Document(
            task=task,
            number=number,
            values=values,
            read={row["filter"]: text for row in filtered if (text := _read(row)) is not None},
            target=str(filtered[0]["target"]),
            lower_is_better=frozenset(key for key in values if key.rpartition(",")[0] in lower),
        )


def _read(row: Mapping[str, Any]) -> str | None:
    first = next(iter(row["filtered_resps"]), None)
    return first if isinstance(first, str) else None


def _shares(
    table: Sequence[Column],
    documents: Sequence[Document],
    *,
    official: Mapping[str, Mapping[str, Any]],
    answered: Mapping[str, Answered],
) -> tuple[dict[str, dict[str, Share]], list[str]]:
    """Example id to its shares, and a note on each metric that is no mean over documents."""
    shares: dict[str, dict[str, Share]] = {document.id: {} for document in documents}
    by_task: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_task[document.task].append(document)
    notes = []
    for column in table:
        members = [d for task in column.tasks for d in by_task[task] if column.key in d.values]
        value = official.get(column.owner, {}).get(column.key)
        if not column.weighted or not _is_number(value):
            continue
        number = float(value or 0.0)
        if _is_mean([document.values[column.key] for document in members], number):
            num_left_out = 0
            for document in members:
                if _answer(document, answered).text is not None:
                    shares[document.id][column.name] = (float(document.values[column.key]), 1.0)
                elif column.key in document.lower_is_better:
                    num_left_out += 1
                else:
                    shares[document.id][column.name] = (0.0, 1.0)
            if num_left_out:
                notes.append(
                    f"{column.name} is better the lower it is: {num_left_out} of {len(members)} documents, which have "
                    "no answer, are left out"
                )
        elif unscored := [d.id for d in members if _answer(d, answered).is_unscored]:
            # lm-eval's number has the stand-in of their likelihoods in it, which is that of a certain text.
            notes.append(
                f"{column.name} is left out: no model would score {len(unscored)} of {len(members)} documents, the first is "
                f"{unscored[0]} (a text may be too long for a server)"
            )
        else:
            shares[members[0].id][column.name] = (number, 1.0)
            notes.append(f"{column.name}: lm-eval's number over {len(members)} documents, no mean")
    return shares, notes


def _is_mean(values: Sequence[Any], number: float) -> bool:
    if not all(map(_is_number, values)):
        return False
    return math.isclose(sum(map(float, values)) / len(values), number, rel_tol=1e-9, abs_tol=1e-12)


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or getattr(value, "shape", None) == ()


def _answer(document: Document, answered: Mapping[str, Answered]) -> Answered:
    return answered.get(document.id, Answered(None))


def _example(
    document: Document, answered: Answered, *, shares: Mapping[str, Share], headline: str
) -> Example:
    verdicts = tuple(_verdicts(document, answered))
    deciding = [verdict.passed for verdict in verdicts if headline in ("", verdict.name)]
    return Example(
        id=document.id,
        response=answered.text,
        passed=deciding[0] if deciding else None,
        verdicts=verdicts,
        scores=dict(shares),
        usage=answered.usage,
        facts={"task": document.task, "document": document.number, **answered.facts},
    )


def _verdicts(document: Document, answered: Answered) -> Iterator[Verdict]:
    for key, value in document.values.items():
        if key not in document.lower_is_better and _is_number(value) and value in (0, 1):
            read = document.read.get(key.rpartition(",")[2], answered.text or "")
            why = f"read {_short(read)!r}, wanted {_short(_expected(document, answered))!r}"
            passed = bool(value) and answered.text is not None
            yield Verdict(name=metric_name(key), passed=passed, why=why)


def _expected(document: Document, answered: Answered) -> str:
    """What would be right: where a task has choices, its target is the number of one of them."""
    choices = enumerate(str(text) for text, _ in answered.facts.get(LOGPROBS, ()))
    by_number = {str(number): text for number, text in choices}
    return by_number.get(document.target, document.target)


def _short(text: str) -> str:
    # What matters is at the end of a reply, and of GSM8K's solutions.
    return text if len(text) <= _SHOWN else f"...{text[-_SHOWN:]}"
