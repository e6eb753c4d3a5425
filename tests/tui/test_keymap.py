"""A reader's own keys: what the file may say, what is wrong in it, and that screens follow it."""

from __future__ import annotations

import tomllib
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.keys import _character_to_key

from tests.tui.driving import browser, notified, screen_text, until
from tests.tui.samples import trees, write_run
from tui.app import SparApp
from tui.keymap import Keymap, key_name, keymap_path, read_keymap, shown_key, template
from tui.screens.actions import actions
from tui.widgets.note_bar import NoteBar


@pytest.mark.parametrize(
    ("text", "keys", "problems"),
    [
        ("", {}, []),
        ('[keys]\nstar = "m"\nsearch = ["/", "^s"]', {"star": "m", "search": "slash ctrl+s"}, []),
        ('[keys]\nstar = "w"\nnote = "*"', {"star": "w", "note": "asterisk"}, []),
        ("[keys", {}, ["is not TOML: "]),
        ('star = "m"', {}, ["no table or setting 'star'; write the keys below [keys]"]),
        ("keys = 3", {}, ["keys is no table"]),
        ('[keys]\nstra = "m"\nnote = "f5"', {"note": "f5"}, ["'stra'; did you mean star?"]),
        ("[keys]\nstar = 3", {}, ['star needs a key or a list of keys, such as "x"']),
        ('[keys]\nstar = "foo+x"', {}, ["star: 'foo+x' is no key; accepted: "]),
        ('[keys]\nstar = ""', {}, ["star: '' is no key"]),
        ('[keys]\nstar = "s"', {}, ["s is sort on the screen of trees, so star keeps its key"]),
        ('[keys]\nstar = "j"', {}, ["j is down on the screen of trees"]),
        ('[keys]\nstar = "/"\nsearch = "m"', {"star": "slash", "search": "m"}, []),
    ],
)
def test_a_file(tmp_path: Path, text: str, keys: dict[str, str], problems: list[str]) -> None:
    """Each mistake is one line with what to do, and leaves the key of its action as it was."""
    path = tmp_path / "keys.toml"
    path.write_text(text)
    keymap = read_keymap(path, actions())
    assert {name: " ".join(each) for name, each in keymap.keys.items()} == keys
    assert len(keymap.problems) == len(problems)
    for said, expected in zip(keymap.problems, problems, strict=True):
        assert expected in said and said.startswith(("keys.toml: ", str(path))) and "\n" not in said


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is no key map; a folder or bytes that are no text are one line."""
    assert read_keymap(tmp_path / "none.toml", actions()) == Keymap()
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    for name in (".", "bytes.toml"):
        (problem,) = read_keymap(tmp_path / name, actions()).problems
        assert str(tmp_path) in problem
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert keymap_path() == tmp_path / "spar" / "keys.toml"


def test_every_action_has_a_name() -> None:
    """No screen has a name twice, and a file with all of them in it, as they are, changes nothing."""
    for screen, listed in actions().items():
        names = Counter(action.name for action in listed)
        assert names.most_common(1)[0][1] == 1, (screen, names)
    text = template(actions())
    assert tomllib.loads(text) == {"keys": {}}
    lines = [line[2:] if " = " in line else line for line in text.splitlines()]
    written = tomllib.loads("\n".join(lines))["keys"]
    for listed in actions().values():
        for action in listed:
            keys = (
                written[action.name]
                if isinstance(written[action.name], list)
                else [written[action.name]]
            )
            assert all(map(key_name, keys))
            assert [shown_key(key) for key in map(str, map(key_name, keys))] == keys
    assert {
        "select-the-next-run",
        "star",
        "note",
        "search",
        "next",
        "previous",
        "open-export",
        "flips",
    } <= written.keys()


@pytest.mark.parametrize("character", "/?*[]:+-_@\\é '\"")
def test_names_of_characters_are_textuals(character: str) -> None:
    """A key is called as Textual calls it, or it would never be pressed."""
    assert key_name(character) == _character_to_key(character)
    assert key_name(str(key_name(character))) == key_name(character)


@pytest.mark.screen
async def test_screens_follow_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key does what it is mapped to, `?` and messages show it, and a mistake is said in one line."""
    file = tmp_path / "keys.toml"
    file.write_text('[keys]\nnote = "m"\nhelp = "f1"\nnothing = "y"\n')
    run = write_run(tmp_path / "run", trees(3))
    async with browser(run, size=(100, 60), keymap_file=file) as (app, pilot):
        await until(pilot, lambda: notified(app, "there is no action 'nothing'"))
        app.clear_notifications()
        await pilot.press("w")
        assert not app.screen.query_one(NoteBar).has_class("-open")
        await pilot.press("m")
        assert app.screen.query_one(NoteBar).has_class("-open")
        await pilot.press("escape", "f1")
        await until(pilot, lambda: "m               Write a note on the tree" in screen_text(app))
        await pilot.press("escape", "enter", "O")
        await until(pilot, lambda: notified(app, "nothing was exported here yet"))

        monkeypatch.setenv("VISUAL", "true")
        monkeypatch.setattr(SparApp, "suspend", lambda app: nullcontext())
        file.unlink()
        app.edit_keys()
        await until(pilot, lambda: notified(app, f"keys are read from {file}"))
        assert "# star = " in file.read_text()
        await pilot.press("w")
        assert app.screen.query_one(NoteBar).has_class("-open")
