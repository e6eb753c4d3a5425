"""The attempts of a running search, drawn as nodes that are on their way: what they say so far, and the votes on it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.text import Text

from spar.listener import AttemptProgress
from spar.record.outcomes import pluralize
from spar.types import Fault, Node, Prompt, SearchTree, Usage
from spar.view.node_detail import Section
from spar.view.palette import PALETTE
from spar.view.text import one_line, safe_text
from tui.play import PlaySettings, partial_tree

START, END = "[[start]]", "[[end]]"
"""What a refiner writes around its refinement (`spar.templates.parse`)."""
TAIL_CELLS = 120
"""Cells of the end of a text that is being written, on its line of the tree."""
LIVE_CHARACTERS = 2_000
"""Characters of a text that are shown while it grows."""
_GENERATED = Usage(calls=1)
"""Of a draft that is on its way: one without a call would be shown as supplied to the search."""
WRITING, WAITING, JUDGING, UNFINISHED = "writing", "waiting", "judging", "unfinished"


@dataclass(frozen=True, slots=True)
class Pending:
    """A line of the tree for a node that is not in it yet."""

    judged: Text | None
    """In place of the judgement; None once it is there."""
    change: Text
    """In place of what changed."""


@dataclass(frozen=True, slots=True)
class GrowingTree:
    """A tree while it is searched."""

    tree: SearchTree
    """With the attempts that run as its last nodes."""
    running: Mapping[int, AttemptProgress] = field(default_factory=dict)
    """Id of such a node to its attempt."""
    is_over: bool = False
    """Whether the search has ended, so that what it left unfinished stays so."""

    @property
    def pending(self) -> dict[int, Pending]:
        """The lines of these nodes."""
        return {number: self._line(attempt) for number, attempt in self.running.items()}

    def _line(self, attempt: AttemptProgress) -> Pending:
        state = None if attempt.judgement else state_text(attempt, is_over=self.is_over)
        return Pending(state, _tail(attempt))


def growing_tree(
    instruction: str,
    nodes: Sequence[Node],
    attempts: Iterable[AttemptProgress],
    settings: PlaySettings,
    gate: float,
    prompt: Prompt | None = None,
    *,
    is_over: bool = False,
) -> GrowingTree:
    """The nodes so far and the attempts of the wave that runs, in their order; parameters as of `partial_tree`."""
    grown, faults, running = list(nodes), list[Fault](), dict[int, AttemptProgress]()
    for attempt in sorted(attempts, key=lambda attempt: attempt.number):
        parent = attempt.parents[0] if attempt.parents else None
        if attempt.fault:
            faults.append(_fault(attempt, parent))
            continue
        node = Node(
            id=len(grown),
            parent=parent,
            depth=0 if parent is None else nodes[parent].depth + 1,
            response=written(attempt)[1],
            judgement=attempt.judgement,
            usage=_GENERATED,
        )
        running[node.id] = attempt
        grown.append(node)
    tree = partial_tree(
        instruction,
        grown,
        settings,
        gate,
        faults=faults,
        num_joined=len(nodes),
        prompt=prompt,
    )
    return GrowingTree(tree, running, is_over)


def state_text(attempt: AttemptProgress, *, is_over: bool = False) -> Text:
    """What an attempt is doing: `writing`, or `2 yes 1 no …`."""
    if is_over:
        return Text(UNFINISHED, style=PALETTE["fault"])
    if attempt.response is None:
        return Text(WRITING if attempt.text else WAITING, style=PALETTE["note"])
    if not attempt.verdicts:
        return Text(JUDGING, style=PALETTE["note"])
    yes, no = (sum(verdict is each for verdict in attempt.verdicts) for each in (True, False))
    text = Text().append(f"{yes} yes ", PALETTE["pass"] if yes else "")
    return text.append(f"{no} no", PALETTE["fail"] if no else "").append(" …")


def attempt_sections(attempt: AttemptProgress, *, is_over: bool = False) -> list[Section]:
    """The sections of an attempt that runs, or was left unfinished."""
    reflection, response = written(attempt)
    what = "Refinement" if attempt.parents else "Draft"
    state = _state_line(attempt, is_over=is_over)
    sections = [Section("State", state, state.plain, kind="verdict")]
    grows = "" if attempt.response is not None or is_over else ", being written"
    if reflection:
        title = "Reflection before it" if response else f"Reflection{grows}"
        sections.append(Section(title, _live(reflection), reflection, kind="thought"))
    if response or not reflection:
        title = f"{what}{grows}"
        sections.append(Section(title, _live(response), response, kind="response"))
    return sections


def written(attempt: AttemptProgress) -> tuple[str, str]:
    """The reflection and the response, as far as an attempt has written them."""
    if not attempt.parents:
        return "", attempt.response or attempt.text
    reflection, mark, rest = attempt.text.rpartition(START)
    if not mark:
        return attempt.text, attempt.response or ""
    return reflection.strip(), attempt.response or rest.partition(END)[0].strip()


def attempt_title(attempt: AttemptProgress) -> Text:
    """The title of the pane for an attempt that runs."""
    what = "refinement of " + " and ".join(f"#{parent}" for parent in attempt.parents)
    return Text(what if attempt.parents else "draft", style=PALETTE["head"])


def _live(text: str) -> Text:
    """A text that grows: of a long one its end, since all of it is laid out again whenever it is drawn."""
    cut = len(text) - LIVE_CHARACTERS
    if cut <= 0:
        return safe_text(text)
    return Text("… ", style=PALETTE["note"]).append_text(safe_text(text[cut:]))


def _fault(attempt: AttemptProgress, parent: int | None) -> Fault:
    if attempt.response is not None:
        return Fault(parent=parent, stage="judge", reason=attempt.fault)
    stage: Literal["draft", "refine"] = "draft" if parent is None else "refine"
    return Fault(parent=parent, stage=stage, reason=attempt.fault)


def _state_line(attempt: AttemptProgress, *, is_over: bool) -> Text:
    state = state_text(attempt, is_over=is_over)
    if is_over:
        return state
    if attempt.response is None and attempt.text:
        state.append(f", {pluralize(len(attempt.text.split()), 'word')} so far")
    if attempt.verdicts:
        state = Text("votes so far: ").append_text(state)
    return state


def _tail(attempt: AttemptProgress) -> Text:
    """The end of what is written, so that it moves."""
    if attempt.response is not None:
        return Text(one_line(attempt.response, TAIL_CELLS))
    text = " ".join(filter(None, written(attempt))).replace("\n", " ")
    if len(text) > TAIL_CELLS // 2:
        text = "…" + text[-TAIL_CELLS // 2 :]
    return Text(one_line(text, TAIL_CELLS), style=PALETTE["note"])
