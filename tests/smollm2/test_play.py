"""The play screen with a real chat model: an instruction in plain English, its answer, and the tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from spar.cli.play import SessionPlay
from spar.config import load_decode
from tests.fixture_smollm2 import NAME
from tests.tui.driving import screen_text, until
from tests.tui.test_play import playing
from tui.widgets.tree_pane import TreePane

pytestmark = [pytest.mark.screen, pytest.mark.timeout(600)]

INSTRUCTION = "What is the capital of France?"


async def test_an_instruction_in_plain_english_is_answered(smollm2: Path, tmp_path: Path) -> None:
    """The model is named, its answer is on the screen, and its tree is one line a node."""
    fields = {
        "model": NAME,
        "engine": "hf",
        "votes": 1,
        "draft": {"max_tokens": 16},
        "vote": {"max_tokens": 8},
        "refine": {"max_tokens": 8},
    }
    with SessionPlay(load_decode(None, fields), tmp_path / "runs") as play:
        async with playing(play, tmp_path, size=(100, 30)) as (app, pilot, screen):
            await pilot.press(*INSTRUCTION)
            screen.query_one("#budget", Input).value = "2"
            await pilot.press("enter")
            await until(pilot, lambda: screen.finished_tree is not None, 500)
            tree = screen.finished_tree
            assert tree is not None
            assert NAME in play.description
            assert 1 <= len(tree.nodes) <= 2
            assert "Paris" in tree.nodes[0].response
            assert "Paris" in screen_text(app)
            pane = screen.query_one(TreePane)
            assert all(pane.line_of(node.id) is not None for node in tree.nodes)
