"""From texts to the tokens whose probability is asked for, as lm-eval's hf model makes them. Pure.

White space at the end of a context goes to the continuation, since tokens begin with it; both are then
tokenized as one text, and what comes after the context's own tokens is the continuation. Nothing but
the tokenizer's first token stands before a text without context. What is longer than the model holds
loses the first tokens of its context; a long text without context falls into windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from spar.errors import PromptRefused, PromptTooLong
from spar.infer.engine import Continuation, Likelihood
from spar.infer.engines.chat import ChatEncoder


@dataclass(frozen=True, slots=True)
class Pair:
    """Tokens whose probability is asked for, and those before them; neither is empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """All of them."""
        return self.context + self.continuation


def encode(continuation: Continuation, encoder: ChatEncoder, most: int) -> list[Pair]:
    """The tokens of one continuation: one pair, several windows, or none where its text is empty.

    Parameters
    ----------
    most:
        Tokens of a pair at most. A model that holds n can be given n + 1, since the last one need not
        be read.

    Raises
    ------
    PromptTooLong
        The continuation alone is too long, and has a context.
    PromptRefused
        The chat template cannot render a conversation.
    """
    if continuation.context == "":
        return _windows(encoder, continuation.text, most)
    pair = _split(encoder, *move_spaces(_context(encoder, continuation), continuation.text))
    if not pair.continuation:
        return []
    if len(pair.continuation) >= most:
        raise PromptTooLong(
            f"a continuation has {len(pair.continuation)} tokens; the model's context is {most - 1}"
        )
    return [Pair(pair.context[-(most - len(pair.continuation)) :], pair.continuation)]


def move_spaces(context: str, text: str) -> tuple[str, str]:
    """Context and continuation, with the white space at the context's end before the continuation."""
    kept = context.rstrip()
    return kept, context[len(kept) :] + text


def regroup(asked: Sequence[Sequence[Pair]], found: Iterable[Likelihood]) -> list[Likelihood]:
    """One likelihood for each list of pairs, from those of all pairs in order."""
    parts = iter(found)
    return [_together([next(parts) for _ in pairs]) for pairs in asked]


def _together(parts: Sequence[Likelihood]) -> Likelihood:
    return Likelihood(
        logprob=sum(part.logprob for part in parts),
        greedy=all(part.greedy for part in parts),
        tokens=sum(part.tokens for part in parts),
    )


def _context(encoder: ChatEncoder, continuation: Continuation) -> str:
    if isinstance(continuation.context, str):
        return continuation.context
    try:
        return encoder.template(continuation.context)
    except Exception as error:  # a chat template may raise anything
        raise PromptRefused(f"the prompt cannot be rendered: {error}") from error


def _split(encoder: ChatEncoder, context: str, text: str) -> Pair:
    before = encoder.encode(context)
    return Pair(before or (encoder.prefix,), encoder.encode(context + text)[len(before) :])


def _windows(encoder: ChatEncoder, text: str, most: int) -> list[Pair]:
    tokens = encoder.encode(text, specials=False)
    if tokens[:1] == (encoder.prefix,):
        tokens = tokens[1:]
    return [_window(encoder.prefix, tokens, *span, most) for span in _spans(len(tokens), most - 1)]


def _spans(num: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, num, size):
        yield start, min(start + size, num)


def _window(prefix: int, tokens: tuple[int, ...], start: int, end: int, most: int) -> Pair:
    # The last window is filled up with what comes before it; the others have one token of context.
    context = tokens[max(0, end - most) : start] if start else (prefix,)
    return Pair(context, tokens[start:end])
