"""lm-eval's scoring of stored answers: a model that looks up every reply and log-likelihood.

lm-eval makes its requests anew and gets the stored replies; its filters, its metrics and its groups do
the rest. Nothing here calls a model: a missing answer is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.errors import UsageError
from spar.eval.lm_harness.likelihoods import ScoredDocument
from spar.eval.lm_harness.requests import (
    LikelihoodRequest,
    ReplyRequest,
    likelihood_id,
    likelihood_requests,
    reply_requests,
    to_chat,
)
from spar.infer.engines.stops import find_stop
from spar.types import SearchTree

REFUSED = (0.0, False)
"""In place of the likelihood of a text that no model would score."""


@dataclass(slots=True)
class Replay:
    """Has the methods of an lm-eval model, over stored answers.

    Parameters
    ----------
    replies:
        Prompt id to its reply, None where every attempt at one failed.
    documents:
        Prompt id to the likelihoods of its texts.
    refused:
        Ids of prompts whose texts no model would score.
    """

    replies: Mapping[str, str | None]
    documents: Mapping[str, ScoredDocument]
    refused: frozenset[str] = frozenset()
    rank: int = 0
    world_size: int = 1
    tokenizer_name: str = ""

    def apply_chat_template(self, history: Sequence[Mapping[str, str]], **options: Any) -> str:
        """The conversation itself."""
        return to_chat(history, **options)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """The stored replies."""
        return stored_replies(reply_requests(requests), self.replies)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """The stored log-likelihoods."""
        return stored_likelihoods(requests, self.documents, self.refused)

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """The stored log-probabilities of whole texts."""
        return [
            logprob for logprob, _ in stored_likelihoods(requests, self.documents, self.refused)
        ]


def stored_replies(asks: Sequence[ReplyRequest], replies: Mapping[str, str | None]) -> list[str]:
    """Every reply up to its task's first stop string, which a refinement may well have run past; "" for
    a prompt without one.

    Raises
    ------
    UsageError
        A prompt was never answered.
    """
    _check_stored([ask.prompt.id for ask in asks if ask.prompt.id not in replies])
    texts = [replies[ask.prompt.id] or "" for ask in asks]
    return [text[: find_stop(text, ask.until)] for text, ask in zip(texts, asks, strict=True)]


def stored_likelihoods(
    requests: Sequence[Any],
    documents: Mapping[str, ScoredDocument],
    refused: frozenset[str] = frozenset(),
) -> list[tuple[float, bool]]:
    """Log-probability and greediness of every request's text, in order.

    Raises
    ------
    UsageError
        A document was never scored, or its request has changed.
    """
    asks = {ask.prompt.id: ask for ask in likelihood_requests(requests)}
    stored = {name: documents[name] for name, ask in asks.items() if _fits(documents, ask)}
    _check_stored([name for name in asks if name not in stored and name not in refused])
    taken: Counter[str] = Counter()
    likelihoods = []
    for name in map(likelihood_id, requests):
        text = stored[name].likelihoods[taken[name]] if name in stored else None
        likelihoods.append((text.logprob, text.greedy) if text is not None else REFUSED)
        taken[name] += 1
    return likelihoods


def check_prompts(
    asks: Iterable[ReplyRequest | LikelihoodRequest], trees: Iterable[SearchTree], where: object
) -> None:
    """Raise `UsageError` where a stored tree answers another prompt than the one of its id."""
    messages = {ask.prompt.id: ask.prompt.messages for ask in asks}
    for tree in trees:
        if messages.get(tree.prompt.id, tree.prompt.messages) != tree.prompt.messages:
            raise UsageError(
                f"{where}: the prompt {tree.prompt.id} was another one when it was answered; the data or "
                "lm-eval have changed since: start over with --overwrite, or give another --out"
            )


def _fits(documents: Mapping[str, ScoredDocument], ask: LikelihoodRequest) -> bool:
    document = documents.get(ask.prompt.id)
    return document is not None and document.digest == ask.digest


def _check_stored(names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        raise UsageError(
            f"no answer is stored for {names[0]}{more}; run the same command without --responses, and to "
            "its end"
        )
