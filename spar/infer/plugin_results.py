"""What a judge, an actor, a refiner and an engine gave back, held against their protocols: they may be anybody's."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import index
from typing import Any, SupportsIndex, get_args

from spar.errors import EngineError, UsageError
from spar.infer.engine import Completion, Engine, Finish
from spar.infer.roles import Generation
from spar.types import Judgement, Usage

_SHOWN_CHARACTERS = 200
_FIELDS = {
    "response": "a text",
    "reflection": "a text or None",
    "usage": "a spar.Usage, spar.Usage() where no model was called",
}
_FINISHES = get_args(Finish)
_OF_COMPLETIONS = {
    "text": "a text",
    "finish": " or ".join(map(repr, _FINISHES)),
    **dict.fromkeys(("prompt_tokens", "completion_tokens", "cached_tokens"), "0 or more"),
}


def _is_count(value: object) -> bool:
    return isinstance(value, SupportsIndex) and index(value) >= 0


_ENGINE_FIELDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "model": (lambda value: isinstance(value, str), "a text"),
    "capacity": (_is_count, "an integer: requests at the same time, 0 for any number"),
    "description": (lambda value: isinstance(value, str), "a text"),
    "generate": (callable, "an async method"),
    "aclose": (callable, "an async method"),
}


async def judged_by(judge: object, returned: Awaitable[Any]) -> tuple[Judgement, Usage]:
    """What the method of a judge returned, once it is there.

    Raises
    ------
    UsageError
        It is no judgement with its usage, or one that a search cannot go by.
    """
    result = await _awaited("judge", judge, returned)
    pair = result if isinstance(result, tuple | list) and len(result) == 2 else (result, None)
    judgement, usage = pair
    if not isinstance(judgement, Judgement) or not isinstance(usage, Usage):
        raise UsageError(
            f"the judge {_name(judge)} returned {_shown(result)}; expected (spar.Judgement, spar.Usage), the second "
            "spar.Usage() where no model was called; a plain function may return a bool or a score"
        )
    require_shares(judgement)
    return judgement, usage


async def written_by(role: str, writer: object, returned: Awaitable[Any]) -> Generation:
    """What the method of an actor or a refiner returned, once it is there.

    Raises
    ------
    UsageError
        It is no generation.
    """
    result = await _awaited(role, writer, returned)
    if not isinstance(result, Generation):
        raise UsageError(
            f"the {role} {_name(writer)} returned {_shown(result)}; expected a spar.Generation"
            + ("; a plain function may return a text" if role == "refiner" else "")
        )
    is_right = {
        "response": isinstance(result.response, str),
        "reflection": isinstance(result.reflection, str | None),
        "usage": isinstance(result.usage, Usage),
    }
    for name in [name for name, right in is_right.items() if not right]:
        raise UsageError(
            f"the {role} {_name(writer)} returned a spar.Generation whose {name} is "
            f"{_shown(getattr(result, name))}; expected {_FIELDS[name]}"
        )
    return result


async def completed_by(engine: object, returned: Awaitable[Any]) -> list[Completion]:
    """What the method `generate` of an engine returned, once it is there; whoever counts requests counts these.

    Raises
    ------
    UsageError
        It is no list of completions.
    """
    result = await _awaited("engine", engine, returned)
    if not isinstance(result, list | tuple) or not all(isinstance(r, Completion) for r in result):
        raise UsageError(
            f"the engine {_name(engine)} returned {_shown(result)}; expected a list of spar.Completion, one a request"
        )
    for completion in result:
        if name := _wrong_field(completion):
            raise UsageError(
                f"the engine {_name(engine)} returned a spar.Completion whose {name} is "
                f"{_shown(getattr(completion, name))}; expected {_OF_COMPLETIONS[name]}"
            )
    return list(result)


def require_engine(target: object) -> Engine:
    """The object itself; raises `UsageError` where it lacks what an engine has."""
    if missing := [name for name in _ENGINE_FIELDS if not hasattr(target, name)]:
        raise UsageError(
            f"the engine {_name(target)} has no {', '.join(missing)}; expected an object with {', '.join(_ENGINE_FIELDS)} "
            "(spar.Engine)"
        )
    assert isinstance(target, Engine)
    for name, (is_right, expected) in _ENGINE_FIELDS.items():
        if not is_right(value := getattr(target, name)):
            raise UsageError(
                f"the engine {_name(target)} has the {name} {_shown(value)}; expected {expected}"
            )
    return target


def _wrong_field(completion: Completion) -> str:
    """The first field of a completion that is not what it must be; "" for none. It runs for every reply."""
    if not isinstance(completion.text, str):
        return "text"
    if completion.finish not in _FINISHES:
        return "finish"
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
        try:
            if index(getattr(completion, name)) < 0:
                return name
        except TypeError:
            return name
    return ""


async def _awaited(role: str, plugin: object, returned: Awaitable[Any]) -> Any:
    if not inspect.isawaitable(returned):
        raise UsageError(
            f"the {role} {_name(plugin)} has a method that is not async: it returned {_shown(returned)} where spar "
            "awaits it; write `async def`"
        )
    with _own_cancellation(f"the {role} {_name(plugin)}"):
        return await returned


@contextmanager
def _own_cancellation(what: str) -> Iterator[None]:
    """Make an error of a cancellation that nobody asked of this task: on its own it would end the run without a word."""
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise EngineError(
            f"{what} was cancelled, and not by spar: its code, or a library that it calls, let an "
            "asyncio.CancelledError out; catch it there"
        ) from error


def _name(plugin: object) -> str:
    """The name of a plain function that was passed, or of the class of an object."""
    target = getattr(plugin, "function", plugin)
    return str(getattr(target, "__qualname__", type(target).__name__))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def require_shares(judgement: Judgement) -> None:
    """Raise `UsageError` for a probability or a share that is none: strategies sort, add up and draw by them."""
    for name, value in _shares(judgement):
        if value is not None and not 0 <= value <= 1:  # nor is NaN
            raise UsageError(f"a judge returned {name} {value!r}; expected a number from 0 to 1")


def _shares(judgement: Judgement) -> Iterator[tuple[str, float | None]]:
    yield "the probability", judgement.probability
    for value in judgement.probabilities:
        yield "a vote's probability", value
    for finding in judgement.findings:
        yield f"of {finding.constraint!r} the share", finding.share
