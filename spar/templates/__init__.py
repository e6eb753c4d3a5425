"""The prompt templates of the roles, and their renderer.

`judge.txt` has the fields `{instruction}` and `{response}`; `refine.txt` has none, since the refine
conversation already contains both. `merge.txt`, which replaces it where two responses are merged into one, has
`{response}` and `{critique}` for the other one. Rendering is one pass: a brace, a quote or a field name inside a prompt
or a response is plain text. `split.txt`, `checklist.txt` and `requirement.txt` are the judge `checklist`'s, whose field
`{checked}` is empty where programs check nothing; with `_json` in their names they ask for JSON. A folder passed with `--templates` replaces the files that it has.

In prompts and responses the markers of verdicts and refinements are escaped by an invisible word joiner,
so that a quoted marker is never parsed. `unescape_markers` removes it from a refinement.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from spar.errors import UsageError
from spar.types import Message

FIELDS: Mapping[str, tuple[str, ...]] = {
    "judge": ("instruction", "response"),
    "refine": (),
    "merge": ("response", "critique"),
    "split": ("instruction", "checked"),
    "checklist": ("instruction", "response", "requirements"),
    "requirement": ("instruction", "response", "requirement"),
    "split_json": ("instruction", "checked"),
    "checklist_json": ("instruction", "response", "requirements"),
    "requirement_json": ("instruction", "response", "requirement"),
}
"""Template name to its required fields."""

_OF_EVERY_RUN = ("judge", "refine")

NARROW = {0xFF01 + offset: 0x21 + offset for offset in range(94)} | {0x3000: 0x20}
"""For `str.translate`: full-width letters and signs to their plain forms, one character for one."""

_MAX_CACHED = 16_384
"""Characters of a prompt and a response whose judge conversation is kept for their refinements."""

_JOINER = "\u2060"
_HEADING = r"inal(?:[\s_*-]+Judg|\s+Refined)"
_REST = rf"{_JOINER}*{_HEADING}", rf"{_JOINER}*\[(?:start|end)\]\]"
# Joiners that are already in a marker match too, so that `unescape_markers` removes exactly one.
_MARKER = re.compile(rf"F(?={_REST[0]})|\[(?={_REST[1]})", re.IGNORECASE)
_ESCAPED = re.compile(rf"(F){_JOINER}(?={_REST[0]})|(\[){_JOINER}(?={_REST[1]})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Templates:
    """The texts of the templates."""

    judge: str
    refine: str
    merge: str
    split: str
    checklist: str
    requirement: str
    split_json: str
    checklist_json: str
    requirement_json: str

    def judge_prompt(self, messages: Sequence[Message], response: str) -> str:
        """The text that requests a verdict on `response` as the reply to `messages`."""
        return render(self.judge, instruction=transcript(messages), response=response)

    def refine_request(self) -> str:
        """The turn that follows the critique and requests a refinement."""
        return self.refine

    def judge_conversation(self, messages: Sequence[Message], response: str) -> tuple[Message, ...]:
        """The conversation that requests a verdict on `response` as the reply to `messages`."""
        length = len(response) + sum(len(message.content) for message in messages)
        render_once = (
            _judge_conversation if length <= _MAX_CACHED else _judge_conversation.__wrapped__
        )
        return render_once(self, tuple(messages), response)

    def refine_conversation(
        self,
        messages: Sequence[Message],
        response: str,
        critique: str,
        other: tuple[str, str] | None = None,
    ) -> tuple[Message, ...]:
        """The conversation that requests a refinement; the judge's conversation is its prefix, token by token.

        Parameters
        ----------
        other:
            Another response and its critique, to merge with this one.
        """
        request = self.refine_request()
        if other is not None:
            request = render(self.merge, response=other[0], critique=other[1])
        return (
            *self.judge_conversation(messages, response),
            Message(role="assistant", content=critique),
            Message(role="user", content=request),
        )

    def digests(self, more: Iterable[str] = ()) -> dict[str, str]:
        """Template name to the first 16 hex digits of its SHA-256, for the manifest.

        Parameters
        ----------
        more:
            Names of the templates that a run uses besides those of every run.
        """
        names = dict.fromkeys([*_OF_EVERY_RUN, *more])
        return {
            name: hashlib.sha256(getattr(self, name).encode()).hexdigest()[:16] for name in names
        }

    def changed_since(self, stored: Mapping[str, str]) -> list[str]:
        """The templates whose text is another than in a manifest; one that a run does not need is not in it."""
        own, needed = self.digests(FIELDS), {*_OF_EVERY_RUN, *stored}
        return [name for name in own if stored.get(name) != own[name] and name in needed]


@lru_cache(maxsize=2048)
def _judge_conversation(
    templates: Templates, messages: tuple[Message, ...], response: str
) -> tuple[Message, ...]:
    """The judge's conversation: one for a response and for all of its refinements."""
    return (Message(role="user", content=templates.judge_prompt(messages, response)),)


@cache
def load(folder: Path | None = None) -> Templates:
    """Load the templates in `folder`; those that it lacks are spar's own.

    Raises
    ------
    UsageError
        The folder is missing or has no template, or a template lacks a field.
    """
    if folder is not None and not any(_is_file(folder / f"{name}.txt") for name in FIELDS):
        others = [name for name in FIELDS if name not in _OF_EVERY_RUN]
        raise UsageError(
            f"--templates {folder}: there is no judge.txt or refine.txt (or {', '.join(f'{name}.txt' for name in others)}); pass a folder with at least one of them"
        )
    return Templates(**{name: read_template(name, FIELDS[name], folder) for name in FIELDS})


def read_template(name: str, fields: Sequence[str], folder: Path | None = None) -> str:
    """The text of one template: the file in `folder` if there is one, else spar's own.

    Raises
    ------
    UsageError
        It cannot be read, or lacks one of `fields`.
    """
    path = folder / f"{name}.txt" if folder else None
    source = path if path and _is_file(path) else files(__package__).joinpath(f"{name}.txt")
    try:
        text = source.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"template {source}: not a readable UTF-8 text ({error})") from error
    for field in fields:
        if "{" + field + "}" not in text:
            raise UsageError(f"template {source}: lacks the field {{{field}}}")
    return text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def render(template: str, **fields: str) -> str:
    """Replace `{name}` by each of `fields`, its markers escaped, in one pass over the template."""
    return _fields_pattern(*fields).sub(
        lambda match: escape_markers(fields[match.group(1)]), template
    )


@cache
def _fields_pattern(*names: str) -> re.Pattern[str]:
    return re.compile(r"\{(" + "|".join(map(re.escape, names)) + r")\}")


def transcript(messages: Sequence[Message]) -> str:
    """The conversation as one text: a single turn unchanged, several turns with their roles."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role.capitalize()}: {message.content}" for message in messages)


def escape_markers(text: str) -> str:
    """Insert an invisible character into every marker that spar's parsers look for."""
    narrow = text if text.isascii() else text.translate(NARROW)
    ends = [match.end() for match in _MARKER.finditer(narrow)]
    if not ends:
        return text
    return _JOINER.join(text[start:end] for start, end in pairwise([0, *ends, len(text)]))


def unescape_markers(text: str) -> str:
    """Undo `escape_markers`."""
    ends = [match.end() for match in _ESCAPED.finditer(text.translate(NARROW))]
    starts = [0, *ends]
    return "".join(
        text[start : end - 1] for start, end in zip(starts, [*ends, len(text) + 1], strict=True)
    )
