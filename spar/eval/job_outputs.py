"""What stages left behind in a benchmark's directory, or what a person gave in their place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spar.eval.benchmark import ANSWERS, GRADES, Answer
from spar.store import TREES, read_trees
from spar.types import SearchTree


class TreeOutputs(ABC):
    """What can be read out of the trees of stages, wherever these are."""

    __slots__ = ()

    given: Mapping[str, Answer] | None
    graded: Mapping[str, tuple[str, ...]] | None

    @abstractmethod
    def trees(self, job: str) -> Iterable[SearchTree]:
        """The trees of a stage, none where it did not run."""

    def answers(self, job: str = ANSWERS) -> Mapping[str, Answer]:
        """Prompt id to its answer."""
        if self.given is not None and job == ANSWERS:
            return self.given
        return {tree.prompt.id: Answer.of(tree) for tree in self.trees(job)}

    def outputs(self, job: str = GRADES) -> Mapping[str, tuple[str, ...]]:
        """Prompt id to what a grader wrote, all attempts in order."""
        if self.graded is not None and job == GRADES:
            return self.graded
        return {t.prompt.id: tuple(node.response for node in t.nodes) for t in self.trees(job)}


@dataclass(frozen=True, slots=True)
class RunOutputs(TreeOutputs):
    """The stages of one benchmark, each a run directory.

    Parameters
    ----------
    directory:
        The benchmark's; the stage `ANSWERS` is this one itself, any other is one below it.
    given:
        Answers that take the place of that stage's.
    graded:
        A grader's outputs that take the place of the stage `GRADES`.
    """

    directory: Path
    given: Mapping[str, Answer] | None = None
    graded: Mapping[str, tuple[str, ...]] | None = None

    def trees(self, job: str) -> Iterator[SearchTree]:
        """The trees of a stage, none where it did not run."""
        path = self.directory / job / TREES
        return read_trees(path) if path.is_file() else iter(())
