"""The colours of every screen can be read, in every theme and without colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from itertools import cycle
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import ANSIToTruecolor, Monochrome
from textual.theme import BUILTIN_THEMES, Theme
from textual.widget import Widget

import tui.screens
import tui.widgets
from spar.cli.run_tui import standings
from spar.record.stage_progress import StageProgress
from spar.types import Finding, Node, SearchTree
from spar.view.node_detail import Annotations
from spar.view.palette import PALETTE
from tests.tui.driving import browser, is_idle, screen_text, until
from tests.tui.samples import failed_tree, node, trees, write_run
from tests.tui.test_play import Standing
from tui.app import SparApp
from tui.colours import MIN_CONTRAST, ReadableText, ansi_colours, contrast
from tui.screens.several import SeveralScreen
from tui.session_state import load

pytestmark = pytest.mark.screen

LETTER = re.compile(r"[^\s─-▟]")
SCREENS = {
    "runs": ["space"],
    "trees": ["enter"],
    "tree": ["enter", "enter", "G"],
    "export": ["enter", "enter", "x"],
    "help": ["question_mark"],
    "search": ["enter", "slash"],
    "compare": ["home", "down", "space", "C"],
    "pair": ["C", "enter"],
    "constraints": ["home", "enter", "c"],
    "training": ["G", "t"],
    "training chart": ["G", "t", "v"],
    "play samples": ["P", "ctrl+o"],
    "play growing": ["P", "x", "enter"],
    "palette": ["ctrl+p"],
    "note": ["home", "enter", "w", "o", "d", "d"],
    "noted": ["home", "enter", "w", "enter", "asterisk"],
    "tree search": ["home", "enter", "enter", "slash", "d"],
    "play": ["P", "H", "i"],
    "played": ["P", "H", "i", "enter"],
}
SHOWN_THEMES = [name for name, theme in BUILTIN_THEMES.items() if not theme.ansi]
"""Every screen is looked at in the dark and the light theme, and in colour in one more in turn."""
STAGES = (
    StageProgress(0, "eval", "done", 57.0),
    StageProgress(1, "draft", "failed", message="no memory"),
    StageProgress(1, "search", "running", 60.0, 120, 600, "prompts"),
    StageProgress(1, "eval", "waiting"),
)


def check(tree: SearchTree, node: Node) -> list[Finding]:
    """A constraint that no response meets."""
    return [Finding(type="keywords:existence", constraint="red", met=False)]


def faint(app: SparApp) -> Iterator[tuple[str, float]]:
    """Texts on the screen with too little contrast to their background, and their contrast."""
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style
            if style is None or not style.color or not style.bgcolor:
                continue
            if LETTER.search(segment.text) and style.color.triplet and style.bgcolor.triplet:
                ratio = contrast(style.color, style.bgcolor)
                if ratio < MIN_CONTRAST:
                    yield segment.text, round(ratio, 2)


@pytest.mark.parametrize("colour", [True, False], ids=["colour", "NO_COLOR"])
async def test_all_text_is_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour: bool
) -> None:
    """Text has a contrast of at least 4.5:1 on every screen and widget, in every theme, with and without `NO_COLOR`."""
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    unjudged = failed_tree(7).model_copy(update={"nodes": (node(0, None, "A cat.", None),)})
    write_run(tmp_path / "a", [*trees(3), unjudged])
    write_run(tmp_path / "b", [failed_tree(0), *trees(3)[1:]], strategy="greedy")
    loop = write_run(tmp_path / "loop", [], begins={})
    scores = loop / "iteration-0/eval/scores.json"
    scores.parent.mkdir(parents=True)
    scores.write_text('{"held-out": {"pass": {"value": 0.5, "stderr": 0.1}}}')
    inputs: dict[str, Any] = {
        "truth": lambda tree: tree.stop != "solved",
        "annotations_for": lambda directory: Annotations(check=check),
        "stages_of": lambda directory: STAGES,
        "standings": standings,
        "play": Standing(),
    }
    inputs["play"].free = True
    others, seen = cycle(SHOWN_THEMES), set[type]()
    async with browser(tmp_path, size=(120, 40), **inputs) as (app, pilot):
        for screen, keys in {**SCREENS, "several": []}.items():
            for key in keys:
                await pilot.press(key)
                await until(pilot, lambda: is_idle(app))
            if screen == "play growing":
                await until(pilot, lambda: "2 yes 1 no" in screen_text(app))
            if screen == "training":
                await until(pilot, lambda: "held-out pass" in screen_text(app))
            if screen == "played":
                await until(pilot, lambda: "answer #" in screen_text(app))
            if screen == "several":
                app.push_screen(SeveralScreen(app.inputs, *map(tmp_path.joinpath, "aba")))
                await until(pilot, lambda: "Holm" in screen_text(app))
            for theme in ("textual-dark", "textual-light", *([next(others)] if colour else [])):
                app.theme = theme
                await pilot.pause()
                assert not list(faint(app)), (screen, theme)
            shown = [node for node in app.screen.walk_children() if node.display]
            seen |= {type(node) for node in (app.screen, *shown)}
            while len(app.screen_stack) > 2:
                app.pop_screen()
                await pilot.pause()
    assert drawn_classes() <= seen


def drawn_classes() -> set[type]:
    """The screens and widgets of the browser that others are not derived from."""
    found = set()
    for package in (tui.screens, tui.widgets):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            for each in vars(import_module(module.name)).values():
                if isinstance(each, type) and issubclass(each, Widget):
                    found.add(each)
    own = {each for each in found if each.__module__.startswith("tui.")}
    return {each for each in own if not any(each in other.__mro__[1:] for other in own)}


@pytest.mark.parametrize(
    "theme", [t for t in BUILTIN_THEMES.values() if not t.ansi], ids=lambda theme: theme.name
)
@pytest.mark.parametrize("monochrome", [False, True])
def test_all_meanings_are_readable_in_every_theme(theme: Theme, monochrome: bool) -> None:
    """Each style of the palette has a contrast of at least 4.5:1 on each background of each theme."""
    colours = theme.to_color_system().generate()
    filters = [ANSIToTruecolor(ansi_colours(theme)), *[Monochrome()] * monochrome, ReadableText()]
    for ground in ("background", "surface", "panel", "primary", "accent"):
        behind = Color.parse(colours[ground])
        base = Style.from_color(Color.parse(colours["foreground"]).rich_color, behind.rich_color)
        segments = [Segment("text", base + Style.parse(style)) for style in PALETTE.values()]
        for each in filters:
            segments = each.apply(segments, behind)
        for segment in segments:
            assert segment.style and segment.style.color and segment.style.bgcolor
            assert contrast(segment.style.color, segment.style.bgcolor) >= MIN_CONTRAST


def test_contrast_is_that_of_wcag() -> None:
    """Black on white is 21:1, and the grey of WCAG's own example, #767676 on white, is just above 4.5:1."""
    black, white = RichColor.parse("#000000"), RichColor.parse("#ffffff")
    assert contrast(black, white) == contrast(white, black) == pytest.approx(21)
    assert contrast(RichColor.parse("#767676"), white) == pytest.approx(4.54, abs=0.01)


def test_pass_and_fail_follow_the_theme() -> None:
    """A pass has the colour that the theme gives to success, a fail that of an error."""
    for theme in BUILTIN_THEMES.values():
        colours, drawn = theme.to_color_system().generate(), ansi_colours(theme)
        for meaning, name in (("pass", "success"), ("fail", "error"), ("fault", "warning")):
            style = Style.parse(PALETTE[meaning])
            assert style.color
            assert style.color.get_truecolor(drawn) == Color.parse(colours[name]).rgb


async def test_a_pass_is_the_success_of_the_theme_on_the_screen(tmp_path: Path) -> None:
    """From the start, in the default theme, and after another theme was chosen."""
    write_run(tmp_path / "a", trees(3))
    async with browser(tmp_path) as (app, pilot):
        for theme in ("textual-dark", "textual-light"):
            app.theme = theme
            await pilot.pause()
            success = Color.parse(app.theme_variables["success"]).rich_color
            strips = app.screen._compositor.render_strips()
            style = next(s.style for strip in strips for s in strip if s.style and "✓" in s.text)
            ticks = [Segment("✓", Style.from_color(success, style.bgcolor))]
            expected = ReadableText().apply(ticks, Color(0, 0, 0))[0].style
            assert expected and style.color == expected.color


def test_meanings_have_different_colours() -> None:
    """Those of a pass, a fail, a fault and the sides of a comparison; a native theme has the terminal's colours."""
    for theme in (theme for theme in BUILTIN_THEMES.values() if not theme.ansi):
        drawn = ansi_colours(theme)
        styles = [Style.parse(PALETTE[name]) for name in ("pass", "fail", "fault", "left", "right")]
        assert len({s.color.get_truecolor(drawn) for s in styles if s.color}) == 5, theme.name


async def test_a_theme_is_remembered(tmp_path: Path) -> None:
    """A theme that was chosen in the palette is used in the next session."""
    write_run(tmp_path / "a", trees(1))
    state = tmp_path / "state.json"
    async with browser(tmp_path, state_file=state) as (app, pilot):
        app.theme = "nord"
        await pilot.pause()
    assert load(state).theme == "nord"
    async with browser(tmp_path, state_file=state) as (app, pilot):
        assert app.theme == "nord"
