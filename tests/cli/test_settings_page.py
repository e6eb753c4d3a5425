"""The page of settings is generated from the fields, and divided by what a user wants to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spar.cli import settings_page
from spar.cli.settings_outline import OUTLINE
from spar.cli.settings_page import page
from spar.config import EvalConfig, specs
from spar.train.recipe import TrainConfig
from spar.train.settings import SftSettings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
ADDRESSES = (
    *(
        "all-runs",
        "prompts",
        "search",
        "models",
        "engine",
        "servers-and-clusters",
        "run",
        "sampling",
    ),
    *("evaluations", "prompts_1", "benchmark", "grader", "llmbar-and-graded-benchmarks", "nano-if"),
    *("lm-eval-tasks-and-humaneval", "evolution", "evolution_1", "checkable-prompts", "serving"),
    *("server", "training", "loop", "backtranslation-instructions-for-texts", "bootstrap"),
    *("functions-verification-functions", "harder-prompts-that-get-harder"),
    *("dpo-the-actors-training", "rft-the-refiners-training-sft-the-actors-by-imitation"),
)
"""Addresses on the page that have been there."""


def test_the_page_is_up_to_date() -> None:
    """`python -m spar.cli.settings_page > docs/settings.md` changes nothing."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_page_has_every_setting() -> None:
    """Each is named with its flag; none lacks a meaning."""
    text = PAGE.read_text(encoding="utf-8")
    for spec in specs(EvalConfig):
        flag = f"<br>`{spec.flag}` |" if spec.flag else " |"
        assert f"| `{spec.name}`{flag}" in text
        assert spec.help
    for kind in (TrainConfig, SftSettings):
        left_out = {"decode", "eval", "model", "data", "out"}
        names = {spec.name for spec in specs(kind) if spec.name.split(".")[0] not in left_out}
        assert [name for name in names if f"| `{name}` |" not in text] == []


def test_links_to_the_page_still_lead_there() -> None:
    """Every address that it had is that of a heading, or stands before one; each stands there once."""
    text = PAGE.read_text(encoding="utf-8")
    headings = [
        settings_page.address(line.lstrip("# "))
        for line in text.split("\n")
        if line.startswith("#")
    ]
    every = [*headings, *(part.split('"')[0] for part in text.split('<a id="')[1:])]
    assert [name for name in ADDRESSES if name not in every] == []
    assert [name for name in every if every.count(name) > 1] == []


def test_an_outline_that_leaves_out_a_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one with a setting that does not exist, or that stands in two sections."""
    first, *others = OUTLINE
    for names, words in (
        ("prompts", "limit"),
        ("prompts limit nonsense", "no setting 'nonsense'"),
        ("prompts limit budget", "'budget' of DecodeConfig is in two sections"),
    ):
        sections = (replace(first.sections[0], names=names), *first.sections[1:])
        changed = (replace(first, sections=sections), *others)
        monkeypatch.setattr(settings_page, "OUTLINE", changed)
        with pytest.raises(ValueError, match=words):
            page()


def test_trainings_share_a_row() -> None:
    """A setting that DPO and SFT have stands once, with both defaults where they differ."""
    text = page()
    assert "| `learning_rate` | number<br>`dpo`: `2e-07`<br>`rft`, `sft`: `2e-06` |" in text
    assert "| `max_steps` | integer<br>`0` |" in text
    assert "| `beta` | number<br>`dpo`: `0.1` |" in text
