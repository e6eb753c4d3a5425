"""The Python API: every function in a script, under a running loop, with objects as plug-ins."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import spar
from spar.infer.engines.fake import FakeEngine
from spar.plugins import STRATEGIES
from spar.store import read_manifest
from tests.cli.toy_benchmark import Toy
from tests.fakes import World, timeless

FAKE: dict[str, Any] = {"engine": "fake", "votes": 3}
PROMPT = spar.Prompt(id="p", messages=(spar.Message(role="user", content="a"),))


def two_chains(roots: tuple[spar.Node, ...], config: spar.SearchConfig) -> spar.Plan:
    """Refine two drafts side by side."""
    newest = roots or (yield [spar.Expand(None, 2)])
    for _ in range(config.depth):
        newest = yield [spar.Expand(node.id, 1) for node in newest]


class Width(BaseModel):
    """Options of `wide`."""

    drafts: int = 2


def wide_plan(roots: tuple[spar.Node, ...], config: spar.SearchConfig, options: Width) -> spar.Plan:
    """As many drafts as an option says."""
    yield [spar.Expand(None, options.drafts)]


wide = spar.StrategySpec(wide_plan, roles=frozenset({"actor", "judge"}), options=Width)


def is_even(prompt: spar.Prompt, response: str) -> bool:
    """A judge: the response has an even number of characters."""
    return len(response) % 2 == 0


def test_search_returns_a_tree() -> None:
    """Of the strategy and the budget given; the same call gives the same tree."""
    first = spar.search("Say it.", strategy="bfs", budget=4, **FAKE)
    again = spar.search({"prompt": "Say it."}, strategy="bfs", budget=4, **FAKE)
    assert 1 <= len(first.nodes) <= 4
    assert first.answer == first.nodes[first.selected or 0].response
    assert [node.response for node in again.nodes] == [node.response for node in first.nodes]


def test_seed_none_is_an_unseeded_run(tmp_path: Path) -> None:
    """As `null` in a recipe: replies have no seed, in a search, a run and a session's search."""
    options = {"strategy": "greedy", **FAKE}
    spar.decode(["a"], out=tmp_path, seed=None, **options)
    assert read_manifest(tmp_path).seed is None
    with spar.open_session(**options) as session:
        trees = [spar.search("a", seed=None, **options), session.search("a", seed=None)]
        seeded = session.search("a")
    assert [tree.nodes[0].seed for tree in trees] == [None, None]
    assert seeded.nodes[0].seed is not None


def test_the_blocking_forms_work_under_a_running_loop() -> None:
    """As in a notebook; the async forms give the same."""

    async def cell() -> tuple[spar.SearchTree, spar.SearchTree]:
        return spar.search("Say it.", **FAKE), await spar.search_async("Say it.", **FAKE)

    blocking, awaited = asyncio.run(cell())
    assert timeless(blocking) == timeless(awaited)


def test_an_error_of_the_blocking_forms_is_not_raised_while_another_is_handled() -> None:
    """An uncaught one would print that there is no running event loop, before what is wrong."""
    with pytest.raises(spar.UsageError) as caught:
        spar.search("x", bugdet=1)
    assert caught.value.__context__ is None


def test_decode_stores_a_run_and_resumes_it(tmp_path: Path) -> None:
    """The second call searches what is missing and returns all trees in the order of the prompts."""
    prompts = [{"id": "b", "prompt": "Say b."}, {"id": "a", "prompt": "Say a."}]
    seen = Seen()
    first = spar.decode(prompts[:1], out=tmp_path / "run", listener=seen, **FAKE)
    run = spar.decode(prompts, out=tmp_path / "run", listener=seen, **FAKE)
    assert seen.trees == ["b", "a"]
    assert [tree.prompt.id for tree in run] == ["b", "a"]
    assert len(first) == 1 and len(run) == 2 and run.summary.trees == 2
    assert sorted(tree.prompt.id for tree in spar.read_trees(tmp_path / "run")) == ["a", "b"]
    with pytest.raises(spar.ConfigChanged, match="budget"):
        spar.decode(prompts, out=tmp_path / "run", budget=3, **FAKE)


def test_paths_may_start_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`~` in the run directory and in the file of prompts, as in pandas."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.jsonl").write_text('{"prompt": "Write two lines."}')
    result = spar.decode("~/p.jsonl", out="~/run", **FAKE)
    assert result.directory == tmp_path / "run"
    assert len(list(spar.read_trees("~/run"))) == 1


async def test_read_trees_async(tmp_path: Path) -> None:
    """The same trees as `read_trees`, without blocking the loop."""
    await spar.decode_async(["One.", "Two."], out=tmp_path / "run", **FAKE)
    trees = [tree async for tree in spar.read_trees_async(tmp_path / "run")]
    assert trees == list(spar.read_trees(tmp_path / "run")) and len(trees) == 2


def test_decode_without_out_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trees are in memory, and no directory is made."""
    monkeypatch.chdir(tmp_path)
    run = spar.decode(["One.", "Two."], **FAKE)
    assert run.directory is None
    assert [tree.prompt.messages[0].content for tree in run] == ["One.", "Two."]
    assert run.answers == [tree.answer for tree in run]
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_prompts(tmp_path: Path) -> None:
    """A path, as a string or a `Path`."""
    path = tmp_path / "prompts.txt"
    path.write_text("One.\nTwo.\n")
    assert len(spar.decode(path, **FAKE)) == 2
    assert len(spar.decode(str(path), limit=1, **FAKE)) == 1


def test_a_file_whose_prompts_have_a_field_of_another_name(tmp_path: Path) -> None:
    """`prompt_field` names it, of rows in memory too; where there are no rows it is a mistake."""
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": "One.", "answer": "1"}\n', encoding="utf-8")
    (tree,) = spar.decode(path, prompt_field="question", **FAKE)
    assert tree.prompt.messages[0].content == "One."
    assert tree.prompt.meta == {"answer": "1"}
    row = {"question": "One.", "answer": "1"}
    (same,) = spar.decode([row], prompt_field="question", **FAKE)
    for other in (same, spar.search(row, prompt_field="question", **FAKE)):
        assert (other.prompt.messages, other.prompt.meta) == (
            tree.prompt.messages,
            tree.prompt.meta,
        )
    with pytest.raises(spar.UsageError, match="--prompt-field question is for prompts of a"):
        spar.decode("", prompt_field="question", **FAKE)
    with pytest.raises(spar.UsageError, match="prompt 1 is no row, and prompt_field='question'"):
        spar.decode(["One."], prompt_field="question", **FAKE)
    with pytest.raises(spar.UsageError, match="--prompt-field question is for prompts of a"):
        spar.evaluate("ifeval", prompt_field="question", **FAKE)


def test_the_prompts_of_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is answered where no prompts are passed; those that are passed replace it, with the field of its rows."""
    monkeypatch.chdir(tmp_path)
    Path("questions.jsonl").write_text('{"question": "One."}\n', encoding="utf-8")
    Path("mine.yaml").write_text(
        "decode: {prompts: questions.jsonl, prompt_field: question, engine: fake, votes: 3}"
    )
    (tree,) = spar.decode(recipe="mine.yaml")
    assert tree.prompt.messages[0].content == "One."
    with pytest.raises(spar.UsageError, match="prompt_field='question' names a field of rows"):
        spar.decode(["Two."], recipe="mine.yaml", prompt_field="question")
    (tree,) = spar.decode(["Two."], recipe="mine.yaml")
    assert tree.prompt.messages[0].content == "Two."
    assert spar.search("Three.", recipe="mine.yaml").prompt.messages[0].content == "Three."
    Path("lines.txt").write_text("Four.\n", encoding="utf-8")
    (tree,) = spar.decode("lines.txt", recipe="mine.yaml")
    assert tree.prompt.messages[0].content == "Four."


def test_the_responses_of_a_recipe_are_scored(tmp_path: Path) -> None:
    """An evaluation without `responses` of its own scores those that the recipe names."""
    toy = f"{Toy.__module__}:Toy"
    whole = spar.evaluate(toy, limit=2, **FAKE)
    answers = tmp_path / "answers.jsonl"
    rows = [{"id": each.id, "response": "From the file."} for each in whole.examples]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"decode: {{engine: fake}}\neval: {{responses: {answers}, limit: 2}}\n")
    scored = spar.evaluate(toy, recipe=str(recipe))
    assert [each.response for each in scored.examples] == ["From the file."] * 2


def test_plugins_may_be_plain_objects() -> None:
    """A strategy function, a spec with options, a judge function, a refiner function, an engine object."""
    tree = spar.search("Say it.", strategy=two_chains, judge=is_even, budget=6, engine="fake")
    assert tree.strategy == f"{__name__}:two_chains"
    assert len([node for node in tree.nodes if node.parent is None]) == 2
    judged = [node for node in tree.nodes if node.judgement]
    assert judged
    assert all(
        node.judgement and node.judgement.passed(0.5) == (len(node.response) % 2 == 0)
        for node in judged
    )
    tree = spar.search("Say it.", strategy=wide, strategy_args={"drafts": 3}, **FAKE)
    assert len(tree.nodes) == 3
    engine = FakeEngine(World(yes=0))
    refined = spar.search(
        "Say it.",
        strategy="iterative",
        budget=2,
        engine=engine,
        judge=lambda prompt, response: (response == "Better.", "Write: Better."),
        refiner=lambda prompt, node: "Better.",
    )
    assert refined.answer == "Better." and refined.solved
    assert not engine._closed, "an engine is closed by its owner"


async def test_async_judges_and_scores() -> None:
    """A function may be async, and return a score or a judgement."""

    async def score(prompt: spar.Prompt, response: str) -> float:
        await asyncio.sleep(0)
        return 0.75

    tree = await spar.search_async("Say it.", strategy="bfs", judge=score, engine="fake")
    assert tree.solved and tree.nodes[0].judgement is not None
    assert tree.nodes[0].judgement.score == 0.75


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"budgt": 3}, "unknown setting 'budgt'; did you mean 'budget'"),
        ({"strategy": "bsf"}, "did you mean 'bfs'.*or module:attribute"),
        ({"strategy": "nowhere:x"}, r"there is no module 'nowhere'; .* \(PYTHONPATH=\.\)"),
        ({"strategy": "spar.types:nothing"}, "has no 'nothing'"),
        ({"strategy": 3}, "not a strategy"),
        ({"judge": 3}, "not a judge"),
        ({"judge": is_even, "verifier": is_even}, "give one"),
        ({"judge": lambda prompt, response: "yes"}, "a judge returned 'yes'"),
        ({"strategy_args": {"c": 1}}, "--strategy-arg c: bfs has no options"),
        ({"strategy": wide, "strategy_args": {"draft": 1}}, "did you mean 'drafts'"),
        ({"strategy": wide, "strategy_args": {"drafts": "x"}}, "drafts='x'"),
        ({"budget": 0}, "budget"),
    ],
)
def test_mistakes_are_usage_errors(settings: dict[str, Any], words: str) -> None:
    """One line that names the value and what is accepted."""
    with pytest.raises(spar.UsageError, match=words):
        spar.search("Say it.", **{"engine": "fake", "strategy": "bfs", **settings})


def no_generator(roots: tuple[spar.Node, ...], config: spar.SearchConfig) -> list[spar.Expand]:
    """Returns a wave where a strategy yields it."""
    return [spar.Expand(None, 1)]


def no_expand(roots: tuple[spar.Node, ...], config: spar.SearchConfig) -> Any:
    """Yields something else than `Expand`."""
    yield ["a wave"]


def unknown_parent(roots: tuple[spar.Node, ...], config: spar.SearchConfig) -> spar.Plan:
    """Expands a node that is not in the tree."""
    yield [spar.Expand(None, 1)]
    yield [spar.Expand(7, 1)]


class Mute(FakeEngine):
    """Returns no completion."""

    async def generate(self, requests: Sequence[spar.Request]) -> list[spar.Completion]:
        """Nothing."""
        return []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": no_generator}, "returned a list; expected a generator"),
        ({"strategy": no_expand}, "yielded 'a wave' in a wave"),
        ({"strategy": unknown_parent}, "expands node 7, but the tree has 1 nodes"),
        ({"engine": Mute(World())}, "returned 0 results for 1 requests"),
    ],
)
def test_plugins_that_break_their_contract(settings: dict[str, Any], words: str) -> None:
    """The message names the plug-in, what it returned and what was expected."""
    with pytest.raises(spar.SparError, match=words):
        spar.search("Say it.", **{"engine": "fake", "judge": lambda *_: False, **settings})


NAN = float("nan")
FINDING = spar.Finding(type="t", constraint="short", met=True, share=NAN)


@dataclass(frozen=True)
class Fixed:
    """A judge object that judges every response alike."""

    judgement: spar.Judgement

    async def judge(
        self, prompt: spar.Prompt, response: str, seeds: Any
    ) -> tuple[spar.Judgement, spar.Usage]:
        """As it was made."""
        return self.judgement, spar.Usage()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"probability": NAN}, "the probability nan"),
        ({"probability": -1.0}, r"the probability -1\.0"),
        ({"probabilities": (0.5, NAN)}, "a vote's probability nan"),
        ({"findings": (FINDING,)}, "of 'short' the share nan"),
    ],
)
@pytest.mark.parametrize("strategy", ["ab-mcts", "bfs"])
def test_a_judgement_has_shares_that_strategies_can_go_by(
    fields: dict[str, Any], words: str, strategy: str
) -> None:
    """A NaN is no score: refused in whatever form the judge was passed, before a strategy draws or sorts by it."""
    judgement = spar.Judgement(verdicts=(False,), critique="c", **fields)
    judges: list[Any] = [lambda prompt, response: judgement, Fixed(judgement)]
    for judge in judges:
        with pytest.raises(spar.UsageError, match=f"a judge returned {words}; expected a number"):
            spar.search("Say it.", judge=judge, strategy=strategy, budget=4, engine="fake")


class Plain:
    """A judge and a refiner whose methods are not async."""

    def judge(self, prompt: spar.Prompt, response: str, seeds: Any) -> Any:
        """At once."""
        return spar.Judgement(verdicts=(False,), critique="c"), spar.Usage()

    def refine(self, prompt: spar.Prompt, parent: spar.Node, seeds: Any) -> Any:
        """At once."""
        return "Better."


@dataclass(frozen=True)
class Returning:
    """A judge and a refiner whose methods return what it was made with."""

    value: Any

    async def judge(self, prompt: spar.Prompt, response: str, seeds: Any) -> Any:
        """As it was made."""
        return self.value

    async def refine(self, prompt: spar.Prompt, parent: spar.Node, seeds: Any) -> Any:
        """As it was made."""
        return self.value


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"judge": Plain()}, "the judge Plain has a method that is not async: it returned .*Judg"),
        ({"refiner": Plain()}, "the refiner Plain has a method that is not async.* 'Better.'"),
        (
            {"judge": Returning(spar.Judgement(verdicts=(True,), critique="c"))},
            r"the judge Returning returned Judgement.*; expected \(spar.Judgement, spar.Usage\)",
        ),
        ({"judge": Returning((True, spar.Usage()))}, "the judge Returning returned .True, Usage"),
        ({"judge": Returning(None)}, "the judge Returning returned None"),
        (
            {"refiner": Returning("Better.")},
            "the refiner Returning returned 'Better.'; expected a spar.Generation; a plain function",
        ),
        (
            {"refiner": Returning(spar.Generation("Better.", None, None, None))},  # type: ignore[arg-type]
            "the refiner Returning returned a spar.Generation whose usage is None; expected a spar.U",
        ),
        (
            {"refiner": lambda *_: spar.Generation(b"a", None, spar.Usage(), None)},  # type: ignore[arg-type]
            "the refiner .*lambda.* returned a spar.Generation whose response is b'a'",
        ),
    ],
)
def test_objects_that_break_their_protocol(settings: dict[str, Any], words: str) -> None:
    """Named by their class, with what they returned and what was expected."""
    with pytest.raises(spar.UsageError, match=words):
        spar.search("Say it.", **{"engine": "fake", "judge": lambda *_: False, **settings})


class OwnEngine:
    """An engine whose method returns what it was made with."""

    model = description = "own"
    capacity = 4

    def __init__(self, value: Any) -> None:
        self.value = value

    async def generate(self, requests: Sequence[spar.Request]) -> Any:
        """As it was made."""
        return self.value

    async def aclose(self) -> None:
        """Nothing to free."""


def with_attributes(**attributes: Any) -> OwnEngine:
    """An engine with other attributes."""
    engine = OwnEngine(None)
    vars(engine).update(attributes)
    return engine


class PlainEngine(OwnEngine):
    """An engine whose method is not async."""

    def generate(self, requests: Sequence[spar.Request]) -> Any:
        """At once."""
        return self.value


class Nameless:
    """An engine without a model's name."""

    capacity, description = 4, "nameless"

    async def generate(self, requests: Sequence[spar.Request]) -> Any:
        """Nothing."""

    async def aclose(self) -> None:
        """Nothing to free."""


def reply(**fields: Any) -> list[spar.Completion]:
    """The replies of an engine, with other fields."""
    right = {"text": "a", "finish": "stop", "prompt_tokens": 1, "completion_tokens": 1}
    return [spar.Completion(**{**right, **fields})]


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (OwnEngine(None), "the engine OwnEngine returned None; expected a list of spar.Completion"),
        (OwnEngine(each for each in reply()), "the engine OwnEngine returned <generator"),
        (OwnEngine(["a"]), r"the engine OwnEngine returned \['a'\]; expected a list of spar.Com"),
        (OwnEngine(reply(text=None)), "whose text is None; expected a text"),
        (OwnEngine(reply(finish="eos")), "whose finish is 'eos'; expected 'stop' or 'length'"),
        (OwnEngine(reply(completion_tokens=None)), "whose completion_tokens is None; expected 0"),
        (OwnEngine(reply(prompt_tokens=-4)), "whose prompt_tokens is -4; expected 0 or more"),
        (PlainEngine(reply()), "the engine PlainEngine has a method that is not async"),
        (lambda *_: PlainEngine(reply()), "the engine PlainEngine has a method that is not async"),
        (Nameless(), "the engine Nameless has no model; expected an object with model, capacity"),
        (lambda *_: Nameless(), "the engine Nameless has no model"),
        (with_attributes(capacity=-1), "the engine OwnEngine has the capacity -1; expected an int"),
        (with_attributes(model=None), "the engine OwnEngine has the model None; expected a text"),
        (with_attributes(aclose=3), "the engine OwnEngine has the aclose 3; expected an async"),
    ],
)
def test_engines_that_break_their_protocol(engine: Any, words: str) -> None:
    """Opened, or opened by a function: named, with what they returned and what was expected."""
    with pytest.raises(spar.UsageError, match=words):
        spar.search("Say it.", engine=engine, strategy="greedy")


def test_a_class_that_is_passed_for_its_object_is_refused() -> None:
    """It would be called with what spar calls a function of its kind with, and raise a bare TypeError."""

    class Scorer:
        """A judge that takes two arguments."""

        def __init__(self, url: str, key: str) -> None:
            raise AssertionError("it was called")

        async def judge(self, prompt: Any, response: str, seeds: Any) -> None:
            """Never called."""

    with pytest.raises(
        spar.UsageError, match=r"engine OwnEngine is a class .*pass an object of it"
    ):
        spar.search("Say it.", engine=OwnEngine)
    with pytest.raises(
        spar.UsageError, match=r"Scorer is a class that takes \(url: .*\(settings\)"
    ):
        spar.search("Say it.", judge=Scorer, **FAKE)


def test_an_engine_may_return_a_tuple_and_numbers_of_its_own() -> None:
    """As numpy's, which are whole too."""
    numpy = pytest.importorskip("numpy")
    completions = tuple(reply(completion_tokens=numpy.int64(3)))
    tree = spar.search("Say it.", engine=OwnEngine(completions), strategy="greedy")
    assert (tree.answer, tree.usage.completion_tokens) == ("a", 3)


async def cancelled(*_: object) -> bool:
    """What a library does that cancels a task of its own and lets the caller hear of it."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(task.cancel)
    await task
    return True


async def cancelling(*_: object) -> bool:
    """Cancels the task that it runs in."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return True


@pytest.mark.parametrize("role", ["judge", "refiner"])
def test_a_plugin_that_cancels_its_own_task_is_noticed(role: str) -> None:
    """The search did not ask for it, so that it is no reason to end without a word."""
    settings: dict[str, Any] = {"engine": "fake", "judge": lambda *_: False, role: cancelling}
    with pytest.raises(spar.EngineError, match="an attempt of the search was cancelled"):
        spar.search("Say it.", **settings)


@pytest.mark.parametrize("role", ["judge", "refiner"])
def test_a_cancellation_that_a_plugin_lets_out_is_named(tmp_path: Path, role: str) -> None:
    """It ended the whole run with an empty message; the run is stopped as by an engine that fails, and can be resumed."""
    settings: dict[str, Any] = {"engine": "fake", "judge": lambda *_: False, role: cancelled}
    words = f"the {role} cancelled was cancelled, and not by spar"
    with pytest.raises(spar.EngineError, match=words):
        spar.search("Say it.", **settings)
    with pytest.raises(spar.SparError, match=f"{words}.*rerun the command to resume"):
        spar.decode(["a", "b"], out=tmp_path / "run", **settings)


BLANK = spar.Prompt(id="", messages=(spar.Message(role="user", content=" "),))


@pytest.mark.parametrize(
    "prompts", [[], 3, [3], ["a", " "], [BLANK], [{"id": 1, "prompt": "a"}] * 2]
)
def test_prompts_that_are_none(prompts: Any) -> None:
    """None at all, another type, a blank text, an id that comes twice."""
    with pytest.raises(spar.UsageError):
        spar.decode(prompts, **FAKE)


def test_evaluate_and_compare(tmp_path: Path) -> None:
    """A benchmark by class; without `out` nothing is stored; two evaluations are compared."""
    evaluation = spar.evaluate(Toy, engine="fake", limit=6)
    assert evaluation.directory is None and evaluation.results.n == 6
    assert len(evaluation.examples) == 6
    assert set(evaluation.metrics) == set(evaluation.results.metrics)
    for seed in (0, 1, 2):
        spar.evaluate(
            "nano-if-answers", engine="fake", limit=6, seed=seed, out=tmp_path / f"{seed}"
        )
    (comparison,) = spar.compare(first=tmp_path / "0", second=tmp_path / "1")
    assert comparison.n == 6
    assert comparison.adjusted_p is None
    several = spar.compare(*(tmp_path / f"{seed}" for seed in (0, 1, 2)))
    assert [each.second for each in several] == [
        tmp_path / seed / "nano-if-answers" for seed in ("1", "2")
    ]
    assert several[0].metrics == comparison.metrics
    assert None not in [each.adjusted_p for each in several]


@pytest.mark.parametrize("measure", [spar.evaluate_async, spar.sweep_async])
async def test_opening_a_benchmark_leaves_the_loop_alone(measure: Any) -> None:
    """So that a time-out ends it, or the caller, as any other coroutine."""
    begun, released = threading.Event(), threading.Event()
    ended: list[bool] = []

    class Gated(Toy):
        """Is read once it may."""

        def load(self, config: Any) -> list[spar.Prompt]:
            """A dozen prompts."""
            begun.set()
            ended.append(released.wait(10))
            return Toy.load(self, config)

    task = asyncio.create_task(measure(Gated, **FAKE))
    assert await asyncio.to_thread(begun.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ended
    released.set()


def test_sweep_gives_a_row_a_point() -> None:
    """Greedy once, a strategy of one's own at each budget."""
    rows = spar.sweep(
        "nano-if-answers", strategies=("greedy", two_chains), budgets=(2, 4), engine="fake", limit=3
    )
    assert [(row.strategy, row.budget) for row in rows] == [
        ("greedy", 1),
        (f"{__name__}:two_chains", 2),
        (f"{__name__}:two_chains", 4),
    ]


def test_strategies_of_a_sweep_may_be_one_text() -> None:
    """A text is a list of names as on the command line, not a list of its letters."""
    with pytest.raises(spar.UsageError, match="'bsf'"):
        spar.sweep("nano-if-answers", strategies="greedy,bsf", engine="fake", limit=1)


def test_a_session_keeps_its_models_loaded() -> None:
    """Each search may change settings; nothing can be searched after it is closed."""
    with spar.open_session(engine="fake") as session:
        first = session.search("Say it.", budget=2)
        second = session.search("Say it.", budget=2)
        assert timeless(first) == timeless(second)
    with pytest.raises(spar.EngineError, match="closed"):
        session.search("Say it.")


def test_train_is_a_function_and_a_package(tmp_path: Path) -> None:
    """`spar.train(...)` runs the loop; plug-ins of a script cannot be found by its worker processes."""
    import spar.train.recipe

    assert callable(spar.train) and spar.train.recipe.load_train("nano", {}).iterations >= 1  # type: ignore[attr-defined]
    with pytest.raises(spar.UsageError, match="define it in a module"):
        spar.train(strategy=lambda roots, config: iter(()), out=tmp_path)
    with pytest.raises(spar.UsageError, match="there is no file"):
        spar.train(tmp_path / "none.jsonl", out=tmp_path)
    with pytest.raises(spar.UsageError, match="prompts is a list; stages read a file"):
        spar.train(["One."], out=tmp_path)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.model
def test_train_runs_a_stage(tmp_path: Path) -> None:
    """A stage is a process of its own; the result names the models so far. Its folder has the settings of the next start."""
    seen = Seen()
    result = spar.train(
        iterations=1,
        out=tmp_path / "loop",
        only="draft",
        listener=seen,
        assignments=["prompts_per_iteration=2", "samples=2", "measure_start=false"],
    )
    assert seen.activities == ["1/draft"]
    assert (result.iteration, result.actor) == (0, "")
    assert len(list(spar.read_trees(tmp_path / "loop" / "iteration-1" / "draft"))) == 2
    stored = read_manifest(tmp_path / "loop").config
    spar.train(out=tmp_path / "loop", only="draft")
    assert read_manifest(tmp_path / "loop").config == stored
    assert (stored["prompts_per_iteration"], stored["samples"]) == (2, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budgte": 1}, "did you mean 'budget'"),
        ({"budget": -1}, "budget"),
        ({"threshold": 5}, "threshold"),
        ({"strategy": "bsf"}, "did you mean 'bfs'"),
    ],
)
def test_a_session_checks_its_changes(changes: dict[str, Any], words: str) -> None:
    """As `spar.search` checks its settings; plug-ins may be objects here too."""
    with spar.open_session(engine="fake") as session:
        with pytest.raises(spar.UsageError, match=words):
            session.search("Say it.", **changes)
        tree = session.search("Say it.", judge=is_even, draft={"temperature": 0.3}, budget="2")
    assert all(node.judgement is None or node.judgement.critique for node in tree.nodes)


@pytest.mark.parametrize("prompts", [{"prompt": "a"}, PROMPT])
def test_a_single_row_is_not_a_list_of_prompts(prompts: Any) -> None:
    """Iterating it would search its keys."""
    with pytest.raises(spar.UsageError, match="pass a list"):
        spar.decode(prompts, **FAKE)


def test_a_limit_reads_no_more_prompts() -> None:
    """An endless stream of prompts ends with the limit."""
    run = spar.decode((f"Say {number}." for number in itertools.count()), limit=2, **FAKE)
    assert len(run) == 2


def test_objects_may_be_defined_again(tmp_path: Path) -> None:
    """A function that is defined again under its name, as in a notebook's cell, resumes its run."""
    for _ in range(2):
        scope: dict[str, Any] = {"__name__": "notebook"}
        exec("def shout(prompt, response):\n    return response.isupper()", scope)
        run = spar.decode(["One."], judge=scope["shout"], out=tmp_path / "run", engine="fake")
    assert len(run) == 1


def test_benchmark_objects_may_be_used_again() -> None:
    """Two objects of one class are two benchmarks."""
    for _ in range(2):
        assert spar.evaluate(Toy(), engine="fake", limit=2).results.n == 2


@pytest.mark.parametrize("listener", [print, spar.Listener, object()])
def test_a_listener_is_an_object_with_its_methods(listener: Any) -> None:
    """A function, a class or something else would fail at the first event, in the middle of a run."""
    for call in (spar.search, spar.evaluate, spar.open_session):
        arguments = ("nano-if",) if call is not spar.open_session else ()
        with pytest.raises(spar.UsageError, match=r"listener is .*; pass an object"):
            call(*arguments, listener=listener, **FAKE)


def test_search_raises_the_engines_error() -> None:
    """Where nothing is stored there is nothing to resume; `out` is no setting of a search."""

    class Down(FakeEngine):
        async def generate(self, requests: Sequence[spar.Request]) -> list[spar.Completion]:
            raise spar.EngineError("the server is down")

    engine: Any = {"engine": Down(World())}
    for call in (
        partial(spar.search, "Say it."),
        partial(spar.evaluate, Toy()),
        partial(spar.sweep, Toy(), strategies="greedy,bfs", budgets=3),
    ):
        with pytest.raises(spar.EngineError, match=r"^the server is down$"):
            call(**engine)
    with pytest.raises(spar.UsageError, match="unknown setting 'out'"):
        spar.search("Say it.", out="runs/a", **FAKE)


def test_unusual_returns_of_functions() -> None:
    """NumPy's booleans, a `Generation`; a wrong type is refused by name."""
    numpy = pytest.importorskip("numpy")
    generation = spar.Generation("Better.", None, spar.Usage(), None)
    tree = spar.search(
        "Say it.",
        judge=lambda prompt, response: numpy.bool_(response == "Better."),
        refiner=lambda prompt, node: generation,
        strategy="iterative",
        engine="fake",
    )
    assert tree.answer == "Better."
    with pytest.raises(spar.UsageError, match="a refiner returned"):
        spar.search("Say it.", judge=lambda *_: False, refiner=lambda *_: 3, engine="fake")


def test_functions_without_a_result() -> None:
    """`AttemptFailed` with a reason alone is a fault of the tree, of a judge as of a refiner."""

    def judge(prompt: spar.Prompt, response: str) -> bool:
        raise spar.AttemptFailed("no network")

    def refiner(prompt: spar.Prompt, node: spar.Node) -> str:
        raise spar.AttemptFailed("nothing to do", is_final=True)

    tree = spar.search("Say it.", strategy="bfs", judge=judge, engine="fake")
    assert {(fault.stage, fault.reason) for fault in tree.faults} == {("judge", "no network")}
    tree = spar.search("Say it.", judge=lambda *_: False, refiner=refiner, engine="fake")
    assert [(fault.stage, fault.reason) for fault in tree.faults] == [("refine", "nothing to do")]


def test_a_spec_with_an_unknown_role() -> None:
    """Refused when it is made."""
    with pytest.raises(spar.UsageError, match="the role 'Actor'; accepted: actor, judge, refiner"):
        spar.StrategySpec(two_chains, roles=frozenset({"Actor"}))  # type: ignore[arg-type]


def test_notes_go_to_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    """By default, at level INFO of the logger "spar"."""
    with caplog.at_level(logging.INFO, logger="spar"):
        spar.search("Say it.", **FAKE)
    assert "loading the model ..." in caplog.text


def test_import_is_fast_and_light() -> None:
    """`import spar` imports none of spar's modules, and no package outside the standard library."""
    code = (
        "import sys; before = set(sys.modules); import spar; new = set(sys.modules) - before; "
        "print(sorted(m for m in new if m.startswith('spar.') or m.split('.')[0] in "
        "('pydantic', 'numpy', 'torch', 'rich', 'yaml', 'httpx', 'aiohttp', 'typer')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_name_is_documented() -> None:
    """`docs/api.md` has a heading or an entry for each name of `spar.__all__`, and for no other."""
    text = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
    documented = {
        word
        for line in text.splitlines()
        if line.startswith(("### `", "- `"))
        for word in [line.split("`")[1].split("(")[0].removeprefix("spar.")]
    }
    assert documented == set(spar.__all__)
    undocumented = [name for name in spar.__all__ if not getattr(spar, name).__doc__]
    assert undocumented == ["Plan"], "a generic alias has no docstring of its own"


def test_registered_objects_are_not_listed() -> None:
    """A function that was passed as a strategy joins no table."""
    listed = set(STRATEGIES)
    spar.search("Say it.", strategy=two_chains, judge=is_even, engine="fake")
    assert set(STRATEGIES) == listed


SPAWNING = """
import multiprocessing
from contextlib import nullcontext
import spar
from spar.infer.engines.fake import FakeEngine
from spar.main_module import hidden_main

def open_spawning(deployment, config, note):
    with {context}():
        child = multiprocessing.get_context("spawn").Process(target=print, args=("child",))
        child.start()
        child.join()
    return FakeEngine(lambda request: "text")

print(spar.search("Say it.", engine=open_spawning, strategy="greedy").answer)
"""


@pytest.mark.parametrize(
    ("context", "stdout", "stderr"),
    [
        ("hidden_main", "child\ntext\n", ""),
        ("nullcontext", "text\n", "spar: this script is imported again"),
    ],
)
def test_a_script_without_a_guard(tmp_path: Path, context: str, stdout: str, stderr: str) -> None:
    """Processes of spar's engines do not import it again; those of others end with one line."""
    script = tmp_path / "script.py"
    script.write_text(SPAWNING.format(context=context))
    path = os.pathsep.join(filter(None, sys.path))
    run = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert run.stdout == stdout
    assert run.stderr.startswith(stderr) and run.stderr.count("\n") == bool(stderr)


class Seen(spar.Listener):
    """Collects the ids of finished trees."""

    def __init__(self) -> None:
        self.trees: list[str] = []
        self.activities: list[str] = []

    def started(self, activity: spar.Activity) -> None:
        """Append the activity's name."""
        self.activities.append(activity.name)

    def tree(self, tree: spar.SearchTree) -> None:
        """Append the id."""
        self.trees.append(tree.prompt.id)


def test_train_says_what_it_takes() -> None:
    """It is a package that can be called, whose own text and signature would say nothing."""
    assert [*inspect.signature(spar.train).parameters][:3] == ["prompts", "recipe", "out"]
    train: Any = spar.train
    assert "Stages such as `search`" in (inspect.getdoc(train.__call__) or "")
