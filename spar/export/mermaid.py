"""A tree in Mermaid's language, which GitHub, GitLab and many editors draw: paste it into a ```` ```mermaid ```` block.

Labels are quoted strings, in which Mermaid reads HTML, Markdown and entities such as `#quot;`, so every character that
could begin one of these is written as its number.
"""

from __future__ import annotations

from collections.abc import Iterator

from spar.export.graph import COLOURS, PROMPT, boxes, prompt_lines
from spar.types import SearchTree
from spar.view.node_detail import Annotations

_SPECIAL = "\"#&<>`*_\\[]{}()|~$;:@%/'"
_ESCAPES = str.maketrans({character: f"#{ord(character)};" for character in _SPECIAL})


def to_mermaid(tree: SearchTree, annotations: Annotations) -> str:
    """The tree as a flow chart from left to right."""
    return "\n".join(["flowchart LR", *(f"  {line}" for line in _lines(tree))]) + "\n"


def label(*lines: str) -> str:
    """A label of these lines of visible text."""
    return f'["{"<br/>".join(line.translate(_ESCAPES) for line in lines)}"]'


def _lines(tree: SearchTree) -> Iterator[str]:
    yield f"{PROMPT}{label(*prompt_lines(tree))}"
    for box in boxes(tree):
        arrow = "==>" if box.on_path else "-.->" if box.kind == "fault" else "-->"
        yield f"{box.above} {arrow} {box.name}{label(*box.lines)}:::{box.kind}"
    for kind, colour in COLOURS.items():
        dashed = ",stroke-dasharray:4" if kind == "fault" else ""
        yield f"classDef {kind} stroke:{colour}{dashed}"
