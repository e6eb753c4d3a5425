"""What a client receives where an engine fails or a search has no answer: for searches and for requests with tools.

A prompt that the engine refuses is the client's to change, everything else the server's fault. A search whose attempts all
failed, and a server that refuses the key, a client need not ask again by itself. The URLs of the models' servers are no
client's business.
"""

from __future__ import annotations

from collections.abc import Iterable

from spar.config import DecodeConfig
from spar.errors import PromptRefused, PromptTooLong, ServerRefused, SparError, UsageError
from spar.infer.roles import EMPTY_DRAFT
from spar.run.resolve import urls
from spar.serve.errors import ApiError, invalid, server_error
from spar.serve.request import SearchFields
from spar.serve.shaping import Refusals
from spar.types import SearchTree

_SERVER = "the model's server"


def failure(
    error: SparError, config: DecodeConfig, search: SearchFields = SearchFields()
) -> ApiError:
    """The error for what a search, or a request without one, raised.

    Parameters
    ----------
    config:
        Resolved settings, whose URLs are left out.
    search:
        What the client chose of the search: its own mistake where that cannot be.
    """
    message = _without_urls(str(error), config)
    if isinstance(error, PromptTooLong):
        return invalid(message, "messages", "context_length_exceeded")
    if isinstance(error, PromptRefused):
        return invalid(message, "messages")
    chosen = search.strategy is not None or search.judge is not None
    if isinstance(error, UsageError) and not isinstance(error, ServerRefused) and chosen:
        return invalid(message, "spar")
    return server_error(
        502,
        f"the model cannot be asked: {message}",
        "engine_error",
        retry=not isinstance(error, ServerRefused),
    )


def no_answer(tree: SearchTree, refusals: Refusals, config: DecodeConfig) -> ApiError:
    """The error for a search whose attempts all failed: the client's, where the engine refused every draft."""
    if not tree.faults:
        message = "the time was over before the first draft; ask for more max_seconds"
        return server_error(504, message, "timeout", retry=False)
    if refusals.first is not None and refusals.count >= len(tree.faults):
        return failure(refusals.first, config)
    message = f"the search has no answer: {_without_urls(tree.faults[0].reason, config)}"
    return server_error(502, message, "no_answer", retry=False)


def is_silent(tree: SearchTree) -> bool:
    """Whether the model ended every reply without a word: an empty answer, as other servers give it."""
    return bool(tree.faults) and all(
        fault.stage == "draft" and fault.reason.startswith(EMPTY_DRAFT) for fault in tree.faults
    )


def _without_urls(message: str, config: DecodeConfig) -> str:
    for url in _longest_first(url for own in urls(config).values() for url in own):
        message = message.replace(url, _SERVER)
    return message


def _longest_first(values: Iterable[str]) -> list[str]:
    return sorted(set(values), key=len, reverse=True)
