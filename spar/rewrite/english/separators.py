"""What stands in the place of each comma of a sentence: nothing, "and", a semicolon, a dash or a colon.

tea, milk, and sugar     -> tea and milk and sugar          I like tea, it is hot.   -> I like tea; it is hot.
a, b, c, and d           -> a and b as well as c and d      Nemo, a fish, swam.      -> Nemo - a fish - swam.
If it rains, we stay.    -> If it rains we stay.            She said, "Come in."     -> She said: "Come in."

A part of a sentence between two commas is an item of a series, an apposition, a clause or a phrase: `spar.rewrite.english.clauses` says
which, where it can. What it cannot tell loses its comma.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spar.rewrite.changes import Change
from spar.rewrite.english.clauses import (
    begins_clause,
    has_clause,
    has_subordinator,
    is_opening,
    is_subordinate,
)

Join = Callable[[int, str], list[str]]
"""How a simple series of so many items with a conjunction is joined: what stands before each item but the first."""

_BREAK = re.compile(
    r"(?:(?<!\b[A-Z])(?<!\b[DMS][rst])(?<!\bMrs)(?<!\b[ei]\.[ge])[.]|[!?…;:])[.!?…]*(?=[\s\"'”’)\]*_]|$)"
    r"|\n|[()\[\]{}\"“”«»|–—]|[ ]-+(?=[ ])"
)
_COMMA = re.compile(r"(?<![ \t])[ \t]*,+")
_CONJUNCTION = re.compile(r"(?P<word>and|or|nor|&|as well as)(?:[ ]|\Z)", re.IGNORECASE)
_INNER_CONJUNCTION = re.compile(
    r"(?P<item>\S+(?:[ ]\S+){0,4}?)[ ](?P<word>and|or|nor|&|as well as)[ ]", re.IGNORECASE
)
_NO_ITEM = re.compile(
    r"(?:who|whom|which|whose|where|when|while|but|so|because|although|though|as|if|including|such|especially|even|not"
    r"|then|yet|like|except|is|are|was|were|has|have|had|can|could|will|would|should|may|might|must|do|does|did|and|or|nor"
    r"|in|on|at|by|of|with|without|from|to|for|after|before|during|since|until|under|over|through|despite|what|let['’]s"
    r"|everyone|sir|always|never|according|however|too|though|please|etc|well|both|either|neither|particularly|mostly|mainly"
    r"|usually|generally|notably|namely|specifically|perhaps|maybe|depending|based|therefore|thus)\b|[A-Z]\.",
    re.IGNORECASE,
)
"""What follows a comma that is none of a series."""
_DETERMINED = re.compile(
    r"(?:an?|the|my|our|your|his|her|its|their|one of|some of|another)[ ]\w", re.IGNORECASE
)
_NO_NOUN_BEFORE = re.compile(
    r"\b(?:including|such as|like|to|of|with|for|and|or|but|that|is|are|was|were)\Z", re.IGNORECASE
)
_OWNED = re.compile(r"\b(?:my|our|your|his|her|its|their|the)[ ][a-z]+(?:\Z|,|[ ])")
_ARTICLE_AND_WORD = re.compile(r"\b(?:an?|the)(?:[ ]very)?[ ]\w+\Z", re.IGNORECASE)
_SHORT_PARTICIPLE = re.compile(r"[a-z]\w+ed(?:[ ]\S+){0,3}")
_PAIR = re.compile(r"\w+[ ](?:and|or)[ ]\w+")
_PARTICIPLES = re.compile(r"\w+ed[ ](?:and|or)[ ]\w+ed\b")
_THAT = re.compile(r".*\bthat[ ]")
_PARTICIPLE = re.compile(r"\w+(?:ing|ed)[ ]\w+[ ]\w", re.IGNORECASE)
_THEN = re.compile(r"then\b", re.IGNORECASE)
_THE_MORE = re.compile(r"the (?:\w+er|more|less|better|worse)\b", re.IGNORECASE)
_NAME = re.compile(r"[A-Z][a-z]+(?:[ ][A-Z][a-z]+)?")
_ADDRESSED = re.compile(
    r"(?:you|please[ ]\w+|come|go|let|look|wait|stop|help|tell|give|take|do|don['’]t|can|could|will|would|are|what|why|how|I)\b"
)
_NEXT_QUOTE = re.compile(r"[ ][\"“]")
_ENGLISH = re.compile(
    r"\b(?:the|and|of|is|was|are|we|it|this|a|an|my|i|he|she|you|with|to)\b", re.IGNORECASE
)
_OTHER_LANGUAGE = re.compile(
    r"\b(?:der|das|und|ist|ein|eine|nicht|le|la|les|et|des|est|une|el|los|las|una|un|que|de|y|es|il|che|di|per|och|het|een"
    r"|não|uma|em|os)\b",
    re.IGNORECASE,
)
MOST_ITEM = 6
"""Words of an item between commas; a longer part is more than a name for a thing."""
MOST_BARE_ITEM = 4
"""The same where no conjunction says that there is a series."""
MOST_APPOSITION = 20
"""Words that name once more what stands before them; more of them have a verb that is not seen."""
MOST_JOINED = 7
"""Items that are joined by words; more get semicolons."""
MOST_PARTS = 200
"""Parts of one sentence; more are a list, whatever they are."""
_DASH = " –"


@dataclass(frozen=True, slots=True)
class _Region:
    """A part of a text without a stop or a bracket in it, cut at its commas."""

    parts: Sequence[str]
    before: str
    """The stop, bracket or line's end before it, "" at the text's start."""
    after: str
    """The same after it."""
    opens_line: bool
    """Whether nothing stands before it in its line."""
    is_english: bool
    """Whether the text is, as far as its small words say: else no word and no dash is put into it."""
    join: Join

    @property
    def is_list(self) -> bool:
        """Whether it can be nothing but a list: after a colon, in a bracket, a line of its own."""
        is_line = self.opens_line and self.after in ("", "\n")
        return is_line or self.before in (":", "(", "[", "{", "|") or self.after == "|"


def separators(text: str, join: Join) -> Iterator[Change]:
    """For each comma of a text what stands in its place."""
    is_english = len(_ENGLISH.findall(text)) >= len(_OTHER_LANGUAGE.findall(text))
    start, before = 0, ""
    breaks = [(m.start(), m.end(), m.group().strip()[:1] or "\n") for m in _BREAK.finditer(text)]
    for stop, following, after in [*breaks, (len(text), len(text), "")]:
        commas = [m.span() for m in _COMMA.finditer(text, start, stop)]
        if commas:
            edges = [start, *(place for span in commas for place in span), stop]
            parts = [text[a:b].strip() for a, b in zip(edges[::2], edges[1::2], strict=True)]
            opens_line = not text[text.rfind("\n", 0, start) + 1 : start].strip()
            region = _Region(parts, before, after, opens_line, is_english, join)
            is_quoted = _closes_quote(text, stop)
            marks = _marks(region, "" if is_quoted else text[stop:])
            for (a, b), mark in zip(commas, marks, strict=True):
                if b == stop and is_quoted and _NEXT_QUOTE.match(text, stop + 1):
                    yield a, stop + 1, f"{text[stop]} and"  # "Dune," "Emma," and "Ulysses"
                else:
                    yield a, b, mark
        start, before = following, after


def _closes_quote(text: str, place: int) -> bool:
    line = text[text.rfind("\n", 0, place) + 1 : place]
    return text.startswith("”", place) or (text.startswith('"', place) and line.count('"') % 2 == 1)


def _marks(region: _Region, rest: str) -> list[str]:
    """What stands in place of each comma of a region."""
    parts = region.parts
    if len(parts) > MOST_PARTS:
        return [";"] * (len(parts) - 1)
    marks: list[str] = []
    while len(marks) < len(parts) - 1:
        place = len(marks)
        series = _series(region, place)
        if series:
            marks += series
            continue
        last = place == len(parts) - 2
        mark = _at_end(region, rest) if last and not parts[-1] else _single(region, place)
        marks.append(mark)
        if mark == _DASH and not last and _closes_apposition(region, place + 1):
            marks.append(_DASH)
    return marks


def _series(region: _Region, place: int) -> list[str]:
    """What stands in place of the commas of the series whose first comma this is, nothing where there is none."""
    parts = region.parts
    is_label = region.before in (":", "(", "[", "|") and " " not in parts[0]
    is_before_subject = not is_label and all(map(is_opening, parts[: place + 1]))
    if region.is_list and place == 0 and len(parts) > MOST_BARE_ITEM and (bare := _bare(region, 0)):
        return bare
    if not parts[place] or _NO_NOUN_BEFORE.search(parts[place]):
        return []
    if is_before_subject and not _closes_within(region, place):
        return []
    if _THE_MORE.match(parts[place]) and _THE_MORE.match(parts[place + 1]):
        return []
    if place and _SHORT_PARTICIPLE.fullmatch(parts[place]):
        return []
    end = place + 1
    while end < len(parts) and _is_item(parts[end], MOST_ITEM):
        end += 1
    conjunction = _CONJUNCTION.match(parts[end]) if end < len(parts) else None
    if conjunction and end == place + 2 and _is_named(parts[place], parts[place + 1], parts[end]):
        return []
    if conjunction and end > place + 1:
        items = [_tail(parts[place]), *parts[place + 1 : end]]
        word = conjunction["word"]
        if begins_clause(parts[end][conjunction.end() :]):  # "..., memory, and it grows": a clause
            return [*_joined(region, items, "and", closed=True), ""]
        return [*_joined(region, [*items, parts[end]], word, closed=False)]
    bare = _bare(region, place)
    if bare:
        return bare
    return _without_last_comma(region, place)


def _without_last_comma(region: _Region, place: int) -> list[str]:
    """ "tea, milk and jam": the conjunction is in the last part."""
    parts = region.parts
    for last in range(place + 1, len(parts)):
        inner = _INNER_CONJUNCTION.match(parts[last])
        if inner and _is_item(inner["item"], MOST_BARE_ITEM) and not begins_clause(inner["item"]):
            items = [_tail(parts[place]), *parts[place + 1 : last], inner["item"]]
            is_doubtful = len(items) == 2 and has_subordinator(parts[place])
            is_attribute = _PARTICIPLES.match(parts[last]) or (
                _PAIR.fullmatch(parts[last]) and _is_before_verb(parts, place, last)
            )
            if (
                is_attribute
                or is_doubtful
                or (len(items) == 2 and _may_be_apposition(parts[place], parts[last]))
            ):
                return []
            return _joined(region, [*items, "last"], inner["word"], closed=False)[:-1]
        if not _is_item(parts[last], MOST_ITEM):
            break
    return []


def _is_before_verb(parts: Sequence[str], place: int, last: int) -> bool:
    """Whether what stands between two commas belongs to the subject before it: "The flag, torn and old, came down"."""
    if _CONJUNCTION.match(parts[place]):
        return True
    following = parts[last + 1] if last + 1 < len(parts) else ""
    is_verb = bool(following) and not _NO_ITEM.match(following) and not begins_clause(following)
    return place == 0 and last == 1 and is_verb and not has_clause(parts[place])


def _bare(region: _Region, place: int) -> list[str]:
    """A series without a conjunction, to the end of its region or to an "etc"."""
    parts = region.parts[place:]
    etc = next((i for i, part in enumerate(parts) if part.lower().startswith("etc")), None)
    items = parts[1:etc]
    inner = [_INNER_CONJUNCTION.match(item) is not None for item in items]
    if len(items) < 2 - (etc is not None) or (inner[-1] and not any(inner[:-1])):
        return []
    is_apposition = len(items) == 2 and _may_be_apposition(parts[0], items[0])
    most = MOST_ITEM if region.is_list else MOST_BARE_ITEM
    if is_apposition or not all(_is_item(item, most) for item in items):
        return []
    joined = len(items) + (etc is not None)
    if (
        etc is None
        and _ARTICLE_AND_WORD.search(parts[0])
        and all(" " not in item for item in items[:-1])
    ):
        return [""] * joined  # adjectives before a noun
    if region.is_list:
        return [";"] * joined
    is_data = any(re.search(r"\d|://", item) for item in items)
    if is_data or not region.is_english:
        return [";"] * joined
    if (
        any(len(item.split()) > 2 for item in items)
        or any(inner)
        or _CONJUNCTION.match(parts[0])
        or len(items) >= MOST_BARE_ITEM
    ):
        return [";"] * joined if len(items) > 2 else []
    return [*[" and"] * len(items), *[""] * (joined - len(items))]


def _joined(region: _Region, items: Sequence[str], word: str, *, closed: bool) -> list[str]:
    """Separators of a series; the last item has its conjunction, unless the series is closed without one."""
    is_complex = any(
        _INNER_CONJUNCTION.match(f"{item} ") for item in items[1 : None if closed else -1]
    )
    if is_complex or any(begins_clause(item) for item in items[1:-1]) or len(items) > MOST_JOINED:
        return [";"] * (len(items) - 1)
    joined = region.join(len(items), "and" if word == "&" and len(items) > 3 else word)
    if any("as well as" in part for part in region.parts):
        joined = [" plus" if mark == " as well as" else mark for mark in joined]
    return joined if closed or joined[-1] == ";" else [*joined[:-1], ""]


def _single(region: _Region, place: int) -> str:
    """What stands in place of a comma that is in no series."""
    left, right = region.parts[place], region.parts[place + 1]
    if not left or not right:
        return ""
    if region.before == region.after == ":" and place == len(region.parts) - 2:
        return ";"  # "Dish: rice, Dessert: jam"
    if place == 0 and _NAME.fullmatch(left) and not is_opening(left) and _ADDRESSED.match(right):
        return _DASH  # a name that is called
    if _THEN.match(right):
        before = region.parts[: place + 1]
        return "" if any(map(has_subordinator, before)) or is_opening(left) else " and"
    if _THE_MORE.match(left) and _THE_MORE.match(right):
        return ""
    inner = _THAT.match(left)  # "so fast that in the end, she ...": a phrase in a clause
    if (
        is_opening(left)
        or (inner and is_opening(left[inner.end() :]))
        or _NO_ITEM.match(right)
        or _NO_NOUN_BEFORE.search(left)
    ):
        return ""
    is_parenthesis = place > 0 and _NO_ITEM.match(left) is not None
    if has_clause(left) and begins_clause(right):
        return "" if has_subordinator(left) or is_parenthesis else ";"
    is_doubtful = has_subordinator(left) or is_parenthesis or not region.is_english
    if _may_be_apposition(left, right) and not is_doubtful:
        return ";" if has_clause(left) and has_clause(right) else _DASH
    is_pair = len(region.parts) == 2 and len(left.split()) <= 2 and len(right.split()) <= 2
    return ";" if is_pair and region.before in (":", "(", "[", "{") else ""


def _at_end(region: _Region, rest: str) -> str:
    """A comma before a bracket, a quotation mark or a line's end: direct speech gets a colon."""
    speech = re.match(r"[\"“«]([^\"“”«»\n]*)[\"”»]", rest)
    is_whole = speech is not None and re.match(r"[^a-z].*[.!?…]\s*\Z", speech[1]) is not None
    return ":" if is_whole and region.parts[-2][-1:].isalpha() else ""


def _may_be_apposition(left: str, right: str) -> bool:
    """Whether the right part names once more what the left one ends with: "Nemo, a bold fish"."""
    if not _DETERMINED.match(right) or len(right.split()) > MOST_APPOSITION:
        return False
    before = left.split()[-3:]
    return not _DETERMINED.match(" ".join(before[-2:]) + " x") or bool(_NAME.search(before[-1]))


def _is_named(left: str, name: str, right: str) -> bool:
    """Whether a name belongs to what stands before it, and not to a series: "my dog, Max, and my cat"."""
    return (
        _NAME.fullmatch(name) is not None
        and _OWNED.search(left) is not None
        and _OWNED.match(_CONJUNCTION.sub("", right, count=1)) is not None
    )


def _closes_apposition(region: _Region, place: int) -> bool:
    """Whether the comma after an apposition ends it."""
    inner, right = region.parts[place], region.parts[place + 1]
    return not has_clause(inner) and bool(right) and not _series(region, place)


def _closes_within(region: _Region, place: int) -> bool:
    """Whether a subordinate clause goes on over a series, and the main clause follows: "If you buy tea, milk, and jam, we ..." """
    parts = region.parts
    if not is_subordinate(parts[place]):
        return False
    end = place + 1
    while end < len(parts) and _is_item(parts[end], MOST_BARE_ITEM):
        end += 1
    return place + 1 < end < len(parts) - 1 and _CONJUNCTION.match(parts[end]) is not None


def _is_item(part: str, most: int) -> bool:
    return (
        0 < len(part.split()) <= most
        and not _NO_ITEM.match(part)
        and not _PARTICIPLE.match(part)
        and not begins_clause(part)
        and not (has_clause(part) and len(part.split()) > 2)
    )


def _tail(part: str) -> str:
    """The item at the end of a part that has other words before it."""
    return " ".join(part.split()[-3:])
