"""What the attempts of a running search have written so far, and the votes on it, for a caller that passes `on_attempt`.

Nothing here changes a search. Texts come from the requests' `on_text`, votes from `ON_VOTE`; both are set only
where there is such a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from spar.infer.attempts import Attempt, Outcome, Place
from spar.infer.engine import OnText
from spar.infer.votes import OnVote, Vote
from spar.listener import AttemptProgress, Listener, follows
from spar.types import Prompt

OnAttempt = Callable[[AttemptProgress], None]
"""Takes what is known of an attempt, whenever that changes."""


def attempt_callback(listener: Listener, prompt: Prompt) -> OnAttempt | None:
    """What a search of a prompt calls for a listener; None for one that ignores attempts."""
    return partial(listener.attempt, prompt) if follows(listener) else None


class AttemptReporter:
    """Reports the attempts of one search.

    Parameters
    ----------
    on_attempt:
        Called with every change, in the loop of the search.
    """

    def __init__(self, on_attempt: OnAttempt) -> None:
        self._on_attempt = on_attempt
        self._wave: dict[Place, AttemptProgress] = {}
        self._texts: dict[Place, str] = {}
        self._verdicts: dict[str, dict[int, bool | None]] = {}
        self._numbers, self._waves = count(), count()

    def start_wave(self, attempts: Sequence[Attempt]) -> None:
        """Report the attempts of the next wave; some may have been written early."""
        wave = next(self._waves)
        self._wave = {
            attempt.place: AttemptProgress(
                next(self._numbers),
                wave,
                tuple(parent.id for parent in attempt.parents),
                self._texts.get(attempt.place, ""),
            )
            for attempt in attempts
        }
        for progress in self._wave.values():
            self._on_attempt(progress)

    def on_text(self, attempt: Attempt) -> OnText:
        """Takes what an attempt writes."""
        return partial(self._write, attempt.place)

    def on_vote(self, response: str) -> OnVote:
        """Takes the votes on a response; a position that comes again belongs to another round."""
        return partial(self._vote, response)

    def report_response(self, attempt: Attempt, response: str) -> None:
        """Report the whole response, with the votes on the same from before."""
        verdicts = tuple(self._verdicts.get(response, {}).values())
        self._change(attempt.place, response=response, verdicts=verdicts)

    def report_outcome(self, outcome: Outcome) -> None:
        """Report a judgement or a fault."""
        fault = outcome.fault.reason if outcome.fault is not None else ""
        self._change(outcome.attempt.place, judgement=outcome.judgement, fault=fault)

    def _write(self, place: Place, text: str) -> None:
        self._texts[place] = text
        self._change(place, text=text)

    def _vote(self, response: str, position: int, vote: Vote) -> None:
        verdicts = self._verdicts.setdefault(response, {})
        if position in verdicts:
            verdicts.clear()
        verdicts[position] = vote.verdict
        for place, progress in self._wave.items():
            if progress.response == response:
                self._change(place, verdicts=tuple(verdicts.values()))

    def _change(self, place: Place, **fields: Any) -> None:
        if place in self._wave:
            self._wave[place] = replace(self._wave[place], **fields)
            self._on_attempt(self._wave[place])
