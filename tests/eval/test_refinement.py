"""Refinement: what goes in, how each strategy refines it, and who says whether it became right."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spar import ifbench_verifiers
from spar.cli.app import app
from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import ANSWERS, GRADES
from spar.eval.job_outputs import RunOutputs
from spar.eval.refinement import DRAFTS, Refinement, _grades, answer_node, verify
from spar.eval.statistics import metrics
from spar.infer.engine import Request
from spar.infer.engines.fake import FakeEngine
from spar.manifest import Manifest
from spar.record.evaluation import Scored
from spar.store import RunStore, read_trees
from spar.types import Node, Prompt, SearchTree
from tests.eval.memory import MemoryJobRunner
from tests.fakes import MUTE, NO, World, kind_of, make_judgement, make_prompt, make_root, refined

WORDS = {"instruction_id_list": ["nano:exact_words"], "kwargs": [{"num_words": 2}]}
RIGHT = "both words"


def rows(path: Path, *objects: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in objects))
    return str(path)


@pytest.fixture
def failing(tmp_path: Path) -> str:
    """A file of two responses: one that a program fails, one that no program knows."""
    return rows(
        tmp_path / "failing.jsonl",
        {"id": "w", "prompt": "Two words.", "response": "one", **WORDS},
        {"id": "x", "prompt": "Be kind.", "response": "no"},
    )


def mender(request: Request) -> str:
    """Refinements have the right words; the judge says Yes to these alone."""
    if kind_of(request) == "judge":
        asked = request.messages[0].content
        return NO.replace("No", "Yes") if RIGHT in asked else NO
    return refined(RIGHT, kind_of(request))


def run(
    engine: FakeEngine, grader: FakeEngine | None = None, **settings: object
) -> MemoryJobRunner:
    """All stages in memory."""
    runner = MemoryJobRunner(EvalConfig(**settings), engine, grader)
    benchmark, config = Refinement(), runner.config

    async def both() -> None:
        examples = benchmark.load(config)
        await benchmark.respond(runner, examples)
        await benchmark.grade(runner, examples)

    asyncio.run(both())
    return runner


def scored(runner: MemoryJobRunner) -> Scored:
    return Refinement().score(Refinement().load(runner.config), runner.outputs)


def test_each_judges_accuracy(failing: str) -> None:
    """The program knows one of two; the refiner's judge says Yes to both; the grader to none."""
    grader = FakeEngine(lambda _: NO)
    runner = run(FakeEngine(mender), grader, responses=failing, grader_model="other")
    found = {name: (m.value, m.n) for name, m in metrics(scored(runner)).items()}
    assert found == {
        "acc_verifier": (1.0, 1),
        "acc_self": (1.0, 2),
        "acc_grader": (0.0, 2),
        "nodes": (1.0, 2),
        "calls": (11.0, 2),  # five votes, one refinement, five votes
    }
    assert len(grader.requests) == 2
    assert {request.sampling.temperature for request in grader.requests} == {0.0}
    assert all(RIGHT in request.messages[0].content for request in grader.requests)
    assert [example.passed for example in scored(runner).examples] == [True, False]


@pytest.mark.parametrize("judge", ["verifier", "hybrid"])
def test_a_grader_is_a_model_where_the_judge_is_a_program(tmp_path: Path, judge: str) -> None:
    """The verifier's word is `acc_verifier`; the grader's is its own."""
    path = rows(tmp_path / "f.jsonl", {"id": "w", "prompt": "p", "response": "one", **WORDS})
    grader = FakeEngine(lambda _: NO)
    runner = run(FakeEngine(mender), grader, responses=path, grader_model="g", judge=judge)
    found = metrics(scored(runner))
    assert (found["acc_verifier"].value, found["acc_grader"].value) == (1.0, 0.0)
    assert len(grader.requests) == 1


def test_no_grader_is_asked_unless_one_is_named(failing: str) -> None:
    """Without one there is no such number."""
    runner = run(FakeEngine(mender), responses=failing)
    assert GRADES not in runner.outputs.jobs
    assert "acc_grader" not in metrics(scored(runner))


def test_stored_grades_are_read(failing: str) -> None:
    """A person's file of verdicts stands in for the grader."""
    runner = run(FakeEngine(mender), responses=failing)
    runner.outputs.external_grades = {"w": ("Final Judgement: Yes",), "x": ("perhaps",)}
    assert metrics(scored(runner))["acc_grader"].value == 0.5


def test_a_file_of_grades_comes_before_those_of_an_earlier_start(tmp_path: Path) -> None:
    """As it does for FollowBench."""
    outputs = RunOutputs(tmp_path, None, {"w": ("Final Judgement: Yes",)})
    node = Node(id=0, parent=None, depth=0, response="r", judgement=make_judgement(0))
    said = SearchTree(
        prompt=make_prompt("Say hi.", "w"),
        strategy="greedy",
        config="",
        nodes=(node,),
        selected=0,
        stop="exhausted",
    )
    with RunStore.open(tmp_path / GRADES, Manifest(spar_version="0", config={})) as store:
        store.append(said)
    assert [*RunOutputs(tmp_path).trees(GRADES)] == [said]
    assert [*outputs.trees(GRADES)] == []
    assert _grades(outputs) == {"w": True} and _grades(RunOutputs(tmp_path)) == {"w": False}


def test_greedy_answers_with_its_one_refinement(failing: str) -> None:
    """At temperature 0, and also where the judge likes the given response better."""
    votes = iter([True, False, False, False, False] * 2 + [False] * 10)  # the roots' come first

    def reply(request: Request) -> str:
        if kind_of(request) == "judge":
            return NO.replace("No", "Yes" if next(votes) else "No")
        return refined("worse still")

    engine = FakeEngine(reply)
    runner = run(engine, responses=failing)
    for tree in runner.outputs.trees(ANSWERS):
        assert [node.score for node in tree.nodes] == [0.2, 0.0]
        assert tree.strategy == "greedy"
        assert answer_node(tree).response == "worse still"
    asked = [request.sampling for request in engine.requests if kind_of(request) == "refine"]
    assert [sampling.temperature for sampling in asked] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("strategy", "nodes", "parents"),
    [("best-of-n", 5, {0}), ("iterative", 5, {0, 1, 2, 3, 4}), ("bfs", 5, {0, 1, 2, 3})],
)
def test_strategies_go_on_from_the_given_response(
    failing: str, strategy: str, nodes: int, parents: set[int]
) -> None:
    """The whole budget goes into refinements; best-of-n's are all of the response itself."""
    engine = FakeEngine(World(yes=0.0, variety=10**9))
    runner = run(engine, responses=failing, strategy=strategy, budget=5)
    for tree in runner.outputs.trees(ANSWERS):
        assert tree.strategy == strategy
        assert len(tree.nodes) == nodes + 1
        assert tree.nodes[0].parent is None
        made = {node.parent for node in tree.nodes[1:]}
        assert made <= parents
        assert (made == {0}) == (strategy == "best-of-n")
    refinements = [request for request in engine.requests if kind_of(request) == "refine"]
    assert {request.sampling.temperature for request in refinements} == {0.7}
    assert not [request for request in engine.requests if kind_of(request) == "draft"]
    assert metrics(scored(runner))["nodes"].value == nodes


@pytest.mark.parametrize("strategy", ["iterative", "beam", "ab-mcts", "mcts", "merge"])
def test_strategies_may_draft_again(failing: str, tmp_path: Path, strategy: str) -> None:
    """One that leaves a given response has the actor's model for it."""
    restarts = ["--strategy-arg", "restart_after=1"] if strategy == "iterative" else []
    command = ["eval", "refinement", "--responses", failing, "--engine", "fake"]
    result = CliRunner().invoke(
        app,
        [
            *command,
            "--strategy",
            strategy,
            *restarts,
            "--budget",
            "9",
            "--out",
            str(tmp_path / "r"),
        ],
    )
    assert result.exception is None, result.output
    trees = list(read_trees(tmp_path / "r" / "refinement"))
    assert len(trees) == 2
    drafts = [node for tree in trees for node in tree.nodes[1:] if node.parent is None]
    assert drafts or all(tree.solved for tree in trees)


def test_the_best_of_n_wins(failing: str) -> None:
    """The one refinement that the judge passes is the answer."""

    def reply(request: Request) -> str:
        if kind_of(request) == "refine":
            return refined(RIGHT if (request.sampling.seed or 0) % 3 == 0 else "not quite it")
        return mender(request)

    runner = run(FakeEngine(reply), responses=failing, strategy="best-of-n", budget=9)
    assert metrics(scored(runner))["acc_verifier"].value == 1.0
    for tree in runner.outputs.trees(ANSWERS):
        assert answer_node(tree).response == RIGHT
        assert {node.parent for node in tree.nodes[1:]} == {0}


def test_an_accepted_response_stays(failing: str) -> None:
    """A judge that is content leaves a failing response as it is, and that is counted."""
    engine = FakeEngine(lambda _: "Final Judgement: Yes")
    found = scored(run(engine, responses=failing, strategy="bfs"))
    assert found.counts["accepted_unrefined"] == 2
    assert [example.response for example in found.examples] == ["one", "no"]
    assert metrics(found)["acc_verifier"].value == 0.0
    assert metrics(found)["acc_self"].value == 1.0
    assert metrics(found)["nodes"].value == 0.0


def test_an_undecided_response_cannot_be_refined(failing: str) -> None:
    """Without a critique there is nothing to go on from; it fails, and that is counted."""
    found = scored(run(FakeEngine(lambda _: MUTE), responses=failing))
    assert found.counts["undecided_roots"] == 2
    assert metrics(found)["acc_self"].value == 0.0
    assert found.examples[0].response == "one"


def test_responses_that_pass_are_left_out(tmp_path: Path) -> None:
    """They do not fail, so there is nothing to mend; all of them gone is said."""
    path = rows(tmp_path / "f.jsonl", {"id": "w", "prompt": "p", "response": "two words", **WORDS})
    engine = FakeEngine(mender)
    found = scored(run(engine, responses=path))
    assert found.counts["left_out_as_passing"] == 1
    assert found.examples == ()
    assert found.notes == ("no response fails, so there is nothing to refine",)
    assert engine.requests == []


def test_answers_of_a_run_are_refined(tmp_path: Path) -> None:
    """A run directory gives its answers; a prompt without one is counted."""
    manifest = Manifest(spar_version="0", config={}, packages={}, models={}, templates={}, seed=0)
    answered, failed = make_prompt(prompt_id="p"), make_prompt(prompt_id="q")
    with RunStore.open(tmp_path / "run", manifest) as store:
        made = {"strategy": "greedy", "config": "", "stop": "exhausted"}
        store.append(SearchTree(prompt=answered, nodes=(make_root("bad"),), selected=0, **made))
        store.append(SearchTree(prompt=failed, **made))
    runner = run(FakeEngine(mender), responses=str(tmp_path / "run"))
    found = scored(runner)
    assert [example.id for example in found.examples] == ["p"]
    assert found.examples[0].facts["given"] == "bad"
    assert found.counts["without_response"] == 1


@pytest.mark.parametrize("response", [None, 3, " "])
def test_a_row_without_a_response_is_a_clear_mistake(tmp_path: Path, response: object) -> None:
    """The file, the prompt and what is needed are named."""
    path = rows(tmp_path / "f.jsonl", {"id": "w", "prompt": "p", "response": response})
    with pytest.raises(UsageError, match=r"f\.jsonl: the row of prompt 'w' .* needs rows with"):
        Refinement().load(EvalConfig(responses=path))


def test_failing_drafts_of_nano_if_are_made_first() -> None:
    """Drafts until enough of them fail, then only these are refined."""
    drafted: list[str] = []

    def reply(request: Request) -> str:
        if kind_of(request) == "draft":
            drafted.append(request.messages[0].content)
        return mender(request)

    runner = run(FakeEngine(reply), limit=3)
    trees = list(runner.outputs.trees(ANSWERS))
    assert [tree.prompt.id for tree in trees] == [
        id_ for id_, t in runner.outputs.jobs[DRAFTS].items() if not nano_passes(t)
    ][:3]
    assert len(drafted) == len(runner.outputs.jobs[DRAFTS]) >= 3
    assert len(drafted) % 3 == 0
    assert {tree.nodes[0].response for tree in trees} == {RIGHT}
    found = scored(runner)
    assert len(found.examples) == 3
    assert metrics(found)["acc_verifier"].value == 0.0


def test_a_smaller_limit_scores_fewer_of_a_run() -> None:
    """The first failing responses of a run are those of a smaller one."""
    runner = run(FakeEngine(mender), limit=4)
    fewer = Refinement().load(EvalConfig(limit=2))
    found = Refinement().score(fewer, runner.outputs)
    whole = scored(runner)
    assert [example.id for example in found.examples] == [e.id for e in whole.examples[:2]]
    assert len(whole.examples) == 4


def nano_passes(tree: SearchTree) -> bool:
    verdicts = verify(tree.prompt, tree.answer or "")
    return verdicts is not None and all(verdict.passed for verdict in verdicts)


def test_who_verifies() -> None:
    """nano-if's verifiers check its own types; no constraints, or unknown ones, are checked by nobody."""
    plain = make_prompt()

    def under(**meta: object) -> Prompt:
        return plain.model_copy(update={"meta": meta})

    found = verify(under(**WORDS), "two words")
    assert found is not None
    assert [(v.name, v.passed) for v in found] == [("nano:exact_words", True)]
    assert verify(plain, "two words") is None
    assert verify(under(instruction_id_list=["nano:unheard_of"], kwargs=[{}]), "x") is None


@pytest.mark.evalharness
@pytest.mark.data
def test_ifeval_responses_are_checked_by_its_own_verifiers(tmp_path: Path, data_root: Path) -> None:
    """IFEval's types go to lm-eval's verifiers; a type that nobody knows is left to the judges."""
    pytest.importorskip("lm_eval")
    comma = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    other = {"instruction_id_list": ["family:unheard_of"], "kwargs": [{}]}
    path = rows(
        tmp_path / "f.jsonl",
        {"id": "1", "prompt": "p", "response": "a, b", **comma},
        {"id": "2", "prompt": "p", "response": "a b", **comma},
        {"id": "3", "prompt": "p", "response": "a, b", **other},
    )
    runner = run(FakeEngine(mender), responses=path, data=str(data_root))
    found = scored(runner)
    assert [example.id for example in found.examples] == ["1", "3"]
    assert found.counts["left_out_as_passing"] == 1
    assert metrics(found)["acc_verifier"].n == 1
    assert metrics(found)["acc_verifier"].value == 1.0


@pytest.mark.evalharness
@pytest.mark.data
def test_ifbench_responses_are_checked_by_its_own_verifiers(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IFBench's types go to its package, with NLTK's data out of the folder that `--data` names."""
    pytest.importorskip("if_verifiable")
    monkeypatch.setattr(ifbench_verifiers, "_LOADED", [])
    monkeypatch.delenv("NLTK_DATA", raising=False)
    monkeypatch.setenv("SPAR_DATA", str(tmp_path))
    spaceless = {"instruction_id_list": ["format:no_whitespace"], "kwargs": [{"N": None}]}
    path = rows(
        tmp_path / "f.jsonl",
        {"id": "1", "prompt": "p", "response": "a b", **spaceless},
        {"id": "2", "prompt": "p", "response": "ab", **spaceless},
    )
    found = scored(run(FakeEngine(mender), responses=path, data=str(data_root)))
    assert [example.id for example in found.examples] == ["1"]
    assert found.counts["left_out_as_passing"] == 1


@pytest.mark.model
def test_the_embedded_model_mends_some_of_its_drafts() -> None:
    """Four failing drafts, searched breadth-first: each was failing, and is verified afterwards."""
    pytest.importorskip("torch")
    from spar.embedded import CHECKPOINT
    from spar.infer.engines.hf import HfEngine

    config = EvalConfig(limit=4, strategy="bfs", budget=6)
    examples = Refinement().load(config)

    async def measured() -> MemoryJobRunner:
        engine = HfEngine(str(CHECKPOINT))
        runner = MemoryJobRunner(config, engine)
        await Refinement().respond(runner, examples)
        await engine.aclose()
        return runner

    runner = asyncio.run(measured())
    found = metrics(Refinement().score(examples, runner.outputs))
    assert found["acc_verifier"].n == 4
    for tree in runner.outputs.trees(ANSWERS):
        root = verify(tree.prompt, tree.nodes[0].response)
        assert root is not None and not all(verdict.passed for verdict in root)
    assert found["acc_verifier"].value > 0


def test_thinking_is_no_part_of_a_response_to_refine(tmp_path: Path) -> None:
    """It is removed before the response is judged; a response of nothing else is refused."""
    path = tmp_path / "rows.jsonl"
    row = {"id": "a", "prompt": "Go.", "response": "<think>\nhm\n</think>\n\none"}
    path.write_text(json.dumps(row) + "\n")
    (example,) = Refinement().load(EvalConfig(responses=str(path)))
    assert example.meta["response"] == "one"
    path.write_text(json.dumps({**row, "response": "<think>hm"}) + "\n")
    with pytest.raises(UsageError, match="not blank, thinking aside"):
        Refinement().load(EvalConfig(responses=str(path)))
