"""Everything about one node or fault, as titled sections for a screen or an export.

What the tree does not record (ground truth, the rendered prompt) is passed in as `Annotations`, since this
module knows neither verifiers nor templates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from spar.types import Fault, Finding, Judgement, Message, Node, SearchTree, Usage
from spar.view.diff import Piece, diff_text, word_diff
from spar.view.layout import parent_of
from spar.view.palette import PALETTE
from spar.view.text import one_line, pluralize, safe_text
from spar.view.tree_lines import VOTES, is_supplied, votes_text

ConstraintCheck = Callable[[SearchTree, Node], Sequence[Finding]]
"""Returns each constraint of the prompt and whether the node's response meets it; empty without a verifier."""
PromptRenderer = Callable[[SearchTree, Node], Sequence[Message]]
"""Returns the conversation that a node's response continued; empty if it cannot be rendered."""

SHOWN = 20_000
"""Maximum characters of a section's body; `Section.raw` has the whole text."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """How to find out about a node what its tree does not record."""

    check: ConstraintCheck | None = None
    """Checks the prompt's constraints; None without verifiers."""
    render: PromptRenderer | None = None
    """Renders the prompt of a node; None without templates."""


@dataclass(frozen=True, slots=True)
class Section:
    """A titled block of text."""

    title: str
    body: Text
    """The styled text, truncated to `SHOWN` characters."""
    raw: str
    """The plain text, not truncated, for copying."""
    pieces: tuple[Piece, ...] = ()
    """The parts of a diff; empty for other sections."""


def node_sections(
    tree: SearchTree, node: Node, annotations: Annotations = Annotations(), *, colour: bool = True
) -> list[Section]:
    """The sections of a node; the diff against its parent comes first, since refinements are small edits."""
    return [
        *_change(tree, node, colour=colour),
        _text("Response", node.response),
        *_judgement(tree, node),
        *_constraints(tree, node, annotations),
        *_optional("Reflection before it", node.reflection),
        *_optional("The refiner's whole reply", node.text),
        *_strategy(node),
        *_source_prompt(tree, node, annotations),
        _cost(node),
    ]


def fault_sections(fault: Fault) -> list[Section]:
    """The sections of a failed attempt."""
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
    """The sections of the prompt: its turns, and the other fields of its row."""
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


def _judgement(tree: SearchTree, node: Node) -> Iterator[Section]:
    judgement = node.judgement
    if judgement is None:
        yield _section("Votes", "not judged")
        return
    if judgement.findings:
        yield _findings("Constraints, as judged", judgement.findings)
    if judgement.has_votes or not judgement.findings:
        yield _votes(judgement, tree.gate)
    sides = [_side(judgement, majority=True), _side(judgement, majority=False)]
    yield _text(f"Critique{sides[0]}", judgement.critique)
    yield from _optional(f"Dissent{sides[1]}", judgement.dissent)


def _votes(judgement: Judgement, gate: float) -> Section:
    outcome = "pass" if judgement.passed(gate) else "fail"
    body = votes_text(judgement).append(f"  {outcome}", style=PALETTE[outcome])
    body.append(f" (passes above {gate:g})\n")
    names = {True: "yes", False: "no", None: "no verdict"}
    votes = [
        f"{VOTES[verdict]} vote {number}: {names[verdict]}"
        + ", cut at its token limit" * (number - 1 in judgement.cut)
        for number, verdict in enumerate(judgement.verdicts, start=1)
    ]
    body.append("\n".join(votes))
    return Section("Votes", body, body.plain)


def _side(judgement: Judgement, *, majority: bool) -> str:
    """The verdict that the stored critique or dissent belongs to; empty on a tie."""
    yes, no = judgement.num_yes, judgement.num_parsed - judgement.num_yes
    if yes == no:
        return ""
    return " (yes)" if (yes > no) is majority else " (no)"


def _constraints(tree: SearchTree, node: Node, annotations: Annotations) -> Iterator[Section]:
    findings = annotations.check(tree, node) if annotations.check else ()
    judged = node.judgement.findings if node.judgement else ()
    if findings and tuple(findings) != judged:
        yield _findings("Constraints, by ground truth", findings)


def _findings(title: str, findings: Sequence[Finding]) -> Section:
    body = Text("\n").join(
        Text(
            f"{VOTES[finding.met]} {'met' if finding.met else 'not met'}: {one_line(_found(finding))}",
            style=PALETTE["pass" if finding.met else "fail"],
        )
        for finding in findings
    )
    return Section(title, body, body.plain)


def _found(finding: Finding) -> str:
    share = "" if finding.share is None else f" ({finding.share:.0%} of its votes say yes)"
    return (finding.line if finding.found else finding.constraint) + share


def _strategy(node: Node) -> Iterator[Section]:
    """What the strategy computed when it asked for the node."""
    if node.statistics or node.second_parent is not None:
        merged = [] if node.second_parent is None else [f"merged with: #{node.second_parent}"]
        lines = merged + [
            f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}"
            for name, value in node.statistics.items()
        ]
        yield _text("Strategy, when it asked for this node", "\n".join(lines))


def _source_prompt(tree: SearchTree, node: Node, annotations: Annotations) -> Iterator[Section]:
    messages = annotations.render(tree, node) if annotations.render else ()
    if messages:
        body = Text()
        for message in messages:
            body.append(f"{message.role}\n", style=PALETTE["head"])
            body.append_text(safe_text(message.content, limit=SHOWN)).append("\n")
        raw = "\n\n".join(f"{message.role}:\n{message.content}" for message in messages)
        yield Section("Prompt that produced it", body, raw)


def _cost(node: Node) -> Section:
    lines = _cost_lines(node, "actor" if node.parent is None else "refiner")
    if is_supplied(node):
        lines[0] = "supplied as a root, not generated by the search"
    return _section(
        "Cost", "\n".join([*lines, f"seed: {'none' if node.seed is None else node.seed}"])
    )


def _cost_lines(item: Node | Fault, writer: str) -> list[str]:
    parts = {writer: item.usage - item.judge_usage, "judge": item.judge_usage}
    return [f"{role}: {usage_text(usage)}" for role, usage in parts.items()]


def usage_text(usage: Usage) -> str:
    """A one-line summary of a usage."""
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    parts = [
        pluralize(usage.calls, "call"),
        f"{usage.prompt_tokens:,} tokens read{cached}",
        f"{usage.completion_tokens:,} generated",
        f"{usage.seconds:.1f} s",
    ]
    parts += [f"{usage.cut_calls:,} cut at their token limit"] if usage.cut_calls else []
    parts += [f"{usage.skipped_calls:,} votes skipped"] if usage.skipped_calls else []
    parts += [f"{usage.aborted_calls:,} requests aborted"] if usage.aborted_calls else []
    return ", ".join(parts)


def _optional(title: str, text: str | None) -> list[Section]:
    return [] if text is None else [_text(title, text)]


def _text(title: str, text: str) -> Section:
    return Section(title, safe_text(text, limit=SHOWN), text)


def _section(title: str, text: str) -> Section:
    return Section(title, Text(text), text)
