"""Extracts the program from a model's reply.

A chat model answers with a code block, a base model completes the prompt; both forms are accepted from either.
The rules:

1. the last code block that defines the function, else the last block, else the whole text, all without a `>` that
   quotes every line;
2. of a text without blocks, the lines from the first line of code to the last;
3. code that does not define the function is its body and is appended to the prompt.

A whole function is appended to the part of the prompt before the function (imports, helpers of the tests).
Replies are handled as text and never run here. A body whose indentation is ambiguous has several readings, of
which the child process runs the first that compiles; and so has a text without blocks, where a line such as
"Explanation (short): it adds." may be a sentence or a call, and one such as "LIMIT = 10" before the function a constant.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from itertools import chain

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
_CONSTANT = re.compile(r"^[A-Za-z_]\w*(?: ?:[^=]*)? ?=(?!=)")
_QUOTE = re.compile(r"^ {0,3}> ?", re.M)
_MAX_CUTS = 16
"""Most lines that may be sentences before which a text without blocks is cut."""


def solutions(prompt: str, response: str, entry_point: str) -> list[str]:
    """Readings of a reply as a module that defines the function."""
    response = _unquoted(response)
    code = extract(response, entry_point)
    in_block = _BLOCK.search(response) is not None
    if defines(code, entry_point):
        before = preamble(prompt, entry_point)
        above = [] if in_block else _constants_above(response, code, before)
        codes = [f"{constants}\n{code}" for constants in above] + [code]
        modules = codes if in_block else chain(*(_less_sentences(c, entry_point) for c in codes))
        return [f"{before}\n{module}" for module in modules]
    texts = [code] if in_block else [code, *_bodies_among_sentences(code)]
    return [f"{prompt.rstrip()}\n{body}" for text in texts for body in bodies(text)]


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


def _unquoted(response: str) -> str:
    """The reply without Markdown's sign of a quotation, where each of its lines has one."""
    lines = [line for line in response.split("\n") if line.strip()]
    quoted = bool(lines) and all(_QUOTE.match(line) for line in lines)
    return _QUOTE.sub("", response) if quoted else response


def _constants_above(text: str, code: str, before: str) -> list[str]:
    """The lines from each one that may be a constant to the code in a text, the longest first, if they run behind `before`."""
    lines = text[: text.index(code)].rstrip("\n").split("\n")
    starts: list[int] = []
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        is_constant = _CONSTANT.match(line) is not None
        if line[:1].strip() and not (is_constant or _CONTINUES.match(line)):
            break
        if is_constant:
            starts.append(number)
    found = ["\n".join(lines[start:]) for start in reversed(starts[:_MAX_CUTS])]
    return [constants for constants in found if _knows_its_names(f"{before}\n{constants}")]


def _knows_its_names(code: str) -> bool:
    """Whether each name in a module is defined before its use, so that `Complexity = O(1)` is a sentence."""
    try:
        statements = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError):
        return False
    known = {*dir(builtins)}
    for statement in statements:
        nodes = list(ast.walk(statement))
        known |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        known |= {a.asname or a.name.partition(".")[0] for a in nodes if isinstance(a, ast.alias)}
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        known |= {node.name for node in nodes if isinstance(node, definitions)}
        names = [node for node in nodes if isinstance(node, ast.Name)]
        if isinstance(statement, definitions):
            known |= {node.id for node in names}  # it runs when it is called
        used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        targets = {node.id for node in names if node in getattr(statement, "targets", ())}
        if not used <= known | stored - targets:
            return False
        known |= stored
    return True


def _bodies_among_sentences(text: str) -> list[str]:
    """What may be the body in a text without blocks: cut before lines at the margin, then from its first indented line on."""
    lines = text.strip("\n").split("\n")
    margin = [i for i, line in enumerate(lines) if i and line[:1].strip()]
    cut = ["\n".join(lines[:i]) for i in reversed(margin[:_MAX_CUTS])]
    indented = next((i for i, line in enumerate(lines) if line.strip() and line[:1].isspace()), 0)
    ends = [i for i in margin if i > indented]
    return [*cut, *("\n".join(lines[indented:end]) for end in (*ends[:1], None) if indented)]


def _less_sentences(code: str, entry_point: str) -> list[str]:
    """The code as it is, then cut before each line behind the function that may be a sentence, the longest first."""
    lines = code.split("\n")
    function = next(i for i, line in enumerate(lines) if defines(line, entry_point))
    cuts = [i for i in range(function, len(lines)) if _MAY_BE_SENTENCE.match(lines[i])]
    return [code, *("\n".join(lines[:cut]) for cut in reversed(cuts[:_MAX_CUTS]))]
