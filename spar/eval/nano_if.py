"""nano-if: ground truth on the embedded language, for all three roles.

    {"instruction_id_list": ["nano:exact_words"], "kwargs": [{"num_words": 9}]}     a prompt's meta

Dataset: test prompts of nano-if (500, or `--limit`; `--prompt-seed` draws others). Pattern: programs
check everything.
Actor: `pass`, the share of answers of the run's strategy that meet every constraint, `pass_instruction`,
the share of constraints that are met, and the same by type; `draft_pass` is the first drafts' share.
Judge: each first draft gets one round of votes (stage `judge`); how often a single vote, and the
majority, agrees with the programs. What cannot be read is wrong.
Refiner: each failing draft that the judge rejects gets one sampled refinement (stage `refine`);
`refine_pass` is the share of these that meet every constraint, 0 for one that could not be read.

Stored answers (`--responses`) are only measured as the actor's. `nano-if-answers` measures the actor alone.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from spar.config import EvalConfig
from spar.eval.benchmark import ANSWERS, Answer, Benchmark, JobOutputs, JobRunner
from spar.eval.given_responses import (
    ALONE,
    decision,
    f1_share,
    judged_roots,
    one_round,
    with_response,
)
from spar.infer.decode import RootsProvider
from spar.infer.search import Roles
from spar.infer.strategy import Expand, Plan, SearchConfig
from spar.nano.tasks import prompts
from spar.record.evaluation import Example, Scored, Share, Verdict
from spar.run.job import Job
from spar.types import Judgement, Node, Prompt, SearchTree, Usage
from spar.verifiers import passes, verify_meta

NUM_PROMPTS = 500
"""Prompts where no limit is given."""
JUDGE, REFINE = "judge", "refine"
"""Names of the stages that measure these roles."""


class NanoIF(Benchmark):
    """The benchmark `nano-if`."""

    def load(self, config: EvalConfig) -> list[Prompt]:
        """The first test prompts of a draw, ids such as `nano-test-0-17`."""
        return list(prompts("test", config.prompt_seed, config.limit or NUM_PROMPTS))

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Answers by the run's strategy, then the judge on first drafts, then the refiner on failing ones."""
        await runner.run(Job(ANSWERS, examples))
        drafts = _first_drafts(runner.outputs)
        await runner.run(_judging(runner.config, examples, drafts))
        await runner.run(_refining(examples, _rejected(runner.outputs)))

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Check answers, and compare judgements and refinements with what the programs say."""
        seen, answers = Seen.of(outputs, {prompt.id for prompt in examples}), outputs.answers()
        found = [_example(prompt, answers.get(prompt.id), seen) for prompt in examples]
        judged = [decision(j.verdicts) if j else None for j in seen.judgements.values()]
        counts = {
            "unanswered": sum(example.response is None for example in found),
            "undecided_judgements": judged.count(None),
            "failed_refinements": sum(text is None for text in seen.refinements.values()),
        }
        return Scored(examples=tuple(found), counts=counts)


class NanoAnswers(NanoIF):
    """The benchmark `nano-if-answers`: the actor alone, without a judge or a refiner."""

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Answers by the run's strategy."""
        await runner.run(Job(ANSWERS, examples))


def constraint_verdicts(response: str, prompt: Prompt) -> tuple[Verdict, ...]:
    """What nano-if's verifiers say of each constraint of a prompt."""
    ids = prompt.meta["instruction_id_list"]
    found = []
    for id_, (name, passed) in zip(ids, verify_meta(response, prompt.meta), strict=True):
        found.append(Verdict(name=id_, passed=passed, why=name.removeprefix(id_).strip()))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the stages left besides the answers, by prompt id."""

    drafts: Mapping[str, str] = field(default_factory=dict)
    """First drafts."""
    judgements: Mapping[str, Judgement | None] = field(default_factory=dict)
    """Theirs, None where the judge could not be asked."""
    refinements: Mapping[str, str | None] = field(default_factory=dict)
    """Of rejected drafts, None where there is none to read."""

    @classmethod
    def of(cls, outputs: JobOutputs, ids: Container[str]) -> Seen:
        """Read the stages; an earlier run may have left trees of more prompts than these."""
        judged, refined = (
            [tree for tree in outputs.trees(job) if tree.prompt.id in ids]
            for job in (JUDGE, REFINE)
        )
        return cls(
            drafts=_first_drafts(outputs),
            judgements={tree.prompt.id: tree.nodes[0].judgement for tree in judged},
            refinements={tree.prompt.id: _refinement(tree) for tree in refined},
        )


def once(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """One refinement of the given root; nobody judges it."""
    yield [Expand(roots[0].id, 1, judged=False)]


def _judging(config: EvalConfig, examples: Sequence[Prompt], drafts: Mapping[str, str]) -> Job:
    return Job(
        JUDGE,
        [with_response(prompt, drafts[prompt.id]) for prompt in examples if prompt.id in drafts],
        settings=ALONE,
        roles=() if config.judge == "verifier" else ("judge",),
        change=one_round,
        roots=judged_roots(config.seed),
    )


def _refining(examples: Sequence[Prompt], rejected: Mapping[str, Node]) -> Job:
    def begin(roles: Roles) -> RootsProvider:
        async def roots(prompt: Prompt) -> Sequence[Node]:
            return (rejected[prompt.id],)

        return roots

    return Job(
        REFINE,
        [prompt for prompt in examples if prompt.id in rejected],
        settings={"budget": 1, "threshold": 0.5},  # a lower one would let the rejected pass
        roles=("refiner",),
        roots=begin,
        strategy=once,
        strategy_name=REFINE,
    )


def _rejected(outputs: JobOutputs) -> dict[str, Node]:
    """Prompt id to its failing draft as the judge rejected it; what that had cost is on record there."""
    free = {"usage": Usage(), "judge_usage": Usage()}
    return {
        tree.prompt.id: tree.nodes[0].model_copy(update=free)
        for tree in outputs.trees(JUDGE)
        if _says(tree.nodes[0].judgement) is False
        and not passes(tree.nodes[0].response, tree.prompt.meta)
    }


def _says(judgement: Judgement | None) -> bool | None:
    return decision(judgement.verdicts) if judgement else None


def _first_drafts(outputs: JobOutputs) -> dict[str, str]:
    return {tree.prompt.id: tree.nodes[0].response for tree in outputs.trees(ANSWERS) if tree.nodes}


def _refinement(tree: SearchTree) -> str | None:
    return tree.nodes[1].response if len(tree.nodes) > 1 else None


def _example(prompt: Prompt, answer: Answer | None, seen: Seen) -> Example:
    answer = answer or Answer(None)
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
            **_roles(prompt, seen),
            **_by_type(verdicts),
        },
        usage=answer.usage,
    )


def _by_type(verdicts: Iterable[Verdict]) -> dict[str, Share]:
    types: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        types.setdefault(verdict.name, []).append(verdict)
    return {f"pass/{name}": _share(those) for name, those in types.items()}


def _share(verdicts: Sequence[Verdict]) -> Share:
    return float(sum(bool(verdict.passed) for verdict in verdicts)), float(len(verdicts))


def _roles(prompt: Prompt, seen: Seen) -> dict[str, Share]:
    if prompt.id not in seen.drafts:
        return {}
    truth = bool(passes(seen.drafts[prompt.id], prompt.meta))
    scores: dict[str, Share] = {"draft_pass": (float(truth), 1.0)}
    if prompt.id in seen.judgements:
        scores |= _judge(seen.judgements[prompt.id], truth)
    if prompt.id in seen.refinements:
        refined = passes(seen.refinements[prompt.id] or "", prompt.meta)
        scores["refine_pass"] = (float(bool(refined)), 1.0)
    return scores


def _judge(judgement: Judgement | None, truth: bool) -> dict[str, Share]:
    votes = judgement.verdicts if judgement else ()
    said = decision(votes)
    right = (float(said is truth), 1.0)
    return {
        "judge_vote_acc": (float(votes.count(truth)), float(len(votes))),
        "judge_majority_acc": right,
        "judge_f1": f1_share(said, truth),
        "judge_majority_acc_passing" if truth else "judge_majority_acc_failing": right,
    }
