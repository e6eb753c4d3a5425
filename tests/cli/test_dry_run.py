"""A dry run refuses what the run would refuse, on whatever machine it is made."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from spar.cli.app import app
from spar.errors import UsageError

NAMED = ("--engine", "vllm", "--replicas", "8")


@pytest.mark.parametrize("command", ["decode", "eval", "sweep"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--judge-arg", "bogus=1"), "unknown option of votes"),
        (("--vote-rule", "majority", "--threshold", "0.6"), "stops at a majority"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_settings_that_the_judge_does_not_take(
    command: str, options: tuple[str, ...], words: str
) -> None:
    """Before a run is queued somewhere for hours."""
    arguments = {
        "decode": ("--limit", "1"),
        "eval": ("nano-if", "--limit", "2", "--strategy", "bfs"),
        "sweep": ("nano-if", "--limit", "2", "--strategies", "bfs", "--budgets", "3"),
    }[command]
    result = CliRunner().invoke(
        app, [command, *arguments, "--engine", "fake", *options, "--dry-run"]
    )
    assert isinstance(result.exception, UsageError), result.output
    assert words in str(result.exception)


@pytest.mark.parametrize(
    ("options", "part", "sent"),
    [
        (("--judge", "scale"), "judge", "0 to 5 points"),
        (("--judge", "curation"), "judge", "from 1 to 5"),
        (("--strategy", "merge"), "refine", "(another draft)"),
        (("--early-refine", "auto"), "refine", "--early-refine auto starts more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_will_be_sent_is_shown(options: tuple[str, ...], part: str, sent: str) -> None:
    """The conversations of the judge and the strategy that were chosen, and what early refining adds."""
    command = ["decode", "--limit", "1", "--engine", "fake", "--dry-run"]
    shown, plain = (
        dict(re.findall(r"== (\w+) ==\n(.*?)(?=\n== |\Z)", run.output, re.DOTALL))
        for run in (CliRunner().invoke(app, [*command, *more]) for more in (options, ()))
    )
    assert sent in shown[part] and sent not in plain[part]
    verdict = '"Final Judgement: Yes"'
    assert (verdict in shown["judge"]) == (part != "judge") and verdict in plain["judge"]


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
