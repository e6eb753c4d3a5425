"""Selects prompts among the teacher's replies. Pure: the same replies give the same prompts.

In the order of the requests, a reply is rejected if it does not parse, if its prompt is in a benchmark, or if it
duplicates a seed prompt or a prompt selected before it, exactly or nearly. Near means the similarity of
`spar.evolve.near_duplicates` and, since most of a long text may be a passage to work on, few new words besides: two
tasks on one passage are both selected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from spar.evolve.contamination import BenchmarkIndex, Overlap
from spar.evolve.near_duplicates import NearDuplicateIndex
from spar.evolve.normalize import words
from spar.evolve.reply import TeacherReply, parse_reply
from spar.evolve.teacher import MAIN, SEED_PROMPT
from spar.record.evolution import EvolvedPrompt, Reason, Rejected
from spar.templates import transcript
from spar.types import Message, Prompt, SearchTree

MOST_NEW = 9
"""Shingles that either of two near duplicates may have alone: those of three different words."""
MOST_NEW_TO_SEED = 5
"""The same against a seed prompt: a rewriting must add more than a phrase."""


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """The outcome of a request: a reply, or the reason why there is none."""

    request: Prompt
    reply: TeacherReply | None = None
    rejected: Rejected | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected and the rejected prompts, both in the order of the requests."""

    selected: tuple[EvolvedPrompt, ...]
    rejected: tuple[Rejected, ...]
    unknown_names: int
    """Names in the selected prompts' replies that are not in the taxonomy."""


def split_seeds(
    seeds: Iterable[Prompt], benchmarks: BenchmarkIndex
) -> tuple[list[Prompt], list[Rejected]]:
    """The seed prompts that are in no benchmark, and the others."""
    clean, rejected = [], []
    for seed in seeds:
        overlap = benchmarks.find_in(seed.messages)
        if overlap is None:
            clean.append(seed)
        else:
            rejected.append(
                Rejected(
                    id=seed.id,
                    seed_prompt=seed.id,
                    main_constraint=None,
                    reason="contaminated",
                    why=_describe(overlap),
                    text=transcript(seed.messages),
                )
            )
    return clean, rejected


def outcome_of(tree: SearchTree) -> RequestOutcome:
    """The outcome of a request, from its tree."""
    request = tree.prompt
    if tree.answer is None:
        fault = tree.faults[-1]
        refused = not fault.usage.calls
        return _reject(request, "refused" if refused else "unparsable", fault.reason, fault.text)
    reply = parse_reply(tree.answer, request.meta[MAIN])
    if reply is None:
        return _reject(request, "none", "the teacher answered None", tree.answer)
    return RequestOutcome(request, reply)


def select(
    outcomes: Iterable[RequestOutcome], seeds: Sequence[Prompt], benchmarks: BenchmarkIndex
) -> Selection:
    """Select the prompts that are new and in no benchmark."""
    outcomes = list(outcomes)
    seen = _DuplicateFilter(outcomes, seeds)
    sources = {seed.id: source_of(seed) for seed in seeds}
    selected, rejected, unknown = [], [], 0
    for outcome in outcomes:
        if outcome.reply is not None:
            outcome = _check(outcome, benchmarks, seen)
        if outcome.reply is None:
            assert outcome.rejected is not None, "no reply, and no reason"
            rejected.append(outcome.rejected)
            continue
        seen.add(outcome)
        selected.append(_evolved(outcome.request, outcome.reply, sources))
        unknown += len(outcome.reply.unknown)
    return Selection(tuple(selected), tuple(rejected), unknown)


def _check(
    outcome: RequestOutcome, benchmarks: BenchmarkIndex, seen: _DuplicateFilter
) -> RequestOutcome:
    text = _text(outcome)
    overlap = benchmarks.find_in(_messages(outcome))
    if overlap is not None:
        return _reject(outcome.request, "contaminated", _describe(overlap), text)
    duplicate = seen.find(outcome)
    if duplicate is None:
        return outcome
    return _reject(outcome.request, *duplicate, text)


class _DuplicateFilter:
    """Finds duplicates of the seed prompts and of the prompts selected so far."""

    def __init__(self, outcomes: Iterable[RequestOutcome], seeds: Sequence[Prompt]) -> None:
        texts = [transcript(seed.messages) for seed in seeds]
        candidates = (_text(outcome) for outcome in outcomes if outcome.reply is not None)
        self._near = NearDuplicateIndex(words(text) for text in chain(texts, candidates))
        self._exact: dict[str, int] = {}
        self._names: list[str] = []
        self._num_seeds = len(seeds)
        for seed, text in zip(seeds, texts, strict=True):
            self._add(f"the seed prompt {seed.id}", text)

    def find(self, outcome: RequestOutcome) -> tuple[Reason, str] | None:
        """The kind of duplicate, and of which prompt; None where the prompt is new."""
        prompt_words = words(_text(outcome))
        exact = self._exact.get(" ".join(prompt_words))
        if exact is not None:
            return "exact duplicate", f"the same words as {self._names[exact]}"
        for match in self._near.matches(prompt_words):
            is_seed = match.number < self._num_seeds
            limit = MOST_NEW_TO_SEED if is_seed else MOST_NEW
            # Omitting parts of a seed prompt does not make a rewriting new.
            difference = match.new if is_seed else max(match.new, match.missing)
            if difference <= limit:
                name = self._names[match.number]
                return "near duplicate", f"similarity {match.similarity:.2f} to {name}"
        return None

    def add(self, outcome: RequestOutcome) -> None:
        """Add a selected prompt."""
        self._add(outcome.request.id, _text(outcome))

    def _add(self, name: str, text: str) -> None:
        prompt_words = words(text)
        self._exact.setdefault(" ".join(prompt_words), len(self._names))
        self._names.append(name)
        self._near.add(prompt_words)


def _messages(outcome: RequestOutcome) -> tuple[Message, ...]:
    assert outcome.reply is not None, "there is no prompt"
    last = Message(role="user", content=outcome.reply.prompt)
    return (*outcome.request.messages[:-1], last)


def _text(outcome: RequestOutcome) -> str:
    return transcript(_messages(outcome))


def _evolved(request: Prompt, reply: TeacherReply, sources: Mapping[str, str]) -> EvolvedPrompt:
    seed = request.meta[SEED_PROMPT]
    return EvolvedPrompt(
        id=request.id,
        messages=_messages(RequestOutcome(request, reply)),
        source=sources[seed],
        seed_prompt=seed,
        main_constraint=request.meta[MAIN],
        constraints=reply.constraints,
    )


def source_of(seed: Prompt) -> str:
    """A seed prompt's own source where it has one, else the file it came from."""
    own = seed.meta.get("source")
    return own if isinstance(own, str) and own else seed.source


def _reject(request: Prompt, reason: Reason, why: str, text: str) -> RequestOutcome:
    rejected = Rejected(
        id=request.id,
        seed_prompt=request.meta[SEED_PROMPT],
        main_constraint=request.meta[MAIN],
        reason=reason,
        why=why,
        text=text,
    )
    return RequestOutcome(request, rejected=rejected)


def _describe(overlap: Overlap) -> str:
    return f"{overlap.benchmark}, {overlap.item}: {overlap.why}"
