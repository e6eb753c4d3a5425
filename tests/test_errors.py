"""Errors cross the borders of processes as they are."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from spar.errors import ConfigChanged, MissingExtra, SparError, UsageError
from spar.infer.roles import AttemptFailed
from spar.serve.errors import ApiError


def kinds(kind: type[SparError] = SparError) -> Iterator[type[SparError]]:
    """An error and all that are derived from it."""
    yield kind
    for derived in kind.__subclasses__():
        yield from kinds(derived)


ARGUMENTS = {
    MissingExtra: ("vllm", "vllm", "the engine vllm"),
    ConfigChanged: ("the seed differs", "; choose another --out"),
    AttemptFailed: ("no verdict", "text"),
    ApiError: (404, "no such model", "model_not_found"),
}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_an_error_can_be_pickled(kind: type[SparError]) -> None:
    """As a pool of processes does; one that cannot be breaks the pool."""
    error = kind(*ARGUMENTS.get(kind, ("what went wrong",)))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind and str(copy) == str(error) and vars(copy) == vars(error)


def test_the_setting_that_a_stage_names_is_pickled_too() -> None:
    """The pipeline reads it in another process."""
    assert pickle.loads(pickle.dumps(UsageError("x", change="dpo.batch=2"))).change == "dpo.batch=2"
