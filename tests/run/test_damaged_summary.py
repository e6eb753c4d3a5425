"""What a run directory may suffer: a damaged summary, a file system without writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar import decode, evaluate
from spar.errors import UsageError
from spar.run.resume import load_summary
from spar.store import RunStore, read_manifest


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A complete run of one prompt."""
    decode(["one"], out=tmp_path / "run", engine="fake", strategy="best-of-n", budget=2)
    return tmp_path / "run"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]",
        "",
        '{"seconds": [], "load_seconds": "x", "engines": 3}',
        '{"seconds": NaN, "engines": {"judge": 5, "actor": {"calls": [], "busy_seconds": null}}}',
    ],
    ids=["deep", "list", "empty", "types", "numbers"],
)
def test_a_damaged_summary_costs_the_time_only(run: Path, text: str) -> None:
    """Trees are counted again from trees.jsonl."""
    (run / "summary.json").write_text(text)
    summary = load_summary(run)
    assert (summary.trees, summary.seconds) == (1, 0.0)
    result = decode(["one"], out=run, engine="fake", strategy="best-of-n", budget=2)
    assert result.summary.trees == 1


def test_an_evaluation_that_was_killed_before_its_summary_gets_one(tmp_path: Path) -> None:
    """Every tree is stored, so no model is asked."""
    first = evaluate("nano-if-answers", out=tmp_path, engine="fake", limit=2)
    (written,) = tmp_path.rglob("summary.json")
    written.unlink()
    (trees,) = tmp_path.rglob("trees.jsonl")
    before = trees.read_bytes()
    again = evaluate("nano-if-answers", out=tmp_path, engine="fake", limit=2)
    assert again.results.metrics == first.results.metrics
    assert load_summary(written.parent).trees == 2 and written.is_file()
    assert trees.read_bytes() == before


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", ""])
def test_a_damaged_manifest_is_named(run: Path, text: str) -> None:
    """Whatever is in it."""
    (run / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"run\.json"):
        read_manifest(run)


def test_a_complete_run_is_shown_where_nothing_can_be_written(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a read-only file system the same call returns the run; one that is not complete is refused."""

    def refuse(*_: object, **__: object) -> RunStore:
        raise UsageError("cannot use it: Read-only file system") from OSError(30, "Read-only")

    monkeypatch.setattr(RunStore, "open", refuse)
    result = decode(["one"], out=run, engine="fake", strategy="best-of-n", budget=2)
    assert [tree.prompt.messages[0].content for tree in result] == ["one"]
    with pytest.raises(UsageError, match="Read-only"):
        decode(["one", "two"], out=run, engine="fake", strategy="best-of-n", budget=2)
    with pytest.raises(UsageError, match="Read-only"):
        decode(["one"], out=run, engine="fake", strategy="best-of-n", budget=2, overwrite=True)
