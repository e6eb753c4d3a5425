"""From texts to the tokens to score, as in lm-eval's hf model. Pure.

White space at the end of a context is moved to the continuation, since tokens begin with it; both are then
tokenized as one text, and the tokens after the context's own are the continuation. A text without context
is preceded by the tokenizer's first token only. A context that is too long loses its first tokens; a long
text without context is scored in windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spar.errors import PromptRefused, PromptTooLong
from spar.infer.engine import Continuation, Likelihood
from spar.infer.engines.chat import ChatEncoder


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Tokens to score, and their context; neither is empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """All tokens."""
        return self.context + self.continuation


def encode(continuation: Continuation, encoder: ChatEncoder, max_tokens: int) -> list[TokenPair]:
    """The tokens of one continuation: one pair, several windows, or none if its text is empty.

    Parameters
    ----------
    max_tokens:
        Tokens of a pair at most. A model with a context of n can score n + 1 tokens, since it need not
        read the last one.

    Raises
    ------
    PromptTooLong
        The continuation alone is too long, and has a context.
    PromptRefused
        The chat template cannot render a conversation.
    """
    if continuation.context == "":
        return _windows(encoder, continuation.text, max_tokens)
    try:
        context = continuation.context
        context = (
            context
            if isinstance(context, str)
            else encoder.render_text(context, continuation.chat_template_args)
        )
    except Exception as error:  # a chat template may raise anything
        raise PromptRefused(f"the prompt cannot be rendered: {error}") from error
    context, text = move_spaces(context, continuation.text)
    context_tokens = encoder.encode(context)
    tokens = encoder.encode(context + text)[len(context_tokens) :]
    if not tokens:
        return []
    if len(tokens) >= max_tokens:
        raise PromptTooLong(
            f"a continuation has {len(tokens)} tokens; the model's context is {max_tokens - 1}"
        )
    context_tokens = context_tokens or (encoder.prefix_token,)
    return [TokenPair(context_tokens[-(max_tokens - len(tokens)) :], tokens)]


def move_spaces(context: str, text: str) -> tuple[str, str]:
    """Context and continuation, with white space at the context's end moved to the continuation."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + text


def merge_windows(
    windows: Sequence[Sequence[TokenPair]], likelihoods: Iterable[Likelihood]
) -> list[Likelihood]:
    """One likelihood for each list of pairs, from those of all pairs in order."""
    remaining = iter(likelihoods)
    merged = []
    for pairs in windows:
        parts = [next(remaining) for _ in pairs]
        merged.append(
            Likelihood(
                logprob=sum(part.logprob for part in parts),
                greedy=all(part.greedy for part in parts),
                tokens=sum(part.tokens for part in parts),
            )
        )
    return merged


def _windows(encoder: ChatEncoder, text: str, max_tokens: int) -> list[TokenPair]:
    prefix = encoder.prefix_token
    tokens = encoder.encode(text, specials=False)
    if tokens[:1] == (prefix,):
        tokens = tokens[1:]
    pairs = []
    for start in range(0, len(tokens), max_tokens - 1):
        end = min(start + max_tokens - 1, len(tokens))
        # The last window is filled up with context; full windows have one token of it.
        context = tokens[max(0, end - max_tokens) : start] if start else (prefix,)
        pairs.append(TokenPair(context, tokens[start:end]))
    return pairs
