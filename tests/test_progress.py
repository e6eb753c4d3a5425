"""What is shown while a run goes on."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.text import Text

from spar import progress
from spar.listener import Activity


def wait_for(seen: Callable[[], bool]) -> bool:
    """Whether it becomes true within five seconds."""
    end = time.monotonic() + 5
    while not seen() and time.monotonic() < end:
        time.sleep(0.01)
    return seen()


@pytest.mark.parametrize(
    ("term", "display"),
    [("xterm-256color", "rich"), ("", "rich"), ("dumb", "plain"), ("unknown", "plain")],
)
def test_a_terminal_that_redraws_no_lines_gets_plain_ones(
    term: str, display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar would show nothing there until the end of the run."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)
    assert progress.resolve_display("auto") == display
    assert progress.resolve_display("rich") == "rich"


def test_lines_come_while_no_tree_finishes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plain display prints the tokens so far though all replies may end together, and stops at the end."""
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.05)
    made = iter(range(0, 100_000, 500))
    shown, activity = progress.PlainProgress(), Activity(total=9, tokens=lambda: next(made))
    lines: list[str] = []
    monkeypatch.setattr(shown, "note", lines.append)
    shown.started(activity)
    assert wait_for(lambda: len(lines) > 2)
    shown.finished(activity)
    time.sleep(0.1)
    ended = len(lines)
    time.sleep(0.2)
    assert len(lines) == ended
    assert lines[0].startswith("0/9 trees, 0 running, ")
    assert "tokens/s" in lines[0]
    assert " 0 tokens/s" not in lines[0]


def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that note something at once do not break each other's lines."""
    writes: list[str] = []
    stream = io.StringIO()
    monkeypatch.setattr(stream, "write", writes.append)
    monkeypatch.setattr("sys.stderr", stream)
    progress.PlainProgress().note("nano-seed-0: 1/draft")
    assert [text for text in writes if text] == ["nano-seed-0: 1/draft\n"]


def test_the_bar_is_redrawn_while_no_tree_finishes() -> None:
    """The status is that of the moment at which the bar is drawn."""
    tokens = [0]
    shown, activity = progress.ProgressBar(), Activity(total=9, tokens=lambda: tokens[0])
    out = io.StringIO()
    shown._console = Console(file=out, force_terminal=True, width=100)
    shown.started(activity)
    tokens[0] = 10**6
    assert wait_for(lambda: re.search(r"\d,\d{3} tokens/s", out.getvalue()) is not None)
    shown.finished(activity)


def test_at_80_columns_the_bar_and_its_status_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that is too long is cut, and the bar is shorter: what wraps is redrawn as two lines."""
    shown, activity = progress.ProgressBar(), Activity(total=100, done=37, tokens=lambda: 0)
    status = "100/100 trees, 99 running, judge passes 100 %, 13,026 tokens/s, 178 s left"
    monkeypatch.setattr(shown, "status", lambda: status)
    for width, is_whole in ((120, True), (80, True), (40, False)):
        out = io.StringIO()
        shown._console = Console(file=out, force_terminal=True, width=width)
        shown.started(activity)
        shown.finished(activity)
        text = Text.from_ansi(out.getvalue()).plain
        lines = {line.rstrip() for line in text.splitlines() if "trees" in line or "left" in line}
        assert all(len(line) <= width for line in lines)
        assert all("100/100 trees" in line for line in lines)
        assert any(line.endswith("178 s left") for line in lines) == is_whole


def test_a_note_is_not_broken_where_the_terminal_ends() -> None:
    """A path in it can be copied."""
    shown = progress.ProgressBar()
    out = io.StringIO()
    shown._console = Console(file=out, force_terminal=True, width=20)
    shown.note(f"0 trees are saved in runs/{'x' * 30}")
    assert out.getvalue() == f"0 trees are saved in runs/{'x' * 30}\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(8.2, "8 s left"), (119, "119 s left"), (178, "3 min left"), (12_600, "3.5 h left")],
)
def test_the_time_left_is_in_a_unit_that_can_be_read(seconds: float, words: str) -> None:
    """6,276 seconds say little."""
    assert progress.time_left(seconds) == words
