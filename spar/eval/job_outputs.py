"""The outputs of a benchmark's jobs, and external answers and grades in their place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spar.eval.benchmark import ANSWERS, GRADES, Answer
from spar.store import TREES, last_trees
from spar.types import SearchTree


class TreeOutputs(ABC):
    """`spar.eval.benchmark.JobOutputs` over trees, wherever these are stored."""

    __slots__ = ()

    external_answers: Mapping[str, Answer] | None
    external_grades: Mapping[str, tuple[str, ...]] | None

    @abstractmethod
    def trees(self, job: str) -> Iterable[SearchTree]:
        """The trees of a job; none if it was not run."""

    def answers(self, job: str = ANSWERS) -> Mapping[str, Answer]:
        """Prompt id to its answer."""
        if self.external_answers is not None and job == ANSWERS:
            return self.external_answers
        return {tree.prompt.id: Answer.of(tree) for tree in self.trees(job)}

    def grader_replies(self, job: str = GRADES) -> Mapping[str, tuple[str, ...]]:
        """Prompt id to the grader's replies, all attempts in order."""
        if self.external_grades is not None and job == GRADES:
            return self.external_grades
        return {
            tree.prompt.id: tuple(node.response for node in tree.nodes) for tree in self.trees(job)
        }


@dataclass(frozen=True, slots=True)
class RunOutputs(TreeOutputs):
    """The outputs of one benchmark's jobs, each a run directory.

    Parameters
    ----------
    directory:
        The benchmark's directory. The job `ANSWERS` writes to it, every other job to one below it.
    external_answers:
        Answers to use in place of that job's.
    external_grades:
        A grader's replies to use in place of those of the job `GRADES`.
    """

    directory: Path
    external_answers: Mapping[str, Answer] | None = None
    external_grades: Mapping[str, tuple[str, ...]] | None = None

    def trees(self, job: str) -> Iterator[SearchTree]:
        """The trees of a job, of several of one prompt the last; none if it was not run, or if a file is in its place."""
        if job == GRADES and self.external_grades is not None:
            return iter(())
        path = self.directory / job / TREES
        return last_trees(path) if path.is_file() else iter(())
