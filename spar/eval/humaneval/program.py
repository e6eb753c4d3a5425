"""Extracts the program from a model's reply.

A chat model answers with a code block, a base model completes the prompt; both forms are accepted from either.
The rules:

1. the last code block that defines the function, else the last block, else the whole text;
2. of a text without blocks, the lines from the first line of code to the last;
3. code that does not define the function is its body and is appended to the prompt.

A whole function is appended to the part of the prompt before the function (imports, helpers of the tests).
Replies are handled as text and never run here. A body whose indentation is ambiguous has several readings, of
which the child process runs the first that compiles; and so has a text without blocks, where a line such as
"Explanation (short): it adds." may be a sentence or a call.
"""

from __future__ import annotations

import re
import textwrap

INDENT = "    "

_BLOCK = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*\n(?P<code>.*?)(?:^[ \t]*(?P=fence)|\Z)", re.M | re.S
)
_STARTS = re.compile(r"^(?:@|#|(?:async )?def |class |import |from [\w.]+ import\b)")
_AMBIGUOUS = r"(?:if|for|while|with) .*:|assert |[A-Za-z_][\w.]*(?:\[.*\])? ?[=(]"
_MAY_BE_SENTENCE = re.compile(f"^(?:{_AMBIGUOUS})")
"""An unindented line that is code or a sentence such as "Explanation (short): it adds."."""
_CONTINUES = re.compile(
    r"^(?:@|#|(?:async )?def |class |import |from [\w.]+ import\b|(?:elif|except) .*:"
    rf"|(?:else|try|finally|except):|[\])}}]|{_AMBIGUOUS})"
)
"""An unindented line that is code or may be, not a sentence such as "Note: it adds."."""
_MAX_CUTS = 16
"""Most lines that may be sentences before which a text without blocks is cut."""


def solutions(prompt: str, response: str, entry_point: str) -> list[str]:
    """Readings of a reply as a module that defines the function."""
    code = extract(response, entry_point)
    if defines(code, entry_point):
        modules = [code] if _BLOCK.search(response) else _less_sentences(code, entry_point)
        return [f"{preamble(prompt, entry_point)}\n{module}" for module in modules]
    return [f"{prompt.rstrip()}\n{body}" for body in bodies(code)]


def extract(response: str, entry_point: str) -> str:
    """The code of a reply."""
    blocks = [textwrap.dedent(match["code"]) for match in _BLOCK.finditer(response)]
    whole = [block for block in blocks if defines(block, entry_point)]
    if whole or blocks:
        return (whole or blocks)[-1]
    return _unfenced(response) if defines(response, entry_point) else response


def defines(code: str, entry_point: str) -> bool:
    """Whether the code has the function at its top level."""
    return re.search(rf"^(?:async )?def {re.escape(entry_point)}\b", code, re.M) is not None


def preamble(prompt: str, entry_point: str) -> str:
    """The part of the prompt before the function."""
    starts = [
        match.start() for match in re.finditer(rf"^def {re.escape(entry_point)}\b", prompt, re.M)
    ]
    return prompt[: starts[-1]] if starts else ""


def bodies(code: str) -> list[str]:
    """Readings of a function's body that may have lost its indentation.

    Stripping removes that of the first line; a chat model may leave out that of the whole body.
    """
    body = code.strip("\n")
    if body[:1].isspace():
        return [body]
    return [INDENT + body, textwrap.indent(body, INDENT)]


def _unfenced(text: str) -> str:
    """The code in a text that may have sentences around it."""
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if _STARTS.match(line)), 0)
    end = first
    for number, line in enumerate(lines[first:], start=first):
        at_margin = bool(line.strip()) and line == line.lstrip()
        if at_margin and not _CONTINUES.match(line):
            break
        end = number + 1
    return "\n".join(lines[first:end])


def _less_sentences(code: str, entry_point: str) -> list[str]:
    """The code as it is, then cut before each line behind the function that may be a sentence, the longest first."""
    lines = code.split("\n")
    function = next(i for i, line in enumerate(lines) if defines(line, entry_point))
    cuts = [i for i in range(function, len(lines)) if _MAY_BE_SENTENCE.match(lines[i])]
    return [code, *("\n".join(lines[:cut]) for cut in reversed(cuts[:_MAX_CUTS]))]
