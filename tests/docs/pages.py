"""Commands and flags on the pages that a user reads: README, CONTRIBUTING, `docs/` and the README files of `examples/`."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = "spar make python pip ray vllm curl textual watch git docker ollama kubectl ssh"
"""Programs that begin a command; a line of a block that begins with another word is none."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line on a page."""

    page: str
    line: int
    text: str
    """As a shell would get it: continued lines joined, without a comment."""
    inline: bool
    """Whether it stands in a sentence, where `...` may leave something out."""

    @property
    def words(self) -> list[str]:
        """The words of its first part, up to a pipe or a redirection, without variables that are set before it."""
        words = shlex.split(self.text, comments=True)
        ends = [i for i, word in enumerate(words) if word in ("|", "&&", ";", "&", ">")]
        words = words[: min(ends, default=len(words))]
        while words and re.match(r"[A-Z_]+=", words[0]):
            del words[0]
        return words

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def pages() -> list[Path]:
    """The pages, README first."""
    named = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return named + sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "examples").rglob("*.md"))


def commands() -> list[Command]:
    """Every command of every page, those in blocks and those in sentences."""
    found = []
    for path in pages():
        page, lines = path.relative_to(ROOT).as_posix(), path.read_text("utf-8").split("\n")
        in_blocks = dict(_code_lines(lines))
        for number, code in _joined(in_blocks):
            if _is_command(code):
                found.append(Command(page, number, shown(code), inline=False))
        prose = "\n".join("" if i in in_blocks else line for i, line in enumerate(lines, 1))
        for match in re.finditer(r"`([^`]+)`", prose):
            text = " ".join(match[1].split())
            if _is_command(text) and " " in text:
                number = prose.count("\n", 0, match.start()) + 1
                found.append(Command(page, number, text, inline=True))
    return found


def flags() -> dict[str, set[str]]:
    """Flags that stand on a page outside of commands, `--name`, to the pages."""
    found: dict[str, set[str]] = {}
    for path in pages():
        page = path.relative_to(ROOT).as_posix()
        for text in re.findall(r"`(--[^`]+)`", path.read_text("utf-8")):
            for flag in re.findall(r"(?:^|\s)(--[a-z][a-z_-]*[a-z])(?![a-z_-])", text):
                found.setdefault(flag, set()).add(page)
    return found


def python_blocks() -> Iterator[tuple[str, int, str]]:
    """Page, line and text of each block that begins as Python does."""
    for path in pages():
        lines = dict(_code_lines(path.read_text("utf-8").split("\n")))
        for first in [number for number in lines if number - 1 not in lines]:
            block = itertools.takewhile(lines.__contains__, itertools.count(first))
            code = "\n".join(lines[number] for number in block)
            if re.match(r"(import|from|def|class|async def|with|\w+ = |print\(|spar\.)", code):
                yield path.relative_to(ROOT).as_posix(), first, code


def shown(code: str) -> str:
    """A line of code without its comment."""
    return re.sub(r"\s+#\s.*$", "", code).strip()


def _is_command(code: str) -> bool:
    bare = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", code.strip())
    return bare.partition(" ")[0] in PROGRAMS.split() and "──" not in bare  # a diagram


def _code_lines(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Line numbers and text of code, fenced or indented by four spaces after a blank line."""
    fence, indented = "", False
    for number, line in enumerate(lines, 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        elif fence:
            yield number, line
        elif line.startswith("    ") and (indented or not lines[number - 2].strip()):
            indented = True
            yield number, line[4:]
        elif indented and not line.strip():
            yield number, ""
        else:
            indented = False


def _joined(code: dict[int, str]) -> Iterator[tuple[int, str]]:
    """Lines, with those that a backslash continues as one."""
    waiting, start = "", 0
    for number, line in code.items():
        start = start if waiting else number
        whole = f"{waiting} {line.strip()}" if waiting else line
        if whole.rstrip().endswith("\\"):
            waiting = whole.rstrip()[:-1].rstrip()
            continue
        waiting = ""
        yield start, whole
