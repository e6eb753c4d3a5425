"""nano-if: all three roles against ground truth, on the embedded language.

    {"instruction_id_list": ["nano:exact_words"], "kwargs": [{"num_words": 9}]}     a prompt's meta

Dataset: nano-if's test prompts, 500 or `--limit`; `--prompt-seed` draws others.
Pattern: programs verify every response.
Metric: of the actor, `pass`, the share of answers that meet every constraint, `pass_instruction`, the share of
constraints that are met, and both by type; `draft_pass` is the share of first drafts that pass.
Of the judge, which gets one round of votes on each first draft (job `judge`), how often a single vote, and the
majority, agrees with the verifiers. An unparsed vote is wrong.
Of the refiner, which gets one sampled refinement of each failing draft that the judge rejects (job `refine`),
`refine_pass`, the share of refinements that meet every constraint; an unparsed one meets none.

Stored answers (`--responses`) measure the actor alone, and so does `nano-if-answers`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import ANSWERS, Answer, Benchmark, JobOutputs, JobRunner, Work
from spar.eval.datasets.local import DataFolder
from spar.eval.given_responses import (
    GREEDY,
    f1_share,
    judge_roles,
    judged_roots,
    with_response,
)
from spar.infer.decode import RootsProvider
from spar.infer.roles import Roles
from spar.infer.strategy import Expand, Plan, SearchConfig
from spar.nano.tasks import prompts
from spar.record.evaluation import Example, Scored, Share, Verdict
from spar.run.job import Job
from spar.types import Judgement, Node, Prompt, SearchTree, Usage
from spar.verifiers import passes, verify_prompt

NUM_PROMPTS = 500
"""Prompts without a limit."""
MAX_PROMPTS = 100_000
"""Most prompts of a run; all of them are kept in memory."""
JUDGE, REFINE = "judge", "refine"
"""Names of the jobs that measure these roles."""
VOTE, MAJORITY, F1 = "judge_vote_acc", "judge_majority_acc", "judge_f1"
"""Metrics of a judge: how often a single vote is right, and the majority; the F1 of a Yes of the majority."""


class NanoIF(Benchmark):
    """The benchmark `nano-if`; see the module's docstring."""

    templated = True
    occasional_metrics: ClassVar[tuple[str, ...]] = (
        *("draft_pass", VOTE, MAJORITY, F1),
        *(f"{MAJORITY}_passing", f"{MAJORITY}_failing", "refine_pass"),
    )

    @staticmethod
    def prompt_texts(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
        """The test prompts of the default draw."""
        for prompt in prompts("test"):
            yield prompt.id, prompt.messages[-1].content

    def load(self, config: EvalConfig) -> list[Prompt]:
        """The first test prompts of a draw, with ids such as `nano-test-0-17`."""
        count = config.limit or NUM_PROMPTS
        if count > MAX_PROMPTS:
            raise UsageError(
                f"nano-if: --limit {count:,} is too large; give up to {MAX_PROMPTS:,} prompts"
            )
        return list(prompts("test", config.prompt_seed, count))

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Answer with the run's strategy, judge the first drafts, refine the failing ones."""
        await runner.run(Job(ANSWERS, examples))
        drafts = _first_drafts(runner.outputs)
        await runner.run(_judging(runner.config, examples, drafts))
        await runner.run(_refining(examples, _rejected(runner.outputs)))

    def work(self, config: EvalConfig, examples: Sequence[Prompt]) -> Work:
        """A search for each prompt; what its first draft costs the judge and the refiner depends on the draft."""
        more = (
            "the judgement of each first draft, and a refinement of each that fails and is rejected"
        )
        return Work(len(examples), more=more)

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Verify answers, and compare judgements and refinements with the verifiers."""
        measured = RoleOutputs.read(outputs, {prompt.id for prompt in examples})
        answers = outputs.answers()
        scored = [
            checked_example(prompt, answers.get(prompt.id, Answer(None)), measured)
            for prompt in examples
        ]
        decisions = [j.verdict if j else None for j in measured.judgements.values()]
        counts = {
            "unanswered": sum(example.response is None for example in scored),
            "undecided_judgements": decisions.count(None),
            "failed_refinements": sum(text is None for text in measured.refinements.values()),
        }
        return Scored(examples=tuple(scored), counts=counts)


class NanoAnswers(NanoIF):
    """The benchmark `nano-if-answers`: the actor alone, without a judge or a refiner."""

    occasional_metrics = ("draft_pass",)
    prompt_texts = staticmethod(Benchmark.prompt_texts)  # those of nano-if are excluded once

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Answer with the run's strategy."""
        await runner.run(Job(ANSWERS, examples))

    def work(self, config: EvalConfig, examples: Sequence[Prompt]) -> Work:
        """A search for each prompt."""
        return Work(len(examples))


def constraint_verdicts(response: str, prompt: Prompt) -> tuple[Verdict, ...]:
    """The verdict of programs on each constraint of a prompt, () if they cannot check it."""
    return tuple(
        Verdict(name=finding.type, passed=finding.met, why=finding.line)
        for finding in verify_prompt(response, prompt)
    )


@dataclass(frozen=True, slots=True)
class RoleOutputs:
    """The outputs of each role by prompt id, besides the answers."""

    drafts: Mapping[str, str] = field(default_factory=dict)
    """First drafts."""
    judgements: Mapping[str, Judgement | None] = field(default_factory=dict)
    """Judgements of the first drafts, None if the judge failed."""
    refinements: Mapping[str, str | None] = field(default_factory=dict)
    """Refinements of rejected drafts, None if the refiner failed."""

    @classmethod
    def read(cls, outputs: JobOutputs, ids: Container[str]) -> RoleOutputs:
        """Read the jobs' trees of these prompts; an earlier run may have left trees of more."""
        judged, refined = (
            [tree for tree in outputs.trees(job) if tree.prompt.id in ids]
            for job in (JUDGE, REFINE)
        )
        return cls(
            drafts=_first_drafts(outputs),
            judgements={tree.prompt.id: tree.nodes[0].judgement for tree in judged},
            refinements={tree.prompt.id: _refinement(tree) for tree in refined},
        )


def refine_unjudged(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """One refinement of the root, not judged."""
    yield [Expand(roots[0].id, 1, judged=False)]


def _judging(config: EvalConfig, examples: Sequence[Prompt], drafts: Mapping[str, str]) -> Job:
    return Job(
        JUDGE,
        [with_response(prompt, drafts[prompt.id]) for prompt in examples if prompt.id in drafts],
        settings=GREEDY,
        roles=judge_roles(config),
        change=Roles.with_one_round,
        roots=judged_roots(config.seed),
    )


def _refining(examples: Sequence[Prompt], rejected: Mapping[str, Node]) -> Job:
    def rejected_roots(roles: Roles) -> RootsProvider:
        async def roots(prompt: Prompt) -> Sequence[Node]:
            return (rejected[prompt.id],)

        return roots

    return Job(
        REFINE,
        [prompt for prompt in examples if prompt.id in rejected],
        settings={"budget": 1, "threshold": 0.5},  # with a lower one the rejected would pass
        roles=("refiner",),
        roots=rejected_roots,
        strategy=refine_unjudged,
        strategy_name=REFINE,
    )


def _rejected(outputs: JobOutputs) -> dict[str, Node]:
    """Prompt id to its failing draft with the judge's rejection, free of cost, which the judge's job records."""
    free = {"usage": Usage(), "judge_usage": Usage()}
    rejected = {}
    for tree in outputs.trees(JUDGE):
        root = tree.nodes[0]
        rejects = root.judgement is not None and root.judgement.verdict is False
        if rejects and not passes(root.response, tree.prompt):
            rejected[tree.prompt.id] = root.model_copy(update=free)
    return rejected


def _first_drafts(outputs: JobOutputs) -> dict[str, str]:
    return {tree.prompt.id: tree.nodes[0].response for tree in outputs.trees(ANSWERS) if tree.nodes}


def _refinement(tree: SearchTree) -> str | None:
    return tree.nodes[1].response if len(tree.nodes) > 1 else None


def checked_example(
    prompt: Prompt, answer: Answer, measured: RoleOutputs = RoleOutputs()
) -> Example:
    """The verdicts of programs on an answer, and the scores of the roles that were measured."""
    verdicts = constraint_verdicts(answer.text or "", prompt)
    passed = all(verdict.passed for verdict in verdicts)
    return Example(
        id=prompt.id,
        response=answer.text,
        passed=passed,
        verdicts=verdicts,
        scores={
            "pass": (float(passed), 1.0),
            "pass_instruction": _share(verdicts),
            **_role_scores(prompt, measured),
            **_scores_by_type(verdicts),
        },
        usage=answer.usage,
    )


def _scores_by_type(verdicts: Iterable[Verdict]) -> dict[str, Share]:
    types: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        types.setdefault(verdict.name, []).append(verdict)
    return {f"pass/{name}": _share(of_type) for name, of_type in types.items()}


def _share(verdicts: Sequence[Verdict]) -> Share:
    return float(sum(bool(verdict.passed) for verdict in verdicts)), float(len(verdicts))


def _role_scores(prompt: Prompt, measured: RoleOutputs) -> dict[str, Share]:
    if prompt.id not in measured.drafts:
        return {}
    label = bool(passes(measured.drafts[prompt.id], prompt))
    scores: dict[str, Share] = {"draft_pass": (float(label), 1.0)}
    if prompt.id in measured.judgements:
        scores |= judge_scores(measured.judgements[prompt.id], label)
    if prompt.id in measured.refinements:
        refined = passes(measured.refinements[prompt.id] or "", prompt)
        scores["refine_pass"] = (float(bool(refined)), 1.0)
    return scores


def judge_scores(judgement: Judgement | None, label: bool) -> dict[str, Share]:
    """The scores of a judgement of a response that meets its constraints, or does not; None if the judge failed."""
    decision = judgement.verdict if judgement else None
    votes = (judgement.verdicts or (decision,)) if judgement else ()
    right = (float(decision is label), 1.0)
    return {
        VOTE: (float(votes.count(label)), float(len(votes))),
        MAJORITY: right,
        F1: f1_share(decision, label),
        f"{MAJORITY}_passing" if label else f"{MAJORITY}_failing": right,
    }
