"""FollowBench's rules: which rows a program scores, and how. Pure; knows no model and no metric.

A rule is a list of conditions. Those of summaries and formats are cumulative: a row of level l needs
conditions 1 to l. A rule that compares with the row's target has one condition at every level. The
rules follow the benchmark's own scripts (YJiangcm/FollowBench, `rule_based_evaluation.py`), oddities
included; where those search with a pattern that takes quadratic time, one pass finds the same.
"""

from __future__ import annotations

import ast
import re
import string
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spar.record.evaluation import Verdict

JUDGE = ""
"""What `rule_of` says of a row that a model judges."""
EXAMPLE = "example"
"""Rule of every row of the file of that name."""
_FORMAT_GROUPS = {22: "format-22", 30: "format-30"}
"""Groups of the format file that have a rule each."""
_LONGEST_LITERAL = 1000
"""No list in an answer key or a judge's reply is near so long, in characters."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that an answer must be."""

    says: str
    """The condition in words."""
    holds: Callable[[str, str], bool]
    """From the answer and the row's target to whether it does."""


def rule_of(file: str, row: Mapping[str, Any]) -> str:
    """Name of the rule that scores a row, `JUDGE` where none does."""
    if file == EXAMPLE:
        return EXAMPLE
    if row["source"] in _CUMULATIVE or row["source"] in _TARGETED:
        return str(row["source"])
    return _FORMAT_GROUPS.get(row["example_id"], JUDGE) if row["category"] == "format" else JUDGE


def conditions(rule: str, level: int) -> tuple[Condition, ...]:
    """What a rule requires of a row of a level, from 1 to 5."""
    if rule in _TARGETED:
        return (_TARGETED[rule],)
    first = _FOUR_PARAGRAPHS if rule == "format-22" and level == 5 else _CUMULATIVE[rule][:1]
    return (*first, *_CUMULATIVE[rule][1:level])


def check(rule: str, level: int, answer: str, target: str) -> tuple[Verdict, ...]:
    """Whether an answer meets each condition of a row."""
    key = f"; target {shown(target)}" if rule in _TARGETED else ""
    return tuple(
        Verdict(
            name=f"{rule}:{number}",
            passed=condition.holds(answer, target),
            why=condition.says + key,
        )
        for number, condition in enumerate(conditions(rule, level), start=1)
    )


def read_list(text: str) -> list[Any] | None:
    """The list that a Python literal makes, None where the text is none; runs nothing."""
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in a model's text
            value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def shown(text: str) -> str:
    """A text as one short line, for notes and errors."""
    return repr(text if len(text) <= 80 else f"{text[:79]}…")


def _plain(says: str, holds: Callable[[str], bool]) -> Condition:
    return Condition(says, lambda answer, _: holds(answer))


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", text) is not None


def _word(word: str) -> Condition:
    return _plain(f"has the word {word!r}", lambda answer: _has_word(answer, word))


def _without(word: str) -> Condition:
    return _plain(f"lacks the word {word!r}", lambda answer: not _has_word(answer, word))


def _sentences(text: str) -> list[str]:
    # A piece of nothing but spaces counts as a sentence, an empty one does not.
    return [piece for piece in re.split(r"[.!?]", text) if piece]


def _num_sentences(n: int) -> Condition:
    return _plain(f"has exactly {n} sentence(s)", lambda answer: len(_sentences(answer)) == n)


def _num_tokens(text: str) -> int:
    return text.count(" ") + 1


def _fewer_tokens(limit: int) -> Condition:
    return _plain(f"has fewer than {limit} tokens", lambda answer: _num_tokens(answer) < limit)


def _sentence(text: str, number: int) -> str:
    pieces = _sentences(text)
    return pieces[number - 1] if len(pieces) >= number else ""


def _potter_actor_films(answer: str) -> bool:
    words = enumerate(("Potter", "actor", "films"), start=1)
    return all(_has_word(_sentence(answer, number), word) for number, word in words)


def _num_punctuation(text: str) -> int:
    return sum(character in string.punctuation for character in text)


def _paragraphs(text: str) -> list[str]:
    return text.split("\n\n")


def _num_paragraphs(n: int) -> Condition:
    return _plain(f"has exactly {n} paragraphs", lambda answer: len(_paragraphs(answer)) == n)


_FOUR_PARAGRAPHS = (_num_paragraphs(4),)
"""In place of three paragraphs at level 5 of group 22: the last line is a paragraph of its own."""


def _numbered(text: str) -> bool:
    starts = (paragraph.lstrip() for paragraph in _paragraphs(text))
    return all(re.match(r"\d+\.", start) for start in starts if start)


def _num_keyed_points(text: str) -> int:
    return sum(_keyed_points_of_line(line) for line in text.split("\n"))


_KEY = re.compile(r"\*\*\d")


def _keyed_points_of_line(line: str) -> int:
    """How often `**`, a digit and at least one more character run up to the next colon."""
    count, at = 0, 0
    while (start := _KEY.search(line, at)) is not None:
        colon = line.find(":", start.end() + 1)
        if colon < 0:  # nor does one follow any later start
            break
        count, at = count + 1, colon + 1
    return count


_AFTER_STOP = re.compile(r"(?<=[.?])(?<!\w\.\w[.?])(?<![A-Z][a-z]\.)\s")
"""A space after a dot or question mark that ends no abbreviation such as `e.g.` or `Mr.`"""


def _points_are_short(text: str) -> bool:
    numbers = [f"{number}." for number in range(1, 6)]
    return all(
        piece.count(".") < 2
        for piece in _AFTER_STOP.split(text)
        if any(number in piece for number in numbers)
    )


def _ten_to_fifteen(text: str) -> bool:
    return all(10 <= len(piece.split()) <= 15 for piece in _AFTER_STOP.split(text))


def _last(pattern: str) -> Callable[[str, str], bool]:
    return lambda answer, target: re.findall(pattern, answer)[-1:] == [target]


def _fits_template(answer: str, target: str) -> bool:
    template = target.replace("{instruction}\n", "").replace("{{", "{").replace("}}", "}")
    before, _, after = template.partition("{answer}")
    if len(answer) < len(before) + len(after):
        return False
    inner = answer[len(before) : len(answer) - len(after)]
    return answer.startswith(before) and answer.endswith(after) and "\n" not in inner


_EQUAL = Condition("equals the target", lambda answer, target: answer == target)

_TARGETED: Mapping[str, Condition] = {
    "E2E": _EQUAL,
    "text_editing": _EQUAL,
    "WIKIEVENTS": Condition(
        "every line is one of the target's",
        lambda answer, target: set(answer.split("\n")) <= set(target.split("\n")),
    ),
    "CONLL2003": Condition(
        "equals an element of the target",
        lambda answer, target: answer in (read_list(target) or ()),
    ),
    "BBH_logical": Condition("the last option is the target", _last(r"\([A-Z]\)")),
    "BBH_time": Condition("the last date is the target", _last(r"\d{2}/\d{2}/\d{4}")),
    "gsm_8k": Condition("the last amount is the target", _last(r"\$\d+")),
    "self_made_space": Condition("contains the target", lambda answer, target: target in answer),
    EXAMPLE: Condition("is the target, its answer one line", _fits_template),
}

_CUMULATIVE: Mapping[str, tuple[Condition, ...]] = {
    "cnn_dailymail": (
        _num_sentences(3),
        _plain(
            "every sentence has fewer than 15 words",
            lambda answer: all(len(piece.split()) < 15 for piece in _sentences(answer)),
        ),
        _plain("'Potter', 'actor', 'films' in sentences 1, 2, 3", _potter_actor_films),
        _plain(
            "sentence 2 lacks the word 'lavish'",
            lambda answer: not _has_word(_sentence(answer, 2), "lavish"),
        ),
        _plain(
            "sentence 3 has 'has' or 'have' and a word",
            lambda answer: re.search(r"\bha(?:s|ve)\s+\w", _sentence(answer, 3)) is not None,
        ),
    ),
    "xsum": (
        _num_sentences(1),
        _fewer_tokens(20),
        _without("Newton Stewart"),
        _plain(
            "has 'am', 'is' or 'are' and a word in -ing",
            lambda answer: re.search(r"\b(?:am|is|are)\s+\w+ing\b", answer) is not None,
        ),
        _word("operation"),
    ),
    "samsum": (
        _num_sentences(1),
        _fewer_tokens(15),
        _word("stuff"),
        _plain(
            "lacks 'procrast' in any case",
            lambda answer: re.search("procrast", answer, re.IGNORECASE) is None,
        ),
        _plain("has exactly 1 punctuation mark", lambda answer: _num_punctuation(answer) == 1),
    ),
    "gigaword": (
        _plain("has exactly 8 tokens", lambda answer: _num_tokens(answer) == 8),
        _plain("has no punctuation mark", lambda answer: _num_punctuation(answer) == 0),
        _plain("is all lower case", str.islower),
        _without("bus"),
        _word("in"),
    ),
    "arxiv": (
        _num_sentences(1),
        _fewer_tokens(21),
        _plain("starts with 'We'", lambda answer: answer.startswith("We")),
        _word("activations"),
        _without("transformer"),
    ),
    "format-22": (
        _num_paragraphs(3),
        _plain(
            "each of the first 3 paragraphs has fewer than 3 sentences",
            lambda answer: all(len(_sentences(part)) < 3 for part in _paragraphs(answer)[:3]),
        ),
        _plain(
            "every sentence has more than 20 words",
            lambda answer: all(len(piece.split()) > 20 for piece in _sentences(answer)),
        ),
        _plain("every paragraph starts with a number and a dot", _numbered),
        _plain(
            "ends with 'Those are suggestions'",
            lambda answer: answer.endswith("Those are suggestions"),
        ),
    ),
    "format-30": (
        _plain("contains '**'", lambda answer: "**" in answer),
        _plain("has exactly 5 numbered keywords", lambda answer: _num_keyed_points(answer) == 5),
        _plain("every numbered point has fewer than 2 sentences", _points_are_short),
        _plain("every sentence has 10 to 15 words", _ten_to_fifteen),
        _plain(
            "no word ends in '-ly'",
            lambda answer: not any(word.endswith("-ly") for word in answer.split()),
        ),
    ),
}
