"""Statistics of an iteration's drafts, tree by tree: scores, ties, lengths, and the judge held against programs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from statistics import fmean

from spar.record.training_data import DraftMeasures
from spar.types import Node, Prompt, SearchTree
from spar.verifiers import passes


@dataclass(slots=True)
class DraftCounter:
    """Counts drafts, tree by tree."""

    prompts: int = 0
    tied: int = 0
    words: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    passed: list[bool] = field(default_factory=list)
    true: list[bool] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    optimism: list[int] = field(default_factory=list)

    def add(self, tree: SearchTree) -> None:
        """Count the drafts of a prompt."""
        drafts = tree.children(None)
        judged = [node for node in drafts if node.judgement is not None]
        self.prompts += 1
        self.tied += len(judged) > 1 and len({node.score for node in judged}) == 1
        known: dict[str, bool | None] = {}
        for node in drafts:
            self.words.append(len(node.response.split()))
            if node.response not in known:
                known[node.response] = true_verdict(node, tree.prompt)
            truth = known[node.response]
            if truth is not None:
                self.true.append(truth)
            if node.judgement is None:
                continue
            self.scores.append(node.score)
            passed = node.judgement.passed(tree.gate)
            self.passed.append(passed)
            if truth is not None:
                self.right.append(node.judgement.verdict is truth)
                self.optimism.append(passed - truth)

    def measures(self, usable: Collection[str]) -> DraftMeasures | None:
        """The statistics so far; None without a draft.

        Parameters
        ----------
        usable:
            Ids of the prompts from which something can be taken to train on.
        """
        if not self.words:
            return None
        return DraftMeasures(
            prompts=self.prompts,
            drafts=len(self.words),
            mean_words=_mean(self.words),
            judged=len(self.scores),
            mean_score=_mean(self.scores),
            passed_share=_mean(self.passed),
            tied=self.tied,
            usable=len(usable),
            checked=len(self.true),
            true_share=_mean(self.true),
            right_share=_mean(self.right),
            optimism=_mean(self.optimism),
        )


def true_verdict(node: Node, prompt: Prompt) -> bool | None:
    """Whether a response meets every constraint of its prompt by the programs; None where they cannot tell.

    A judgement by programs holds their findings, so that nothing is checked twice.
    """
    findings = node.judgement.findings if node.judgement is not None else ()
    if findings and all(finding.share is None for finding in findings):
        return all(finding.met for finding in findings)
    return passes(node.response, prompt)


def _mean(values: list[int] | list[float] | list[bool]) -> float | None:
    return fmean(values) if values else None
