"""`spar evolve --checkable` from the command line: what it prints, and which flags it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spar.cli.app import app
from spar.errors import ConfigChanged, UsageError
from tests.evolve.worlds import write_seeds

SEEDS = [
    f"Explain to a curious child why {topic} matter." for topic in ("kites", "rivers", "markets")
]


@pytest.fixture
def seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of plain instructions; no benchmarks to compare with."""
    monkeypatch.setattr(
        "spar.evolve.checkable.runner.load_benchmark_prompts", lambda _: ([], ("gsm8k",))
    )
    return write_seeds(tmp_path / "seeds.jsonl", SEEDS)


def evolve(*arguments: object) -> None:
    """Run the command in this process."""
    app(["evolve", *map(str, arguments)], standalone_mode=False)


@pytest.mark.evalharness
@pytest.mark.data
def test_report(
    seeds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verifiers: None
) -> None:
    """Tables for readers, or one JSON object; both name the directory, and absent benchmarks."""
    arguments = ("--checkable", seeds, "--n", 6, "--constraints", 1, "--out", tmp_path / "run")
    evolve(*arguments)
    printed = capsys.readouterr().out
    assert "proved free of contradiction by a text that passes" in printed
    assert "punctuation:no_comma" in printed
    assert "not compared with gsm8k" in printed
    assert str(tmp_path / "run") in printed.replace("\n", "")
    evolve(*arguments, "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["prompts"], report["by_count"]) == (6, {"1": 6})
    assert Path(report["run"]) == tmp_path / "run"


@pytest.mark.evalharness
@pytest.mark.data
def test_prompts_of_other_seeds_are_not_replaced_unasked(
    seeds: Path, tmp_path: Path, verifiers: None
) -> None:
    """Nor is what was held out made into training prompts, or a part of the prompts left out."""
    common = ("--checkable", "--constraints", 1, "--out", tmp_path / "run")
    evolve(seeds, *common, "--n", 6, "--holdout", 2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    other = write_seeds(tmp_path / "other.jsonl", SEEDS[:-1])
    for arguments, message in (
        ((seeds, *common, "--n", 6), "holdout: 2, now 0"),
        ((seeds, *common, "--n", 5, "--holdout", 2), "n: 6, now 5"),
        ((seeds, *common, "--n", 9, "--holdout", 2), "n: 6, now 9"),
        ((other, *common, "--n", 6, "--holdout", 2), "of other seed prompts"),
    ):
        with pytest.raises(ConfigChanged, match=message):
            evolve(*arguments)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    evolve(seeds, *common, "--n", 6, "--holdout", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--n", 3), "--n is for --checkable"),
        (("--types", "title"), "--types is for --checkable"),
        (("--checkable", "--model", "x"), "--model has no use with --checkable"),
        (("--checkable", "--top-p", "0.5"), "--top-p has no use with --checkable"),
        (("--checkable", "--per-prompt", "2"), "--per-prompt has no use with --checkable"),
        (("--checkable", "--dry-run"), "no --dry-run"),
        (("--checkable", "--n", "0"), "n 0: input should be greater"),
        (("--checkable", "--types", "commas"), "no constraint type 'commas'"),
        (("--checkable", "--constraints", "none"), "accepted: a number of 1 to 8"),
        (
            ("--checkable", "--types", "no_comma,title", "--constraints", "3"),
            "of --types no_comma,title at most 2 go together in one prompt",
        ),
        (
            ("--checkable", "--types", "english_capital,english_lowercase", "--constraints", "2-4"),
            "at most 1 go together",
        ),
        (("--checkable", "--prompt-field", "ask"), "accepted: a row with 'ask'"),
        (("--checkable", "--limit", "1", "--holdout", "5"), "leaves no seed prompt for training"),
    ],
)
def test_flags_that_are_refused(
    seeds: Path,
    tmp_path: Path,
    arguments: tuple[object, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one line that names the flag; nothing is written."""
    monkeypatch.setattr("spar.evolve.checkable.runner.load_verifiers", lambda _: {})
    with pytest.raises(UsageError, match=message):
        evolve(seeds, *arguments, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_prompt_at_all_is_an_error(
    tmp_path: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what fails: poems leave the number of words alone, so that only one of the two types is left."""
    monkeypatch.setattr("spar.evolve.checkable.runner.load_verifiers", lambda _: {})
    poems = write_seeds(tmp_path / "poems.jsonl", ["Write a poem about rain.", "Sing a song."])
    mix = ("--types", "no_comma,number_words", "--constraints", "2")
    with pytest.raises(UsageError, match=r"give no prompt: .*too few types .*name more types"):
        evolve(poems, "--checkable", *mix, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_seed_prompts_of_which_none_takes_constraints(
    tmp_path: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says why, by reason."""
    monkeypatch.setattr("spar.evolve.checkable.runner.load_verifiers", lambda _: {})
    code = write_seeds(tmp_path / "code.jsonl", ["Write a Python script.", "What is 12 * 7?"])
    with pytest.raises(UsageError, match=r"none of its 2 prompts takes .*right answer: 1"):
        evolve(code, "--checkable", "--out", tmp_path / "run")
