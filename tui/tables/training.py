"""A training run as table rows, lines and sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from rich.text import Text

from spar.record.outcomes import pluralize
from spar.types import Message, SearchTree
from spar.view.diff import diff_text, word_diff
from spar.view.node_detail import SHOWN, Section, node_sections
from spar.view.palette import PALETTE
from spar.view.text import one_line, safe_text
from tui.training.examples import TrainingExample, TrainingKind
from tui.training.status import (
    ExampleSource,
    LossCurve,
    TrainingRound,
    TrainingStatus,
)
from tui.widgets.node_pane import CHANGE, RESPONSE, SOURCE_PROMPT
from tui.widgets.table import Column

COLUMNS = (
    Column("kind", "kind", 11),
    Column("score", "score", 5, right=True),
    Column("prompt", "prompt", 0, from_width=60),
    Column("target", "target", 0),
)
NAMES: Mapping[TrainingKind, str] = {
    "pair": "pair",
    "refine": "refine",
    "tree": "judge",
    "draft": "judge draft",
    "answer": "answer",
    "broken": "! broken",
}
"""Names of the kinds in the table."""
KIND_NAMES: Mapping[TrainingKind, str] = {
    "pair": "pairs",
    "refine": "refine",
    "tree": "judge",
    "draft": "judge drafts",
    "answer": "answers",
    "broken": "broken",
}
"""Names of the kinds in the line of choices."""
_LONG_NAMES: Mapping[TrainingKind, str] = {
    "pair": "a pair",
    "refine": "a refinement",
    "tree": "a judgement of a node in a search",
    "draft": "a judgement of a draft",
    "answer": "a teacher's answer",
    "broken": "no example",
}
SPARKS = "▁▂▃▄▅▆▇█"
"""A value as one cell, from the lowest to the highest."""
_SPARK = 24
_TITLE = 300


def title_text(name: str, status: TrainingStatus, at: int | None) -> Text:
    """The name of the run and of the selected round."""
    text = Text("spar  training  ", style=PALETTE["note"])
    text.append(one_line(name, 200), style=PALETTE["head"])
    if at is not None:
        text.append(f"  {round_text(status.rounds[at])}")
        text.append(f"  ({at + 1} of {len(status.rounds)})", style=PALETTE["note"])
    return text


def example_cells(example: TrainingExample) -> Mapping[str, Text]:
    """The cells of an example."""
    if example.kind == "broken":
        why = Text(one_line(example.error, _TITLE), style=PALETTE["fault"])
        return {"kind": Text(NAMES["broken"], style=PALETTE["fault"]), "target": why}
    kind = Text(NAMES[example.kind])
    if example.swapped:
        kind.append(" ⇄", style=PALETTE["fault"])
    score = "" if example.score is None else f"{example.score:.2f}"
    return {
        "kind": kind,
        "score": Text(score),
        "prompt": Text(one_line(_prompt(example), _TITLE)),
        "target": Text(one_line(example.target, _TITLE)),
    }


def _prompt(example: TrainingExample) -> str:
    """The instruction on one line; its id for a judgement, whose conversation begins as every other."""
    asked = [turn.content for turn in example.turns if turn.role == "user"]
    if not asked or example.kind in ("tree", "draft"):
        return example.prompt_id
    return " ".join(asked[0][: 4 * _TITLE].split())


def example_sections(
    example: TrainingExample,
    source: ExampleSource | None,
    tree: SearchTree | str | None,
    *,
    colour: bool = True,
) -> list[Section]:
    """The sections of an example; the diff comes first.

    Parameters
    ----------
    tree:
        The tree that it was taken from, the reason why there is none, or None if it was not loaded.
    """
    if example.kind == "broken":
        return [_text("This line is not an example", example.error)]
    return [
        *_sides(example, colour=colour),
        *_refined(example, tree, colour=colour),
        *_turns(example),
        _source(example, source, tree),
    ]


def loss_curve_text(curve: LossCurve) -> Text:
    """A loss curve on one line."""
    line = Text(one_line(curve.name, 12), style=PALETTE["head"])
    line.append(f" loss {sparkline(thinned(curve.losses, _SPARK))}", style="not bold")
    first, last = curve.losses[0], curve.losses[-1]
    line.append(f" {first:.3f} → {last:.3f}, {pluralize(curve.step, 'step')}", style="not bold")
    if curve.share is not None:
        what = "chosen preferred" if curve.share_name.startswith("rewards") else "tokens correct"
        line.append(f", {what} {100 * curve.share:.0f} %", style="not bold")
    return line


def round_text(training_round: TrainingRound) -> str:
    """The name of a round."""
    return (
        one_line(training_round.home.name, 60)
        if training_round.number is None
        else f"iteration {training_round.number}"
    )


def sparkline(values: Sequence[float | None]) -> str:
    """One cell for each value, scaled from the lowest to the highest; a missing value is blank."""
    present = [value for value in values if value is not None]
    low, high = min(present, default=0.0), max(present, default=0.0)
    return "".join(_spark(value, low, high) for value in values)


def thinned(values: Sequence[float], most: int) -> list[float]:
    """At most `most` values, each the mean of adjacent ones."""
    if len(values) <= most:
        return list(values)
    edges = [len(values) * at // most for at in range(most + 1)]
    parts = [values[a:b] for a, b in pairwise(edges)]
    return [sum(part) / len(part) for part in parts]


def _spark(value: float | None, low: float, high: float) -> str:
    if value is None:
        return " "
    place = (value - low) / (high - low) if high > low else 0.5
    return SPARKS[min(int(place * len(SPARKS)), len(SPARKS) - 1)]


def _sides(example: TrainingExample, *, colour: bool) -> Iterator[Section]:
    if example.rejected is None:
        return
    yield _change(
        "the rejected response to the chosen one", example.rejected, example.target, colour
    )
    yield _text(f"{RESPONSE} (chosen{_node(example, 0)})", example.target)
    yield _text(f"{RESPONSE} (rejected{_node(example, 1)})", example.rejected)


def _refined(
    example: TrainingExample, tree: SearchTree | str | None, *, colour: bool
) -> Iterator[Section]:
    """The diff of a refinement against its parent, or the response that is judged with its prompt, and the target."""
    if example.rejected is not None:
        return
    if isinstance(tree, SearchTree):
        node = next((node for node in tree.nodes if node.id == example.nodes[0]), None)
        if node is not None and example.kind == "refine":
            sections = node_sections(tree, node, colour=colour)
            yield from (section for section in sections if section.title.startswith(CHANGE))
        yield _text("Prompt", tree.prompt.messages[-1].content)
        if node is not None and example.kind in ("tree", "draft"):
            yield _text(f"Judged: #{node.id}", node.response)
    yield _text(f"Target: {_LONG_NAMES[example.kind]}{_verdict(example)}", example.target)


def _turns(example: TrainingExample) -> Iterator[Section]:
    """The conversation before the target."""
    if example.rejected is not None:
        yield from (_text(f"Prompt: {turn.role}", turn.content) for turn in example.turns)
        return
    body = Text()
    for turn in example.turns:
        body.append(f"{turn.role}\n", style=PALETTE["head"])
        body.append_text(safe_text(turn.content, limit=SHOWN)).append("\n")
    yield Section(SOURCE_PROMPT, body, _raw(example.turns))


def _source(
    example: TrainingExample, source: ExampleSource | None, tree: SearchTree | str | None
) -> Section:
    ids = ", ".join(f"#{node}" for node in example.nodes) or "no node"
    lines = [f"{example.run or 'no run'}, prompt {example.prompt_id or 'without an id'}, {ids}"]
    if source is not None:
        lines.append(str(source.directory))
    if isinstance(tree, str):
        lines.append(tree)
    lines += ["the sides were swapped at random (control with shuffled labels)"] * example.swapped
    return _text("Source", "\n".join(lines))


def _change(what: str, old: str, new: str, colour: bool) -> Section:
    pieces = tuple(word_diff(old, new))
    same = all(piece.kind == "same" for piece in pieces)
    body = diff_text(pieces, colour=colour, limit=SHOWN)
    if same:
        body = Text("no change", style=PALETTE["note"])
    plain = diff_text(pieces, colour=False).plain
    return Section(f"{CHANGE} {what}", body, plain, () if same else pieces)


def _node(example: TrainingExample, index: int) -> str:
    return f", #{example.nodes[index]}" if index < len(example.nodes) else ""


def _verdict(example: TrainingExample) -> str:
    return "" if example.verdict is None else f", {'yes' if example.verdict else 'no'}"


def _raw(turns: Sequence[Message]) -> str:
    return "\n\n".join(f"{turn.role}:\n{turn.content}" for turn in turns)


def _text(title: str, text: str) -> Section:
    return Section(title, safe_text(text, limit=SHOWN), text)
