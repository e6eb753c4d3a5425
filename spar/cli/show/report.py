"""What the command line prints about a run: its totals, a drawn tree, an answer.

Model text is printed as text, never as markup; control characters are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from spar.config import DecodeConfig
from spar.infer.cut_replies import WHAT
from spar.infer.response_cache import FROM_CACHE
from spar.infer.summary import Summary
from spar.record.outcomes import pluralize
from spar.sanitize import printable
from spar.types import Node, SearchTree, Usage

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

_SHOWN = 400


def print_summary(config: DecodeConfig, summary: Summary) -> None:
    """The totals of a run as a table."""
    from rich.table import Table

    table = Table(title=as_text(f"{config.strategy}, budget {config.budget}"), show_header=False)
    table.add_row("prompts", f"{summary.trees}")
    if summary.verified:
        facts = summary.as_dict()
        for name, label in (("passed_before", "before"), ("passed_after", "after")):
            share, stderr = 100 * facts[name], facts[f"{name}_stderr"]
            error = "" if stderr is None else f" ± {100 * stderr:.1f}"
            hits = getattr(summary, name)
            shown = f"{hits} of {summary.verified} ({share:.1f} %{error})"
            table.add_row(f"pass {label} the search, by ground truth", shown)
    solved = summary.stops["solved"]
    table.add_row("pass by the judge", f"{solved}" if summary.judged else "no response was judged")
    if summary.total_budget is not None:
        table.add_row("responses spent", f"{summary.responses:,} of {summary.total_budget:,}")
    table.add_row("nodes", f"{summary.nodes:,}")
    table.add_row("faults", as_text(_faults(summary)))
    if summary.unanswered:
        table.add_row("prompts without an answer (see log.txt)", f"{summary.unanswered:,}")
    usage = summary.usage
    table.add_row("calls", f"{usage.calls:,}")
    table.add_row("tokens", _tokens(usage))
    for role, spent in summary.roles.items():
        if spent.calls:
            table.add_row(f"  {role}, {pluralize(spent.calls, 'call')}", _tokens(spent))
    if usage.cut_calls:
        table.add_row("cut at their token limit", _cut(summary))
    if usage.skipped_calls or usage.aborted_calls or summary.cancelled:
        table.add_row("saved", _saved(summary))
    if cached := _cached(summary):
        table.add_row("from the response cache", cached)
    for name, facts in summary.engines.items():
        table.add_row(as_text(f"engine busy ({name})"), _busy(summary, name, facts))
    table.add_row("seconds", _seconds(summary))
    open_console().print(table)


def _faults(summary: Summary) -> str:
    """How many attempts failed, and why most of them did."""
    if not summary.reasons:
        return f"{summary.faults:,}"
    ((stage, reason), times), *others = summary.reasons.most_common()
    most = f" ({times:,} of them)" if others else ""
    return f"{summary.faults:,}, {stage}{most}: {reason}"


def _tokens(usage: Usage) -> str:
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    return f"{usage.prompt_tokens:,} read{cached}, {usage.completion_tokens:,} generated"


def _cut(summary: Summary) -> str:
    return ", ".join(
        f"{spent.cut_calls:,} of {spent.calls:,} {WHAT[role][0]}"
        for role, spent in summary.roles.items()
        if spent.cut_calls
    )


def _saved(summary: Summary) -> str:
    usage = summary.usage
    return (
        f"{pluralize(usage.skipped_calls, 'vote')} skipped, {pluralize(usage.aborted_calls, 'request')} and "
        f"{pluralize(summary.cancelled, 'attempt')} aborted"
    )


def _cached(summary: Summary) -> str:
    """How many replies were not waited for; "" without a response cache."""
    counts = [facts for facts in summary.engines.values() if FROM_CACHE in facts]
    hits = sum(facts[FROM_CACHE] for facts in counts)
    replies = hits + sum(facts["calls"] for facts in counts)
    return f"{hits:,.0f} of {replies:,.0f} replies" if counts else ""


def _seconds(summary: Summary) -> str:
    """The time of all starts, and the part in which models were loaded."""
    loading = f", {summary.load_seconds:.1f} of them loading" * (summary.load_seconds >= 0.1)
    return f"{summary.seconds:.1f}{loading}"


def _busy(summary: Summary, name: str, facts: Mapping[str, float]) -> str:
    searched = summary.seconds - summary.load_seconds
    mean = facts["request_seconds"] / searched if searched > 0 else 0.0
    shown = f"{100 * summary.busy_share(name):.1f} % of the time, {mean:.1f} requests on average"
    if facts.get("prefix_queried"):
        rate = 100 * facts["prefix_hit"] / facts["prefix_queried"]
        shown += f", prefix cache hit {rate:.1f} %"
    return shown


def print_solved_tree(trees: Iterable[SearchTree]) -> None:
    """Draw a tree of moderate size that a refinement solved, by ground truth if there is one."""
    from spar.verifiers import passes

    solved = [tree for tree in trees if tree.solved and tree.nodes[tree.selected or 0].depth]
    true = [
        t
        for t in solved
        if passes(t.answer or "", t.prompt) and not passes(t.nodes[0].response, t.prompt)
    ]
    candidates = sorted(true or solved, key=lambda tree: (abs(len(tree.nodes) - 7), tree.prompt.id))
    if candidates:
        open_console().print(draw(candidates[0]))
    else:
        open_console().print("No tree was solved by a refinement, so none is drawn.")


def print_answer(tree: SearchTree) -> None:
    """The answer to a single prompt, then its tree."""
    console = open_console()
    console.print(
        as_text(tree.answer) if tree.answer is not None else "no answer: every draft failed"
    )
    console.print()
    console.print(draw(tree))


def print_run(directory: Path) -> None:
    """Print the run directory."""
    open_console().print(
        f"run directory: {printable(str(directory))}", markup=False, highlight=False, soft_wrap=True
    )


def draw(tree: SearchTree) -> Tree:
    """The search as a tree of nodes and faults, the path to the answer marked."""
    from rich.tree import Tree

    on_path = set() if tree.selected is None else {node.id for node in tree.path(tree.selected)}
    root = Tree(as_text(f"{tree.prompt.id}: {tree.prompt.messages[-1].content}"))
    _grow(root, tree, None, on_path)
    root.add(as_text(f"stop: {tree.stop}"))
    return root


def _grow(branch: Tree, tree: SearchTree, parent: int | None, on_path: set[int]) -> None:
    for node in tree.children(parent):
        _grow(branch.add(_label(node, tree, node.id in on_path)), tree, node.id, on_path)
    for fault in tree.faults:
        if fault.parent == parent:
            branch.add(as_text(f"fault ({fault.stage}): {fault.reason}", "yellow"))


def _label(node: Node, tree: SearchTree, on_path: bool) -> Text:
    judgement = node.judgement
    if judgement is None:
        head, style = "not judged", ""
    else:
        passed = judgement.passed(tree.gate)
        counts = [f"{judgement.num_met} of {len(judgement.findings)} met"] * bool(
            judgement.findings
        )
        if judgement.has_votes or not judgement.findings:
            counts.append(f"{judgement.num_yes} of {judgement.num_parsed} yes")
        head, style = (
            f"{'pass' if passed else 'fail'} {node.score:.2f} ({', '.join(counts)})",
            "green" if passed else "red",
        )
    mark = "*" if on_path else " "
    answer = " <- answer" if node.id == tree.selected else ""
    label = as_text(f"{mark}#{node.id} {head}{answer}", f"bold {style}" if on_path else style)
    label.append_text(as_text(f"\n {node.response}"))
    unmet = [finding.line for finding in judgement.findings if not finding.met] if judgement else []
    return label.append_text(as_text("".join(f"\n ✗ {line}" for line in unmet), "red"))


def as_text(text: str, style: str = "") -> Text:
    """Model text for the terminal: no markup, no control characters, cut where it is long."""
    from rich.text import Text

    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text):,} characters)"
    return Text(printable(shown), style=style)


def open_console(piped_width: int | None = None) -> Console:
    """A console on standard output, `piped_width` columns wide if that is not a terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    if piped_width and not console.is_terminal:
        console.width = piped_width
    return console
