"""Fixes that put something around a response: closing phrase, quotation marks, title, postscript, the prompt, JSON.

They add what is missing and leave every byte of the response itself.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from contextlib import suppress

from spar.rewrite.edits import POSTSCRIPTS, Arguments, CannotFix, Context, Edit, body
from spar.rewrite.layout import lines, newline
from spar.rewrite.vocabulary import POSTSCRIPT_SENTENCES, topic_words

_ALMOST_POSTSCRIPT = re.compile(
    r"^([ \t*_\"]*)(?:p\.?\s?p\.?\s?s|p\.?\s?s)\b[.:]{0,2}", re.IGNORECASE | re.MULTILINE
)
_FENCED_JSON = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.IGNORECASE | re.DOTALL)
_STANCES = {
    "yes": re.compile(
        r"\W*(?:yes|yeah|yep|absolutely|definitely|certainly|of course|i agree|it is true)\b",
        re.IGNORECASE,
    ),
    "no": re.compile(r"\W*(?:no|nope|never|i disagree|it is (?:false|not)|not)\b", re.IGNORECASE),
    "maybe": re.compile(
        r"\W*(?:maybe|perhaps|possibly|it depends|that depends|i am not sure|i'm not sure)\b",
        re.IGNORECASE,
    ),
}
_ANSWER = re.compile(r"answer is:?\W{0,3}(yes|no|maybe)\b", re.IGNORECASE)
_HEDGES = re.compile(
    r"\b(?:depends|not sure|unsure|uncertain|unclear|hard to say|perhaps|maybe|possibly)\b",
    re.IGNORECASE,
)
_SMART = "“”„«»"


def end_phrase(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """End with the phrase: cut a word or two after it, or add it."""
    phrase = str(arguments["end_phrase"]).strip()
    core = text.rstrip()
    place = core.lower().rfind(phrase.lower())
    if place >= 0 and 0 < len(core) - place - len(phrase) <= 12 and "\n" not in core[place:]:
        quote = '"' if core.endswith('"') else ""
        yield Edit(
            core[: place + len(phrase)] + quote + text[len(core) :],
            "cut what came after the closing phrase",
        )
    end = len(core) - (context.arguments("startend:quotation") is not None and core.endswith('"'))
    end = len(text[:end].rstrip())
    yield from (
        Edit(changed, "added the closing phrase")
        for changed in _appended(text, end, context.cased(phrase), context)
    )


def quotation(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Add the quotation marks that are missing."""
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    core = text[start:end]
    summary = "wrapped the response in double quotation marks"
    if core[0] in _SMART or core[-1] in _SMART:
        yield Edit(f'{text[:start]}"{core.strip(_SMART)}"{text[end:]}', summary)
    if core.count('"') % 2 and core[0] == '"':
        yield Edit(f'{text[:end]}"{text[end:]}', "added the closing quotation mark")
    elif core.count('"') % 2 and core[-1] == '"':
        yield Edit(f'{text[:start]}"{text[start:]}', "added the opening quotation mark")
    yield Edit(f'{text[:start]}"{core}"{text[end:]}', summary)


def title(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Mark the first heading as the title, or add one of the text's own words."""
    start, end = body(text, context)
    eol = newline(text)
    first = next((line for line in lines(text) if line.start <= start < line.next), None)
    if first is not None and first.kind == "heading" and first.end <= end:
        heading = text[start : first.end]
        inner = re.sub(
            r"^(?:title\s*:)?\s*|\s*:?$", "", heading.strip("#*_ \t<>"), flags=re.IGNORECASE
        )
        if inner and "Section" not in inner and "SECTION" not in inner:
            marked = f"{text[:start]}<<{inner}>>{text[first.end :]}"
            yield Edit(marked, "marked the heading as the title")
    for words in topic_words(text[start:end], context.prompt, context.rng):
        name = context.cased(f"<<{words}>>")
        for separator in (eol * 2, eol, " "):
            yield Edit(f"{text[:start]}{name}{separator}{text[start:]}", "added a title")


def postscript(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Write an existing postscript's marker as asked, or add a short postscript."""
    marker = str(arguments["postscript_marker"])
    written = "P.P.S." if marker == "P.P.S" else marker
    for match in reversed([*_ALMOST_POSTSCRIPT.finditer(text)]):
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
    """Put the prompt before the response, in place of a first paragraph that almost repeats it."""
    prompt = str(arguments["prompt_to_repeat"]).strip()
    eol = newline(text)
    start = len(text) - len(text.lstrip())
    first = re.split(r"\r?\n[ \t]*\r?\n", text[start:], maxsplit=1)[0]
    near = difflib.SequenceMatcher(None, first[:2000].lower().split(), prompt.lower().split())
    if near.ratio() > 0.8:
        yield Edit(
            text[:start] + context.cased(prompt) + text[start + len(first) :],
            "repeated the request word for word",
        )
    for separator in (eol * 2, eol):
        yield Edit(
            text[:start] + context.cased(prompt) + separator + text[start:],
            "repeated the request before the answer",
        )


def json_format(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Leave only the JSON where there is some amid other text, or make the text the value of one key."""
    for inner in _json_parts(text):
        yield Edit(inner, "left only the JSON")
    keys = ["response", "answer", "text", "content"]
    context.rng.shuffle(keys)
    yield Edit(
        json.dumps({keys[0]: text.strip()}, ensure_ascii=False), "wrapped the response in JSON"
    )


def _json_parts(text: str) -> Iterator[str]:
    """JSON of some size amid other text, without the trailing commas that it must not have."""
    parts = [match.group(1) for match in _FENCED_JSON.finditer(text)]
    for opening, closing in ("{}", "[]"):
        start, end = text.find(opening), text.rfind(closing)
        if 0 <= start < end and 4 * (end - start) > len(text.strip()):
            parts.append(text[start : end + 1])
    for part in parts:
        corrected = re.sub(r",(\s*[}\]])", r"\1", part.strip())
        with suppress(ValueError, RecursionError):
            json.loads(corrected)
            yield corrected


def constrained_response(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Say the answer that the text gives in the words of the option."""
    match = _ANSWER.search(text)
    if match:
        line_start = text.rfind("\n", 0, match.start()) + 1
        phrase = re.compile(r"(?:my|the) " + re.escape(match.group()), re.IGNORECASE)
        exact = phrase.search(text, line_start)
        if exact:
            after = text[exact.end() :]
            after = after[1:] if after[:1] in ".!," else after
            changed = f"{text[: exact.start()]}My answer is {match.group(1).lower()}.{after}"
            yield Edit(changed, "gave the answer in the words of the option")
    stance = match.group(1).lower() if match else _stance(text)
    if not stance:
        raise CannotFix("the text gives no answer that could be put as one of the options")
    start = body(text, context)[0]
    for separator in (" ", newline(text) * 2):
        yield Edit(
            f"{text[:start]}My answer is {stance}.{separator}{text[start:]}",
            "began with the answer in the words of the option",
        )


def _stance(text: str) -> str:
    for stance, pattern in _STANCES.items():
        if pattern.match(text):
            return stance
    return "maybe" if _HEDGES.search(text) else ""


def first_word(text: str, arguments: Arguments, context: Context) -> Iterator[Edit]:
    """Put the word before the response."""
    word = str(arguments["first_word"]).strip()
    start = re.match(r"\W*", text).end()  # type: ignore[union-attr]
    letter = text[start : start + 1]
    shown = context.cased(word[:1].upper() + word[1:])
    lowered = (
        letter if context.arguments("change_case:english_capital") is not None else letter.lower()
    )
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
    eol = newline(text)
    separators = [eol * 2, eol]
    if "\n" not in text[:end].strip():
        separators = [" ", eol * 2]  # a text of one paragraph may stay one
    context.rng.shuffle(separators)
    following = text[end:]
    for separator in dict.fromkeys([*separators, eol * 2, eol, " "]):
        # What comes after a postscript, the closing phrase, keeps its distance.
        gap = "" if not following.strip().strip('"') or following[:1].isspace() else separator
        yield text[:end] + separator + addition + gap + following
