"""From the teacher's replies to the prompts that are kept. Pure: the same replies give the same prompts.

In the order of the requests: what cannot be read goes, then what is in a benchmark, then what has the words of
a seed prompt or of a prompt kept before it, or nearly those. Near means `spar.evolve.near_duplicates`'s similarity, and
in a long text, most of which may be a passage to work on, few new words besides: so two tasks on one passage are two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from spar.evolve.contamination import Benchmarks, Contamination
from spar.evolve.near_duplicates import NearTexts
from spar.evolve.normalize import words
from spar.evolve.reply import Reply, parse_reply
from spar.evolve.teacher import MAIN, SEED_PROMPT
from spar.record.evolution import EvolvedPrompt, Reason, Rejected
from spar.templates import transcript
from spar.types import Message, Prompt, SearchTree

MOST_NEW = 9
"""Three-word runs that one of two near duplicates may have alone, on either side: those of three other words."""
MOST_NEW_TO_SEED = 5
"""The same against a seed prompt: a rewriting is to add more than a phrase."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request led to: a reply, or the reason why not."""

    request: Prompt
    reply: Reply | None = None
    rejected: Rejected | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What is kept and what is not, both in the order of the requests."""

    kept: tuple[EvolvedPrompt, ...]
    rejected: tuple[Rejected, ...]
    unknown_names: int
    """Names in the kept prompts' replies that the taxonomy does not have."""


def clean_seeds(
    seeds: Iterable[Prompt], benchmarks: Benchmarks
) -> tuple[list[Prompt], list[Rejected]]:
    """The seed prompts that are in no benchmark, and the others."""
    clean, rejected = [], []
    for seed in seeds:
        text = transcript(seed.messages)
        found = benchmarks.find(text)
        if found is None:
            clean.append(seed)
        else:
            rejected.append(
                Rejected(
                    id=seed.id,
                    seed_prompt=seed.id,
                    main_constraint=None,
                    reason="contaminated",
                    why=_where(found),
                    text=text,
                )
            )
    return clean, rejected


def outcome(tree: SearchTree) -> Outcome:
    """What the tree of a request says."""
    request = tree.prompt
    if tree.answer is None:
        fault = tree.faults[-1]
        refused = not fault.usage.calls
        return _no(request, "refused" if refused else "unparsable", fault.reason, fault.text)
    reply = parse_reply(tree.answer, request.meta[MAIN])
    if reply is None:
        return _no(request, "none", "the teacher answered None", tree.answer)
    return Outcome(request, reply)


def select(
    outcomes: Iterable[Outcome], seeds: Sequence[Prompt], benchmarks: Benchmarks
) -> Selection:
    """Keep the prompts that are new and in no benchmark."""
    found = list(outcomes)
    seen = _Seen(found, seeds)
    sources = {seed.id: _source(seed) for seed in seeds}
    kept, rejected, unknown = [], [], 0
    for one in found:
        one = one if one.reply is None else _checked(one, benchmarks, seen)
        if one.reply is None:
            assert one.rejected is not None, "no reply, and no reason"
            rejected.append(one.rejected)
            continue
        seen.add(one)
        kept.append(_evolved(one.request, one.reply, sources))
        unknown += len(one.reply.unknown)
    return Selection(tuple(kept), tuple(rejected), unknown)


def _checked(one: Outcome, benchmarks: Benchmarks, seen: _Seen) -> Outcome:
    text = _text(one)
    found = benchmarks.find(text)
    if found is not None:
        return _no(one.request, "contaminated", _where(found), text)
    duplicate = seen.find(one)
    if duplicate is None:
        return one
    return _no(one.request, *duplicate, text)


class _Seen:
    """The seed prompts and the prompts kept so far."""

    def __init__(self, outcomes: Iterable[Outcome], seeds: Sequence[Prompt]) -> None:
        texts = [transcript(seed.messages) for seed in seeds]
        candidates = (_text(one) for one in outcomes if one.reply is not None)
        self._near = NearTexts(words(text) for text in chain(texts, candidates))
        self._same: dict[str, int] = {}
        self._names: list[str] = []
        self._num_seeds = len(seeds)
        for seed, text in zip(seeds, texts, strict=True):
            self._add(f"the seed prompt {seed.id}", text)

    def find(self, one: Outcome) -> tuple[Reason, str] | None:
        """The kind of duplicate that a prompt is and of what; None where it is none."""
        found = words(_text(one))
        same = self._same.get(" ".join(found))
        if same is not None:
            return "exact duplicate", f"the same words as {self._names[same]}"
        for match in self._near.matches(found):
            most = MOST_NEW_TO_SEED if match.number < self._num_seeds else MOST_NEW
            # What a seed prompt has and its rewriting lacks does not make the rewriting new.
            alone = match.new if match.number < self._num_seeds else max(match.new, match.missing)
            if alone <= most:
                name = self._names[match.number]
                return "near duplicate", f"similarity {match.similarity:.2f} to {name}"
        return None

    def add(self, one: Outcome) -> None:
        """Keep a prompt."""
        self._add(one.request.id, _text(one))

    def _add(self, name: str, text: str) -> None:
        found = words(text)
        self._same.setdefault(" ".join(found), len(self._names))
        self._names.append(name)
        self._near.add(found)


def _messages(one: Outcome) -> tuple[Message, ...]:
    assert one.reply is not None, "there is no prompt"
    return (*one.request.messages[:-1], Message(role="user", content=one.reply.prompt))


def _text(one: Outcome) -> str:
    return transcript(_messages(one))


def _evolved(request: Prompt, reply: Reply, sources: Mapping[str, str]) -> EvolvedPrompt:
    seed = request.meta[SEED_PROMPT]
    return EvolvedPrompt(
        id=request.id,
        messages=_messages(Outcome(request, reply)),
        source=sources[seed],
        seed_prompt=seed,
        main_constraint=request.meta[MAIN],
        constraints=reply.constraints,
    )


def _source(seed: Prompt) -> str:
    own = seed.meta.get("source")
    return own if isinstance(own, str) and own else seed.source


def _no(request: Prompt, reason: Reason, why: str, text: str) -> Outcome:
    rejected = Rejected(
        id=request.id,
        seed_prompt=request.meta[SEED_PROMPT],
        main_constraint=request.meta[MAIN],
        reason=reason,
        why=why,
        text=text,
    )
    return Outcome(request, rejected=rejected)


def _where(found: Contamination) -> str:
    return f"{found.benchmark}, {found.item}: {found.why}"
