"""The fix of a title: the text's own one, marked as IFEval asks for it, or one of the text's words.

# On Tea -> <<On Tea>>
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from spar.rewrite.edits import Arguments, Context, Edit, body
from spar.rewrite.english.vocabulary import FUNCTION_WORDS, topic_words
from spar.rewrite.layout import Span, begins_with_markup, lines, newline

_UNDERLINE = re.compile(r"[ \t]*\r?\n[ \t]*(?:={3,}|-{3,})[ \t]*(?=\r?\n|\Z)")
_GREETING = re.compile(
    r"(?:dear|hi|hello|hey|greetings|good (?:morning|afternoon|evening)|to whom|here|sure|certainly|of course|yes|no|maybe|thanks?)\b",
    re.IGNORECASE,
)
MOST_WORDS = 8
"""Words of a line that is a title without marks."""


def title(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Mark the text's own title as asked, or add one of its own words."""
    start, end = body(text, context)
    own = _own_title(text, start, end)
    if own is not None:
        (first, last), inner = own
        yield Edit(f"{text[:first]}<<{inner}>>{text[last:]}", "marked the heading as the title")
    eol = newline(text)
    separators = (eol * 2, eol) if begins_with_markup(text, start) else (eol * 2, eol, " ")
    for words in topic_words(text[start:end], context.prompt, context.rng):
        name = context.cased(f"<<{words}>>")
        for separator in separators:
            yield Edit(f"{text[:start]}{name}{separator}{text[start:]}", "added a title")


def _own_title(text: str, start: int, end: int) -> tuple[Span, str] | None:
    """Where the text has a title, and its words: a first line, or one below a line such as "Here is a poem:"."""
    table = [line for line in lines(text) if start < line.end <= end and line.kind != "blank"]
    if len(table) > 1 and _GREETING.match(text[start : table[0].end].lstrip("*_#")):
        is_opening = text[start : table[0].end].rstrip("*_").endswith(":")
        table = table[1:] if is_opening and table[1].kind == "heading" else []
    if not table or table[0].kind not in ("heading", "prose"):
        return None
    if len(table) > 1 and text[table[0].end - 1] == ":" and table[1].kind == "item":
        return None  # it introduces a list
    first = max(start, table[0].start)
    content = text[first : table[0].end].strip()
    inner = _heading_words(content)
    underline = _UNDERLINE.match(text, table[0].end)
    if underline and (content[-1] in ".!?…" or len(content.split()) > MOST_WORDS):
        underline = None  # a rule below a paragraph
    is_title = table[0].kind == "heading" or underline or _is_title(content, text[table[0].end :])
    if not (inner and is_title) or _GREETING.match(inner) or "section" in inner.lower():
        return None
    return (first, underline.end() if underline else table[0].end), inner


def _is_title(line: str, following: str) -> bool:
    """Whether a line of prose is a title: it is marked as one, or a few words with capitals, apart from the text."""
    if re.fullmatch(r"(?i:title)\s*:\s*\S.*|__[^_.!?]+__|\*[^*.!?]+\*|_[^_.!?]+_", line):
        return True
    words = [word for word in line.split() if word.lower() not in FUNCTION_WORDS]
    is_short = 0 < len(words) <= MOST_WORDS and not re.search(r"[.,;:!?]|\d", line)
    return (
        is_short
        and re.match(r"[ \t]*\r?\n[ \t]*\r?\n", following) is not None
        and all(word.strip("\"'“”‘’(").istitle() or word.isupper() for word in words)
    )


def _heading_words(heading: str) -> str:
    """A heading without its marks; those that belong to a part of it stay."""
    inner = re.sub(r"^#{1,6}\s+|\s+#+$", "", heading.strip())
    inner = re.sub(r"^(\*\*|__|\*|_)(?![*_])(.*?)(?<![*_])\1:?$", r"\2", inner).strip("<> \t")
    inner = re.sub(r"^([\"“])([^\"“”]*)[\"”]$", r"\2", inner)
    return re.sub(r"^(?:title\s*:)?\s*|\s*:?$", "", inner, flags=re.IGNORECASE)
