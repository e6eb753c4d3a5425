"""An evaluation's verdicts on the answers of a run, beside its trees: ground truth where no program can check a prompt.

grades = Grades.of("runs/mine")
outcome_of(tree, grades.check(check_constraints), graded=grades.passed.get(tree.prompt.id))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spar.record.evaluation import EXAMPLES, read_examples, verdict_findings
from spar.record.outcomes import ConstraintCheck, with_verdicts
from spar.types import Finding, Node, SearchTree


@dataclass(frozen=True, slots=True)
class Grades:
    """An evaluation's verdicts on the answers, by prompt id; empty for other runs."""

    passed: dict[str, bool] = field(default_factory=dict)
    findings: dict[str, tuple[Finding, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Grades:
        """The verdicts beside the trees of a run."""
        grades = cls()
        directory = path if path.is_dir() else path.parent
        if (directory / EXAMPLES).is_file():
            for example in read_examples(directory):
                grades.findings[example.id] = verdict_findings(example.verdicts)
                if example.passed is not None:
                    grades.passed[example.id] = example.passed
        return grades

    def check(self, check: ConstraintCheck | None) -> ConstraintCheck:
        """A verifier that knows the evaluation's verdicts on an answer for which `check` has none."""
        return once(with_verdicts(check, lambda prompt_id: self.findings.get(prompt_id, ())))


def once(check: ConstraintCheck) -> ConstraintCheck:
    """A verifier that checks identical responses of a tree once: some take tens of milliseconds."""
    checked: dict[tuple[str, bool], Sequence[Finding]] = {}
    current: SearchTree | None = None

    def findings(tree: SearchTree, node: Node) -> Sequence[Finding]:
        nonlocal current
        if tree is not current:
            checked.clear()
            current = tree
        key = node.response, node.id == tree.selected
        if key not in checked:
            checked[key] = check(tree, node)
        return checked[key]

    return findings
