"""What a run did, as the panes of its dashboard and as two lines where there is little room.

A number comes from `spar.record.run_outcomes`, which the HTML page shows too. Every pane is a function of its width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from spar.record.outcomes import Change
from spar.record.run_outcomes import RunOutcomes, Share
from spar.types import ROLES
from spar.view.palette import PALETTE
from spar.view.text import one_line
from tui.widgets.bars import abbreviate

ROWS = 5
"""Lines in a pane."""
_BLOCKS = " ▏▎▍▌▋▊▉█"
_PARTS: Sequence[tuple[Change, str, str, str]] = (
    ("passed", "passed at first", "█", "pass"),
    ("fixed", "fixed", "▓", "pass"),
    ("broken", "broken", "▒", "fault"),
    ("failed", "failed", "░", "fail"),
)
"""The parts of the bar of outcomes, with their glyphs, so that no colour is needed."""
_NAMED = 2
"""Constraint types in the line of a folded dashboard."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is."""

    totals: RunOutcomes
    expected: int | None = None
    """Prompts of the run; None if that is not known or all are done."""
    left: str = ""
    """The time left in words, while it runs."""
    is_reading: bool = False
    """Whether only some of its trees are counted yet."""


def outcome_text(run: RunProgress, width: int) -> Text:
    """Pass before and after with error, the gain, what the search fixed and broke, where the judge was wrong."""
    totals, shown = run.totals, run.totals.shown
    lines = []
    if shown.after.n:
        before, after = _share(shown.before), _share(shown.after)
        line = Text.assemble(("passes  ", PALETTE["note"]))
        if totals.nodes > totals.trees:
            line.append(f"{before} → ")
        line.append(f"{after} %", style=PALETTE["head"])
        if shown.gain is not None and totals.nodes > totals.trees:
            line.append("  ").append_text(_gain(shown.gain))
        lines.append(line)
        lines.append(_outcome_bar(totals, width))
        lines.extend(_legend(totals, width))
    if totals.trees > totals.unjudged:
        lines.append(_judge_line(totals))
    elif totals.trees:
        lines.append(Text("no judge was called", style=PALETTE["note"]))
    lines += _progress(run)
    return Text("\n").join(lines)


def constraints_text(run: RunProgress, width: int) -> Text:
    """The constraint types that fail most in answers: how many of how many, and how many drafts failed them."""
    failing = run.totals.failing_types()
    if not failing:
        return Text("no constraints that a program checks", style=PALETTE["note"])
    rows = []
    top = max(max(each.after, each.before) for _, each in failing)
    for name, each in failing[:ROWS]:
        was = f" was {each.before}" if each.before != each.after else ""
        rows.append((short_type(name), f"{each.after}/{each.n}{was}", each.after / max(top, 1)))
    return _bars(rows, width, "fail")


def depth_text(run: RunProgress, width: int) -> Text:
    """The best score that searches have within each depth."""
    scores = run.totals.score_by_depth()
    if not scores:
        return Text("no judge was called", style=PALETTE["note"])
    rows = [
        (
            "draft" if each.depth == 0 else f"{each.depth}",
            f"{each.mean:.2f}" + (f" ±{each.stderr:.2f}" if each.stderr is not None else ""),
            each.mean,
        )
        for each in scores[:ROWS]
    ]
    return _bars(rows, width, "answer")


def cost_text(run: RunProgress, width: int) -> Text:
    """Tokens and calls a prompt, by role."""
    totals = run.totals
    if not totals.trees:
        return Text()
    whole = totals.usage
    rows = []
    for role in ROLES:
        usage = totals.roles[role]
        if usage.calls:
            tokens = usage.completion_tokens / totals.trees
            share = usage.completion_tokens / max(whole.completion_tokens, 1)
            rows.append(
                (role, f"{_number(tokens)} tok {_calls(usage.calls / totals.trees)}", share)
            )
    text = _bars(rows, width, "answer")
    text.append(
        f"\n{_number(whole.completion_tokens / totals.trees)} tokens a prompt,"
        f" {abbreviate(whole.completion_tokens)} in all",
        style=PALETTE["note"],
    )
    return text


def folded_text(run: RunProgress, width: int) -> Text:
    """The dashboard on two lines."""
    totals, shown = run.totals, run.totals.shown
    first, second = [], []
    if shown.after.n:
        text = Text("passes ")
        if totals.nodes > totals.trees:
            text.append(f"{100 * (shown.before.value or 0):.1f} → ")
        text.append(f"{_share(shown.after)} %", style=PALETTE["head"])
        first.append(text)
    if shown.gain is not None and totals.nodes > totals.trees:
        first.append(_gain(shown.gain))
    if totals.judge_wrong:
        first.append(Text(f"judge wrong {totals.judge_wrong:,}", style=PALETTE["fault"]))
    first += _progress(run)
    failing = [(name, each) for name, each in totals.failing_types() if each.after][:_NAMED]
    if failing:
        most = ", ".join(f"{short_type(name)} {each.after}" for name, each in failing)
        second.append(Text(f"fails most {most}"))
    if totals.trees:
        usage = totals.usage
        tokens, calls = usage.completion_tokens / totals.trees, usage.calls / totals.trees
        second.append(Text(f"cost {_number(tokens)} tokens, {_calls(calls)} a prompt"))
    lines = [Text("  ").join(parts) for parts in (first, second)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def short_type(name: str) -> str:
    """A constraint type without its family: `length_constraints:number_words` is `number words`."""
    return one_line(name.rpartition(":")[2].replace("_", " ") or name, 60)


def _outcome_bar(totals: RunOutcomes, width: int) -> Text:
    """A bar of all outcomes, each part with its own glyph and colour."""
    known, bar = totals.changes.total(), Text()
    done = 0
    for change, _, glyph, style in _PARTS:
        start = round(width * done / known)
        done += totals.changes[change]
        cells = round(width * done / known) - start
        bar.append(glyph * cells, style=PALETTE[style])
    return bar


def _legend(totals: RunOutcomes, width: int) -> list[Text]:
    """What the parts of the bar mean, with their numbers, on as many lines as that takes."""
    lines = [Text()]
    for change, name, glyph, style in _PARTS:
        if not totals.changes[change]:
            continue
        part = Text.assemble((glyph, PALETTE[style]), f" {name} {totals.changes[change]:,}")
        if lines[-1].cell_len and lines[-1].cell_len + part.cell_len + 2 > width:
            lines.append(Text())
        lines[-1].append("  " if lines[-1].cell_len else "").append_text(part)
    return lines


def _judge_line(totals: RunOutcomes) -> Text:
    judged = totals.trees - totals.unjudged
    line = Text.assemble(("judge   ", PALETTE["note"]))
    line.append(f"solved {totals.solved:,} of {judged:,}")
    if totals.judge_wrong:
        wrong = [
            f"{number:,} too {how}"
            for number, how in ((totals.too_lenient, "lenient"), (totals.too_strict, "strict"))
            if number
        ]
        line.append(f", wrong {totals.judge_wrong:,} ({', '.join(wrong)})", style=PALETTE["fault"])
    elif totals.compared:
        line.append(", never wrong")
    return line


def _progress(run: RunProgress) -> list[Text]:
    trees = run.totals.trees
    parts = [f"{trees:,}/{run.expected:,}"] if run.expected and trees < run.expected else []
    parts += [f"{run.left} left"] if run.left else []
    parts += ["counting"] if run.is_reading else []
    return [Text(", ".join(parts), style=PALETTE["answer"])] if parts else []


def _bars(rows: Sequence[tuple[str, str, float]], width: int, style: str) -> Text:
    """Lines of a name, a bar and a number, aligned."""
    names = max((cell_len(name) for name, _, _ in rows), default=0)
    numbers = max((cell_len(number) for _, number, _ in rows), default=0)
    names = max(min(names, width - numbers - 1), 1)
    cells = width - names - numbers - 2
    lines = []
    for name, number, share in rows:
        line = Text(name)
        line.truncate(names, overflow="ellipsis", pad=True)
        line.append(f" {number:>{numbers}}", style=PALETTE["head"])
        if cells > 1:
            line.append(f" {bar(share, cells)}", style=PALETTE[style])
        lines.append(line)
    return Text("\n").join(lines)


def bar(share: float, cells: int) -> str:
    """A bar from 0 to 1 in eighths of a cell."""
    eighths = round(min(max(share, 0.0), 1.0) * cells * 8)
    whole, rest = divmod(eighths, 8)
    return f"{'█' * whole}{_BLOCKS[rest] if rest else ''}".ljust(cells)


def _share(share: Share) -> str:
    return "-" if share.value is None else f"{100 * share.value:.1f}{_error(share.stderr)}"


def _error(stderr: float | None) -> str:
    return "" if stderr is None else f" ± {100 * stderr:.1f}"


def _gain(gain: tuple[float, float | None]) -> Text:
    """What the search gained, in points, with its error."""
    style = "pass" if gain[0] > 0 else "fail" if gain[0] < 0 else "head"
    return Text(f"{100 * gain[0]:+.1f}{_error(gain[1])}", style=PALETTE[style])


def _calls(calls: float) -> str:
    number = _number(calls)
    return f"{number} call{'' if number == '1' else 's'}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:,.0f}"


PANES: Mapping[str, Callable[[RunProgress, int], Text]] = {
    "outcome": outcome_text,
    "constraints that fail": constraints_text,
    "best score by depth": depth_text,
    "cost a prompt": cost_text,
}
"""Title of a pane to its text at a width."""
