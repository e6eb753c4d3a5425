"""Hostile text, and trees that contain it."""

from __future__ import annotations

from hypothesis import strategies as st

from spar.types import Fault, Judgement, Message, Node, Prompt, SearchTree
from tests.strategies import any_text

SNIPPETS = (
    "[bold red]x[/]",
    "[/x]",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;http://x.invalid\x07link\x1b]8;;\x07",
    "\x1b]52;c;aGk=\x07",
    "\x9b2J",
    "\t",
    "\r\n",
    "\rback",
    "\b\b\b",
    "\u200b\u200d\ufeff\u2060",
    "\u202eright to left\u202c\u2066\u2069",
    "\u061c\u200f",
    "\udfff\ud800",
    "\x00\x7f\x85",
    "\u2028\u2029",
    "e" + "\u0301" * 300,
    "\u0301",
    "❤\ufe0f\ufe0f",
    "\U000e0041\U000e0100",
    "\ue000\ufffe\U0010ffff",
    "</pre></style><script>alert(1)</script><img src=x onerror=y>",
    "<!-- ]]> &lt; &#27; &amp;",
    '"\'\\" \\N \\l; } node [',
    "````\n# head\n~~~\n[a](javascript:b)",
    "=cmd|' /C calc'!A0",
    ":smile: {x} %s",
    "שלום العربية 日本語 👩‍💻",
)
"""One of each kind that a terminal, a page, a drawing or a spreadsheet might interpret."""

EVERYTHING = "".join(SNIPPETS)

hostile_text = st.lists(st.sampled_from(SNIPPETS) | any_text, max_size=6).map("".join)
"""Any text, including the kinds above."""


def hostile_tree(text: str = EVERYTHING) -> SearchTree:
    """A draft, its refinement, an unjudged draft and two faults, with the text in every text field."""
    judgement = Judgement(verdicts=(True, False, None), critique=text, dissent=text)
    nodes = (
        Node(id=0, parent=None, depth=0, response=text, judgement=judgement),
        Node(id=1, parent=0, depth=1, response=f"{text} more", reflection=text, text=text),
        Node(id=2, parent=None, depth=0, response=f"other {text}", judgement=judgement),
    )
    return SearchTree(
        prompt=Prompt(
            id=text,
            messages=(Message(role="system", content=text), Message(role="user", content=text)),
            source=text,
            meta={text: [text]},
        ),
        strategy=text,
        config=text,
        nodes=nodes,
        faults=(
            Fault(parent=0, stage="refine", reason=text, text=text),
            Fault(parent=None, stage="draft", reason=text),
        ),
        selected=0,
        stop="exhausted",
    )
