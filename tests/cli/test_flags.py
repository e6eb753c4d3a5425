"""The flags: those of the last version are accepted under their old names, with a warning."""

from __future__ import annotations

import pytest

from spar.cli.app import app


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """Run a command in this process; returns what it wrote to standard output and standard error."""
    app([str(argument) for argument in arguments], standalone_mode=False)
    return capsys.readouterr()


DECODE = ("decode", "--engine", "fake", "--limit", "1", "--dry-run")


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("--gate", "--threshold", "0.25"),
        ("--keep", "--beam-width", "4"),
        ("--branch", "--branching", "2"),
        ("--stop", "--early-stop", "first"),
        ("--rows", "--max-batch-size", "8"),
        ("--request-seconds", "--timeout", "5"),
        ("--retry-seconds", "--retry-for", "5"),
        ("--speculate", "--speculative-decoding", "off"),
    ],
)
def test_old_flags_of_settings(
    old: str, new: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each does what its new name does, and prints one line on standard error."""
    expected = run(capsys, *DECODE, new, value)
    assert run(capsys, *DECODE, old, value) == (
        expected[0],
        f"{old} is deprecated; use {new}\n{expected[1]}",
    )
    assert run(capsys, *DECODE, f"{old}={value}")[1].startswith(f"{old} is deprecated")


def test_old_flags_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """`--fresh` is `--overwrite`; a flag that another command has under its own name stays."""
    assert run(capsys, *DECODE, "--fresh")[1] == "--fresh is deprecated; use --overwrite\n"


def test_words_after_two_dashes_are_no_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """A file may have the name of an old flag."""
    with pytest.raises(Exception, match="--fresh"):
        run(capsys, *DECODE, "--", "--fresh")
