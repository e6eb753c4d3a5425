"""The reader's own keys: a TOML file with the name of an action, and a key or several.

    # ~/.config/spar/keys.toml
    [keys]
    star = "m"
    search = ["/", "ctrl+s"]

`read_keymap` checks it against the actions there are: what is wrong is one line each, and leaves that action's key as it
was. A name that several screens have is one action, so that a key means the same on all of them.
"""

from __future__ import annotations

import difflib
import json
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spar.files import user_folder
from spar.view.text import one_line

MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
NAMED = frozenset(
    "enter escape tab space backspace delete insert home end pageup pagedown up down left right".split()
) | {f"f{number}" for number in range(1, 25)}
"""Keys that are no characters."""
ALIASES = {
    "esc": "escape",
    "return": "enter",
    "del": "delete",
    "pgup": "pageup",
    "pgdn": "pagedown",
}
_SHORT_NAMES = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
"""As Textual shortens the names of characters."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a key does."""

    name: str
    what: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Keymap:
    """The reader's keys, as far as they are valid."""

    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name of an action to its keys, as Textual names them."""
    problems: tuple[str, ...] = ()
    """What is wrong in the file, one line each."""


def keymap_path() -> Path:
    """`$XDG_CONFIG_HOME/spar/keys.toml`; below `~/.config` without that variable."""
    return user_folder("XDG_CONFIG_HOME", ".config") / "keys.toml"


def read_keymap(path: Path, screens: Mapping[str, Sequence[Action]]) -> Keymap:
    """Read the file, which need not exist.

    Parameters
    ----------
    screens:
        Name of a screen to its actions, with the keys that they have without the file.
    """
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Keymap()
    except OSError as error:
        return Keymap(problems=(f"cannot read {path}: {error.strerror or error}",))
    except ValueError as error:  # not TOML, or not UTF-8
        return Keymap(problems=(f"{path} is not TOML: {one_line(str(error), 200)}",))
    names = {action.name for actions in screens.values() for action in actions}
    chosen, problems = _chosen(value, names)
    clashes = list(_without_clashes(chosen, screens))
    return Keymap(chosen, tuple(f"{path.name}: {why}" for why in (*problems, *clashes)))


def template(screens: Mapping[str, Sequence[Action]]) -> str:
    """A file that changes nothing, with every action."""
    lines = [
        "# Keys of spar tui. Remove the # before an action and write your key, or a list of keys:"
    ]
    lines += [
        '# "x", "ctrl+x", "f5", "space", ["x", "f5"]. The file is read when the browser starts.',
        "",
        "[keys]",
    ]
    written: set[str] = set()
    for screen, actions in screens.items():
        new = {action.name: action for action in actions if action.name not in written}
        written |= new.keys()
        lines += [f"# {screen}"] if new else []
        for action in new.values():
            keys = ", ".join(json.dumps(shown_key(key)) for key in action.keys)
            shown = keys if len(action.keys) == 1 else f"[{keys}]"
            lines.append(f"# {action.name} = {shown}".ljust(36) + f"  # {action.what}")
    return "\n".join(lines) + "\n"


def key_name(key: str) -> str | None:
    """A key as Textual names it: `?` is `question_mark`, `^r` is `ctrl+r`; None for what is no key."""
    if len(key) == 2 and key[0] == "^":
        key = f"ctrl+{key[1]}"
    *modifiers, base = key.split("+") if len(key) > 1 else [key]
    base = ALIASES.get(base.lower(), base)
    if not MODIFIERS.issuperset(modifiers):
        return None
    if base.lower() in NAMED:
        base = base.lower()
    elif len(base) == 1 and base.isprintable():
        base = "space" if base == " " else _character_name(base)
    elif base not in _SHORT_NAMES.values() and not _is_character(base):
        return None
    return "+".join([*modifiers, base])


def shown_key(name: str) -> str:
    """A key as a reader would write it: `?` for `question_mark`."""
    *modifiers, base = name.split("+")
    long = next((long for long, short in _SHORT_NAMES.items() if short == base), base)
    if base not in NAMED and base != "space" and len(base) > 1 and _is_character(long):
        base = unicodedata.lookup(long.replace("_", " "))
    return "+".join([*modifiers, base])


def _character_name(character: str) -> str:
    if character.isalnum():
        return character
    name = unicodedata.name(character, character).lower().replace("-", "_").replace(" ", "_")
    return _SHORT_NAMES.get(name, name)


def _is_character(name: str) -> bool:
    """Whether this is the name of a character, such as `question_mark`."""
    if not name:
        return False
    try:
        unicodedata.lookup(name.replace("_", " "))
    except KeyError:
        return False
    return True


def _chosen(
    value: Mapping[str, Any], names: set[str]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The valid entries of a file, and what is wrong with the others."""
    chosen: dict[str, tuple[str, ...]] = {}
    problems = [
        f"there is no table or setting {one_line(name, 40)!r}; write the keys below [keys]"
        for name in value
        if name != "keys"
    ]
    table = value.get("keys", {})
    if not isinstance(table, Mapping):
        return {}, [*problems, "keys is no table; write the keys below [keys]"]
    for name, keys in table.items():
        listed = [keys] if isinstance(keys, str) else keys
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else ": and 'Edit the key map' lists them"
            problems.append(f"there is no action {one_line(name, 40)!r}; {hint}")
        elif (
            not isinstance(listed, list)
            or not listed
            or not all(isinstance(k, str) for k in listed)
        ):
            problems.append(f'{name} needs a key or a list of keys, such as "x" or ["x", "f5"]')
        elif wrong := [key for key in listed if key_name(key) is None]:
            problems.append(
                f"{name}: {one_line(wrong[0], 40)!r} is no key; accepted: a character, space, enter, f5, ctrl+x ..."
            )
        else:
            chosen[name] = tuple(filter(None, map(key_name, listed)))
    return chosen, problems


def _without_clashes(
    chosen: dict[str, tuple[str, ...]], screens: Mapping[str, Sequence[Action]]
) -> Iterator[str]:
    """Remove the entries that would take the key of another action of the same screen; yields why."""
    while (clash := next(_clashes(chosen, screens), None)) is not None:
        screen, key, name, other = clash
        del chosen[name]
        yield f"{shown_key(key)} is {other} on the screen of {screen}, so {name} keeps its key; give {other} another one too"


def _clashes(
    chosen: Mapping[str, tuple[str, ...]], screens: Mapping[str, Sequence[Action]]
) -> Iterator[tuple[str, str, str, str]]:
    for screen, actions in screens.items():
        taken: dict[str, str] = {}
        for action in sorted(actions, key=lambda action: action.name in chosen):
            for key in chosen.get(action.name, action.keys):
                other = taken.setdefault(key, action.name)
                if other != action.name and action.name in chosen:
                    yield screen, key, action.name, other
