"""One node, or one fault, in full: titled sections that a screen shows and an export writes.

What the tree does not say (ground truth, the prompt as it was rendered) comes in as `Facts`, since nothing
here knows verifiers or templates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from spar.types import Fault, Judgement, Message, Node, SearchTree, Usage
from spar.view.diff import Piece, diff_text, word_diff
from spar.view.layout import parent_of
from spar.view.palette import PALETTE
from spar.view.text import one_line, safe_text
from spar.view.tree_lines import VOTES, is_given, votes_text

Verdicts = Callable[[SearchTree, Node], Sequence[tuple[str, bool]]]
"""Each constraint of the prompt and whether the node's response meets it; nothing where none is known."""
Rendered = Callable[[SearchTree, Node], Sequence[Message]]
"""The conversation that a node's response continued; nothing where it cannot be told."""

SHOWN = 20_000
"""Most characters of one section; the whole text stays in `Section.raw`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a node outside its tree."""

    verdicts: Verdicts | None = None
    rendered: Rendered | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of what is known of a node."""

    title: str
    body: Text
    """What is shown."""
    raw: str
    """The text itself, uncut, for copying."""
    pieces: tuple[Piece, ...] = ()
    """What a diff is made of; empty where the section is none."""


def node_sections(
    tree: SearchTree, node: Node, facts: Facts = Facts(), *, colour: bool = True
) -> list[Section]:
    """All that is known of a node: what it changed first, since refinements are small edits."""
    return [
        *_change(tree, node, colour=colour),
        _text("Response", node.response),
        *_judged(tree, node),
        *_constraints(tree, node, facts),
        *_optional("Reflection before it", node.reflection),
        *_optional("The refiner's whole reply", node.text),
        *_asked(tree, node, facts),
        _cost(node),
    ]


def fault_sections(fault: Fault) -> list[Section]:
    """All that is known of an attempt that gave no node."""
    where = "among the drafts" if fault.parent is None else f"below node #{fault.parent}"
    return [
        _text("What failed", f"{fault.stage}, {where}"),
        _text("Reason", fault.reason),
        *_optional("Text that could not be used", fault.text or None),
        _section(
            "Cost", "\n".join(_cost_lines(fault, "actor" if fault.parent is None else "refiner"))
        ),
    ]


def prompt_sections(tree: SearchTree) -> list[Section]:
    """The task: its turns, and what else its row carried."""
    turns = [_text(f"Prompt: {turn.role}", turn.content) for turn in tree.prompt.messages]
    meta = json.dumps(tree.prompt.meta, indent=1) if tree.prompt.meta else None
    return [*turns, *_optional("Source", tree.prompt.source or None), *_optional("Meta", meta)]


def _change(tree: SearchTree, node: Node, *, colour: bool) -> Iterator[Section]:
    parent = parent_of(tree, node)
    if parent is not None:
        pieces = tuple(word_diff(parent.response, node.response))
        same = all(piece.kind == "same" for piece in pieces)
        title = f"Change from #{parent.id}"
        body = diff_text(pieces, colour=colour, limit=SHOWN)
        if same:
            body = Text("no change", style=PALETTE["note"])
        yield Section(title, body, diff_text(pieces, colour=False).plain, () if same else pieces)


def _judged(tree: SearchTree, node: Node) -> Iterator[Section]:
    judgement = node.judgement
    if judgement is None:
        yield _section("Votes", "not judged")
        return
    yield _votes(judgement, tree.gate)
    sides = [_side(judgement, majority=True), _side(judgement, majority=False)]
    yield _text(f"Critique{sides[0]}", judgement.critique)
    yield from _optional(f"Dissent{sides[1]}", judgement.dissent)


def _votes(judgement: Judgement, gate: float) -> Section:
    outcome = "pass" if judgement.passed(gate) else "fail"
    body = votes_text(judgement).append(f"  {outcome}", style=PALETTE[outcome])
    body.append(f" (passes above {gate:g})\n")
    names = {True: "yes", False: "no", None: "no verdict to be read"}
    votes = [
        f"{VOTES[verdict]} vote {number}: {names[verdict]}"
        for number, verdict in enumerate(judgement.verdicts, start=1)
    ]
    body.append("\n".join(votes))
    return Section("Votes", body, body.plain)


def _side(judgement: Judgement, *, majority: bool) -> str:
    """Which verdict the kept critique or dissent gave, where the votes decided."""
    yes, no = judgement.num_yes, judgement.num_parsed - judgement.num_yes
    if yes == no:
        return ""
    return " (yes)" if (yes > no) is majority else " (no)"


def _constraints(tree: SearchTree, node: Node, facts: Facts) -> Iterator[Section]:
    verdicts = facts.verdicts(tree, node) if facts.verdicts else ()
    if verdicts:
        body = Text("\n").join(
            Text(
                f"{VOTES[met]} {'met' if met else 'not met'}: {one_line(name)}",
                style=PALETTE["pass" if met else "fail"],
            )
            for name, met in verdicts
        )
        yield Section("Constraints, by ground truth", body, body.plain)


def _asked(tree: SearchTree, node: Node, facts: Facts) -> Iterator[Section]:
    messages = facts.rendered(tree, node) if facts.rendered else ()
    if messages:
        body = Text()
        for message in messages:
            body.append(f"{message.role}\n", style=PALETTE["head"])
            body.append_text(safe_text(message.content, limit=SHOWN)).append("\n")
        raw = "\n\n".join(f"{message.role}:\n{message.content}" for message in messages)
        yield Section("Prompt that produced it", body, raw)


def _cost(node: Node) -> Section:
    lines = _cost_lines(node, "actor" if node.parent is None else "refiner")
    if is_given(node):
        lines[0] = "given to the search, not written by it"
    return _section(
        "Cost", "\n".join([*lines, f"seed: {'none' if node.seed is None else node.seed}"])
    )


def _cost_lines(item: Node | Fault, writer: str) -> list[str]:
    parts = {writer: item.usage - item.judge_usage, "judge": item.judge_usage}
    return [f"{role}: {usage_text(usage)}" for role, usage in parts.items()]


def usage_text(usage: Usage) -> str:
    """What work cost, on one line."""
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    parts = [
        f"{usage.calls:,} call{'' if usage.calls == 1 else 's'}",
        f"{usage.prompt_tokens:,} tokens read{cached}",
        f"{usage.completion_tokens:,} generated",
        f"{usage.seconds:.1f} s",
    ]
    parts += [f"{usage.skipped_calls:,} votes not asked for"] if usage.skipped_calls else []
    parts += [f"{usage.aborted_calls:,} requests cut off"] if usage.aborted_calls else []
    return ", ".join(parts)


def _optional(title: str, text: str | None) -> list[Section]:
    return [] if text is None else [_text(title, text)]


def _text(title: str, text: str) -> Section:
    return Section(title, safe_text(text, limit=SHOWN), text)


def _section(title: str, text: str) -> Section:
    return Section(title, Text(text), text)
