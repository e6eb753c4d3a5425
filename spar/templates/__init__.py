"""The texts that roles send, kept as files, and the renderer that fills them.

`judge.txt` takes `{instruction}` and `{response}`; `refine.txt` takes neither, since the refine
conversation already holds both. Rendering is one pass: a brace, a quote or a field name inside a
prompt or a response is text and changes nothing. A folder given with `--templates` replaces the
files it holds and leaves the others as they are.

Prompts and responses are shielded on the way in: the markers by which verdicts and refinements are
read are split by an invisible word joiner, so that quoting them back cannot decide anything.
`unshield` undoes it when a refinement is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from spar.errors import UsageError
from spar.types import Message

FIELDS: Mapping[str, tuple[str, ...]] = {"judge": ("instruction", "response"), "refine": ()}
"""Template name to the fields that it must hold."""

_JOINER = "\u2060"
_REST = rf"{_JOINER}*inal\s+(?:Judg|Refined)", rf"{_JOINER}*\[(?:start|end)\]\]"
# Joiners that already stand in a marker are counted in, so that `unshield` takes off just the one.
_MARKER = re.compile(rf"F(?={_REST[0]})|\[(?={_REST[1]})", re.IGNORECASE)
_SHIELDED = re.compile(rf"(F){_JOINER}(?={_REST[0]})|(\[){_JOINER}(?={_REST[1]})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Templates:
    """The resolved template texts."""

    judge: str
    refine: str

    def judge_prompt(self, messages: Sequence[Message], response: str) -> str:
        """Text that asks for a verdict on `response` as the reply to `messages`."""
        return render(self.judge, instruction=transcript(messages), response=response)

    def refine_request(self) -> str:
        """Fixed turn that follows the critique and asks for a refinement."""
        return self.refine

    def judge_conversation(self, messages: Sequence[Message], response: str) -> tuple[Message, ...]:
        """The conversation that asks for a verdict on `response` as the reply to `messages`."""
        return (Message(role="user", content=self.judge_prompt(messages, response)),)

    def refine_conversation(
        self, messages: Sequence[Message], response: str, critique: str
    ) -> tuple[Message, ...]:
        """The conversation that asks for a refinement: it extends the judge's token for token."""
        return (
            *self.judge_conversation(messages, response),
            Message(role="assistant", content=critique),
            Message(role="user", content=self.refine_request()),
        )

    def digests(self) -> dict[str, str]:
        """Template name to the first 16 hex digits of its sha256, for the manifest."""
        texts = {"judge": self.judge, "refine": self.refine}
        return {
            name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()
        }


@cache
def load(folder: Path | None = None) -> Templates:
    """Read spar's templates, with those in `folder` in their place.

    Raises
    ------
    UsageError
        The folder is missing, holds no template, or a template lacks a field.
    """
    if folder is not None and not any((folder / f"{name}.txt").is_file() for name in FIELDS):
        raise UsageError(
            f"--templates {folder}: no judge.txt or refine.txt there; give a folder with one of them"
        )
    return Templates(**{name: read_template(name, FIELDS[name], folder) for name in FIELDS})


def read_template(name: str, fields: Sequence[str], folder: Path | None = None) -> str:
    """The text of one template: the one in `folder` where it is there, else spar's own.

    Raises
    ------
    UsageError
        It cannot be read, or lacks one of `fields`.
    """
    path = folder / f"{name}.txt" if folder else None
    source = path if path and path.is_file() else files(__package__).joinpath(f"{name}.txt")
    try:
        text = source.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"template {source}: not a readable UTF-8 text ({error})") from error
    for field in fields:
        if "{" + field + "}" not in text:
            raise UsageError(f"template {source}: lacks the field {{{field}}}")
    return text


def render(template: str, **fields: str) -> str:
    """Fill `{name}` for each of `fields`, shielded, in a single pass over the template."""
    pattern = re.compile(r"\{(" + "|".join(map(re.escape, fields)) + r")\}")
    return pattern.sub(lambda match: shield(fields[match.group(1)]), template)


def transcript(messages: Sequence[Message]) -> str:
    """The instruction as one text: a lone user turn as it is, otherwise named turns."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{message.role.capitalize()}: {message.content}" for message in messages)


def shield(text: str) -> str:
    """Split every marker that spar's parsers look for by an invisible character."""
    return _MARKER.sub(lambda match: match.group() + _JOINER, text)


def unshield(text: str) -> str:
    """Undo `shield`."""
    return _SHIELDED.sub(lambda match: match.group(1) or match.group(2), text)
