"""Fixes that put something around a response: closing phrase, quotation marks, postscript, the prompt, JSON.

They add what is missing and leave every byte of the response itself.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from contextlib import suppress

from spar.rewrite.edits import POSTSCRIPTS, Arguments, CannotFix, Context, Edit, body
from spar.rewrite.english.capitals import as_sentence_rest, as_sentence_start
from spar.rewrite.english.vocabulary import POSTSCRIPT_SENTENCES
from spar.rewrite.guards import unclosed
from spar.rewrite.layout import (
    begins_with_markup,
    finditer_outside_code,
    is_protected,
    newline,
    separators_after,
)

_ALMOST_POSTSCRIPT = re.compile(
    r"^([ \t*_\"]*)(?:(?i:p\.[ ]?p\.?[ ]?s|p\.[ ]?s)|PP?S(?![ ]?[\d/-])|P[ ]S|[Pp]p?s(?=[.:,]))\b[.:]{0,2}",
    re.MULTILINE,
)
"""At a line's start; `ps` without a stop may be a word of its own."""
_FENCE = re.compile(r"^[ \t]*```", re.MULTILINE)
_FENCED_JSON = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.IGNORECASE | re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(\s*[}\]])')
_END = r"(?=[*_\"'”’)]*(?:[.,;:!…—–](?!\d)|\s+[-–—]|\s*\n|\s*\Z))"  # not "?": that is a question
_SURELY = r"(?:absolutely|definitely|certainly|of course|surely)"
_SUBJECT = r"(?:it|i|you|he|she|we|they|this|that|there|absolutely|indeed|because|of course)\b"
_STANCES = {
    "no": re.compile(
        rf"\W*(?:(?:no|nope|never|not(?: really| at all)?){_END}(?!\.\s?\d)"
        rf"|no[ ](?=(?:it|i|you|he|she|we|they|this|that|there)\b)"
        rf"|{_SURELY}[ ]not\b(?![ ](?:only|just|all))"
        rf"|i (?:\w+ly )?disagree(?:{_END}| with (?:you|this|that|the)\b)|it is (?:false|not|not true){_END})",
        re.IGNORECASE,
    ),
    "maybe": re.compile(
        rf"\W*(?:maybe|perhaps|possibly|(?:it|that) depends(?! on no\b)|i am not sure|i['’]m not sure|not sure"
        rf"|yes and no{_END})\b",
        re.IGNORECASE,
    ),
    "yes": re.compile(
        rf"\W*(?:(?:yes|yeah|yep)\b(?:{_END}|(?=[ ](?:\(|{_SUBJECT})))(?!\W*(?:and|or|but)?[ ]?no\b)|{_SURELY}{_END}(?!\W+(?:here|i can|i will|i['’]ll|let)\b)"
        rf"|i (?:\w+ly )?agree(?:{_END}| with (?:you|this|that|the)\b)|it is true{_END})",
        re.IGNORECASE,
    ),
}
"""How a text that answers begins: "no doubt" and "no longer" are no answers, nor is "not only"."""
_ANSWER = re.compile(
    r"(?P<whose>\b(?:my|the) )?\banswer is(?P<gap>:?\W{0,3})\b(?P<stance>yes|no|maybe)\b(?P<close>[*_\"'”’)]*)"
    r"(?P<stop>[.!,;:](?!\d)|(?=\s*(?:\n|\Z)))(?!\s*(?:(?:and|or)[ ])?(?:yes|no|maybe)\b)",
    re.IGNORECASE,
)
_NO_STATEMENT = re.compile(
    r"\b(?:if|whether|when|unless|not|never|doubt|said|says|some|might|could|would)\b|n['’]t\b",
    re.IGNORECASE,
)
_SAID = re.compile(rf"\b(?P<said>yes|no){_END}", re.IGNORECASE)
_YES_AND_NO = re.compile(r"\W*yes and no\b", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:not|never|cannot|hardly|neither|nor)\b|n['’]t\b", re.IGNORECASE)
MOST_OF_A_TAG = 4
"""Words of a sentence that takes back the answer before it ("It is not.")."""
_HEDGES = re.compile(
    r"\b(?:depends (?!on no\b)|not sure|unsure|uncertain|unclear|hard to say)", re.IGNORECASE
)
_WORD = re.compile(r"\w+")
_COPY_END = re.compile(r"[.!?:][\"'”’)\]*_]*(?=\s|\Z)|(?<=\S)(?=\s*(?:\n|\Z))")
MOST_LOST = 3
"""Words of a near copy of the prompt that are replaced though the prompt does not have them."""
_SMART = "“”„«»"


def end_phrase(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """End with the phrase: cut a word or two after it, or add it."""
    phrase = str(arguments["end_phrase"]).strip()
    core = text.rstrip()
    cut = _cut_after(core, phrase)
    if cut is not None:
        yield Edit(cut + text[len(core) :], "cut what came after the closing phrase")
    end = len(core) - (context.arguments("startend:quotation") is not None and core.endswith('"'))
    end = len(text[:end].rstrip())
    yield from (
        Edit(changed, "added the closing phrase")
        for changed in _appended(text, end, context.cased(phrase), context)
    )


def _cut_after(core: str, phrase: str) -> str | None:
    """The text up to the phrase, where a few words or marks after it can go; None where they say more."""
    place = core.lower().rfind(phrase.lower())
    end = place + len(phrase)
    rest = core[end:]
    if place < 0 or not 0 < len(rest) <= 12 or "\n" in core[place:]:
        return None
    if (place and core[place - 1].isalnum() and phrase[0].isalnum()) or (
        rest[0].isalnum() and phrase[-1].isalnum()
    ):
        return None  # a part of a longer word
    if not rest.strip("*_"):  # emphasis around the phrase goes on both sides
        return core[: place - len(rest)] + core[place:end] if core[:place].endswith(rest) else None
    if phrase[-1] not in ".!?…" and any(letter.isalnum() for letter in rest):
        return None  # the sentence goes on
    cut = core[:end] + ('"' if core.endswith('"') else "")
    return cut if unclosed(cut) <= unclosed(core) else None


def quotation(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Add the quotation marks that are missing."""
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    core = text[start:end]
    summary = "wrapped the response in double quotation marks"
    outer = (core[0] in _SMART) + (len(core) > 1 and core[-1] in _SMART)
    if outer and outer == sum(letter in _SMART for letter in core):  # they are around all of it
        yield Edit(f'{text[:start]}"{core.strip(_SMART)}"{text[end:]}', summary)
    # Before a list item's mark, or in a line of code, a quotation mark would be a part of it.
    opens_apart = begins_with_markup(text, start)
    closes_apart = " " not in separators_after(text, end)
    for gap in (newline(text) * 2, newline(text)):
        opening, closing = '"' + gap * opens_apart, gap * closes_apart + '"'
        if core.count('"') % 2 and core[0] == '"':
            yield Edit(f"{text[:end]}{closing}{text[end:]}", "added the closing quotation mark")
        elif core.count('"') % 2 and core[-1] == '"':
            yield Edit(f"{text[:start]}{opening}{text[start:]}", "added the opening quotation mark")
        yield Edit(f"{text[:start]}{opening}{core}{closing}{text[end:]}", summary)
        if not opens_apart and not closes_apart:
            return


def postscript(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Write an existing postscript's marker as asked, or add a short postscript."""
    marker = str(arguments["postscript_marker"])
    written = "P.P.S." if marker == "P.P.S" else marker
    for match in reversed([*finditer_outside_code(_ALMOST_POSTSCRIPT, text)]):
        yield Edit(
            f"{text[: match.start()]}{match.group(1)}{context.cased(written)}{text[match.end() :]}",
            "corrected the marker of the postscript",
        )
        break
    known = POSTSCRIPTS.get(marker)
    if known is None and not marker.strip():
        raise CannotFix("it names no marker")
    choices = [*POSTSCRIPT_SENTENCES]
    context.rng.shuffle(choices)
    end = body(text, context)[1]
    for sentence in choices[:3]:
        addition = context.cased(f"{written} {sentence}")
        for changed in _appended(text, end, addition, context):
            yield Edit(changed, "added a postscript")


def repeat_prompt(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put the prompt before the response, in place of lines at its start that almost repeat it."""
    prompt = str(arguments["prompt_to_repeat"]).strip()
    eol = newline(text)
    start = len(text) - len(text.lstrip())
    end = _near_copy(text, start, prompt)
    if end is not None:
        yield Edit(
            text[:start] + context.cased(prompt) + text[end:], "repeated the request word for word"
        )
    for separator in (eol * 2, eol):
        yield Edit(
            text[:start] + context.cased(prompt) + separator + text[start:],
            "repeated the request before the answer",
        )


def _near_copy(text: str, start: int, prompt: str) -> int | None:
    """Where a copy of the prompt with a few other words ends, at a sentence's or a line's end."""
    asked = _WORD.findall(prompt.lower())
    best, place = 0.8, None
    for stop in _COPY_END.finditer(text, start, start + 2 * len(prompt) + 200):
        part = text[start : stop.end()]
        words = _WORD.findall(part.lower())
        if not words or not asked or not 2 / 3 <= len(words) / len(asked) <= 3 / 2:
            continue
        match = difflib.SequenceMatcher(None, words, asked, autojunk=False)
        blocks = [block for block in match.get_matching_blocks() if block.size]
        lost = len(words) - sum(block.size for block in blocks)
        is_copy = bool(blocks) and blocks[-1].a + blocks[-1].size == len(words)
        # What the prompt does not have may be the answer.
        if match.ratio() > best and is_copy and lost <= MOST_LOST and not unclosed(part):
            best, place = match.ratio(), stop.end()
    return place


def json_format(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Leave only the JSON where there is some amid other text, or make the text the value of one key."""
    for inner in _json_parts(text):
        yield Edit(inner, "left only the JSON")
    keys = ["response", "answer", "text", "content"]
    context.rng.shuffle(keys)
    wrapped = json.dumps({context.cased(keys[0]): text.strip()}, ensure_ascii=False)
    yield Edit(wrapped, "wrapped the response in JSON")


def _json_parts(text: str) -> Iterator[str]:
    """The object or list of some size amid other text, without the trailing commas that it must not have."""
    if len(_FENCE.findall(text)) > 2:
        return  # of several blocks none is the whole answer
    parts = [match.group(1) for match in _FENCED_JSON.finditer(text)]
    brackets = sorted((place, pair) for pair in ("{}", "[]") if (place := text.find(pair[0])) >= 0)
    for place, pair in brackets:
        # A list in an object is a part of it.
        if pair == "{}" or place == brackets[0][0]:
            parts.append(text[place : text.rfind(pair[1]) + 1])
    for part in parts:
        if 4 * len(part) <= len(text.strip()):
            continue
        for form in (part.strip(), _TRAILING_COMMA.sub(_without_comma, part.strip())):
            with suppress(ValueError, RecursionError):
                if isinstance(json.loads(form), dict | list):
                    yield form
                    return


def _without_comma(match: re.Match[str]) -> str:
    return match.group(1) or match.group(2)


def constrained_response(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Say the answer that the text gives in the words of the option."""
    answers = [match for match in finditer_outside_code(_ANSWER, text) if _is_stated(text, match)]
    stances = {match.group("stance").lower() for match in answers} | {_stance(text)}
    stances -= {"maybe", ""} if answers else {""}
    if len(stances) > 1:
        raise CannotFix("the text gives more than one answer")
    if not stances and not answers:
        raise CannotFix("the text gives no answer that could be put as one of the options")
    stance = answers[0].group("stance").lower() if answers else next(iter(stances))
    if _contradicts(text, stance, answers[0].start() if answers else 0):
        raise CannotFix("the text takes its answer back, or gives more than one answer")
    exact = next((match for match in answers if _begins(text, match)), None)
    if exact:
        close = "" if exact.group("gap").strip(": ") else exact.group("close")
        after = text[exact.end() :]
        if exact.group("stop") in (",", ";", ":"):  # a sentence of its own begins
            after = as_sentence_start(after)
        changed = f"{text[: exact.start()]}My answer is {stance}.{close}{after}"
        yield Edit(changed, "gave the answer in the words of the option")
    start, eol = body(text, context)[0], newline(text)
    for separator in (eol * 2, eol) if begins_with_markup(text, start) else (" ", eol * 2):
        yield Edit(
            f"{text[:start]}My answer is {stance}.{separator}{text[start:]}",
            "began with the answer in the words of the option",
        )


def _contradicts(text: str, stance: str, place: int) -> bool:
    """Whether a text says another answer too, or negates the one that it gives at a place."""
    said = {match["said"].lower() for match in _SAID.finditer(text)}
    if stance == "maybe":
        return len(said) == 1 and not _YES_AND_NO.match(text)
    if said - {stance}:
        return True
    own, *others = re.split(r"(?:[.!?]+(?=\s)|\n)\s*", text[place:])
    short = [other for other in others[:1] if len(other.split()) <= MOST_OF_A_TAG]
    return stance == "yes" and any(_NEGATION.search(part) for part in [own, *short])


def _begins(text: str, match: re.Match[str]) -> bool:
    """Whether it is a sentence's beginning, which the option's words can take the place of."""
    before = text[: match.start()].rstrip("*_\"'“ \t")
    return match.group("whose") is not None and (not before or before[-1] in ".!?:\n")


def _is_stated(text: str, match: re.Match[str]) -> bool:
    """Whether a sentence says so, rather than "if the answer is yes"."""
    return not _NO_STATEMENT.search(re.split(r"[.!?\n]", text[: match.start()])[-1])


def _stance(text: str) -> str:
    for stance, pattern in _STANCES.items():
        if pattern.match(text):
            return stance
    return "maybe" if _HEDGES.search(text) and not _SAID.search(text) else ""


def first_word(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put the word before the response."""
    word = str(arguments["first_word"]).strip()
    start = re.match(r"\W*", text).end()  # type: ignore[union-attr]
    letter = text[start : start + 1]
    shown = context.cased(word[:1].upper() + word[1:])
    if is_protected(text, start, start + 1):
        yield Edit(f"{shown}.{newline(text) * 2}{text}", f'began with "{word}"')
    is_capital = context.arguments("change_case:english_capital") is not None
    lowered = letter if is_capital else as_sentence_rest(text, start)
    yield Edit(f"{text[:start]}{shown} {lowered}{text[start + 1 :]}", f'began with "{word}"')


def character_sequence(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """The sequence itself: nothing else may stand in the response."""
    character, length = str(arguments["character"]), int(arguments["length"])
    if not 0 < length <= 10_000:
        raise CannotFix(f"a length of {length} is out of bounds")
    yield Edit(character * length, "wrote the letter as often as asked")


def story(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put the first sentence before the text and the last one after it, where they are missing."""
    first, last = str(arguments["first_sentence"]), str(arguments["last_sentence"])
    core = text.strip()
    opening = "" if core.startswith(first) else f"{first} "
    closing = "" if core.endswith(last) else f" {last}"
    parts = [*(["first"] if opening else []), *(["last"] if closing else [])]
    yield Edit(
        f"{opening}{core}{closing}", f"added the {' and the '.join(parts) or 'first'} sentence"
    )


def _appended(text: str, end: int, addition: str, context: Context) -> Iterator[str]:
    """The text with an addition at `end`, as a paragraph, a line or in the same line."""
    every = separators_after(text, end)
    separators = [*every[:2]]
    if "\n" not in text[:end].strip() and " " in every:
        separators = [" ", every[0]]  # a text of one paragraph may stay one
    context.rng.shuffle(separators)
    following = text[end:]
    for separator in dict.fromkeys([*separators, *every]):
        # What comes after a postscript, the closing phrase, keeps its distance.
        gap = "" if not following.strip().strip('"') or following[:1].isspace() else separator
        yield text[:end] + separator + addition + gap + following
