"""Parses verdicts out of model text. Pure; knows no engine and no tree.

    Final Judgement: Yes

A verdict counts only where it can be read for certain; everything else is no verdict, and no vote:

- The heading stands at the start of a line, apart from markup, numbers and words like `So, my`; or after the
  end of a sentence, with a colon. The verdict stands right behind it: markup, `is`, `\\boxed{` or a repeated
  choice (`Yes/No:`) may be between.
- What follows must not take it back: a condition (`Yes if ...`), the other verdict (`Yes or No`, `Yes, but no`), a list of
  several, a noun (`No violations`), a question mark.
- The last such heading decides, before the headings of the judge's template repeat: a model that goes on with
  an example of its own has given its verdict before. A heading without a verdict that can be read at the
  end means that there is none.
- A quotation decides nothing. The markers of prompt and response are escaped when the judge reads them
  (`spar.templates.escape_markers`); a copy without the escapes counts only as the last line of the text.

The official scripts take the first Yes or No behind the first heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from spar.templates import NARROW

Span = tuple[int, int]
"""Start and end of a verdict in the text."""

_WORDS_BEFORE = (
    r"so|thus|hence|therefore|overall|finally|and|then|in (?:conclusion|summary|short)|conclusion|verdict|"
    r"step|my|the|our|here is|this is"
)
_LABEL = re.compile(r"(?:[\W\d_]|\b[a-z](?=[.)]))*", re.IGNORECASE)
"""What may stand before a heading on its line."""
_OPENING = re.compile(rf"(?:[\W\d_]|\b(?:{_WORDS_BEFORE})\b)*", re.IGNORECASE)
_AFTER_SENTENCE = re.compile(
    rf"[.!?;|>\u2026\u2013\u2014][)\]\"'*_\u201d\u2019]*\s+(?:[*_#(\"\s-]|\b(?:{_WORDS_BEFORE})\b,?)*\Z",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(r"\b(?:otherwise|else|or|if not)[\W_]*\Z", re.IGNORECASE)
"""Before the second heading of a request that the judge repeats."""
_HEADING = re.compile(r"(?<![^\W_/])(?<!/)final[\s_*-]+judge?ment(?![^\W_])", re.IGNORECASE)
_TITLE = re.compile(r"[^\w\n:=?]*(?:[:=?]|\s-\s|\n|\Z)")
"""After the words of a heading that is one: a colon, or the end of its line."""
_SECTION = re.compile(
    r"^[ \t]*#{1,6}[ \t*_]*(?P<name>instruction|response(?:[ \t]*[12])?|verification|comparison)[ \t*_:]*$",
    re.IGNORECASE | re.MULTILINE,
)
"""The headings of the judges' templates."""
_JUDGES_SECTIONS = ("verification", "comparison")
_LINK = (
    r"[\W_]*(?:(?:is|was|would be|will be)\b[\W_]*)?(?:(?:the|a|my)\b[\W_]*)?"
    r"(?:(?:answer|verdict|decision|result)\b[\W_]*(?:is\b[\W_]*)?)?(?:(?<=\\)[a-z]+\{[\W_]*|(?<=<)[a-z]{1,6}>[\W_]*)*"
)
"""Between a heading and its verdict."""
_DRESS = r"[ \t*_\"'`\u201c\u201d\u2018\u2019()\[\]{}<>.~]{0,16}"
_CONDITION = re.compile(
    r"[*_\"'`\u201d\u2019)\]}\s]{0,16}[,(\u2013\u2014-]{0,4}[ \t*_]{0,8}(?:(?:but|and)\s+)?(?:only\s+)?"
    r"(?:if|unless|provided|providing|assuming|depending|whether|except|otherwise|as long as|pending)\b",
    re.IGNORECASE,
)
_BULLET = re.compile(r"[ \t>]*(?:[-*+\u2022\u2013]|\d+[.)])[ \t]")
_REASONS = r"because|since|as|due|the|it|this|these|for|every|all|with"
"""Words that may follow a verdict without a sign between."""


@dataclass(frozen=True)
class Answers:
    """The answers that a judge may give, and how one is written."""

    words: str
    """Regular expression of an answer, without groups."""
    label: str = ""
    """Regular expression of what may stand before an answer, such as `response`."""
    followers: str = _REASONS
    """Words that may follow an answer without a sign between."""
    unit: str = ""
    """Regular expression of what may stand behind a further answer, such as `points`."""
    turns: str = ""
    """Words behind which the end of the line may take an answer back, as in `Yes, but no`."""
    behind: re.Pattern[str] = field(init=False)
    """A heading's verdict, right behind it."""
    choice: re.Pattern[str] = field(init=False)
    """Two answers side by side."""
    several: re.Pattern[str] = field(init=False)
    """A further answer on the line."""
    next_line: re.Pattern[str] = field(init=False)
    """A further answer at the start of a line."""
    otherwise: re.Pattern[str] = field(init=False)
    """Another answer for another case."""
    retracted: re.Pattern[str] | None = field(init=False, default=None)
    """An answer at the end of the line, right behind such a word."""

    def __post_init__(self) -> None:
        """Compile the expressions."""
        label = rf"(?:(?:{self.label})\b[\W_]*)?" if self.label else ""
        one = rf"{label}(?:{self.words})(?![^\W_])"
        joined = rf"{_DRESS}(?:[/|\\&]|_|\b(?:or|and|nor|vs)\b|,[ \t]*or\b){_DRESS}"
        both = rf"(?:{one}{joined}{one}|(?<=[(\[{{]){one}[ \t]*,[ \t]*{one}(?=[ \t]*[)\]}}]))"
        end = rf"(?={_DRESS}(?:\Z|[\n,;:!?/|\u2013\u2014-]|(?:for|on|in|to)\b)|[.)\]}}]|[ \t]*\()"
        patterns = {
            "behind": rf"{_LINK}(?:{both}(?!{joined}{one}){_LINK})?{label}(?P<answer>{self.words})(?![^\W_])",
            "choice": both,
            "several": rf"(?:[,;.|/+=\u2192\u21d2\u2794]|->|=>|[\u2013\u2014-]){_DRESS}{one}{self.unit}{end}",
            "next_line": rf"[\W_]*(?:\d+[.)][\W_]*)?{one}{end}",
            "otherwise": rf"[^\n.]*\b(?:otherwise|else|or)\b[^\na-z]*{one}",
        }
        if self.turns:
            patterns["retracted"] = (
                rf"[,;\u2013\u2014-]{_DRESS}(?:{self.turns})\b[\W_]{{1,8}}(?P<answer>{self.words})[\W_]*\Z"
            )
        for name, pattern in patterns.items():
            object.__setattr__(self, name, re.compile(pattern, re.IGNORECASE))


VERDICTS = Answers("yes|no", turns="but|so|hence|therefore|however|wait|actually|rather")
"""What the judge of a single response says."""


def parse_verdict(text: str, response: str = "") -> bool | None:
    """Parse a judge's verdict: True for yes, False for no, None if there is none.

    Parameters
    ----------
    response:
        The response that was judged: where it has a heading of a verdict itself, a line of it in the
        judge's text is a quotation.
    """
    span = find_verdict(text, response)
    return None if span is None else text[slice(*span)].translate(NARROW).casefold() == "yes"


def find_verdict(text: str, response: str = "") -> Span | None:
    """The character span of the deciding Yes or No; None if there is none."""
    return find_answer(text, VERDICTS, response)


def find_answer(text: str, answers: Answers, response: str = "") -> Span | None:
    """The character span of the deciding answer below the heading `Final Judgement`; None if there is none."""
    narrow = text.translate(NARROW)
    quoted = response.translate(NARROW)
    if not _HEADING.search(quoted):
        quoted = ""
    for start, end in _own_parts(narrow):
        for heading in reversed(list(_HEADING.finditer(narrow, start, end))):
            candidate = _Candidate(narrow, start, end, heading, quoted)
            span = candidate.read(answers)
            if span or candidate.is_title:
                return span
    return None


def _own_parts(text: str) -> Iterator[Span]:
    """The parts of a reply that are the judge's own, in the order in which they may decide.

    The first goes up to a heading of the template. Behind it the judge may verify under such a heading; once
    an instruction or a response is set out anew, the model is making up another task, unless it began with that.
    """
    sections = list(_SECTION.finditer(text))
    first = sections[0].start() if sections else len(text)
    has_opening = re.search(r"[^\W_]", text[:first]) is not None
    if has_opening:
        yield 0, first
    for number, section in enumerate(sections):
        is_judges = section["name"].lower() in _JUDGES_SECTIONS
        if is_judges:
            following = sections[number + 1 : number + 2]
            yield section.end(), following[0].start() if following else len(text)
        if is_judges or has_opening:
            return


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A place where the words of the heading stand, in a text whose full-width letters are narrow."""

    text: str
    start: int
    """Where the judge's own part begins."""
    end: int
    """Where it ends."""
    heading: re.Match[str]
    quoted: str
    """The response, "" where it has no heading of a verdict."""

    def read(self, answers: Answers) -> Span | None:
        """The span of the verdict; None if this is no heading, or no verdict can be read behind it."""
        behind = answers.behind.match(self.text, self.heading.end(), self.end)
        if behind is None or not self._is_heading or self._is_quotation(behind.end()):
            return None
        return behind.span("answer") if self._stands(behind, answers) else None

    @property
    def is_title(self) -> bool:
        """Whether it has a line or a colon of its own, so that a verdict was to follow."""
        return (
            _LABEL.fullmatch(self._before) is not None
            and _TITLE.match(self.text, self.heading.end(), self.end) is not None
            and not self._is_alternative
            and not self._is_quotation(self.heading.end())
        )

    @property
    def _is_heading(self) -> bool:
        if self._is_alternative:
            return False
        return _LABEL.fullmatch(self._before) is not None or self._is_announced(self._before)

    @property
    def _is_alternative(self) -> bool:
        start = max(self.start, self.heading.start() - 40)
        return _ALTERNATIVE.search(self.text, start, self.heading.start()) is not None

    @property
    def _before(self) -> str:
        """What stands before it on its line."""
        return self.text[self._line_start : self.heading.start()]

    @property
    def _line_start(self) -> int:
        return max(self.text.rfind("\n", self.start, self.heading.start()) + 1, self.start)

    def _is_announced(self, before: str) -> bool:
        """Whether a heading with words before it on its line is still clearly one."""
        if before.lstrip(" \t`*>-").startswith("{") and before.endswith('"'):
            return self.text.startswith('"', self.heading.end())  # a key of a JSON object
        if _OPENING.fullmatch(before):
            return True
        has_colon = re.compile(r"[*_\"]*\s*[:=]").match(self.text, self.heading.end()) is not None
        return has_colon and _AFTER_SENTENCE.search(before[-100:]) is not None

    def _stands(self, behind: re.Match[str], answers: Answers) -> bool:
        """Whether nothing that follows the verdict takes it back."""
        at, end = behind.end(), self.end
        line_end = self.text.find("\n", at, end)
        line_end = end if line_end < 0 else line_end
        line = self.text[at:line_end]
        follower = re.match(r"[ \t*_\"'`\u201c\u201d\u2018\u2019~]*([^\W_]+)", line)
        if follower and not re.fullmatch(answers.followers, follower[1], re.IGNORECASE):
            return False
        if re.match(r"-[^\W_]|[*_\"'`)\]]*\s?\?", line) or answers.choice.match(
            self.text, behind.start("answer"), line_end
        ):
            return False
        if _CONDITION.match(line) or re.match(
            r"[ \t]*\n[ \t]*(?:if|unless|otherwise)\b", self.text[at : at + 80]
        ):
            return False
        if answers.several.search(line) or answers.otherwise.match(line):
            return False
        later = answers.retracted.search(line) if answers.retracted else None
        if later and later["answer"].casefold() != behind["answer"].casefold():
            return False
        return not self._is_list(behind, line_end, answers)

    def _is_list(self, behind: re.Match[str], line_end: int, answers: Answers) -> bool:
        """Whether the next line is a verdict too, or another item of the list whose first is the verdict."""
        following = re.compile(r"\s*").match(self.text, line_end, self.end)
        next_line = following.end() if following else line_end
        if answers.next_line.match(self.text, next_line, self.end):
            return True
        own_line = self.text.rfind("\n", self.heading.end(), behind.start("answer")) + 1
        return bool(
            own_line and _BULLET.match(self.text, own_line) and _BULLET.match(self.text, next_line)
        )

    def _is_quotation(self, verdict_end: int) -> bool:
        before = self._before
        is_last = re.compile(r"[^\W_]").search(self.text, verdict_end, self.end) is None
        if self.quoted and self.text[self.heading.start() : verdict_end] in self.quoted:
            return not is_last
        is_key = before.endswith('"') and self.text.startswith('"', self.heading.end())
        if is_key:
            return False
        if before.lstrip().startswith(">") or re.search(r"[\"`\u201c][*_#\s]*\Z", before):
            return not is_last
        fences = re.findall(
            r"^[ \t]*(?:```|~~~)", self.text[self.start : self._line_start], re.MULTILINE
        )
        if len(fences) % 2:
            return not is_last
        return self._is_inside_quotes(verdict_end)

    def _is_inside_quotes(self, verdict_end: int) -> bool:
        """Whether a quotation of several lines opens before the heading and closes behind the verdict."""
        before = self.text[self.start : self.heading.start()]
        marks = [m.start() for m in re.finditer(r"[\"\u201c\u201d]", before)]
        if not marks:
            return False
        opening = re.compile(r"(?:(?<=[\s(\[:])|(?<![\s\S]))\"(?=\S)|\u201c")
        closing = re.compile(r"(?<=\S)\"(?=[\s.,;:!?)\]]|\Z)|\u201d")
        nearest = re.compile(r"[\"\u201c\u201d]").search(self.text, verdict_end, self.end)
        return bool(
            nearest
            and opening.match(self.text, self.start + marks[-1])
            and closing.match(self.text, nearest.start())
        )
