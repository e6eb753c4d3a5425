"""Whether the hub answers, and what of it is on this machine.

The hub's own client tries again and again, for a minute or more, where nothing answers, also for a model that is in its
cache. So it is asked once here, with a limit, before that client is.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spar.errors import RunStopped, first_line
from spar.offline import is_offline

HUB_SECONDS = 10.0
"""How long the hub may take to answer at all."""
_VALID_SECONDS = 30.0
"""How long it is believed that the hub answers, or does not."""


@dataclass(slots=True)
class _Answer:
    """What the hub's address last did."""

    failure: str = ""
    until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


_answer = _Answer()


def hub_failure() -> str:
    """Why the hub does not answer, "" where it does. Asked at most once in half a minute."""
    with _answer.lock:
        if time.monotonic() >= _answer.until:
            _answer.failure = _ask()
            _answer.until = time.monotonic() + _VALID_SECONDS
        return _answer.failure


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises; whose HTTP errors come from httpx, httpx2 or requests, by its version."""
    from huggingface_hub.errors import HfHubHTTPError

    client_error: Any = HfHubHTTPError.__bases__[0]
    return OSError, ValueError, client_error


def cached_files(model: str) -> Path | None:
    """Where a hub model's files lie in the hub's cache; None where they are not there, or the hub has no such names."""
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        path = try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return None
    return Path(path).parent if isinstance(path, str) else None


def hub_model(model: str, note: Callable[[str], None]) -> str:
    """What transformers and vLLM open for a hub name: itself, or its folder in the hub's cache where the hub does not answer.

    Raises
    ------
    RunStopped
        The hub does not answer, and the model is not in the cache.
    """
    if is_offline() or not _may_be_asked_for(model):
        return model
    failure = hub_failure()
    if not failure:
        return model
    folder = cached_files(model)
    if folder is None:
        raise RunStopped(
            f"the model {model!r} is no folder here and not in the hub's cache, and the hub does not answer: {failure}"
        )
    note(f"the hub does not answer ({failure}); {model} is taken from the hub's cache")
    return str(folder)


def _may_be_asked_for(model: str) -> bool:
    """Whether the hub's client is there, may ask, and would ask for that name; vLLM can have models of another hub."""
    if os.environ.get("VLLM_USE_MODELSCOPE", "").lower() in ("1", "true"):
        return False
    try:
        from huggingface_hub import constants, try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return False
    try:
        try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return False
    return not constants.HF_HUB_OFFLINE


def _ask() -> str:
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except hub_errors() as error:
        return first_line(error).removesuffix(".")
    return ""
