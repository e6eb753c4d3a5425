"""A dry run refuses what the run would refuse, on whatever machine it is made."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from spar.cli.app import app
from spar.errors import UsageError

NAMED = ("--engine", "vllm", "--replicas", "8")


@pytest.mark.parametrize(
    "command",
    [
        ("decode", "--limit", "1", *NAMED),
        ("eval", "nano-if", *NAMED),
        ("sweep", "nano-if", "--strategies", "greedy", "--budgets", "1", *NAMED),
        ("serve", *NAMED),
        ("train", "--set", "decode.engine=vllm", "--set", "decode.replicas=8"),
    ],
    ids=lambda command: command[0],
)
def test_settings_that_the_engine_does_not_have(command: tuple[str, ...]) -> None:
    """The engine that was named has no replicas, installed here or not."""
    result = CliRunner().invoke(app, [*command, "--dry-run"])
    assert isinstance(result.exception, UsageError), result.output
    assert "--replicas and --ray-address need --engine ray, not vllm" in str(result.exception)
