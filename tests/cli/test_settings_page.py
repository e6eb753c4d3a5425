"""The page of settings is generated from the fields."""

from __future__ import annotations

from pathlib import Path

from spar.cli.settings_page import page
from spar.config import EvalConfig, specs

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    """`python -m spar.cli.settings_page > docs/settings.md` changes nothing."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_the_page_has_every_setting() -> None:
    """Each is named with its flag; none lacks a meaning."""
    text = PAGE.read_text(encoding="utf-8")
    for spec in specs(EvalConfig):
        assert f"| `{spec.name}`" in text
        assert f"| `{spec.flag}` |" in text or not spec.flag
        assert spec.help
