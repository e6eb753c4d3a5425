"""Refinement of failing responses (the paper's Tables 3 and 10): how many become right?

    {"prompt": "Write ...", "response": "...", "instruction_id_list": [...], "kwargs": [...]}

Dataset: responses that fail, from `--responses` (a file of such rows, or a run directory whose answers
are taken), or else greedy drafts of nano-if's test prompts that its verifiers fail, the first 200 or
`--limit`. Responses that verifiers pass are left out.
Pattern: the judge judges each response, and the run's strategy refines it: greedy is one refinement at
temperature 0, best-of-n as many sampled ones of that same response as the budget allows, iterative, bfs
and dfs go on as they do below any root.
Metric: accuracy of what comes out, by verifiers where the prompt has them (`acc_verifier`), by the
refiner's own judge (`acc_self`), and by a grader if one is named (`acc_grader`).

A response that the judge accepts as it is stays as it is. The answer is the search's, the best-judged
node with the given response among them; greedy, which chooses nothing, answers with its refinement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import ANSWERS, GRADES, Benchmark, JobOutputs, JobRunner
from spar.eval.given_responses import (
    ALONE,
    RESPONSE,
    decision,
    judged_roots,
    judging,
    one_round,
    read_verdict,
    with_response,
)
from spar.eval.nano_if import constraint_verdicts
from spar.infer.strategy import UNLIMITED, Expand, Plan, SearchConfig, Strategy
from spar.nano.tasks import prompts
from spar.prompts import read_prompts
from spar.record.evaluation import Example, Scored, Verdict
from spar.run.job import Job
from spar.store import TREES, read_trees
from spar.types import Node, Prompt, SearchTree
from spar.verifiers import passes

NUM_RESPONSES = 200
"""Failing responses where no limit is given (paper: 200)."""
MOST_DRAFTS = 10
"""Prompts that are drafted at most, for each failing draft that is wanted."""
DRAFTS = "unrefined"
"""Name of the stage that drafts responses where none are given."""


_MODELS = {"verifier": "votes"}
"""Judges that ask no model: what a grader does instead."""


class Refinement(Benchmark):
    """The benchmark `refinement`."""

    measures = "refiner"
    limits_itself = True  # to failing responses, which are known only once drafts are written
    refines_responses = True
    uses_grader = True

    def load(self, config: EvalConfig) -> list[Prompt]:
        """The given responses in their prompts' meta; else prompts enough to draft failing ones.

        Raises
        ------
        UsageError
            The file cannot be read, or a row has no response.
        """
        if config.responses:
            given = list(_given(Path(config.responses), config.limit))
            _find_verifiers(given, config)
            return given
        return list(prompts("test", config.prompt_seed, MOST_DRAFTS * _wanted(config)))

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Draft where nothing is given, then refine what fails."""
        given = bool(runner.config.responses)
        failing = _failing(examples) if given else await _draft(runner, examples)
        await runner.run(_refining(runner.config, failing))

    async def grade(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Ask the grader about each outcome, if the run names one."""
        config = runner.config
        if not (config.grader_model or config.grader_url):
            return
        await runner.run(
            Job(
                GRADES,
                [
                    with_response(tree.prompt, outcome(tree).response)
                    for tree in _searched(examples, runner.outputs)
                ],
                settings={**judging(config), "judge": _MODELS.get(config.judge, config.judge)},
                roles=("judge",),
                grader=True,
                change=one_round,
                roots=judged_roots(config.seed),
            )
        )

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Check what the searches ended with; what was never searched does not fail, and is left out."""
        grades, searched = _grades(outputs), _searched(examples, outputs)
        found = [_example(tree, grades) for tree in searched]
        return Scored(
            examples=tuple(found),
            counts={**_left_out(examples, outputs), **_root_counts(searched)},
            notes=() if found else ("no response fails, so there is nothing to refine",),
            units={"nodes": "nodes", "calls": "calls"},
        )


def outcome(tree: SearchTree) -> Node:
    """The node that answers: the search's choice, but greedy's refinement whatever the judge says of it."""
    if tree.strategy == "greedy" and len(tree.nodes) > 1:
        return tree.nodes[1]
    assert tree.selected is not None, "a tree with a given root has a node"
    return tree.nodes[tree.selected]


def verify(prompt: Prompt, response: str) -> tuple[Verdict, ...] | None:
    """What programs say of each constraint; None where the prompt has none, or one that none knows.

    nano-if's own verifiers check its prompts, lm-eval's those of IFEval.
    """
    ids = prompt.meta.get("instruction_id_list")
    if not ids:
        return None
    if _is_nano(prompt):
        known = passes(response, prompt.meta) is not None
        return constraint_verdicts(response, prompt) if known else None
    from spar.eval import instructions

    if any(id_ not in instructions.checkers() for id_ in ids):
        return None
    arguments = prompt.meta.get("kwargs") or [{}] * len(ids)
    text = prompt.messages[-1].content
    return tuple(instructions.verify(response, ids, arguments, seed=prompt.id, prompt=text))


def refine_once(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Greedy below a given root: one refinement."""
    yield [Expand(roots[0].id, 1)]


def refine_n(roots: tuple[Node, ...], config: SearchConfig) -> Plan:
    """Best-of-n below a given root: as many refinements of it as the budget allows."""
    yield [Expand(roots[0].id, UNLIMITED)]


OWN: Mapping[str, Strategy] = {"greedy": refine_once, "best-of-n": refine_n}
"""Strategies that draft: what they do here instead. The others go on from a given root by themselves."""


def _given(path: Path, limit: int | None) -> Iterator[Prompt]:
    """Prompts with their responses: answers of a run directory, or rows of a file."""
    if path.is_dir() or path.name == TREES:
        for tree in islice(read_trees(path), limit):
            yield tree.prompt if tree.answer is None else with_response(tree.prompt, tree.answer)
        return
    for prompt in read_prompts(path, limit):
        response = prompt.meta.get(RESPONSE)
        if not isinstance(response, str) or not response.strip():
            raise UsageError(
                f"{path}: the row of prompt {prompt.id!r} has the response {response!r}; refinement needs "
                "rows with 'prompt' and 'response', a text that is not blank"
            )
        yield prompt


def _find_verifiers(given: Iterable[Prompt], config: EvalConfig) -> None:
    """Load lm-eval's verifiers now if they are needed, so that a missing part is told before a run."""
    if any(p.meta.get("instruction_id_list") and not _is_nano(p) for p in given):
        from spar.eval import instructions

        instructions.checkers(config.data)


def _wanted(config: EvalConfig) -> int:
    return config.limit or NUM_RESPONSES


def _searched(examples: Sequence[Prompt], outputs: JobOutputs) -> list[SearchTree]:
    """The trees that count, in order; an earlier run may have left more."""
    trees = {tree.prompt.id: tree for tree in outputs.trees(ANSWERS)}
    return [trees[p.id] for p in examples if p.id in trees][: _most(examples)]


def _most(examples: Sequence[Prompt]) -> int:
    """How many failing responses these examples are loaded for; an earlier run may have had more."""
    given = any(RESPONSE in prompt.meta for prompt in examples)
    return len(examples) if given else len(examples) // MOST_DRAFTS


def _failing(examples: Iterable[Prompt]) -> list[Prompt]:
    """Those with a response that programs do not pass."""
    return [p for p in examples if RESPONSE in p.meta and not _passes(p, p.meta[RESPONSE])]


async def _draft(runner: JobRunner, examples: Sequence[Prompt]) -> list[Prompt]:
    """Draft until as many fail as are wanted, or the prompts run out."""
    wanted, failing, drafted = _wanted(runner.config), list[Prompt](), 0
    while len(failing) < wanted and drafted < len(examples):
        drafted = min(drafted + wanted, len(examples))
        # A stage skips what it has, so that asking for more of it only adds to it.
        job = Job(DRAFTS, examples[:drafted], settings=ALONE, roles=("actor",))
        await runner.run(job)
        failing = _failing(_with_drafts(examples[:drafted], runner.outputs))
    return failing[:wanted]


def _with_drafts(examples: Sequence[Prompt], outputs: JobOutputs) -> Iterator[Prompt]:
    drafts = outputs.answers(DRAFTS)
    for prompt in examples:
        text = drafts[prompt.id].text if prompt.id in drafts else None
        yield prompt if text is None else with_response(prompt, text)


def _refining(config: EvalConfig, failing: Sequence[Prompt]) -> Job:
    own = OWN.get(config.strategy)
    greedy = {"refine": config.refine.model_copy(update={"temperature": 0.0})}
    return Job(
        ANSWERS,
        failing,
        settings=greedy if config.strategy == "greedy" else {},
        roles=("refiner",) if config.judge == "verifier" else ("judge", "refiner"),
        roots=judged_roots(config.seed),
        strategy=own,
        strategy_name=config.strategy if own else "",
    )


def _is_nano(prompt: Prompt) -> bool:
    ids = prompt.meta["instruction_id_list"]
    return prompt.source == "nano-if" or any(str(id_).startswith("nano:") for id_ in ids)


def _passes(prompt: Prompt, response: str) -> bool | None:
    verdicts = verify(prompt, response)
    return None if verdicts is None else all(verdict.passed for verdict in verdicts)


def _grades(outputs: JobOutputs) -> dict[str, bool | None]:
    """Prompt id to the grader's verdict."""
    judgements = {tree.prompt.id: tree.nodes[0].judgement for tree in outputs.trees(GRADES)}
    if judgements:
        return {id_: decision(j.verdicts) if j else None for id_, j in judgements.items()}
    return {
        id_: decision([*map(read_verdict, texts)])
        for id_, texts in outputs.grader_replies().items()
    }


def _example(tree: SearchTree, grades: Mapping[str, bool | None]) -> Example:
    node, prompt = outcome(tree), tree.prompt
    by_self = node.judgement is not None and node.judgement.passed(tree.gate)
    verdicts = verify(prompt, node.response)
    by_program = None if verdicts is None else all(verdict.passed for verdict in verdicts)
    by_grader = bool(grades[prompt.id]) if prompt.id in grades else None
    judges = {"acc_verifier": by_program, "acc_grader": by_grader, "acc_self": by_self}
    known = {name: passed for name, passed in judges.items() if passed is not None}
    tried = len(tree.nodes) - 1 + len(tree.faults)
    return Example(
        id=prompt.id,
        response=node.response,
        passed=next(iter(known.values())),
        verdicts=verdicts or (),
        scores={
            **{name: (float(passed), 1.0) for name, passed in known.items()},
            "nodes": (float(tried), 1.0),
            "calls": (float(tree.usage.calls), 1.0),
        },
        usage=tree.usage,
        facts={"given": tree.nodes[0].response, "score": node.score, "depth": node.depth},
    )


def _left_out(examples: Iterable[Prompt], outputs: JobOutputs) -> dict[str, int]:
    """How many were not searched, and why."""
    drafts = {tree.prompt.id: tree.answer for tree in outputs.trees(DRAFTS)}
    # Where drafts were written, prompts without one were not needed.
    seen = [prompt for prompt in examples if not drafts or prompt.id in drafts]
    texts = [(prompt, prompt.meta.get(RESPONSE, drafts.get(prompt.id))) for prompt in seen]
    return {
        "left_out_as_passing": sum(bool(text and _passes(prompt, text)) for prompt, text in texts),
        "without_response": sum(text is None for _, text in texts),
    }


def _root_counts(trees: Iterable[SearchTree]) -> dict[str, int]:
    roots = [(tree.nodes[0].judgement, tree.gate) for tree in trees]
    return {
        "accepted_unrefined": sum(bool(j and j.passed(gate)) for j, gate in roots),
        "undecided_roots": sum(j is None for j, _ in roots),
    }
