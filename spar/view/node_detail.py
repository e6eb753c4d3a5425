"""Everything about one node or fault, as titled sections for a screen or an export.

What the tree does not record (ground truth, the rendered prompt) is passed in as `Annotations`, since this
module knows neither verifiers nor templates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.text import Text

from spar.record.outcomes import pluralize
from spar.types import Fault, Finding, Judgement, Message, Node, SearchTree, Usage
from spar.view.diff import Piece, diff_text, word_diff
from spar.view.layout import parent_of
from spar.view.palette import PALETTE
from spar.view.text import one_line, safe_text
from spar.view.tree_lines import VOTES, is_supplied, truth_mark

ConstraintCheck = Callable[[SearchTree, Node], Sequence[Finding]]
"""Returns each constraint of the prompt and whether the node's response meets it; empty without a verifier."""
PromptRenderer = Callable[[SearchTree, Node], Sequence[Message]]
"""Returns the conversation that a node's response continued; empty if it cannot be rendered."""

SHOWN = 20_000
"""Maximum characters of a section's body; `Section.raw` has the whole text."""
SAME = "the same text as the critique"
SUMMARY = 120
"""Maximum cells of a section's summary."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """How to find out about a node what its tree does not record."""

    check: ConstraintCheck | None = None
    """Checks the prompt's constraints; None without verifiers."""
    render: PromptRenderer | None = None
    """Renders the prompt of a node; None without templates."""
    graded: Callable[[str], bool | None] | None = None
    """Whether the answer to a prompt passes by an evaluation, which counts more than `check`; None where it is unknown."""

    def grade_of(self, tree: SearchTree) -> bool | None:
        """Whether an evaluation passed the tree's answer; None without one."""
        return self.graded(tree.prompt.id) if self.graded else None


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
    kind: str = ""
    """What the section is, in a word that is the same for every node: `verdict`, `change`, `cost` ..."""
    summary: str = ""
    """Its content in a few words, for a section that is folded."""


def node_sections(
    tree: SearchTree, node: Node, annotations: Annotations = Annotations(), *, colour: bool = True
) -> list[Section]:
    """The sections of a node: the verdicts on it, what changed against its parent, then the rest."""
    truth = tuple(annotations.check(tree, node)) if annotations.check else ()
    return [
        _verdict(tree, node, node_truth(tree, node, annotations, truth)),
        *_constraints(node, truth),
        *_change(tree, node, colour=colour),
        *text_sections(node),
        *_strategy(node),
        *_source_prompt(tree, node, annotations),
        _cost(node),
    ]


def text_sections(node: Node) -> list[Section]:
    """The sections of a node that a model wrote: the response, the judge's texts, the refiner's."""
    return [
        _text("Response", node.response, "response"),
        *_critiques(node.judgement),
        *_optional("Reflection before it", node.reflection, "reflection"),
        *_optional("The refiner's whole reply", node.text, "reply"),
    ]


def fault_sections(fault: Fault) -> list[Section]:
    """The sections of a failed attempt."""
    where = "among the drafts" if fault.parent is None else f"below node #{fault.parent}"
    writer = "actor" if fault.parent is None else "refiner"
    return [
        _text("What failed", f"{fault.stage}, {where}", "verdict"),
        _text("Reason", fault.reason, "constraints"),
        *_optional("Text that could not be used", fault.text or None, "response"),
        _plain("Cost", "\n".join(_cost_lines(fault, writer)), "cost", usage_summary(fault.usage)),
    ]


def prompt_sections(tree: SearchTree) -> list[Section]:
    """The sections of the prompt: its turns, and the other fields of its row."""
    turns = [_text(f"Prompt: {turn.role}", turn.content, "turn") for turn in tree.prompt.messages]
    meta = json.dumps(tree.prompt.meta, indent=1) if tree.prompt.meta else None
    source = _optional("Source", tree.prompt.source or None, "source")
    return [*turns, *source, *_optional("Meta", meta, "meta")]


def verdict_text(judgement: Judgement | None, gate: float, *, with_gate: bool = True) -> Text:
    """The judge's verdict and how it came about: `✗ fail: 2 of 5 votes yes (passes above 0.5)`."""
    if judgement is None:
        return Text("not judged", style=PALETTE["unjudged"])
    outcome = "pass" if judgement.passed(gate) else "fail"
    text = Text().append(f"{VOTES[outcome == 'pass']} {outcome}", style=PALETTE[outcome])
    parts = []
    if judgement.findings:
        parts.append(
            f"{judgement.num_met} of {pluralize(len(judgement.findings), 'constraint')} met"
        )
    if judgement.points:
        points = " ".join("-" if each is None else f"{each:g}" for each in judgement.points)
        parts.append(f"points {points}, {judgement.score:.2f} of 1")
    elif judgement.probability is not None:
        parts.append(f"P(yes) {judgement.probability:.2f}")
    elif judgement.verdicts:
        parts.append(f"{judgement.num_yes} of {pluralize(judgement.num_parsed, 'vote')} yes")
    if known := [each for each in judgement.probabilities if each is not None]:
        parts.append(f"P(yes) {fmean(known):.2f} on average")
    unread = len(judgement.verdicts) - judgement.num_parsed - len(judgement.cut)
    if unread > 0 and not judgement.points:
        parts.append(f"{pluralize(unread, 'vote')} without a verdict")
    parts += [f"{len(judgement.cut)} cut at the token limit"] if judgement.cut else []
    text.append(f": {', '.join(parts)}" if parts else "")
    if with_gate and (judgement.has_votes or not judgement.findings):
        text.append(f" (passes above {gate:g})", style=PALETTE["note"])
    return text


def truth_text(right: bool | None, judgement: Judgement | None, gate: float) -> Text:
    """Ground truth in words, and whether the judge is mistaken; empty where it is unknown."""
    if right is None:
        return Text()
    style = PALETTE["pass" if right else "fail"]
    text = truth_mark(right).append(f" {'right' if right else 'wrong'}", style=style)
    if judgement is not None and judgement.passed(gate) is not right:
        text.append(f", the judge {'failed' if right else 'passed'} it", style=PALETTE["fault"])
    return text


def node_truth(
    tree: SearchTree,
    node: Node,
    annotations: Annotations,
    findings: Sequence[Finding] | None = None,
) -> bool | None:
    """Whether a node's response is right by ground truth; None without a verifier and an evaluation.

    `findings` are those of `annotations.check`, from a caller that has them.
    """
    grade = annotations.grade_of(tree) if node.id == tree.selected else None
    if grade is not None:
        return grade
    if findings is None:
        findings = annotations.check(tree, node) if annotations.check else ()
    return all(finding.met for finding in findings) if findings else None


def _verdict(tree: SearchTree, node: Node, right: bool | None) -> Section:
    lines = [verdict_text(node.judgement, tree.gate)]
    if known := truth_text(right, node.judgement, tree.gate):
        lines.append(known.append(" (ground truth)", style=PALETTE["note"]))
    body = Text("\n").join(lines)
    return Section("Verdict", body, body.plain, kind="verdict")


def _constraints(node: Node, truth: Sequence[Finding]) -> Iterator[Section]:
    judged = node.judgement.findings if node.judgement else ()
    if judged and truth and judged != tuple(truth):
        yield _findings("Constraints, as judged", judged)
        yield _findings("Constraints, by ground truth", truth)
    elif judged or truth:
        yield _findings("Constraints", judged or truth)


def _findings(title: str, findings: Sequence[Finding]) -> Section:
    body = Text("\n").join(map(finding_text, findings))
    return Section(title, body, body.plain, kind="constraints")


def finding_text(finding: Finding) -> Text:
    """One constraint: `✗ at least 300 words: 214`."""
    style = PALETTE["pass" if finding.met else "fail"]
    text = Text().append(f"{VOTES[finding.met]} ", style=style)
    text.append(one_line(finding.constraint))
    if finding.found:
        text.append(f": {one_line(finding.found)}", style="" if finding.met else style)
    if finding.share is not None:
        text.append(f" ({finding.share:.0%} of its votes say yes)", style=PALETTE["note"])
    return text


def _change(tree: SearchTree, node: Node, *, colour: bool) -> Iterator[Section]:
    parent = parent_of(tree, node)
    if parent is not None:
        pieces = tuple(word_diff(parent.response, node.response))
        same = all(piece.kind == "same" for piece in pieces)
        title = f"Change from #{parent.id}"
        body = diff_text(pieces, colour=colour, limit=SHOWN)
        if same:
            body = Text("no change", style=PALETTE["note"])
        raw = diff_text(pieces, colour=False).plain
        yield Section(title, body, raw, () if same else pieces, "change")


def _critiques(judgement: Judgement | None) -> Iterator[Section]:
    if judgement is None:
        return
    sides = [_side(judgement, majority=True), _side(judgement, majority=False)]
    yield _text(f"Critique{sides[0]}", judgement.critique, "critique")
    if judgement.votes:
        yield from _votes(judgement)
    else:
        yield from _optional(f"Dissent{sides[1]}", judgement.dissent, "dissent")


def _votes(judgement: Judgement) -> Iterator[Section]:
    """Each vote, where the run keeps them all; the one that is the critique is not shown twice."""
    for number, vote in enumerate(judgement.votes):
        title = f"Vote {number + 1}{vote_word(judgement, number)}"
        if vote == judgement.critique:
            yield _plain(title, SAME, "votes", SAME)
        else:
            yield _text(title, vote, "votes")


def vote_word(judgement: Judgement, number: int) -> str:
    """What a vote says, to stand after its name: `: yes`; empty for votes on each requirement."""
    if judgement.points:
        points = judgement.points[number] if number < len(judgement.points) else None
        return ": no points" if points is None else f": {points:g} points"
    if number >= len(judgement.verdicts):
        return ""
    word = {True: "yes", False: "no", None: "no verdict"}[judgement.verdicts[number]]
    if number in judgement.cut:
        return f": {word}, cut at the token limit"
    probability = judgement.probabilities[number] if judgement.probabilities else None
    return f": {word}" if probability is None else f": {word}, P(yes) {probability:.2f}"


def _side(judgement: Judgement, *, majority: bool) -> str:
    """The verdict that the stored critique or dissent belongs to; empty on a tie."""
    yes, no = judgement.num_yes, judgement.num_parsed - judgement.num_yes
    if yes == no:
        return ""
    return " (yes)" if (yes > no) is majority else " (no)"


def _strategy(node: Node) -> Iterator[Section]:
    """What the strategy computed when it asked for the node."""
    if node.statistics or node.second_parent is not None:
        merged = [] if node.second_parent is None else [f"merged with: #{node.second_parent}"]
        lines = merged + [
            f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}"
            for name, value in node.statistics.items()
        ]
        yield _text("Strategy, when it asked for this node", "\n".join(lines), "strategy")


def _source_prompt(tree: SearchTree, node: Node, annotations: Annotations) -> Iterator[Section]:
    messages = annotations.render(tree, node) if annotations.render else ()
    if messages:
        body = Text()
        for message in messages:
            body.append(f"{message.role}\n", style=PALETTE["head"])
            body.append_text(safe_text(message.content, limit=SHOWN)).append("\n")
        raw = "\n\n".join(f"{message.role}:\n{message.content}" for message in messages)
        yield Section("Prompt that produced it", body, raw, kind="prompt")


def _cost(node: Node) -> Section:
    lines = _cost_lines(node, "actor" if node.parent is None else "refiner")
    if is_supplied(node):
        lines[0] = "supplied as a root, not generated by the search"
    lines.append(f"seed: {'none' if node.seed is None else node.seed}")
    return _plain("Cost", "\n".join(lines), "cost", usage_summary(node.usage))


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


def usage_summary(usage: Usage) -> str:
    """A usage in a few words: calls, tokens generated, and their time."""
    tokens = f"{usage.completion_tokens:,} tokens"
    return f"{pluralize(usage.calls, 'call')}, {tokens}, {usage.seconds:.1f} s"


def _optional(title: str, text: str | None, kind: str) -> list[Section]:
    return [] if text is None else [_text(title, text, kind)]


def _text(title: str, text: str, kind: str) -> Section:
    summary = one_line(" ".join(text[:SUMMARY].split()), SUMMARY)
    return Section(title, safe_text(text, limit=SHOWN), text, kind=kind, summary=summary)


def _plain(title: str, text: str, kind: str, summary: str) -> Section:
    return Section(title, Text(text), text, kind=kind, summary=summary)
