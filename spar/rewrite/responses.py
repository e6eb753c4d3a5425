"""Fix of two responses: the separator between them, where the text has two.

It is told here, for other divisions too, what is a rule and what is the head of a part, not prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from spar.rewrite.edits import Arguments, CannotFix, Context, Edit
from spar.rewrite.english.vocabulary import FUNCTION_WORDS
from spar.rewrite.layout import Kind, finditer_outside_code, lines, newline

_BLANK = re.compile(r"[ \t]*\r?\n(?:[ \t]*\r?\n)+")
HEAD_ENDS = r"(?:(?P<ends>[ \t]*(?:[:.)*_–—-]+(?!\w)|(?=\r?$))|[ \t]+(?=\())|)"
"""What follows the number of a part's head, in a pattern with `re.MULTILINE` whose start has the groups marks and number."""
_MARKED = re.compile(
    r"^(?P<marks>[ \t#*_]*)(?P<name>response|answer|option|version|alternative|poem|story|joke|draft|description|haiku|limerick|letter|email)"
    rf"[ ]*(?:#|no\.?)?[ ]*(?P<number>\d+|two|three|ii|iii|b|c)\b{HEAD_ENDS}",
    re.IGNORECASE | re.MULTILINE,
)
_SECOND = re.compile(
    r"^[ \t#*_]*(?:the )?second (?:response|answer|option|version|alternative)\b",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = re.compile(r"^[ \t#*_]*(?P<number>\d{1,3})[.):]", re.MULTILINE)
_TWO, _THREE = {"2", "two", "ii", "b"}, {"3", "three", "iii", "c"}
_GOES_ON = re.compile(
    r"(?:however|in conclusion|overall|finally|also|additionally|furthermore|moreover|then|therefore|thus|this|that|"
    r"these|those|it|they|he|she|and|but|so|as a result|for example)\b",
    re.IGNORECASE,
)
MOST_WORDS_OF_A_NAME = 10
"""Words after the number of a heading."""
_NO_ANSWER: tuple[Kind, ...] = ("blank", "heading", "rule")
_STOPS = (".", "!", "?", "…", '"', "”", "'", "’", ")", "*", "_")
_LINE_RULE = re.compile(
    r"^[ \t]*(?:\*{3,}|-{3,}|_{3,}|={3,}|(?:\*[ ]){2,}\*)[ \t]*\r?$", re.MULTILINE
)


def two_responses(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put the separator between two responses that the text has; it never writes a second one."""
    summary = "separated the two responses as asked"
    second = _seconds(text)
    rules = rules_of(text)
    starred = [m for m in rules if m.group().strip().startswith("***")]
    for found in (starred, rules):
        parts = _parted(text, found)
        if len(parts) == 2 and (_are_alike(*parts) or any(_begins(parts[1], m) for m in second)):
            changed = text
            for match in reversed(found):
                line = match.group().removesuffix("\r")
                changed = f"{changed[: match.start()]}******{changed[match.start() + len(line) :]}"
            yield Edit(changed, summary)
            break
    if len(second) == 1:
        place, eol = second[0].start(), newline(text)
        yield Edit(f"{text[:place].rstrip()}{eol * 2}******{eol * 2}{text[place:]}", summary)
    gaps = [
        m.span()
        for m in finditer_outside_code(_BLANK, text)
        if text[: m.start()].strip() and text[m.end() :].strip()
    ]
    if len(gaps) == 1 and not second and _are_alike(text[: gaps[0][0]], text[gaps[0][1] :]):
        (a, b), eol = gaps[0], newline(text)
        yield Edit(f"{text[:a]}{eol * 2}******{eol * 2}{text[b:]}", summary)
    raise CannotFix("the text does not have two responses")


def _seconds(text: str) -> list[re.Match[str]]:
    """Marks of a second response; none where a third or a list of numbers shows that they divide something else."""
    marked = [m for m in finditer_outside_code(_MARKED, text) if is_heading(m)]
    numbers = [*finditer_outside_code(_NUMBER, text)]
    if any(m["number"].lower() in _THREE for m in marked):
        return []
    found = [m for m in marked if m["number"].lower() in _TWO]
    found += finditer_outside_code(_SECOND, text)
    if not {"1", "3"} & {m["number"] for m in numbers}:
        found += [m for m in numbers if m["number"] == "2"]
    return [m for m in found if text[: m.start()].strip()]


def _begins(part: str, mark: re.Match[str]) -> bool:
    return part.lstrip().startswith(mark.string[mark.start() :].lstrip()[:40])


def _parted(text: str, rules: Sequence[re.Match[str]]) -> list[str]:
    """What rules leave between them."""
    ends = [0, *(place for match in rules for place in match.span()), len(text)]
    parts = [text[ends[i] : ends[i + 1]] for i in range(0, len(ends), 2)]
    return [part for part in parts if part.strip()] if rules else []


def rules_of(text: str) -> list[re.Match[str]]:
    """Lines between code that are rules, but for those that make the line above them a heading."""
    found = []
    for match in finditer_outside_code(_LINE_RULE, text):
        above = text[: match.start()].removesuffix("\n").rpartition("\n")[2].strip()
        underlines = match.group().strip()[0] in "-=" and above and above[-1] not in ".!?…\"'”’)*_"
        if not underlines or len(above.split()) > 8:
            found.append(match)
    return found


def _are_alike(first: str, second: str) -> bool:
    """Whether two parts can be two answers: of like length and form, and the second does not go on from the first."""
    found = [
        [line for line in lines(part) if line.kind not in _NO_ANSWER] for part in (first, second)
    ]
    texts = [
        [part[line.start : line.end].rstrip() for line in table]
        for part, table in zip((first, second), found, strict=True)
    ]
    if not all(texts) or _GOES_ON.match(second.lstrip()):
        return False
    sizes = sorted(sum(len(line.split()) for line in part) for part in texts)
    titles = {len(part) == 1 and not part[0].endswith(_STOPS) for part in texts}
    blocks = {frozenset(line.kind for line in table) - {"prose"} for table in found}
    return 3 * sizes[0] >= sizes[1] and len(titles) == 1 and len(blocks) == 1


def is_heading(match: re.Match[str]) -> bool:
    """Whether a name and a number at a line's start are a heading, not prose such as "Part I agree with"."""
    is_marked = bool(match["marks"].strip() and match["number"].isdigit())
    return match["ends"] is not None or is_marked or _goes_on_as_a_name(match)


def _goes_on_as_a_name(match: re.Match[str]) -> bool:
    """Whether the rest of the line makes a name of it: "Part I of the story", "Part II The End"."""
    rest = match.string[match.end() :].partition("\n")[0].strip().strip("*_# ")
    words = rest.split()
    if rest.endswith((".", "!", "?", ",", ";", ":")) or len(words) > MOST_WORDS_OF_A_NAME:
        return False
    weighty = [word for word in words if word.lower() not in FUNCTION_WORDS]
    has_capitals = all(word.strip("\"'“‘(")[:1].isupper() for word in weighty)
    return rest.lower().startswith("of ") or (bool(weighty) and has_capitals)
