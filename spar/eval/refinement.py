"""Refinement of failing responses (the paper's Tables 3 and 10): how many does a search fix?

    {"prompt": "Write ...", "response": "...", "instruction_id_list": [...], "kwargs": [...]}

Dataset: responses that fail, from `--responses` (a file of such rows, or a run directory, whose answers
are taken). Without it, greedy drafts of nano-if's test prompts that fail its verifiers, the first 200 or
`--limit`. Responses that pass their verifiers are left out.
Pattern: the judge judges each response and the run's strategy refines it. Greedy makes one refinement at
temperature 0, best-of-n as many sampled refinements of the same response as the budget allows; iterative,
bfs and dfs search as they do below any root.
Metric: accuracy of the answers, by verifiers where the prompt has them (`acc_verifier`), by the refiner's
own judge (`acc_self`), and by a grader if the run has one (`acc_grader`).

A response that the judge accepts is not refined. The answer is the search's: the best-judged node, which
may be the original response. Greedy does not choose; it answers with its refinement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval import paper
from spar.eval.benchmark import ANSWERS, GRADES, Benchmark, JobOutputs, JobRunner, Work
from spar.eval.given_responses import (
    GREEDY,
    RESPONSE,
    judge_roles,
    judged_roots,
    judging_limits,
    judging_settings,
    majority,
    read_verdict,
    with_response,
)
from spar.eval.nano_if import constraint_verdicts
from spar.eval.needed_verifiers import load_needed_verifiers, needed_packages
from spar.infer.roles import Roles
from spar.infer.strategy import UNLIMITED, Expand, Plan, SearchConfig, Strategy
from spar.nano.tasks import prompts
from spar.plugins import JUDGES, STRATEGIES, strategy_with
from spar.prompts import read_prompts
from spar.record.evaluation import Example, Scored, Verdict
from spar.run.job import Job
from spar.store import TREES, read_trees
from spar.thinking import without_thinking
from spar.types import Node, Prompt, SearchTree

NUM_RESPONSES = 200
"""Failing responses without a limit (paper: 200)."""
MAX_DRAFTS_PER_RESPONSE = 10
"""Most prompts to draft for each failing response that is needed."""
DRAFTS = "unrefined"
"""Name of the job that drafts responses if none are given."""


class Refinement(Benchmark):
    """The benchmark `refinement`; see the module's docstring."""

    measures = "refiner"
    limits_itself = True  # to failing responses, which are known only after drafting
    refines_responses = True
    uses_grader = True
    grader_role = "judge"
    paper = paper.REFINEMENT
    occasional_metrics = ("acc_verifier", "acc_grader")

    def load(self, config: EvalConfig) -> list[Prompt]:
        """Prompts with their responses in the meta, or prompts to draft failing responses for.

        Raises
        ------
        UsageError
            The file cannot be read, or a row has no response.
        """
        if config.responses:
            examples = list(_read_responses(config.responses, config.limit))
            load_needed_verifiers(examples, config.data)
            return examples
        return list(
            prompts("test", config.prompt_seed, MAX_DRAFTS_PER_RESPONSE * _num_needed(config))
        )

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Draft responses if none are given, then refine those that fail."""
        if runner.config.responses:
            failing = _failing(examples)
        else:
            failing = await _draft_failing(runner, examples)
        await runner.run(_refining(runner.config, failing))

    def work(self, config: EvalConfig, examples: Sequence[Prompt]) -> Work:
        """A search below each response that fails, at most all of them, and drafts if none are given."""
        judged = "the judgement of each response that is refined"
        if config.responses:
            return Work(len(examples), more=judged)
        drafts = f"at most {len(examples):,} greedy drafts, until enough of them fail"
        return Work(len(examples) // MAX_DRAFTS_PER_RESPONSE, more=f"{drafts}, and {judged}")

    async def grade(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Have the grader judge each answer, if the run has one."""
        config = runner.config
        if not (config.grader_model or config.grader_url):
            return
        settings = judging_settings(config)
        if not judge_roles(config) or JUDGES.spec(config.judge).needs_model:  # a grader is a model
            settings |= {"judge": "votes", "judge_args": {}}
        answers = [
            with_response(tree.prompt, answer_node(tree).response)
            for tree in _searched(examples, runner.outputs)
        ]
        await runner.run(
            Job(
                GRADES,
                answers,
                settings=settings,
                limits=judging_limits(config),
                roles=("judge",),
                grader=True,
                change=Roles.with_one_round,
                roots=judged_roots(config.seed),
            )
        )

    def packages_of(self, examples: Sequence[Prompt]) -> tuple[str, ...]:
        """Those of the verifiers that the responses' prompts need."""
        return needed_packages(examples)

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Verify the answers of the searches; prompts that were not searched are left out."""
        grades, searched = _grades(outputs), _searched(examples, outputs)
        scored = [_example(tree, grades) for tree in searched]
        return Scored(
            examples=tuple(scored),
            counts={**_left_out(examples, outputs), **_root_counts(searched)},
            notes=() if scored else ("no response fails, so there is nothing to refine",),
            units={"nodes": "nodes", "calls": "calls"},
        )


def answer_node(tree: SearchTree) -> Node:
    """The node that answers: the selected one, but the refinement where the strategy does not judge."""
    if "judge" not in STRATEGIES.spec(tree.strategy).roles and len(tree.nodes) > 1:
        return tree.nodes[1]
    assert tree.selected is not None, "a tree with a given root has a node"
    return tree.nodes[tree.selected]


def verify(prompt: Prompt, response: str) -> tuple[Verdict, ...] | None:
    """The verdict on each constraint by programs, None if the prompt has none or one that cannot be checked."""
    return constraint_verdicts(response, prompt) or None


def refine_once(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """A single refinement of the root: what a strategy with a single draft does here."""
    yield [Expand(roots[0].id, 1)]


def refine_n(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """As many refinements of the root as the budget allows: what best-of-n does here."""
    yield [Expand(roots[0].id, UNLIMITED)]


def refining_strategy(name: str) -> Strategy | None:
    """The plan for a strategy that only drafts, and so would add nothing to a response; None for the others."""
    spec = STRATEGIES.spec(name)
    if "refiner" in spec.roles:
        return None
    return refine_once if spec.max_drafts == 1 else refine_n


def _read_responses(source: str, limit: int | None) -> Iterator[Prompt]:
    """Prompts with their responses: the answers of a run directory, or the rows of a file or a data set."""
    path = Path(source)
    if path.is_dir() or path.name == TREES:
        for tree in islice(read_trees(path), limit):
            yield tree.prompt if tree.answer is None else with_response(tree.prompt, tree.answer)
        return
    for prompt in read_prompts(source, limit):
        response = prompt.meta.get(RESPONSE)
        answer = without_thinking(response) if isinstance(response, str) else ""
        if not answer.strip():
            raise UsageError(
                f"{source}: the row of prompt {prompt.id!r} has the response {response!r}; refinement needs "
                "rows with 'prompt' and 'response', where the response is a string that is not blank, thinking aside"
            )
        yield with_response(prompt, answer)


def _num_needed(config: EvalConfig) -> int:
    return config.limit or NUM_RESPONSES


def _searched(examples: Sequence[Prompt], outputs: JobOutputs) -> list[SearchTree]:
    """The trees of these examples, in order; an earlier run with a higher limit may have left more."""
    trees = {tree.prompt.id: tree for tree in outputs.trees(ANSWERS)}
    have_responses = any(RESPONSE in prompt.meta for prompt in examples)
    limit = len(examples) if have_responses else len(examples) // MAX_DRAFTS_PER_RESPONSE
    return [trees[prompt.id] for prompt in examples if prompt.id in trees][:limit]


def _failing(examples: Iterable[Prompt]) -> list[Prompt]:
    """The prompts with a response that does not pass verification."""
    return [p for p in examples if RESPONSE in p.meta and not _passes(p, p.meta[RESPONSE])]


async def _draft_failing(runner: JobRunner, examples: Sequence[Prompt]) -> list[Prompt]:
    """Draft until enough responses fail, or the prompts run out."""
    num_needed, failing, num_drafted = _num_needed(runner.config), list[Prompt](), 0
    while len(failing) < num_needed and num_drafted < len(examples):
        num_drafted = min(num_drafted + num_needed, len(examples))
        # A job skips the prompts that it has, so running it again with more of them only adds to it.
        await runner.run(Job(DRAFTS, examples[:num_drafted], settings=GREEDY, roles=("actor",)))
        failing = _failing(_with_drafts(examples[:num_drafted], runner.outputs))
    return failing[:num_needed]


def _with_drafts(examples: Sequence[Prompt], outputs: JobOutputs) -> Iterator[Prompt]:
    drafts = outputs.answers(DRAFTS)
    for prompt in examples:
        text = drafts[prompt.id].text if prompt.id in drafts else None
        yield prompt if text is None else with_response(prompt, text)


def _refining(config: EvalConfig, failing: Sequence[Prompt]) -> Job:
    strategy = refining_strategy(config.strategy)
    drafts_again = strategy_with(config.strategy, config.strategy_args).drafts_again
    greedy = {"refine": config.refine.model_copy(update={"temperature": 0.0})}
    return Job(
        ANSWERS,
        failing,
        settings=greedy if strategy is refine_once else {},
        roles=(*(("actor",) if drafts_again else ()), *judge_roles(config), "refiner"),
        roots=judged_roots(config.seed),
        strategy=strategy,
        strategy_name=config.strategy if strategy else "",
    )


def _passes(prompt: Prompt, response: str) -> bool | None:
    verdicts = verify(prompt, response)
    return None if verdicts is None else all(verdict.passed for verdict in verdicts)


def _grades(outputs: JobOutputs) -> dict[str, bool | None]:
    """Prompt id to the grader's verdict."""
    judgements = {tree.prompt.id: tree.nodes[0].judgement for tree in outputs.trees(GRADES)}
    if judgements:
        return {id_: j.verdict if j else None for id_, j in judgements.items()}
    replies = outputs.grader_replies()
    return {id_: majority([*map(read_verdict, texts)]) for id_, texts in replies.items()}


def _example(tree: SearchTree, grades: Mapping[str, bool | None]) -> Example:
    node, prompt = answer_node(tree), tree.prompt
    verdicts = verify(prompt, node.response)
    outcomes = {
        "acc_verifier": None if verdicts is None else all(v.passed for v in verdicts),
        "acc_grader": bool(grades[prompt.id]) if prompt.id in grades else None,
        "acc_self": node.judgement is not None and node.judgement.passed(tree.gate),
    }
    accuracies = {name: passed for name, passed in outcomes.items() if passed is not None}
    num_attempts = len(tree.nodes) - 1 + len(tree.faults)
    return Example(
        id=prompt.id,
        response=node.response,
        passed=next(iter(accuracies.values())),
        verdicts=verdicts or (),
        scores={
            **{name: (float(passed), 1.0) for name, passed in accuracies.items()},
            "nodes": (float(num_attempts), 1.0),
            "calls": (float(tree.usage.calls), 1.0),
        },
        usage=tree.usage,
        facts={"given": tree.nodes[0].response, "score": node.score, "depth": node.depth},
    )


def _left_out(examples: Iterable[Prompt], outputs: JobOutputs) -> dict[str, int]:
    """How many prompts were not searched, by reason."""
    drafts = {tree.prompt.id: tree.answer for tree in outputs.trees(DRAFTS)}
    # If responses were drafted, prompts without a draft were not needed.
    considered = [prompt for prompt in examples if not drafts or prompt.id in drafts]
    responses = [
        (prompt, prompt.meta.get(RESPONSE, drafts.get(prompt.id))) for prompt in considered
    ]
    return {
        "left_out_as_passing": sum(
            bool(text and _passes(prompt, text)) for prompt, text in responses
        ),
        "without_response": sum(text is None for _, text in responses),
    }


def _root_counts(trees: Iterable[SearchTree]) -> dict[str, int]:
    roots = [(tree.nodes[0].judgement, tree.gate) for tree in trees]
    return {
        "accepted_unrefined": sum(bool(j and j.passed(gate)) for j, gate in roots),
        "undecided_roots": sum(j is None for j, _ in roots),
    }
