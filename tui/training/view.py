"""What the training screen shows: the selected round, its examples, and the trees they were taken from.

view = TrainingView(path, inputs)
status = read_status(path)                # in a worker, every second
view.update_status(status)
view.work()                               # in a worker: one slice; returns whether there is more
view.update()
"""

from __future__ import annotations

import threading
from array import array
from pathlib import Path

from spar.errors import UsageError
from spar.types import SearchTree
from spar.view.text import one_line
from tui.inputs import Inputs
from tui.run_view import SLICE_SECONDS, RunView, tree_of
from tui.training.examples import TRAINING_KINDS, TrainingData, TrainingExample, TrainingKind
from tui.training.status import ExampleSource, LossCurve, TrainingRound, TrainingStatus, source_of


class TrainingView:
    """One training run. Call `work`, `find` and `tree` in workers, everything else in the UI thread."""

    def __init__(self, path: Path, inputs: Inputs) -> None:
        self.path = path
        self.status = TrainingStatus()
        self.round_index: int | None = None
        """Index of the selected round; None before there is one."""
        self.kind: TrainingKind | None = None
        """The kind to show; None for all."""
        self.numbers: array[int] = array("q")
        """Numbers of the shown examples, in order."""
        self.counts: dict[TrainingKind, int] = {}
        """Number of examples by kind, as of the last `update`."""
        self.problem = ""
        """Why the examples cannot be read."""
        self._updated = False
        self._inputs = inputs
        self._data: TrainingData | None = None
        self._runs: dict[Path, RunView] = {}
        self._opening = threading.Lock()

    @property
    def round(self) -> TrainingRound | None:
        """The selected round."""
        return None if self.round_index is None else self.status.rounds[self.round_index]

    @property
    def loss_curves(self) -> tuple[LossCurve, ...]:
        """The loss curves of the selected round."""
        return () if self.round_index is None else self.status.loss_curves[self.round_index]

    @property
    def kinds(self) -> list[TrainingKind | None]:
        """None for all, and each kind that has examples."""
        return [None, *(kind for kind in TRAINING_KINDS if kind in self.counts)]

    def update_status(self, status: TrainingStatus) -> bool:
        """Use a new status; returns whether the examples were opened or reopened."""
        before, self.status = self.round, status
        if before is None:
            built = [i for i, candidate in enumerate(status.rounds) if candidate.build.is_dir()]
            self.round_index = (built or [0])[-1] if status.rounds else None
        else:
            homes = [candidate.home for candidate in status.rounds]
            self.round_index = homes.index(before.home) if before.home in homes else None
        if self.round == before and self._data is not None and not self._data.is_replaced():
            return False
        self._open()
        return True

    def show_round(self, at: int) -> bool:
        """Select another round; returns whether it exists."""
        if not 0 <= at < len(self.status.rounds):
            return False
        self.round_index = at
        self._open()
        self.numbers = array("q")
        return True

    def work(self) -> bool:
        """Find examples for a while; returns whether there is more to find."""
        data = self._data
        return data is not None and not data.work(SLICE_SECONDS) and data is self._data

    def update(self) -> bool:
        """Update what is shown; returns whether anything changed."""
        counts = self._data.counts() if self._data else {}
        if self._updated and counts == self.counts:
            return False
        self._updated, self.counts = True, counts
        self.show(self.kind if self.kind in counts else None)
        return True

    def show(self, kind: TrainingKind | None) -> None:
        """Show the examples of one kind, or all."""
        self.kind = kind
        self.numbers = self._data.order(kind) if self._data else array("q")

    def example(self, line: int) -> TrainingExample | None:
        """A shown example."""
        number = self.numbers[line] if line < len(self.numbers) else -1
        found = self._data is not None and 0 <= number < len(self._data)
        return self._data.example(number) if found and self._data else None

    def source(self, line: int) -> ExampleSource | None:
        """The source of a shown example."""
        example, training_round = self.example(line), self.round
        return source_of(example, training_round) if example and training_round else None

    def find(self, source: ExampleSource) -> tuple[RunView, int]:
        """The run and the row of a tree; raises `UsageError` if it does not exist."""
        with self._opening:
            view = self._runs.get(source.directory)
            if view is None:
                view = RunView.open(source.directory, self._inputs)
                self._runs[source.directory] = view
            number = find_row(view, source.prompt_id)
        if number is None:
            where = one_line(str(source.directory), 200)
            raise UsageError(f"{where} has no tree of the prompt {one_line(source.prompt_id, 80)}")
        return view, number

    def tree(self, source: ExampleSource) -> SearchTree | str:
        """The tree that an example was taken from, or the reason why there is none."""
        try:
            return tree_of(*self.find(source))
        except UsageError as error:
            return str(error)

    def close(self) -> None:
        """Close all files."""
        if self._data is not None:
            self._data.close()
        self._data = None
        for view in self._runs.values():
            view.close()

    def _open(self) -> None:
        """Open the examples of the selected round."""
        if self._data is not None:
            self._data.close()
        self._data, self.problem = None, ""
        try:
            self._data = TrainingData.open(self.round.build) if self.round else None
        except UsageError as error:
            self.problem = str(error)
        self._updated = False


def find_row(view: RunView, prompt_id: str) -> int | None:
    """The row of a prompt: reads until its line is found or all lines are read."""
    whole = False
    while (number := view.index.find(prompt_id)) is None and not whole:
        whole = view.index.summarise(SLICE_SECONDS)
    return number
