"""The answer in a reply, by the filter of its task: what lm-eval compares with the target.

Two answers are the same where the task's `exact_match` takes them for the same: case, punctuation, digits and the
patterns that it ignores are left out, in lm-eval's order.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spar.errors import UsageError
from spar.eval.lm_harness.requests import ReplyRequest
from spar.infer.engines.stops import find_stop
from spar.types import Prompt

_SELECTING = ("take_first", "take_first_k", "majority_vote")
"""lm-eval's filters that choose among replies and read nothing out of them."""


@dataclass(frozen=True, slots=True)
class FilteredAnswers:
    """Extracts the answers of one lm-eval task or of a group's tasks."""

    filters: Mapping[str, Any]
    """Task to its filter, lm-eval's `FilterEnsemble`."""
    ignored: Mapping[str, Mapping[str, Any]]
    """Task to what its `exact_match` ignores."""
    requests: Mapping[str, ReplyRequest]
    """Prompt id to the task's request, whose stop strings end a reply."""
    documents: Mapping[str, Any]
    """Prompt id to the document."""

    def __call__(self, prompt: Prompt, response: str) -> str | None:
        """The answer, None where the filter finds none: what it makes of a reply is what it makes of an empty one."""
        text = response[: find_stop(response, self.requests[prompt.id].until)]
        answer, nothing = self._filtered(prompt, text), self._filtered(prompt, "")
        return None if answer is None or answer == nothing else answer

    def _filtered(self, prompt: Prompt, text: str) -> str | None:
        task, replies = prompt.meta["task"], [[text]]
        for make in self.filters[task].filters:
            replies = [*make().apply(replies, [self.documents[prompt.id]])]
        (first,) = replies
        answer = first if isinstance(first, str) else next(iter(first), None)
        return None if answer is None else comparable(str(answer), self.ignored[task])


def answers_of(
    tasks: Mapping[str, Any],
    requests: Mapping[str, ReplyRequest],
    documents: Mapping[str, Any],
    *,
    headline: str,
) -> FilteredAnswers:
    """The answers by the filter of the headline's metric, or else by each task's first filter that reads a reply.

    Raises
    ------
    UsageError
        A task has no such filter: its replies are free text, or it asks for none.
    """
    wanted = headline.rpartition(",")[2]
    filters = {}
    for name in {ask.prompt.meta["task"]: None for ask in requests.values()}:
        reading = [each for each in tasks[name]._filters if _reads(each)]
        chosen = next((each for each in reading if each.name == wanted), next(iter(reading), None))
        if chosen is None:
            raise UsageError(
                f"--answer: lm-eval's task {name} has no filter that reads an answer out of a reply, so replies "
                "cannot be compared; use --answer best"
            )
        filters[name] = chosen
    if not filters:
        raise UsageError(
            "--answer: this task compares likelihoods and searches no reply; use --answer best, or a generative "
            "variant of it"
        )
    ignored = {name: _ignored(tasks[name]) for name in filters}
    return FilteredAnswers(filters, ignored, requests, documents)


def _reads(ensemble: Any) -> bool:
    from lm_eval.api.registry import get_filter

    selecting = [get_filter(name) for name in _SELECTING]
    return any(getattr(make, "func", make) not in selecting for make in ensemble.filters)


def _ignored(task: Any) -> Mapping[str, Any]:
    rows = task.get_config("metric_list") or ()
    return next((row for row in rows if row.get("metric") == "exact_match"), {})


def comparable(text: str, ignored: Mapping[str, Any]) -> str:
    """An answer without what a metric ignores; `ignored` is its row in the task's `metric_list`."""
    for pattern in ignored.get("regexes_to_ignore") or ():
        text = re.sub(pattern, "", text)
    if ignored.get("ignore_case"):
        text = text.lower()
    removed = string.punctuation * bool(ignored.get("ignore_punctuation"))
    removed += string.digits * bool(ignored.get("ignore_numbers"))
    return text.translate(str.maketrans("", "", removed)).strip()
