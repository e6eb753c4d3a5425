"""A training run as a person looks at it: which round, which examples of it, and the trees they came from.

view = TrainingView(path, inputs)
standing = standing_of(path)              # in a worker, every second
view.take(standing)
view.work()                               # in a worker: a slice; whether there is more to find
view.arrange()
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
from tui.training.examples import KINDS, Kind, TrainingData, TrainingExample
from tui.training.status import Course, Origin, Round, Standing, origin_of


class TrainingView:
    """One training run. `work`, `find` and `tree` are for workers, all else for the thread that draws."""

    def __init__(self, path: Path, inputs: Inputs) -> None:
        self.path = path
        self.standing = Standing()
        self.at: int | None = None
        """Place of the round that is shown, None before there is one."""
        self.kind: Kind | None = None
        """The kind that is shown, None for all."""
        self.numbers: array[int] = array("q")
        """Numbers of the examples that are shown, in order."""
        self.counts: dict[Kind, int] = {}
        """Examples by kind, when they were arranged."""
        self.problem = ""
        """Why the examples cannot be read."""
        self._arranged = False
        self._inputs = inputs
        self._data: TrainingData | None = None
        self._runs: dict[Path, RunView] = {}
        self._opening = threading.Lock()

    @property
    def round(self) -> Round | None:
        """The one that is shown."""
        return None if self.at is None else self.standing.rounds[self.at]

    @property
    def courses(self) -> tuple[Course, ...]:
        """How its trainings went."""
        return () if self.at is None else self.standing.courses[self.at]

    @property
    def kinds(self) -> list[Kind | None]:
        """All, and each kind that there is."""
        return [None, *(kind for kind in KINDS if kind in self.counts)]

    def take(self, standing: Standing) -> bool:
        """Take over how the run stands; whether the examples were opened, for the first time or again."""
        before, self.standing = self.round, standing
        if before is None:
            built = [at for at, one in enumerate(standing.rounds) if one.build.is_dir()]
            self.at = (built or [0])[-1] if standing.rounds else None
        else:
            homes = [one.home for one in standing.rounds]
            self.at = homes.index(before.home) if before.home in homes else None
        if self.round == before and self._data is not None and not self._data.is_replaced():
            return False
        self._open()
        return True

    def go_to(self, at: int) -> bool:
        """Show another round; whether there is one."""
        if not 0 <= at < len(self.standing.rounds):
            return False
        self.at = at
        self._open()
        self.numbers = array("q")
        return True

    def work(self) -> bool:
        """Find examples for a while; whether there is more to find."""
        data = self._data
        return data is not None and not data.work(SLICE_SECONDS) and data is self._data

    def arrange(self) -> bool:
        """Bring what is shown up to what is known; whether that changed anything."""
        counts = self._data.counts() if self._data else {}
        if self._arranged and counts == self.counts:
            return False
        self._arranged, self.counts = True, counts
        self.show(self.kind if self.kind in counts else None)
        return True

    def show(self, kind: Kind | None) -> None:
        """Show the examples of one kind, or all."""
        self.kind = kind
        self.numbers = self._data.order(kind) if self._data else array("q")

    def example(self, line: int) -> TrainingExample | None:
        """An example that is shown."""
        number = self.numbers[line] if line < len(self.numbers) else -1
        found = self._data is not None and 0 <= number < len(self._data)
        return self._data.example(number) if found and self._data else None

    def origin(self, line: int) -> Origin | None:
        """Where it came from."""
        example, of = self.example(line), self.round
        return origin_of(example, of) if example and of else None

    def find(self, origin: Origin) -> tuple[RunView, int]:
        """The run and the row of a tree; raises `UsageError` where it is not there."""
        with self._opening:
            view = self._runs.get(origin.directory)
            if view is None:
                view = RunView.open(origin.directory, self._inputs)
                self._runs[origin.directory] = view
            number = find_row(view, origin.prompt_id)
        if number is None:
            where = one_line(str(origin.directory), 200)
            raise UsageError(f"{where} has no tree of the prompt {one_line(origin.prompt_id, 80)}")
        return view, number

    def tree(self, origin: Origin) -> SearchTree | str:
        """The tree that an example came from, or why there is none."""
        try:
            return tree_of(*self.find(origin))
        except UsageError as error:
            return str(error)

    def close(self) -> None:
        """Let go of all files."""
        if self._data is not None:
            self._data.close()
        self._data = None
        for view in self._runs.values():
            view.close()

    def _open(self) -> None:
        """Open the examples of the round, again where they were replaced."""
        if self._data is not None:
            self._data.close()
        self._data, self.problem = None, ""
        try:
            self._data = TrainingData.open(self.round.build) if self.round else None
        except UsageError as error:
            self.problem = str(error)
        self._arranged = False


def find_row(view: RunView, prompt_id: str) -> int | None:
    """The row of a prompt: reads on until its line is found, or there is no more to read."""
    whole = False
    while (number := view.index.find(prompt_id)) is None and not whole:
        whole = view.index.summarise(SLICE_SECONDS)
    return number
