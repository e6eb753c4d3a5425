"""What may be shown of a reply that is still being generated. Pure.

As much of it as its end is not expected to change: without thinking, stop strings and halves of characters. What shows
too late that it was thinking (a closing tag without an opening one) is taken back by the completion.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from spar.infer.engine import OnText, Request
from spar.infer.engines.chat import ChatEncoder
from spar.infer.engines.stops import find_stop, unfinished_stop
from spar.thinking import read_growing_answer

_HALF_CHARACTER = "\ufffd"


def growing_text(
    text: str, request: Request, *, opened: bool = False, specials: re.Pattern[str] | None = None
) -> str:
    """The beginning of the completion's text that follows from what the model has written so far.

    Parameters
    ----------
    opened:
        Whether the prompt had opened a thinking block.
    specials:
        Special tokens that the text spells, which the completion lacks.
    """
    if not request.plain:
        text = read_growing_answer(text, opened=opened, prompt=request.messages[-1].content)
        text = specials.sub("", text) if specials is not None else text
    stop = request.sampling.stop
    end = find_stop(text, stop)
    if end < len(text):
        return text[:end]
    return text[: len(text) - unfinished_stop(text, stop)].rstrip()


class GrowingReply:
    """A reply whose tokens arrive one after the other, decoded a few tokens at a time.

    Parameters
    ----------
    on_text:
        Called with what may be shown, whenever that changes.
    thinking:
        Whether the prompt had opened a thinking block.
    """

    def __init__(
        self, encoder: ChatEncoder, request: Request, on_text: OnText, *, thinking: bool
    ) -> None:
        self._encoder, self._request = encoder, request
        self._on_text, self._thinking = on_text, thinking
        self._decoded = ""
        self._start = self._end = 0
        self._shown = ""

    def add(self, tokens: Sequence[int]) -> None:
        """Show what the reply says by now.

        Parameters
        ----------
        tokens:
            All of it so far.
        """
        before = self._decode(tokens[self._start : self._end])
        window = self._decode(tokens[self._start :])
        # The first token of a window may decode differently for being the first: a window begins with known ones.
        if len(window) <= len(before) or window.endswith(_HALF_CHARACTER):
            return
        self._decoded += window[len(before) :]
        self._start, self._end = self._end, len(tokens)
        text = growing_text(
            self._decoded,
            self._request,
            opened=self._thinking,
            specials=self._encoder.hidden_specials,
        )
        if text != self._shown:
            self._shown = text
            self._on_text(text)

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._encoder.decode(tokens, plain=self._request.plain)
