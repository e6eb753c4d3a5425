"""nano-if as a benchmark: shares by hand, which stages ask whom, and the embedded model in all roles."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from spar.config import EvalConfig
from spar.eval.benchmark import ANSWERS, Answer
from spar.eval.nano_if import JUDGE, REFINE, NanoIF
from spar.eval.statistics import metrics
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine
from spar.types import Judgement, Message, Node, Prompt, SearchTree
from spar.verifiers import passes
from tests.eval.memory import MemoryJobRunner, MemoryOutputs
from tests.fakes import MUTE, NO, YES, kind_of, refined

THREE_WORDS = ("nano:exact_words", {"num_words": 3})
NO_COMMA: tuple[str, dict[str, Any]] = ("punctuation:no_comma", {})


def task(prompt_id: str, *constraints: tuple[str, dict[str, Any]]) -> Prompt:
    """A prompt under constraints; its text is its id."""
    return Prompt(
        id=prompt_id,
        messages=(Message(role="user", content=prompt_id),),
        source="nano-if",
        meta={
            "instruction_id_list": [id_ for id_, _ in constraints],
            "kwargs": [arguments for _, arguments in constraints],
        },
    )


TASKS = [task(name, THREE_WORDS, NO_COMMA) for name in "abcde"]
DRAFTS = {"a": "one two three", "b": "one, two", "c": "one two", "d": "a, b, c", "e": "x y z"}
"""Both constraints met, none, the second, the first, both."""


def tree(prompt: Prompt, *nodes: Node) -> SearchTree:
    return SearchTree(
        prompt=prompt, strategy="s", config="", nodes=nodes, selected=0, stop="exhausted"
    )


def root(prompt: Prompt, votes: tuple[bool | None, ...] = ()) -> SearchTree:
    judgement = Judgement(verdicts=votes, critique=NO) if votes else None
    text = DRAFTS[prompt.id]
    return tree(prompt, Node(id=0, parent=None, depth=0, response=text, judgement=judgement))


def step(prompt: Prompt, text: str) -> SearchTree:
    child = Node(id=1, parent=0, depth=1, response=text)
    return tree(prompt, root(prompt).nodes[0], child)


def test_every_share_by_hand() -> None:
    """Five drafts, two of which pass; the judge is right on three; one of two refinements passes."""
    a, b, c, d, e = TASKS
    jobs = {
        ANSWERS: {p.id: root(p) for p in TASKS},
        JUDGE: {
            "a": root(a, (True, True, False)),  # right; 2 of 3 votes
            "b": root(b, (False, False, False)),  # right; 3 of 3
            "c": root(c, (False, None, None)),  # right; 1 of 3
            "d": root(d, (True, True, True)),  # wrong; 0 of 3
            "e": root(e),  # could not be asked
        },
        REFINE: {"b": step(b, "three words now"), "c": root(c)},
    }
    scored = NanoIF().score(TASKS, MemoryOutputs(jobs))
    found = {name: (metric.value, metric.n) for name, metric in metrics(scored).items()}
    assert found == {
        "pass": (2 / 5, 5),
        "pass_instruction": (6 / 10, 5),
        "pass/nano:exact_words": (3 / 5, 5),
        "pass/punctuation:no_comma": (3 / 5, 5),
        "draft_pass": (2 / 5, 5),
        "judge_vote_acc": (6 / 12, 5),
        "judge_majority_acc": (3 / 5, 5),
        "judge_f1": (2 / (2 + 1 + 1), 5),
        "judge_majority_acc_passing": (1 / 2, 2),
        "judge_majority_acc_failing": (2 / 3, 3),
        "refine_pass": (1 / 2, 2),
    }
    assert scored.counts == {
        "unanswered": 0,
        "undecided_judgements": 1,
        "failed_refinements": 1,
    }
    assert [(v.name, v.passed) for v in scored.examples[1].verdicts] == [
        ("nano:exact_words", False),
        ("punctuation:no_comma", False),
    ]


def test_stored_answers_are_the_actors_alone() -> None:
    """A blank or absent answer meets nothing; nothing is said of judge and refiner."""
    given = {"a": Answer("one two three"), "b": Answer(None)}
    scored = NanoIF().score(TASKS[:3], MemoryOutputs(external_answers=given))
    found = metrics(scored)
    assert set(found) == {
        *("pass", "pass_instruction", "pass/nano:exact_words", "pass/punctuation:no_comma")
    }
    assert found["pass"].value == found["pass_instruction"].value == pytest.approx(1 / 3)
    assert scored.counts["unanswered"] == 2


def test_only_the_examples_asked_for_are_counted() -> None:
    """An earlier run without a limit has left more trees."""
    undecided = {one.id: root(one, (None,)) for one in TASKS}
    jobs = {"": undecided, JUDGE: undecided, REFINE: undecided}
    counts = NanoIF().score(TASKS[:2], MemoryOutputs(jobs)).counts
    assert counts == {"unanswered": 0, "undecided_judgements": 2, "failed_refinements": 2}


class Scripted(NanoIF):
    """The benchmark over the five tasks."""

    def load(self, config: EvalConfig) -> list[Prompt]:
        """The five tasks."""
        return TASKS


def scripted(request: Request) -> str:
    """Drafts by the table; refinements are three words; the judge accepts these and `a`."""
    if kind_of(request) == "draft":
        return DRAFTS[request.messages[0].content]
    if kind_of(request) == "refine":
        return refined("now it fits")
    asked = request.messages[0].content
    return YES if "one two three" in asked or "now it fits" in asked else NO


def run(engine: FakeEngine, **settings: object) -> MemoryJobRunner:
    """All stages in memory."""
    runner = MemoryJobRunner(EvalConfig(**settings), engine)
    asyncio.run(Scripted().respond(runner, TASKS))
    return runner


@pytest.mark.parametrize("strategy", ["greedy", "bfs"])
def test_judge_and_refiner_are_measured_on_first_drafts(strategy: str) -> None:
    """Whatever the strategy: five votes on each first draft, one refinement of each failing, rejected one."""
    engine = FakeEngine(scripted)
    runner = run(engine, strategy=strategy, budget=4)
    judged = {id_: t.nodes[0] for id_, t in runner.outputs.jobs[JUDGE].items()}
    assert {id_: node.response for id_, node in judged.items()} == DRAFTS
    assert {node.judge_usage.calls for node in judged.values()} == {5}
    assert set(runner.outputs.jobs[REFINE]) == {"b", "c", "d"}  # e passes, though it is rejected
    assert {t.usage.calls for t in runner.outputs.jobs[REFINE].values()} == {1}
    found = metrics(NanoIF().score(TASKS, runner.outputs))
    assert found["draft_pass"].value == 2 / 5
    assert found["pass"].value == (2 / 5 if strategy == "greedy" else 1.0)
    assert found["judge_majority_acc"].value == 4 / 5
    assert found["refine_pass"].value == 1.0
    if strategy == "greedy":
        assert [kind_of(request) for request in engine.requests] == (
            ["draft"] * 5 + ["judge"] * 25 + ["refine"] * 3
        )


def test_a_low_gate_lets_no_rejected_draft_pass() -> None:
    """Two votes of five reject a draft, whatever score is enough in a search."""
    votes = itertools.cycle([YES, YES, NO, NO, NO])

    def split(request: Request) -> str:
        return next(votes) if kind_of(request) == "judge" else scripted(request)

    found = metrics(NanoIF().score(TASKS, run(FakeEngine(split), gate=0.1).outputs))
    assert (found["refine_pass"].value, found["refine_pass"].n) == (1.0, 3)


def test_a_judge_without_verdicts_is_wrong_and_asked_once() -> None:
    """Five votes that say nothing are five wrong votes; nothing is refined."""

    def mute(request: Request) -> str:
        return MUTE if kind_of(request) == "judge" else scripted(request)

    engine = FakeEngine(mute)
    found = metrics(NanoIF().score(TASKS, run(engine).outputs))
    assert (found["judge_vote_acc"].value, found["judge_majority_acc"].value) == (0.0, 0.0)
    assert "refine_pass" not in found
    assert len(engine.requests) == 5 + 25


def test_limit_and_draw() -> None:
    """`--limit` takes the first test prompts, `--prompt-seed` other ones; 500 without a limit."""
    few = NanoIF().load(EvalConfig(limit=3))
    assert [prompt.id for prompt in few] == [f"nano-test-0-{index}" for index in range(3)]
    assert NanoIF().load(EvalConfig(limit=1, prompt_seed=9))[0].id == "nano-test-9-0"
    assert len(NanoIF().load(EvalConfig())) == 500


@pytest.mark.model
def test_the_embedded_model_in_all_roles() -> None:
    """Most of what it writes can be read, and what is scored is what the verifiers say."""
    pytest.importorskip("torch")
    from spar.embedded import CHECKPOINT
    from spar.infer.engines.hf import HfEngine

    config = EvalConfig(limit=12)
    examples = NanoIF().load(config)

    async def measured() -> MemoryJobRunner:
        engine = HfEngine(str(CHECKPOINT))
        runner = MemoryJobRunner(config, engine)
        await NanoIF().respond(runner, examples)
        await engine.aclose()
        return runner

    outputs = asyncio.run(measured()).outputs
    scored = NanoIF().score(examples, outputs)
    truths = [bool(passes(t.answer or "", t.prompt)) for t in outputs.trees(ANSWERS)]
    assert metrics(scored)["pass"].value == pytest.approx(sum(truths) / 12)
    assert scored.counts["unanswered"] == 0
    assert scored.counts["undecided_judgements"] <= 2
    assert metrics(scored)["judge_majority_acc"].value > 0.5
