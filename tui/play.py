"""What the play screen needs of a search, and what it shows of one that is under way.

`tui` runs no model: the command line hands in something that does, a `Play`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.text import Text

from spar.errors import UsageError
from spar.listener import Listener
from spar.types import Message, Node, Prompt, SearchTree, best
from spar.view.palette import PALETTE
from spar.view.present import stop_text
from spar.view.text import one_line
from spar.view.tree_lines import votes_text

LARGEST_BUDGET = 10_000
"""A tree of more responses is no play any more."""


@dataclass(frozen=True, slots=True)
class PlaySettings:
    """What a person chooses of a search."""

    strategy: str
    budget: int
    """Most responses."""
    seed: int | None = 0
    """None draws afresh each time."""


@dataclass(frozen=True, slots=True)
class Going:
    """How a search stands that goes on."""

    num_nodes: int
    tokens: int
    seconds: float
    said: str = ""
    """The last line about the engine."""


class Play(Protocol):
    """Runs searches, one at a time, and keeps those that are worth it."""

    @property
    def strategies(self) -> Sequence[str]:
        """Names to choose from."""
        ...

    @property
    def settings(self) -> PlaySettings:
        """What is chosen at first."""
        ...

    @property
    def gate(self) -> float:
        """A node passes when its score is strictly above this."""
        ...

    @property
    def description(self) -> str:
        """Which models answer."""
        ...

    @property
    def tokens(self) -> int:
        """Generated so far, in all searches."""
        ...

    async def search(
        self, instruction: str, settings: PlaySettings, listener: Listener
    ) -> SearchTree:
        """Search an answer, with the events `node` and `note` in the caller's thread. Cancelling gives up the search and frees the engine at once.

        Raises
        ------
        SparError
            A model cannot be loaded or asked, or the instruction is none.
        """
        ...

    async def keep(self, tree: SearchTree) -> Path:
        """Write a tree that `search` gave into a run directory, and return that.

        Raises
        ------
        SparError
            It was kept before, or cannot be written.
        """
        ...


def read_settings(strategy: str, budget: str, seed: str) -> PlaySettings:
    """The settings that a person typed; raises `UsageError` where one is out of range."""
    number = _whole(budget)
    if number is None or not 1 <= number <= LARGEST_BUDGET:
        shown = one_line(budget.strip(), 20) or "nothing"
        raise UsageError(f"budget {shown}: give a whole number from 1 to {LARGEST_BUDGET:,}")
    drawn = _whole(seed)
    if drawn is None and seed.strip():
        raise UsageError(f"seed {one_line(seed.strip(), 20)}: give a whole number, or nothing")
    return PlaySettings(strategy, number, drawn)


def so_far(
    instruction: str, nodes: Sequence[Node], settings: PlaySettings, gate: float
) -> SearchTree:
    """The tree of a search that goes on, with the best node by now as its answer."""
    answer = best(tuple(nodes))
    return SearchTree(
        prompt=Prompt(id="play", messages=(Message(role="user", content=instruction),)),
        strategy=settings.strategy,
        config="",
        gate=gate,
        nodes=tuple(nodes),
        selected=answer[0].id if answer else None,
        stop="budget",
    )


def going_text(settings: PlaySettings, going: Going) -> Text:
    """How a search that goes on stands."""
    text = Text("● searching  ", style=PALETTE["answer"])
    text.append(f"{going.num_nodes} of at most {_count(settings.budget, 'response')}, ", "not bold")
    text.append(f"{_count(going.tokens, 'token')}, {going.seconds:.0f} s", "not bold")
    if not going.num_nodes and going.said:
        text.append(f"  {one_line(going.said, 200)}", style="not bold dim italic")
    return text


def ended_text(tree: SearchTree, tokens: int) -> Text:
    """What a search came to."""
    style = PALETTE["pass" if tree.solved else "fail"]
    judged = any(node.judgement for node in tree.nodes)
    text = Text(f"{stop_text(tree)}  ", style=style if judged else PALETTE["unjudged"])
    if tree.selected is not None:
        answer = tree.nodes[tree.selected]
        text.append(f"answer #{answer.id} ", style=PALETTE["head"])
        if answer.judgement:
            text.append_text(votes_text(answer.judgement))
    parts = [_count(len(tree.nodes), "response")]
    parts += [_count(len(tree.faults), "fault")] if tree.faults else []
    parts += [_count(tokens, "token"), f"{tree.seconds:.1f} s"]
    return text.append(f"  {', '.join(parts)}")


def cancelled_text(num_nodes: int, seconds: float) -> Text:
    """What was there when a search was given up."""
    after = f"cancelled after {_count(num_nodes, 'response')}, {seconds:.0f} s"
    return Text(after, style=PALETTE["fault"])


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _whole(text: str) -> int | None:
    """A whole number of ASCII digits, None where it is none."""
    text = text.strip()
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdecimal() and len(digits) <= 18
    return int(text) if plain else None
