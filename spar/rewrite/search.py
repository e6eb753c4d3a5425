"""The search for the smallest edits after which a response meets more of its constraints.

    result = rewrite(prompt, response, seed=1)
    result.response, result.reflection, result.met, result.total, result.unfixed

The fixes of the failing constraints are applied one after the other, each verified with all constraints at once. Of a
fix's edits the first counts that meets its constraint and breaks none; where each breaks one, that one's fix follows.
If not all are met in the end, a few other orders are tried, and the best response counts: most constraints met, then
fewest words changed. The work is bounded: so many orders, edits and characters verified, the same for the same seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from spar.instruction_checks import LIMIT_SECONDS, TooLong, limited
from spar.rewrite.edits import CannotFix, Context, Edit
from spar.rewrite.table import FIXES
from spar.types import Prompt
from spar.verifiers import Constraint, constraints_of, num_sentences, unverifiable, verify_prompt

MOST_EDITS = 6
"""Edits of one fix that are verified."""
ROUNDS = 3
"""How often the failing constraints are gone through in one order."""
ORDERS = 3
"""Orders that are tried."""
MOST_CHARACTERS = 1_500_000
"""Characters that are verified before the best response so far counts."""
MOST_VERDICTS = 40
"""Responses that are verified, at the most."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What came of a response."""

    response: str
    """The text after the edits, or as it was where none helped."""
    summaries: tuple[str, ...]
    """What was changed, in order."""
    before: tuple[bool, ...]
    """Which constraints the response met."""
    after: tuple[bool, ...]
    """Which it meets now."""
    unfixed: tuple[str, ...] = ()
    """The constraints that are not met, each with the reason."""

    has_edits: bool = True
    """Whether a fix of what is not met had an edit to try; without, another seed does no better."""

    @property
    def improved(self) -> bool:
        """Whether more constraints are met than before."""
        return sum(self.after) > sum(self.before)

    @property
    def reflection(self) -> str:
        """What was changed and what is left, in one or two plain sentences."""
        done = _listed(list(dict.fromkeys(self.summaries)))
        sentences = [f"{done[:1].upper()}{done[1:]}."] if done else []
        if self.unfixed:
            sentences.append(f"Not met yet: {'; '.join(self.unfixed)}.")
        return " ".join(sentences)


@dataclass(frozen=True, slots=True)
class _State:
    text: str
    met: tuple[bool, ...]
    summaries: tuple[str, ...] = ()

    def better_than(self, other: _State, start: str) -> bool:
        if sum(self.met) != sum(other.met):
            return sum(self.met) > sum(other.met)
        return num_changed_words(start, self.text) < num_changed_words(start, other.text)


def rewrite(prompt: Prompt, response: str, *, seed: int | None = None) -> Rewritten:
    """Edit a response until it meets its prompt's constraints, or as many as programs can fix.

    Parameters
    ----------
    seed:
        Decides where there is freedom; the same seed gives the same text. None: it is drawn.

    Raises
    ------
    ValueError
        Programs cannot check the prompt's constraints; the text says why.
    """
    if reason := unverifiable(prompt):
        raise ValueError(reason)
    search = _Search(prompt, constraints_of(prompt), random.Random(seed))
    return search.run(response)


@dataclass(slots=True)
class _Search:
    prompt: Prompt
    constraints: Sequence[Constraint]
    rng: random.Random
    verified: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    characters: int = 0
    reasons: dict[int, str] = field(default_factory=dict)
    offered: set[int] = field(default_factory=set)
    """Constraints whose fix has had an edit to offer."""

    def run(self, response: str) -> Rewritten:
        start = _State(response, self.verify(response))
        best, orders = start, self._orders(start)
        while not all(best.met) and response.strip() and not self.spent():
            order = next(orders, None)
            if order is None:
                break
            for state in self._follow(start, order):
                if not _loses(start.met, state.met) and state.better_than(best, response):
                    best = state
            if not any(i in self.offered for i, met in enumerate(best.met) if not met):
                break  # no fix of what is left has an edit: another order has none either
        default = (
            "its fix would break another constraint"
            if response.strip()
            else "the response is empty"
        )
        unfixed = [
            f"{self._name(i)} ({self.reasons.get(i, default)})"
            for i, met in enumerate(best.met)
            if not met
        ]
        return Rewritten(
            best.text,
            best.summaries,
            start.met,
            best.met,
            tuple(unfixed),
            has_edits=bool(self.offered),
        )

    def verify(self, text: str) -> tuple[bool, ...]:
        if text not in self.verified:
            self.characters += len(text)
            findings = verify_prompt(text, self.prompt)
            self.verified[text] = tuple(finding.met for finding in findings)
        return self.verified[text]

    def spent(self) -> bool:
        return self.characters >= MOST_CHARACTERS or len(self.verified) >= MOST_VERDICTS

    def _orders(self, start: _State) -> Iterator[list[int]]:
        """The order of the table first, then drawn ones; of one failing constraint there is one."""
        table = {name: place for place, name in enumerate(FIXES)}
        order = sorted(
            range(len(self.constraints)), key=lambda i: table.get(self.constraints[i][0], 0)
        )
        yield order
        for _ in range(ORDERS - 1 if len(order) > 1 else 0):
            drawn = [*order]
            self.rng.shuffle(drawn)
            yield drawn

    def _follow(self, state: _State, order: Sequence[int]) -> Iterator[_State]:
        """Every state on the way."""
        for _ in range(ROUNDS):
            before = state
            for index in order:
                if self.spent():
                    return
                if not state.met[index]:
                    following = self._fixed(state, index)
                    if following is not None:
                        state = following
                        yield state
            if all(state.met) or state is before:
                return

    def _fixed(self, state: _State, index: int) -> _State | None:
        """The state after one fix: an edit that breaks nothing, else one that breaks least."""
        fallback: _State | None = None
        self.reasons.pop(index, None)
        for edit in self._edits(state.text, index):
            text = _without_new_ends(edit.text, state.text)
            if text == state.text:
                continue
            met = self.verify(text)
            if not met[index]:
                continue
            following = replace(
                state, text=text, met=met, summaries=(*state.summaries, edit.summary)
            )
            if not _loses(state.met, met):
                return following
            if fallback is None or sum(met) > sum(fallback.met):
                fallback = following
            if self.spent():
                break
        if fallback is None:
            self.reasons.setdefault(index, "none of its edits passes")
        return fallback

    def _edits(self, text: str, index: int) -> Iterator[Edit]:
        name, arguments = self.constraints[index]
        fix = FIXES.get(name)
        if fix is None:
            self.reasons[index] = "no program fixes this type"
            return
        context = Context(
            self.prompt.messages[-1].content,
            self.constraints,
            self.rng,
            partial(num_sentences, prompt=self.prompt),
        )
        try:
            with limited(LIMIT_SECONDS):  # a keyword may be a pattern that backtracks
                edits = fix(text, arguments, context)
            for _ in range(MOST_EDITS):
                with limited(LIMIT_SECONDS):
                    edit = next(edits, None)
                if edit is None:
                    return
                self.offered.add(index)
                yield edit
        except CannotFix as reason:
            self.reasons[index] = str(reason)
        except TooLong as reason:
            self.reasons[index] = f"its fix took {reason}"
        except (KeyError, TypeError, ValueError):
            self.reasons[index] = "its arguments are incomplete"

    def _name(self, index: int) -> str:
        name, arguments = self.constraints[index]
        return " ".join([name, *map(str, arguments.values())])[:120]


def _loses(before: Sequence[bool], after: Sequence[bool]) -> bool:
    """Whether a constraint was met and no longer is."""
    return any(was and not now for was, now in zip(before, after, strict=True))


def _without_new_ends(text: str, before: str) -> str:
    """The text after an edit, without white space at an end that had none, as a search strips what a model writes."""
    text = text.lstrip() if before == before.lstrip() else text
    return text.rstrip() if before == before.rstrip() else text


def num_changed_words(before: str, after: str) -> int:
    """Words that are replaced, added or removed, wherever they stand: enough to compare two edits of one text."""
    left, right = Counter(before.split()), Counter(after.split())
    return max((left - right).total(), (right - left).total())


def _listed(parts: Sequence[str]) -> str:
    """Parts joined as in a sentence."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
