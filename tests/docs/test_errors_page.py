"""The page of errors quotes messages that the code has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
VARIES = "…"


def test_every_quoted_message_is_in_the_code() -> None:
    """Between the parts that differ, the words of a heading stand in one message of the code, in this order."""
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    quoted = [
        message
        for line in re.findall(r"^### (.+)$", page, re.M)
        for message in re.findall(r"`([^`]+)`", line)
    ]
    assert len(quoted) > 30
    texts = "\n".join(messages())
    unknown = []
    for message in quoted:
        fixed = [re.escape(part.strip(" ;:()")) for part in message.split(VARIES)]
        if not re.search(r"[^\n]*?".join(filter(None, fixed)), texts):
            unknown.append(message)
    assert unknown == []


def messages() -> list[str]:
    """Every text of the code on one line, with … for what is filled in."""
    found = []
    for folder in ("spar", "tui"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (
                        part.value if isinstance(part, ast.Constant) else VARIES
                        for part in node.values
                    )
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return [text.replace("\n", " ") for text in found]
