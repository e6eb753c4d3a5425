"""Fixes that add what is missing: keywords, letters, placeholders. Each adds one short sentence or line, and says so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from spar.keyword_observations import plain_text
from spar.rewrite.edits import Arguments, CannotFix, Context, Edit, body
from spar.rewrite.english.vocabulary import (
    LETTER_SENTENCES,
    LETTER_WORDS,
    MENTIONS,
    MENTIONS_OF_SEVERAL,
    PLACEHOLDERS,
    REPEATS,
)
from spar.rewrite.guards import addresses, overlaps
from spar.rewrite.layout import lines, newline, outside_code, separators_after

MOST_MENTIONS = 20
"""A keyword that is missing more often than this would make a text of its own."""
MOST_LETTERS = 40
"""The same for a letter."""
MOST_IN_SENTENCE = 4
"""Placeholders that are added in one sentence; more are a form, one a line."""
_PARAGRAPH = 60
"""Characters of a line of prose that a sentence can be added to."""
_BLANKS = re.compile(
    r"(?<![\w*])_{3,}(?![\w*])|(?<!<)<(?:[a-z][a-z ]{2,24})>(?!>)|(?<![\w}\\^$#{])\{[a-z][\w ]{2,24}\}(?!\})"
    r"|\((?:your|insert|enter) [\w ]{2,24}\)",
    re.IGNORECASE,
)
"""Not a rule, a title's marks, or the arguments of a formula."""
_TAG = re.compile(
    r"<(?:br|hr|img|input|wbr|html|head|body|div|span|strong|em|center|small|big|sub|sup|pre|code|table|tbody|thead"
    r"|tr|td|th|ul|ol|li|dl|dt|dd|del|ins|kbd|mark|details|summary|blockquote)\s*>",
    re.IGNORECASE,
)
_OF_SEVERAL = re.compile(r"(?<!\\)[|\[()]|\\[a-zA-Z]|\w\?\w|\.[*+]")
"""What stands for several texts, where "+" in "C++" and "?" in "What?" may be meant as they are."""
_DETAILS = (
    (
        "date",
        re.compile(
            r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December) \d{1,2}(?:st|nd|rd|th)?(?:,? \d{4})?\b"
        ),
    ),
    ("amount", re.compile(r"[$€£]\d[\d.,]*\d\b|[$€£]\d\b")),
    ("email address", re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.]*\w")),
    ("phone number", re.compile(r"\b\d{3}[-.]\d{3}[-.]\d{4}\b")),
    (
        "name",
        re.compile(
            r"(?<=Dear )[A-Z][a-z]+(?: [A-Z][a-z]+)?|\b(?:Mr|Mrs|Ms|Dr)\. [A-Z][a-z]+|(?<=name is )[A-Z][a-z]+"
        ),
    ),
)
"""Details that a placeholder can stand for, and how they look."""


def keywords(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Add a sentence with the keywords that are missing."""
    patterns = [
        str(word) for word in arguments["keywords"] if not re.search(str(word), text, re.IGNORECASE)
    ]
    if len(patterns) > MOST_MENTIONS:
        raise CannotFix(f"{len(patterns)} keywords are missing")
    missing = [_written(pattern) for pattern in patterns]
    joined = _joined([_quoted(word) for word in missing])
    summary = f"added a sentence with {joined}"
    templates = [*(MENTIONS if len(missing) == 1 else MENTIONS_OF_SEVERAL)]
    context.rng.shuffle(templates)
    for template in templates[:3]:
        for changed in _with_sentence(text, template.format(joined), context):
            yield Edit(changed, summary)


def keyword_more_often(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Add sentences with a keyword, two mentions in each where many are missing."""
    pattern = str(arguments["keyword"]).strip()
    missing = int(arguments["frequency"]) - len(re.findall(pattern, text, re.IGNORECASE))
    if missing > MOST_MENTIONS:
        raise CannotFix(f"{missing} more mentions of {pattern!r} would be needed")
    word = _written(pattern)
    singles, pairs = [*MENTIONS], [*REPEATS]
    for _ in range(2):
        context.rng.shuffle(singles)
        context.rng.shuffle(pairs)
        chosen = [pairs[i % len(pairs)] for i in range(missing // 2)]
        added = " ".join([*chosen, *singles[: missing % 2]]).format(_quoted(word))
        number = len(chosen) + missing % 2
        what = "a sentence" if number == 1 else f"{number} short sentences"
        for changed in _with_sentence(text, added, context):
            yield Edit(changed, f'added {what} with "{word}"')


def letter_more_often(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Add a sentence of words with the letter."""
    letter = str(arguments["letter"]).lower()
    missing = int(arguments["let_frequency"]) - text.lower().count(letter)
    if letter not in LETTER_WORDS:
        raise CannotFix(f"{letter!r} is no letter")
    if not 0 < missing <= MOST_LETTERS:
        raise CannotFix(f"{missing} more of the letter {letter!r} would be needed")
    for _ in range(3):
        sentence = context.rng.choice(LETTER_SENTENCES)
        words = [*LETTER_WORDS[letter]]
        context.rng.shuffle(words)
        chosen: list[str] = []
        while sentence.format(_joined(chosen)).lower().count(letter) < missing:
            chosen.append(words[len(chosen) % len(words)])
        for changed in _with_sentence(text, sentence.format(_joined(chosen)), context):
            yield Edit(changed, f'added a sentence with the letter "{letter}"')


def placeholders(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put blanks and details into square brackets, then add lines with placeholders."""
    missing = int(arguments["num_placeholders"]) - len(re.findall(r"\[.*?\]", text))
    if missing > len(PLACEHOLDERS):
        raise CannotFix(f"{missing} more placeholders would be needed")
    free = _details(text)
    chosen = sorted(context.rng.sample(free, min(missing, len(free))))
    pieces, end = [], 0
    for start, stop, name in chosen:
        pieces += [text[end:start], context.cased(f"[{name}]")]
        end = stop
    changed = "".join([*pieces, text[end:]])
    missing -= len(chosen)
    replaced = f"put {len(chosen)} placeholder{'s' * (len(chosen) > 1)} in place of details"
    if missing <= 0:
        yield Edit(changed, replaced)
    names = context.rng.sample(PLACEHOLDERS, max(1, missing))
    added = f"added {len(names)} placeholder{'s' * (len(names) > 1)}"
    summary = f"{replaced} and {added}" if chosen else added
    start, end = body(changed, context)
    eol = newline(text)
    block = context.cased(eol.join(f"{name.capitalize()}: [{name}]" for name in names))
    form = f"{changed[:end]}{eol * 2}{block}{changed[end:]}"
    if len(names) > MOST_IN_SENTENCE:
        yield Edit(form, summary)
    for text_with in _with_sentence(changed, _fill_in(names, context), context):
        yield Edit(text_with, summary)
    yield Edit(form, summary)


def _fill_in(names: Sequence[str], context: Context) -> str:
    listed = _joined([f"[{name}]" for name in names])
    forms = ("Please fill in {0}.", "Still to be filled in: {0}.", "Details to add: {0}.")
    return context.rng.choice(forms).format(listed)


def _details(text: str) -> list[tuple[int, int, str]]:
    """Places that a placeholder can be put in: start, end and name."""
    places: list[tuple[int, int, str]] = []
    linked = [span for span in addresses(text) if _is_link(text, span)]
    for a, b in outside_code(text):
        for match in _BLANKS.finditer(text, a, b):
            inner = match.group().strip("_<>{}()").strip()
            if not _is_markup(text, match):
                places.append((*match.span(), inner or "text"))
        for name, pattern in _DETAILS:
            places += [(*match.span(), name) for match in pattern.finditer(text, a, b)]
    apart: list[tuple[int, int, str]] = []
    for place in sorted(places):
        inside = text.rfind("[", 0, place[0]) > text.rfind("]", 0, place[0])
        if (
            not inside
            and not overlaps(place[:2], linked)
            and (not apart or place[0] >= apart[-1][1])
        ):
            apart.append(place)
    return apart


def _is_markup(text: str, match: re.Match[str]) -> bool:
    """Whether it looks like a blank and is a tag, or a rule between paragraphs."""
    if match.group().startswith("<"):
        name = match.group().strip("<> ")
        return bool(_TAG.fullmatch(match.group())) or f"</{name}>".lower() in text.lower()
    before, after = (
        text[: match.start()].rpartition("\n")[2],
        text[match.end() :].partition("\n")[0],
    )
    return match.group().startswith("_") and not before.strip() and not after.strip()


def _is_link(text: str, span: tuple[int, int]) -> bool:
    """Whether an address is where a link leads, rather than an e-mail address by itself."""
    return (
        "@" not in text[slice(*span)] or ":" in text[slice(*span)] or text[: span[0]].endswith("](")
    )


def _written(keyword: str) -> str:
    """The word that a keyword's pattern matches: "C++" for both `C\\+\\+` and `C++`, "colour" for `colou?r`.

    Raises
    ------
    CannotFix
        It is a pattern of other things than a word.
    """
    plain = plain_text(keyword)
    if plain is not None:
        return plain
    unescaped = re.sub(r"\\(\W)", r"\1", keyword)
    texts = [_first_match(keyword)] if _OF_SEVERAL.search(keyword) else [unescaped]
    for text in [*texts, _first_match(keyword), unescaped]:
        if text.strip() and re.search(keyword, text, re.IGNORECASE):
            return text
    raise CannotFix(f"{keyword!r} is a pattern, and no word that it matches is known")


def _first_match(pattern: str) -> str:
    """What is left of a pattern without its marks: the first of several alternatives, a set's first letter."""
    text = re.sub(r"\\[bBAZ]|(?<!\\)[\^$]", "", pattern)
    text = re.sub(r"(?<!\\)\[([^\]^])[^\]]*\]", r"\1", text)
    text = re.sub(r"(?<!\\)\((?:\?:)?([^()|?]*)(?:\|[^()]*)?\)", r"\1", text).partition("|")[0]
    text = re.sub(r"(?:(?<!\\)\.|\\s)[*+]?", " ", text)
    text = re.sub(r"(?<!\\)(?:[*+?]|\{[\d,]*\})", "", text)
    return re.sub(r"\\(\W)", r"\1", text)


def _quoted(word: str) -> str:
    """A word as it stands in a sentence: in quotation marks where it has a space or a stop of its own."""
    return f'"{word}"' if " " in word or word[-1:] in ".!?:;," else word


def _joined(words: Sequence[str]) -> str:
    return " and ".join(words)


def _with_sentence(text: str, sentence: str, context: Context) -> Iterator[str]:
    """The text with a sentence at the end of a drawn paragraph, then as a paragraph of its own."""
    start, end = body(text, context)
    sentence = context.cased(sentence)
    paragraphs = [
        line.sentences[-1][1]
        for line in lines(text)
        if line.kind == "prose"
        and line.sentences
        and start <= line.start
        and line.sentences[-1][1] <= end
        and line.end - line.start >= _PARAGRAPH
        and text[line.sentences[-1][1] - 1] in ".!?"
    ]
    context.rng.shuffle(paragraphs)
    for place in paragraphs[:2]:
        yield f"{text[:place]} {sentence}{text[place:]}"
    separators = separators_after(text, end)
    if " " in separators:  # in a paragraph only after a stop
        is_ended = text[max(0, end - 1) : end] in (".", "!", "?")
        separators = (" ", *separators[:2]) if is_ended else separators[:2]
    for separator in separators:
        following = text[end:]
        gap = separator if following.strip().strip('"') and not following[:1].isspace() else ""
        yield f"{text[:end]}{separator}{sentence}{gap}{following}"
