"""The play screen: searches that grow, are cancelled, fail and are stored; and the real session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.widgets import Button, Input, Select

from spar import plugins
from spar.cli import plugin_errors
from spar.cli.play import RETRY_SECONDS, SessionPlay, model_settings
from spar.cli.play_samples import embedded_samples, plain_samples, prompt_of
from spar.config import load_decode
from spar.errors import EngineError, RunStopped, SparError, UsageError
from spar.listener import AttemptProgress, Listener
from spar.own_verifiers import EQUAL
from spar.plugins import STRATEGIES
from spar.run.interactive import Session
from spar.store import read_manifest, read_summary, read_trees
from spar.types import Message, Node, Prompt, SearchTree, best
from spar.verifiers import CONSTRAINTS, unverifiable
from spar.view.node_detail import Annotations
from tests.hostile import EVERYTHING, hostile_text
from tests.strategies import any_text
from tests.tui.driving import browser, line, notified, screen_text, until
from tests.tui.samples import DRAFT, REFINED, node
from tests.tui.test_keys import Press, copied, is_screen, press_all, scrolled, shows
from tests.tui.test_snapshots import SIZES, Compare
from tests.view.test_text import unseen
from tui.app import LIGHT, SparApp
from tui.index.run_summary import read_run
from tui.inputs import Inputs
from tui.node_facts import NodeFacts
from tui.play import (
    PlaySettings,
    Sample,
    SearchProgress,
    cancelled_text,
    partial_tree,
    progress_text,
    read_settings,
    result_text,
)
from tui.play_attempts import attempt_sections, growing_tree
from tui.screens.play import PlayScreen
from tui.screens.runs import RunsScreen
from tui.screens.samples import SamplesScreen
from tui.widgets.bars import StatusBar
from tui.widgets.instruction import Instruction, plain
from tui.widgets.parts_pane import PartsPane
from tui.widgets.tree_pane import TreePane

pytestmark = pytest.mark.screen

NODES = (node(0, None, DRAFT, 1), node(1, 0, REFINED, 2), node(2, 0, "Two dogs.\n" * 40, 4))


PROMPT = Prompt(id="p", messages=(Message(role="user", content="Say it."),))


class ScriptedPlay:
    """Gives its nodes one by one, each when `step` is set; keeps nothing but a list."""

    strategies: Sequence[str] = ("greedy", "bfs")
    judges: Sequence[str] = ("votes", "verifier", "hybrid")
    settings = PlaySettings("bfs", 15)
    gate = 0.5
    check = None
    description = "a [b]script[/b]"

    def __init__(self, nodes: Sequence[Node] = NODES, *, error: SparError | None = None) -> None:
        self.nodes, self.error = nodes, error
        self.tokens = 0
        self.searches: list[tuple[str, PlaySettings]] = []
        self.kept: list[SearchTree] = []
        self.loads: list[str] = []
        self.num_cancelled = 0
        self.step = asyncio.Event()
        self.free = False
        """Whether nodes come without a step."""

    async def search(self, instruction: str, settings: PlaySettings, watch: Listener) -> SearchTree:
        """The nodes, then a tree of them, or the error."""
        self.searches.append((instruction, settings))
        watch.note("loading [/x]")
        try:
            for found in self.nodes:
                await self._allowed()
                self.tokens += 7
                watch.node(PROMPT, found)
            await self._allowed()
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise
        if self.error:
            raise self.error
        return partial_tree(instruction, self.nodes, settings, self.gate).model_copy(
            update={"stop": "solved", "seconds": 1.5}
        )

    def is_embedded(self, model: str) -> bool:
        """Whether none is typed."""
        return not model

    async def samples(self, model: str) -> Sequence[Sample]:
        """Two."""
        odd = Message(role="user", content=f"Do {EVERYTHING}")
        return [
            Sample("short", PROMPT),
            Sample("[b]odd[/b]", Prompt(id="o", messages=(odd,))),
        ]

    async def load(self, settings: PlaySettings, watch: Listener) -> str:
        """Its name, when `step` is set, or the error."""
        self.loads.append(settings.model)
        watch.note("reading weights")
        await self._allowed()
        if self.error:
            raise self.error
        return f"model [b]{settings.model}[/b]"

    async def keep(self, tree: SearchTree) -> Path:
        """Once; then it was kept."""
        if tree in self.kept:
            raise UsageError("it is already stored [x]")
        self.kept.append(tree)
        return Path("runs/play-[x]")

    async def _allowed(self) -> None:
        if not self.free:
            await self.step.wait()
            self.step.clear()


@asynccontextmanager
async def playing(
    play: Any, tmp_path: Path, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[SparApp, Any, PlayScreen]]:
    """The play screen over an empty folder."""
    async with browser(tmp_path, size=size, play=play) as (app, pilot):
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, PlayScreen))
        assert isinstance(app.screen, PlayScreen)
        yield app, pilot, app.screen


def num_nodes(screen: PlayScreen) -> int:
    """Nodes that are drawn."""
    return len(screen.shown_tree.nodes) if screen.shown_tree else -1


async def test_a_tree_grows_node_by_node(tmp_path: Path) -> None:
    """Each node is drawn when it comes, the cursor on it; at the end the cursor is on the answer."""
    play = ScriptedPlay()
    async with playing(play, tmp_path) as (_, pilot, screen):
        await pilot.press(*"Say it.", "enter")
        await until(pilot, lambda: play.searches == [("Say it.", PlaySettings("bfs", 15, 0))])
        await until(pilot, lambda: "loading [/x]" in screen_text(pilot.app))
        for count in (1, 2, 3):
            play.step.set()
            await until(pilot, lambda count=count: num_nodes(screen) == count)  # type: ignore[misc]
            under = screen.query_one(TreePane).under_cursor
            assert under is not None
            assert under.node_id == count - 1
            await until(pilot, lambda n=count: f"{n} of at most 15" in screen_text(pilot.app))  # type: ignore[misc]
        assert screen.is_searching
        play.step.set()
        await until(pilot, lambda: screen.finished_tree is not None and not screen.is_searching)
        assert "solved  answer #2 0.80" in screen_text(pilot.app)
        assert "21 tokens, 1.5 s" in screen_text(pilot.app)


async def test_the_cursor_stays_where_a_person_put_it(tmp_path: Path) -> None:
    """Nodes that arrive later do not move the cursor."""
    play = ScriptedPlay()
    async with playing(play, tmp_path) as (_, pilot, screen):
        await pilot.press(*"Say it.", "enter")
        for count in (1, 2):
            play.step.set()
            await until(pilot, lambda count=count: num_nodes(screen) == count)  # type: ignore[misc]
        await pilot.press("k")
        play.free = True
        play.step.set()
        await until(pilot, lambda: screen.finished_tree is not None)
        under = screen.query_one(TreePane).under_cursor
        assert under is not None
        assert under.node_id == 0


def footer_keys(screen: PlayScreen) -> list[tuple[str, str]]:
    """The keys that the footer shows."""
    return [
        (each.binding.key, each.binding.description)
        for each in screen.active_bindings.values()
        if each.binding.show and each.enabled
    ]


async def test_the_footer_says_what_escape_does(tmp_path: Path) -> None:
    """While a search runs it cancels; else it leads back."""
    play = ScriptedPlay()
    async with playing(play, tmp_path) as (app, pilot, screen):
        assert ("escape", "Back") in footer_keys(screen)
        await pilot.press(*"Say it.", "enter")
        await until(pilot, lambda: screen.is_searching)
        assert ("escape", "Cancel") in footer_keys(screen)
        assert ("escape", "Back") not in footer_keys(screen)
        await pilot.press("escape")
        await until(pilot, lambda: not screen.is_searching)
        assert ("escape", "Back") in footer_keys(screen)
        assert app.screen is screen


@pytest.mark.parametrize("key", ["escape", "ctrl+c", "q"])
async def test_cancel(tmp_path: Path, key: str) -> None:
    """The search stops at once, its nodes stay, and another one can be run."""
    play = ScriptedPlay()
    async with playing(play, tmp_path) as (app, pilot, screen):
        await pilot.press(*"Say it.", "enter")
        play.step.set()
        await until(pilot, lambda: num_nodes(screen) == 1)
        await pilot.press(key)
        await until(pilot, lambda: play.num_cancelled == 1 and not screen.is_searching)
        assert "cancelled after 1 response" in screen_text(app)
        assert num_nodes(screen) == 1
        assert screen.finished_tree is None
        screen.query_one("#budget", Input).value = "3"
        screen.query_one("#seed", Input).value = ""
        play.free = True
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.finished_tree is not None)
        assert play.searches[-1] == ("Say it.", PlaySettings("bfs", 3, None))


async def test_a_late_node_of_a_cancelled_search_is_not_drawn(tmp_path: Path) -> None:
    """The screen ignores late nodes of a cancelled search."""
    watches: list[Listener] = []

    class Late(ScriptedPlay):
        async def search(
            self, instruction: str, settings: PlaySettings, watch: Listener
        ) -> SearchTree:
            watches.append(watch)
            return await super().search(instruction, settings, watch)

    async with playing(Late(), tmp_path) as (_, pilot, screen):
        await pilot.press(*"Say it.", "enter")
        await until(pilot, lambda: len(watches) == 1)
        await pilot.press("escape", "ctrl+r")
        await until(pilot, lambda: len(watches) == 2)
        watches[0].node(PROMPT, NODES[0])
        assert num_nodes(screen) == 0
        watches[1].node(PROMPT, NODES[0])
        assert num_nodes(screen) == 1


def attempt(number: int = 0, **fields: Any) -> AttemptProgress:
    """An attempt that runs."""
    return AttemptProgress(number, fields.pop("wave", 0), **fields)


class Growing(ScriptedPlay):
    """Reports one attempt at each step, then one node."""

    steps: Sequence[AttemptProgress] = (
        attempt(text="Two"),
        attempt(text="Two cats sat on a mat."),
        attempt(text="Two cats sat on a mat.", response="Two cats sat on a mat."),
        attempt(response="Two cats sat on a mat.", verdicts=(True, True, False)),
    )

    async def search(self, instruction: str, settings: PlaySettings, watch: Listener) -> SearchTree:
        """The attempts, each when `step` is set."""
        watch.note("the model is loaded")
        for step in self.steps:
            await self._allowed()
            watch.attempt(PROMPT, step)
        return await super().search(instruction, settings, watch)


class Standing(ScriptedPlay):
    """Stops in the middle: a node, then a wave with an attempt in each state; only `Hi` comes to an end."""

    wave: Sequence[AttemptProgress] = (
        attempt(1, wave=1, parents=(0,), text="The mat is missing.\n[[start]]\nTwo dogs sat on"),
        attempt(2, wave=1, parents=(0,), response="Two red cats.", verdicts=(True, True, False)),
        attempt(3, wave=1, parents=(0,), response="Two.", judgement=NODES[2].judgement),
        attempt(4, wave=1, parents=(0,), fault="no refined output"),
        attempt(5, wave=1, parents=(0,)),
    )

    async def search(self, instruction: str, settings: PlaySettings, watch: Listener) -> SearchTree:
        """The nodes of the play, or never."""
        if instruction == "Hi":
            return await super().search(instruction, settings, watch)
        watch.node(PROMPT, self.nodes[0])
        for running in self.wave:
            watch.attempt(PROMPT, running)
        await asyncio.Event().wait()
        raise AssertionError


async def test_text_and_votes_appear_as_they_come(tmp_path: Path) -> None:
    """The text that is written is in the pane and on its line, then the votes; the node takes their place."""
    play = Growing()
    async with playing(play, tmp_path, size=(120, 40)) as (app, pilot, screen):
        await pilot.press(*"Say it.", "enter")
        for seen in ("Draft, being written", "6 words so far", "judging", "2 yes 1 no …"):
            play.step.set()
            await until(pilot, lambda seen=seen: seen in screen_text(app))  # type: ignore[misc]
        assert screen_text(app).count("Two cats sat on a mat.") == 2
        assert "the model is loaded" not in screen_text(app)
        play.step.set()
        await until(pilot, lambda: screen.panes.num_nodes == 1)
        assert "2 yes 1 no" not in screen_text(app)
        await pilot.press("escape")


async def test_tokens_are_drawn_a_few_times_a_second(tmp_path: Path) -> None:
    """A hundred tokens at once are drawn once, so that keys need not wait for them."""
    play = Growing()
    play.steps = tuple(attempt(text="word " * number) for number in range(1, 100))
    async with playing(play, tmp_path) as (_, pilot, screen):
        drawn: list[int] = []
        draw = screen.panes._draw
        screen.panes._draw = lambda *given: drawn.append(1) or draw(*given)  # type: ignore[method-assign,func-returns-value]
        play.free = True
        await pilot.press(*"Say it.", "enter")
        await until(pilot, lambda: screen.finished_tree is not None)
        assert len(drawn) < 20


async def test_what_a_cancelled_search_wrote_stays(tmp_path: Path) -> None:
    """The text that was on the screen is still there, as unfinished."""
    play = Growing()
    async with playing(play, tmp_path, size=(120, 40)) as (app, pilot, screen):
        await pilot.press(*"Say it.", "enter")
        play.step.set()
        await until(pilot, lambda: "being written" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: "unfinished" in screen_text(app))
        assert "Two" in screen_text(app) and not screen.is_searching
        assert "cancelled after 0 responses" in screen_text(app)


async def test_a_sample_is_picked(tmp_path: Path) -> None:
    """The list shows hostile texts as they are; Enter puts one into the instruction."""
    play = ScriptedPlay()
    async with playing(play, tmp_path, size=(120, 40)) as (app, pilot, screen):
        await until(
            pilot, lambda: "embedded model speaks only a small language" in screen_text(app)
        )
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, SamplesScreen))
        assert not unseen(screen_text(app))
        await pilot.press("j", "k", "enter")
        await until(pilot, lambda: screen.query_one(Instruction).text == "Say it.")
        await pilot.press("!")
        await until(pilot, lambda: "expect odd words" in screen_text(app))


async def test_a_model_is_loaded_while_keys_are_typed(tmp_path: Path) -> None:
    """Enter in the field loads; meanwhile keys work, Esc cancels, and an error is one line."""
    play = ScriptedPlay()
    async with playing(play, tmp_path, size=(120, 40)) as (app, pilot, screen):
        await pilot.press("tab", *"ab", "enter")
        await until(pilot, lambda: "loading ab" in screen_text(app))
        await pilot.press("shift+tab", *"Hi")
        assert screen.query_one(Instruction).text == "Hi"
        await pilot.press("escape")
        await until(pilot, lambda: "stopped loading" in screen_text(app))
        play.error = UsageError("--model ab: no such\nmodel [x]")
        play.free = True
        await pilot.press("tab", "end", "c", "enter")
        await until(pilot, lambda: "--model ab: no such⏎model [x]" in screen_text(app))
        play.error = None
        await pilot.press("enter")
        await until(pilot, lambda: "model [b]abc[/b] is loaded" in screen_text(app))
        assert play.loads == ["ab", "abc", "abc"]
        assert screen.query_one(Instruction).has_focus


async def test_leaving_cancels(tmp_path: Path) -> None:
    """A search does not outlive the browser."""
    play = ScriptedPlay()
    async with playing(play, tmp_path) as (_, pilot, screen):
        await pilot.press(*"Say it.", "enter")
        await until(pilot, lambda: screen.is_searching and len(play.searches) == 1)
    assert play.num_cancelled == 1


async def test_an_engine_that_fails_is_one_line(tmp_path: Path) -> None:
    """A model that cannot be loaded or called does not end the browser; the next search may work."""
    play = ScriptedPlay(error=EngineError("the model [bold]failed[/]: \x1b[31mlong\n\nstory"))
    play.free = True
    async with playing(play, tmp_path) as (app, pilot, screen):
        await pilot.press(*"Say it.", "enter")
        await until(
            pilot, lambda: "the model [bold]failed[/]: ␛[31mlong⏎⏎story" in screen_text(app)
        )
        assert screen.finished_tree is None
        play.error = None
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.finished_tree is not None)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("budget", "", "budget nothing: enter a whole number from 1 to 10,000"),
        ("budget", "0", "budget 0: enter"),
        ("budget", "1.5", "budget 1.5: enter"),
        ("budget", "10001", "budget 10001: enter"),
        ("budget", "[b]x[/b]", "budget [b]x[/b]: enter"),
        ("seed", "x", "seed x: enter a whole number, or leave it empty"),
    ],
)
async def test_settings_that_are_none(tmp_path: Path, name: str, value: str, error: str) -> None:
    """An invalid number is a one-line error, and nothing is searched."""
    play = ScriptedPlay()
    async with playing(play, tmp_path) as (app, pilot, screen):
        await pilot.press(*"Say it.")
        screen.query_one(f"#{name}", Input).value = value
        await pilot.press("ctrl+r")
        await until(pilot, lambda: error in screen_text(app))
        assert play.searches == []


async def test_nothing_to_ask(tmp_path: Path) -> None:
    """A blank instruction is not searched."""
    play = ScriptedPlay()
    async with playing(play, tmp_path) as (app, pilot, _):
        await pilot.press("space", "enter")
        await until(pilot, lambda: "type an instruction first" in screen_text(app))
        assert play.searches == []


PLAY = (
    Press("ctrl+o", is_screen(SamplesScreen)),
    Press("ctrl+r", lambda app: app.screen.is_searching, first=["S", "a", "y"]),
    Press("ctrl+c", lambda app: not app.screen.is_searching),
    Press("ctrl+s", lambda app: len(app.screen.play.kept) == 1),
    Press("a", lambda app: line(app) == 3, first=["g", "g"]),
    Press("d", shows("Response ──")),
    Press("J", scrolled(1, 1)),
    Press("K", scrolled(0, 0)),
    Press("y", copied("Two dogs.\n" * 40)),
    Press("i", lambda app: app.screen.query_one(Instruction).has_focus),
    Press("escape", is_screen(RunsScreen)),
)


def test_every_key_is_pressed() -> None:
    """The table above names each binding of the screen, and every binding says what it does."""
    bindings = list(Binding.make_bindings(vars(PlayScreen)["BINDINGS"]))
    assert {press.key for press in PLAY} == {binding.key for binding in bindings}
    assert all(binding.description for binding in bindings)


async def test_keys_of_the_play(tmp_path: Path) -> None:
    """Run, cancel, store, the answer, what is shown and copied, another instruction, back."""
    play = ScriptedPlay()
    async with playing(play, tmp_path, size=(120, 40)) as (app, pilot, screen):
        await press_all(app, pilot, PLAY[:1])
        await pilot.press("escape")
        await press_all(app, pilot, PLAY[1:3])
        play.free = True
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.finished_tree is not None)
        await press_all(app, pilot, PLAY[3:])


async def test_keys_of_the_instruction(tmp_path: Path) -> None:
    """ctrl+j inserts a line break, Enter runs, Tab moves to the settings, Enter runs in the budget too."""
    play = ScriptedPlay()
    play.free = True
    async with playing(play, tmp_path) as (_, pilot, screen):
        await pilot.press("a", "ctrl+j", "b", "enter")
        await until(pilot, lambda: screen.finished_tree is not None)
        assert play.searches == [("a\nb", PlaySettings("bfs", 15, 0))]
        await pilot.press("i", *["tab"] * 5, "4", "enter")
        await until(pilot, lambda: len(play.searches) == 2)
        assert play.searches[1] == ("a\nb", PlaySettings("bfs", 4, 0))
        await until(pilot, lambda: not screen.is_searching)
        screen.query_one("#strategy", Select).value = "greedy"
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(play.searches) == 3)
        assert play.searches[2][1].strategy == "greedy"


async def test_buttons(tmp_path: Path) -> None:
    """The mouse runs, cancels and stores; unavailable buttons are disabled."""
    play = ScriptedPlay()
    async with playing(play, tmp_path) as (app, pilot, screen):
        note: list[str] = []
        app.show_message = app.show_warning = note.append  # type: ignore[method-assign,assignment]

        def enabled() -> list[str | None]:
            return [button.id for button in screen.query(Button) if not button.disabled]

        assert enabled() == ["samples", "run"]
        await pilot.press(*"Say it.")
        await pilot.click("#run")
        await until(pilot, lambda: enabled() == ["samples", "cancel"])
        await pilot.click("#cancel")
        await until(pilot, lambda: enabled() == ["samples", "run"])
        play.free = True
        await pilot.click("#run")
        await until(pilot, lambda: enabled() == ["samples", "run", "store"])
        await pilot.click("#store")
        await until(pilot, lambda: note == ["stored in runs/play-[x]"])
        await pilot.press("ctrl+s")
        await until(pilot, lambda: note[1:] == ["it is already stored [x]"])
        assert len(play.kept) == 1


async def test_what_is_pasted_is_what_is_asked(tmp_path: Path) -> None:
    """No invisible character is sent to a model or the terminal."""
    play = ScriptedPlay()
    async with playing(play, tmp_path) as (app, pilot, screen):
        app.post_message(events.Paste("a\x1b[31mb\r\nc\td\u202e\u200b[b]x[/b]"))
        await until(pilot, lambda: bool(screen.query_one(Instruction).text))
        assert screen.query_one(Instruction).text == "a[31mb\nc    d[b]x[/b]"
        assert not unseen(screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: len(play.searches) == 1)
        assert play.searches[0][0] == "a[31mb\nc    d[b]x[/b]"


@given(any_text)
def test_plain(text: str) -> None:
    """Only invisible characters are removed."""
    made = plain(text)
    assert all(character.isprintable() or character == "\n" for character in made)
    assert plain(made) == made
    assert made == text or not all(character.isprintable() for character in text)


async def test_hostile_nodes_on_the_screen(tmp_path: Path) -> None:
    """Model output is shown as text, during and after the search."""
    play = ScriptedPlay([node(0, None, EVERYTHING, 1), node(1, 0, f"[/x]{EVERYTHING}", 4)])
    play.free = True
    async with playing(play, tmp_path, size=(120, 40)) as (app, pilot, screen):
        assert "a [b]script[/b]" in screen_text(app)
        await pilot.press(*"Say it.", "enter")
        await until(pilot, lambda: screen.finished_tree is not None and bool(screen.panes.sections))
        assert "[bold red]x[/]" in screen_text(app)
        await pilot.press("d", "tab", "G")
        assert not unseen(screen_text(app))


@given(hostile_text)
def test_hostile_lines(text: str) -> None:
    """Status lines stay on one line, whatever the engine's notes contain."""
    settings = PlaySettings("bfs", 3)
    shown = [progress_text(settings, SearchProgress(0, 1, 1.0, text)), cancelled_text(1, 2.0)]
    shown.append(result_text(partial_tree(text, NODES, settings, 0.5), 3))
    assert not any(unseen(line.plain) or "\n" in line.plain for line in shown)


@pytest.mark.parametrize(
    ("budget", "seed", "settings"),
    [
        (" 15 ", " 7", PlaySettings("bfs", 15, 7)),
        ("1", "", PlaySettings("bfs", 1, None)),
        ("10000", "-3", PlaySettings("bfs", 10_000, -3)),
    ],
)
def test_read_settings(budget: str, seed: str, settings: PlaySettings) -> None:
    """White space around a number is ignored; an empty seed is None."""
    assert read_settings("bfs", budget, seed) == settings


@pytest.mark.parametrize("typed", ["²", "٣", "1e3", "--1", "1_0", "9" * 30])
def test_odd_numbers_are_none(typed: str) -> None:
    """Only ASCII digits are a number."""
    with pytest.raises(UsageError, match="enter a whole number"):
        read_settings("bfs", typed, "")
    with pytest.raises(UsageError, match="leave it empty"):
        read_settings("bfs", "1", typed)


def test_attempts_are_drawn_as_nodes() -> None:
    """In their order, below what they refine; failures are faults; only what is in the tree can be the answer."""
    running = [
        attempt(3, parents=(1,), fault="no list"),
        attempt(2, parents=(0, 1), text="So:\n[[start]]\nNew"),
        attempt(1, response="Old", judgement=NODES[1].judgement),
    ]
    growing = growing_tree("x", NODES[:2], running, PlaySettings("bfs", 5), 0.5)
    tree = growing.tree
    assert [(each.parent, each.depth, each.response) for each in tree.nodes[2:]] == [
        (None, 0, "Old"),
        (0, 1, "New"),
    ]
    assert [(fault.parent, fault.stage) for fault in tree.faults] == [(1, "refine")]
    assert tree.selected == 1
    states = {number: line.judged and line.judged.plain for number, line in growing.pending.items()}
    assert states == {2: None, 3: "writing"}
    assert [section.title for section in attempt_sections(running[1])] == [
        "State",
        "Reflection before it",
        "Refinement, being written",
    ]


def test_facts_are_taken_over_of_the_same_nodes_only() -> None:
    """What a search before found out is not what is shown of the nodes of the next."""
    settings = PlaySettings("bfs", 5)
    before, grown, other = (
        NodeFacts(partial_tree("x", nodes, settings, 0.5), Annotations())
        for nodes in (NODES[:2], NODES, [node(0, None, "A cat.", None)])
    )
    assert before.work(60)
    for facts in (grown, other):
        facts.take_over(before)
    assert [grown.of(each) is not None for each in NODES] == [True, True, False]
    assert [other.of(each) for each in (*NODES, *other.tree.nodes)] == [None] * 4


@given(hostile_text)
def test_hostile_attempts(text: str) -> None:
    """What a model writes is shown as text, at every step."""
    for running in (attempt(text=text), attempt(parents=(0,), text=text, verdicts=(None,))):
        growing = growing_tree("x", NODES[:1], [running], PlaySettings("bfs", 5), 0.5)
        for pending in growing.pending.values():
            assert not unseen(pending.change.plain) and "\n" not in pending.change.plain
        for section in attempt_sections(running):
            assert not unseen(section.body.plain.replace("\n", ""))


@pytest.mark.parametrize(
    ("typed", "settings"),
    [
        ("embedded", {"base_url": (), "model": ""}),
        ("org/name", {"base_url": (), "model": "org/name"}),
        ("http://h:1/v1", {"base_url": ("http://h:1/v1",), "model": ""}),
        ("https://h/v1  name", {"base_url": ("https://h/v1",), "model": "name"}),
    ],
)
def test_models_as_they_are_typed(typed: str, settings: dict[str, Any]) -> None:
    """A folder, a file or a name; or a server, with or without the name of its model."""
    assert model_settings(typed) == settings


def test_samples_are_instructions_that_programs_check() -> None:
    """One of each kind that the embedded model understands; their own text meets no package's verifier."""
    own, plain_english = embedded_samples(), plain_samples()
    assert len({sample.kind for sample in own}) == len(own) >= 10
    assert all(unverifiable(sample.prompt) == "" for sample in own)
    assert {each for sample in plain_english for each in sample.prompt.meta[CONSTRAINTS]} <= EQUAL
    assert prompt_of(f" {own[0].text}", own, "play").meta == own[0].prompt.meta
    assert prompt_of("Say it.", own, "play").meta == {}


def test_so_far() -> None:
    """The answer of a growing tree is its best node."""
    settings = PlaySettings("bfs", 3)
    assert partial_tree("x", (), settings, 0.5).selected is None
    assert partial_tree("x", NODES[:2], settings, 0.5).selected == best(NODES[:2])[0].id == 1


def press(*keys: str) -> Callable[[Any], Any]:
    """Type an instruction and press keys."""

    async def pressing(pilot: Any) -> None:
        app = pilot.app
        app.screen.set_focus(None)
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, PlayScreen))
        app.screen.query_one(Instruction).text = "Write about a dog. Use red."
        standing = isinstance(app.screen.play, Standing)
        for key in keys:
            await pilot.press(key)
        if standing:
            await until(pilot, lambda: "2 yes 1 no" in screen_text(app))
            app.screen.panes.query_one(TreePane).cursor = 2
            await until(pilot, lambda: "being written" in screen_text(app))
            await until(pilot, lambda: "Two cats sat" in screen_text(app))
            pane = app.screen.query_one(PartsPane)
            await until(pilot, lambda: pane.scroll_offset.y == pane.max_scroll_y)
            app.screen.update_status = lambda: None  # its seconds would differ
            app.screen.query_one(StatusBar).set_content(Text("● searching"))
            await pilot.pause()
            return
        if "enter" in keys:
            await until(pilot, lambda: app.screen.finished_tree is not None)
        await until(pilot, lambda: not app.workers._workers)

    return pressing


SCREENS: dict[str, tuple[type[ScriptedPlay], list[str]]] = {
    "typed": (ScriptedPlay, []),
    "growing": (Standing, ["enter"]),
    "ended": (ScriptedPlay, ["enter"]),
    "samples": (ScriptedPlay, ["ctrl+o"]),
}
"""Name of a snapshot to its play, and the keys that lead there."""
SNAPSHOTS = (
    *(("typed", size, "") for size in SIZES),
    ("growing", (120, 40), ""),
    ("typed", (200, 50), "light"),
    ("growing", (120, 40), "NO_COLOR"),
    ("ended", (80, 24), ""),
    ("samples", (80, 24), ""),
)


@pytest.mark.parametrize(
    ("screen", "size", "colours"),
    SNAPSHOTS,
    ids=lambda value: f"{value[0]}x{value[1]}" if isinstance(value, tuple) else value or "dark",
)
def test_screen(
    snap_compare: Compare,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    screen: str,
    size: tuple[int, int],
    colours: str,
) -> None:
    """The screen matches its snapshot."""
    if colours == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    kind, keys = SCREENS[screen]
    play = kind()
    play.free = True
    app = SparApp(Inputs(paths=(tmp_path,), play=play))
    if colours == "light":
        app.theme = LIGHT
    assert snap_compare(app, run_before=press(*keys), terminal_size=size)


class Recorder(Listener):
    """Collects nodes and notes."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.lines: list[str] = []

    def node(self, prompt: Prompt, node: Node) -> None:
        """Append the node."""
        self.nodes.append(node)

    def note(self, line: str) -> None:
        """Append the line."""
        self.lines.append(line)


def silent() -> tuple[Listener, list[Node], list[str]]:
    """A listener, and what it receives."""
    recorder = Recorder()
    return recorder, recorder.nodes, recorder.lines


@pytest.fixture
def fake(tmp_path: Path) -> Any:
    """Plays with the fake engine."""
    with SessionPlay(load_decode("nano", {"engine": "fake"}), tmp_path / "runs") as play:
        yield play


async def test_engine_play_finds_what_decode_would(fake: SessionPlay) -> None:
    """Every node is reported in order, in the caller's thread, and together they make the tree."""
    watch, nodes, lines = silent()
    tree = await fake.search("Say it.", PlaySettings("bfs", 15, 3), watch)
    assert tuple(nodes) == tree.nodes
    assert tree.strategy == "bfs"
    assert lines[-1] == "the model is loaded"
    assert fake.tokens > 0
    again = await fake.search("Say it.", PlaySettings("bfs", 15, 3), watch)
    assert [one.response for one in again.nodes] == [one.response for one in tree.nodes]
    assert (fake.gate, fake.description, fake.strategies) == (0.5, "embedded", tuple(STRATEGIES))
    assert fake.settings == PlaySettings("bfs", 15, 0, model="embedded")


async def test_engine_play_follows_what_is_written(fake: SessionPlay) -> None:
    """Texts grow and votes arrive one by one, in the caller's thread."""
    seen: list[AttemptProgress] = []

    class Follower(Listener):
        def attempt(self, prompt: Prompt, attempt: AttemptProgress) -> None:
            seen.append(attempt)

    settings = PlaySettings("bfs", 4, 3)
    tree = await fake.search("Say it.", settings, Follower())
    assert {"answer", tree.nodes[0].response} <= {each.text for each in seen}
    assert {1, 2, 3, 4, 5} <= {len(each.verdicts) for each in seen}
    again = await fake.search("Say it.", settings, Listener())
    assert [each.response for each in again.nodes] == [each.response for each in tree.nodes]


async def test_another_model_and_judge(fake: SessionPlay, tmp_path: Path) -> None:
    """A model that is typed replaces the one before, whose trees can still be stored; a wrong one is one line."""
    first = await fake.search("Say it.", PlaySettings("greedy", 1), Listener())
    before = fake.tokens
    with pytest.raises(UsageError, match="verifier: no program knows"):
        await fake.search("Say it.", PlaySettings("bfs", 2, judge="verifier"), Listener())
    (sample, *_) = await fake.samples("embedded")
    checked = PlaySettings("bfs", 2, judge="verifier", model="another")
    tree = await fake.search(sample.text, checked, Listener())
    assert tree.prompt.meta == sample.prompt.meta
    assert tree.nodes[0].judgement is not None and tree.nodes[0].judgement.findings
    assert (fake.description, fake.is_embedded("another")) == ("another", False)
    assert fake.tokens > before
    assert await fake.load(checked, Listener()) == "another"
    assert await fake.keep(first) != await fake.keep(tree)
    with pytest.raises(UsageError, match="--base-url"):
        await fake.load(PlaySettings("bfs", 2, model="http://[bad"), Listener())


@pytest.mark.parametrize("own", [{"judge_model": "j"}, {"actor_model": "a", "judge_model": "j"}])
async def test_the_first_model_comes_back_with_its_settings(
    tmp_path: Path, own: dict[str, str]
) -> None:
    """Another model plays all roles; the first one has the models of the roles again that were passed with it."""
    with SessionPlay(load_decode("nano", {"engine": "fake", **own}), tmp_path) as play:
        first, settings = play.description, play.settings
        assert "j" in first.split(", ")
        assert await play.load(replace(settings, model="another"), Listener()) == "another"
        assert await play.load(settings, Listener()) == first
        assert await play.load(replace(settings, model="another"), Listener()) == "another"
        assert await play.load(replace(settings, model=""), Listener()) == first


async def test_a_model_is_loaded_once(fake: SessionPlay) -> None:
    """Searches share the open engines."""
    watch, _, lines = silent()
    await fake.search("Say it.", PlaySettings("greedy", 1), watch)
    (meter,) = fake._session._pool.engines.values()
    await fake.search("Say it.", PlaySettings("bfs", 3), watch)
    assert list(fake._session._pool.engines.values()) == [meter]
    assert lines.count("loading the model ...") == 1


async def test_kept_trees_are_a_run(fake: SessionPlay, tmp_path: Path) -> None:
    """Trees of the same settings share a run directory, which every tool reads; none is stored twice."""
    watch, _, _ = silent()
    settings = PlaySettings("best-of-n", 2)
    first, second = [await fake.search(text, settings, watch) for text in ("One.", "Two.")]
    directory = await fake.keep(first)
    assert directory.parent == tmp_path / "runs"
    assert directory.name.startswith("play-best-of-n-2-")
    assert await fake.keep(second) == directory
    with pytest.raises(UsageError, match="already has a tree of this instruction"):
        await fake.keep(first)
    assert list(read_trees(directory)) == [first, second]
    manifest = read_manifest(directory)
    assert (manifest.config["prompts"], manifest.digest) == ("play", first.config)
    assert read_summary(directory)["trees"] == 2
    run = read_run(directory)
    assert run is not None
    assert (run.state, run.strategy, run.budget) == ("finished", "best-of-n", 2)
    other = await fake.search("One.", PlaySettings("best-of-n", 3), watch)
    assert await fake.keep(other) != directory


async def test_blank_instructions_and_closed_plays(tmp_path: Path) -> None:
    """Both are one-line errors."""
    watch, _, _ = silent()
    with (
        SessionPlay(load_decode("nano", {"engine": "fake"}), tmp_path) as play,
        pytest.raises(UsageError, match="blank"),
    ):
        await play.search(" \n", PlaySettings("bfs", 1), watch)
    with pytest.raises(EngineError, match="closed"):
        await play.search("x", PlaySettings("bfs", 1), watch)
    play._session.close()


async def test_a_model_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without a model is a usage error; a library's error is one line."""
    watch, _, _ = silent()
    config = load_decode("paper", {"model": str(tmp_path), "engine": "hf"})
    with (
        SessionPlay(config, tmp_path) as play,
        pytest.raises(UsageError, match="not a model folder"),
    ):
        await play.search("x", PlaySettings("greedy", 1), watch)

    def breaks(*_: object) -> None:
        raise RuntimeError("CUDA\nis gone")

    monkeypatch.setattr("spar.run.interactive.Engines.get", breaks)
    with (
        SessionPlay(load_decode("nano", {"engine": "fake"}), tmp_path) as play,
        pytest.raises(EngineError, match="cannot be loaded: RuntimeError: CUDA is gone"),
    ):
        await play.search("x", PlaySettings("greedy", 1), watch)


async def test_an_exception_of_ones_own_judge_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The screen names the line to correct, as spar decode does; a search with another judge finds its answer then."""
    module = f"judge_of_{tmp_path.name}"
    code = 'def judge(prompt, response):\n    return {"a": 1}["title"]\n'
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "LOADED_MODULES", set())
    monkeypatch.setattr(plugin_errors, "LOADED_MODULES", plugins.LOADED_MODULES)
    config = load_decode("nano", {"engine": "fake", "judge": f"{module}:judge"})
    with SessionPlay(config, tmp_path / "runs") as play:
        async with playing(play, tmp_path, size=(120, 24)) as (app, pilot, screen):
            await pilot.press(*"Say it.", "enter")
            words = f"the plug-in {module}:judge raised KeyError: 'title'"
            await until(pilot, lambda: notified(app, words))
            assert "line 2); correct it" in next(iter(app._notifications)).message
            assert not screen.is_searching
        tree = await play.search("Say it.", PlaySettings("bfs", 2), Listener())
        assert tree.answer is not None


async def test_an_unexpected_exception_is_one_line(
    fake: SessionPlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While loading and while searching, with what to do to see where it comes from."""

    async def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("no\nway")

    monkeypatch.setattr(plugin_errors, "LOADED_MODULES", set())
    monkeypatch.setattr(Session, "search_async", breaks)
    monkeypatch.setattr(Session, "prepare_async", breaks)
    line = "unexpected error: RuntimeError: no way; run spar decode"
    with pytest.raises(RunStopped, match=line):
        await fake.search("Say it.", PlaySettings("bfs", 2), Listener())
    with pytest.raises(RunStopped, match=line):
        await fake.load(PlaySettings("bfs", 2), Listener())


class Held:
    """An engine that never replies and counts cancelled requests."""

    model, description, capacity = "held", "held", 0

    def __init__(self) -> None:
        self.searches, self.gone = 0, 0

    async def generate(self, requests: Sequence[Any]) -> list[Any]:
        """Never."""
        self.searches += len(requests)
        try:
            await asyncio.Event().wait()
        finally:
            self.gone += len(requests)
        raise AssertionError

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_cancelling_frees_the_engine(
    fake: SessionPlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every request of a cancelled search is withdrawn, and the next search is served."""
    held = Held()
    monkeypatch.setattr("spar.infer.engines.fake.open_fake", lambda *_: held)
    watch, nodes, _ = silent()
    search = asyncio.ensure_future(fake.search("x", PlaySettings("best-of-n", 4), watch))
    await _soon(lambda: held.searches == 4)
    search.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await search
    await _soon(lambda: held.gone == 4)
    assert nodes == []


async def test_closing_ends_what_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the session cancels a search in progress, which says why it ended."""
    held = Held()
    monkeypatch.setattr("spar.infer.engines.fake.open_fake", lambda *_: held)
    watch, _, _ = silent()
    with SessionPlay(load_decode("nano", {"engine": "fake"}), tmp_path) as play:
        search = asyncio.ensure_future(play.search("x", PlaySettings("greedy", 1), watch))
        await _soon(lambda: held.searches == 1)
    with pytest.raises(EngineError, match="the session is closed"):
        await search
    assert held.gone == 1


async def _soon(seen: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(20):
        while not seen():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("passed", "used"), [({}, RETRY_SECONDS), ({"retry_for": 60.0}, 60.0)])
def test_how_long_a_server_may_fail(tmp_path: Path, passed: dict[str, float], used: float) -> None:
    """Shorter than elsewhere, unless the user says how long."""
    settings = {"engine": "openai", "base_url": ("http://127.0.0.1:9/v1",), **passed}
    with SessionPlay(load_decode("paper", settings), tmp_path) as play:
        assert play._config.retry_for == used


@pytest.mark.model
async def test_the_embedded_model_on_the_screen(tmp_path: Path) -> None:
    """End to end: an instruction is typed, a tree grows and is stored as a run that decode's tools read."""
    pytest.importorskip("torch")
    config = load_decode("nano", {"max_batch_size": 32})
    with SessionPlay(config, tmp_path / "runs") as play:
        async with playing(play, tmp_path) as (app, pilot, screen):
            await pilot.press(*"Write something short. Include fox.")
            screen.query_one("#budget", Input).value = "4"
            await pilot.press("enter")
            await until(pilot, lambda: screen.finished_tree is not None, 200)
            tree = screen.finished_tree
            assert tree is not None
            assert 1 <= len(tree.nodes) <= 4
            assert tree.nodes[0].response[:20] in screen_text(app).replace("\n", " ")
            await pilot.press("ctrl+s")
            await until(
                pilot, lambda: bool(list((tmp_path / "runs").glob("play-bfs-4-*/summary.json")))
            )
    (directory,) = (tmp_path / "runs").iterdir()
    assert list(read_trees(directory)) == [tree]
    assert tree.prompt == Prompt(
        id=tree.prompt.id,
        messages=(Message(role="user", content="Write something short. Include fox."),),
        source="play",
    )
