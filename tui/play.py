"""The interface to searches that the play screen uses, and how it shows one in progress.

`tui` runs no model: the command line passes in a `Play`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.text import Text

from spar.errors import UsageError
from spar.listener import Listener
from spar.record.outcomes import pluralize
from spar.types import Fault, Message, Node, Prompt, SearchTree, best
from spar.view.node_detail import ConstraintCheck
from spar.view.palette import PALETTE
from spar.view.present import stop_text
from spar.view.text import one_line
from spar.view.tree_lines import votes_text

MAX_BUDGET = 10_000
"""Maximum budget on the play screen."""


@dataclass(frozen=True, slots=True)
class PlaySettings:
    """The settings of a search that can be changed on the screen."""

    strategy: str
    budget: int
    """Maximum number of responses."""
    seed: int | None = 0
    """None for a different result each time."""
    judge: str = "votes"
    model: str = ""
    """As it was typed: a folder, a file, a name, or the URL of a server and a name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An instruction to try."""

    kind: str
    """What it is an example of, in a few words."""
    prompt: Prompt
    """With the constraints that programs check in its meta."""

    @property
    def text(self) -> str:
        """The instruction."""
        return self.prompt.messages[-1].content


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """The progress of a running search."""

    num_nodes: int
    tokens: int
    seconds: float
    note: str = ""
    """The last note about the engine."""


class Play(Protocol):
    """Runs searches, one at a time, and can store their trees."""

    @property
    def strategies(self) -> Sequence[str]:
        """Names of the available strategies."""
        ...

    @property
    def judges(self) -> Sequence[str]:
        """Names of the judges to choose from."""
        ...

    @property
    def settings(self) -> PlaySettings:
        """The initial settings."""
        ...

    @property
    def gate(self) -> float:
        """A node passes if its score is strictly above this."""
        ...

    @property
    def description(self) -> str:
        """A description of the models."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens generated so far by all searches."""
        ...

    @property
    def check(self) -> ConstraintCheck | None:
        """Checks the constraints of a sample; None without verifiers."""
        ...

    def is_embedded(self, model: str) -> bool:
        """Whether a model, as it was typed, is the embedded one, which understands only the language of its samples."""
        ...

    async def samples(self, model: str) -> Sequence[Sample]:
        """Instructions that a model understands."""
        ...

    async def load(self, settings: PlaySettings, listener: Listener) -> str:
        """Load the model of the settings before it is needed; returns what it is. Raises as `search` does."""
        ...

    async def search(
        self, instruction: str, settings: PlaySettings, listener: Listener
    ) -> SearchTree:
        """Search for a response; calls `attempt`, `node` and `note` of the listener in the caller's thread.

        Cancelling stops the search and frees the engine at once.

        Raises
        ------
        SparError
            A model cannot be loaded or called, or the instruction is not valid.
        """
        ...

    async def keep(self, tree: SearchTree) -> Path:
        """Store a tree that `search` returned in a run directory; returns that directory.

        Raises
        ------
        SparError
            The tree is already stored, or cannot be written.
        """
        ...


def read_settings(
    strategy: str, budget: str, seed: str, judge: str = "votes", model: str = ""
) -> PlaySettings:
    """Parse the settings that were typed; raises `UsageError` for an invalid one."""
    number = _integer(budget)
    if number is None or not 1 <= number <= MAX_BUDGET:
        shown = one_line(budget.strip(), 20) or "nothing"
        raise UsageError(f"budget {shown}: enter a whole number from 1 to {MAX_BUDGET:,}")
    seed_number = _integer(seed)
    if seed_number is None and seed.strip():
        raise UsageError(
            f"seed {one_line(seed.strip(), 20)}: enter a whole number, or leave it empty"
        )
    return PlaySettings(strategy, number, seed_number, judge, model.strip())


def partial_tree(
    instruction: str,
    nodes: Sequence[Node],
    settings: PlaySettings,
    gate: float,
    *,
    faults: Sequence[Fault] = (),
    num_joined: int | None = None,
    prompt: Prompt | None = None,
) -> SearchTree:
    """The tree of a running search, with the best node so far as its answer.

    Parameters
    ----------
    num_joined:
        How many of the nodes are in the tree; the others are on their way. None: all of them.
    prompt:
        What is searched, as soon as it is known.
    """
    turn = Message(role="user", content=instruction)
    answer = best(tuple(nodes[:num_joined]))
    return SearchTree(
        prompt=prompt or Prompt(id="play", messages=(turn,)),
        strategy=settings.strategy,
        config="",
        gate=gate,
        nodes=tuple(nodes),
        faults=tuple(faults),
        selected=answer[0].id if answer else None,
        stop="budget",
    )


def loading_text(settings: PlaySettings, progress: SearchProgress) -> Text:
    """The status line while a model is loaded."""
    model = one_line(settings.model, 60) or "the model"
    text = Text(f"● loading {model}  ", style=PALETTE["answer"])
    text.append(f"{progress.seconds:.0f} s", "not bold")
    if progress.note:
        text.append(f"  {one_line(progress.note, 200)}", style="not bold dim italic")
    return text


def progress_text(settings: PlaySettings, progress: SearchProgress) -> Text:
    """The status line of a running search."""
    text = Text("● searching  ", style=PALETTE["answer"])
    text.append(
        f"{progress.num_nodes} of at most {pluralize(settings.budget, 'response')}, ", "not bold"
    )
    text.append(f"{pluralize(progress.tokens, 'token')}, {progress.seconds:.0f} s", "not bold")
    if progress.note:
        text.append(f"  {one_line(progress.note, 200)}", style="not bold dim italic")
    return text


def result_text(tree: SearchTree, tokens: int) -> Text:
    """The status line of a finished search."""
    style = PALETTE["pass" if tree.solved else "fail"]
    judged = any(node.judgement for node in tree.nodes)
    text = Text(f"{stop_text(tree)}  ", style=style if judged else PALETTE["unjudged"])
    if tree.selected is not None:
        answer = tree.nodes[tree.selected]
        text.append(f"answer #{answer.id} ", style=PALETTE["head"])
        if answer.judgement:
            text.append_text(votes_text(answer.judgement))
    parts = [pluralize(len(tree.nodes), "response")]
    parts += [pluralize(len(tree.faults), "fault")] if tree.faults else []
    parts += [pluralize(tokens, "token"), f"{tree.seconds:.1f} s"]
    text.append(f"  {', '.join(parts)}")
    return text.append("   ^s stores it as a run", style=PALETTE["note"])


def hint_text(*, embedded: bool, text: str, known: Collection[str]) -> Text:
    """One line on what the model understands."""
    if not embedded:
        return Text(
            "^o samples    model: a folder, a name, a GGUF file, or the URL of a server", "dim"
        )
    own = "the embedded model speaks only a small language"
    if text.strip() and known and text.strip() not in known:
        return Text(own, PALETTE["fault"]).append(": expect odd words; ^o samples")
    return Text(own, PALETTE["note"]).append(": ^o samples, or another model", "not italic")


def cancelled_text(num_nodes: int, seconds: float) -> Text:
    """The status line of a cancelled search."""
    after = f"cancelled after {pluralize(num_nodes, 'response')}, {seconds:.0f} s"
    return Text(after, style=PALETTE["fault"])


def stopped_loading_text(seconds: float) -> Text:
    """The status line after a load that was cancelled."""
    return Text(f"stopped loading after {seconds:.0f} s", style=PALETTE["fault"])


def _integer(text: str) -> int | None:
    """Parse an integer of ASCII digits; None if it is not one."""
    text = text.strip()
    digits = text.removeprefix("-")
    plain = digits.isascii() and digits.isdecimal() and len(digits) <= 18
    return int(text) if plain else None
