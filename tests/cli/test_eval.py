"""`spar eval`: stages, resuming, sharing of models, files instead of models, and errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spar.cli.eval import run
from spar.config import EvalConfig, load_eval
from spar.errors import ConfigChanged, EngineError, SparError, UsageError
from spar.eval.compare import compare
from spar.eval.job_runner import forget, grader_config
from spar.eval.runner import EvalRequest, evaluate
from spar.infer.engine import Completion, Deployment
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.manifest import Manifest
from spar.plugins import BENCHMARKS, ENGINES
from spar.progress import Progress
from spar.record.evaluation import read_examples, read_results
from spar.run.resume import PromptSource, is_complete
from spar.store import RunStore, read_manifest, read_trees
from tests.cli.test_decode import rows, spar
from tests.cli.toy_benchmark import NUM_PROMPTS, Toy
from tests.servers import ScriptedServer

OPENED: list[Deployment] = []
"""Models that were loaded, in order."""
ASKED: list[tuple[str, str]] = []
"""Model and last turn of each request, in order."""
CLOSED: list[str] = []


class Noted(FakeEngine):
    """A fake engine that records its requests, and fails at request number `FAIL_AT`."""

    fail_at = 0

    async def generate(self, requests: Any) -> list[Completion]:
        """Note, and reply."""
        for request in requests:
            ASKED.append((self.model, request.messages[-1].content))
            if len(ASKED) == Noted.fail_at:
                raise EngineError("the server is gone")
        return await super().generate(requests)

    async def aclose(self) -> None:
        """Note it."""
        CLOSED.append(self.model)
        await super().aclose()


def open_noted(deployment: Deployment, config: object, tell: object) -> Noted:
    """Open the engine, for the table of engines."""
    OPENED.append(deployment)
    return Noted(scripted_reply, model=deployment.model)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two toy benchmarks, and a fake engine that records its requests."""
    for name in ("toy", "other"):
        monkeypatch.setitem(BENCHMARKS, name, "tests.cli.toy_benchmark:Toy")
    monkeypatch.setitem(BENCHMARKS, "toy-judge", "tests.cli.toy_benchmark:ToyOfJudges")
    monkeypatch.setitem(ENGINES, "fake", "tests.cli.test_eval:open_noted")
    monkeypatch.setattr(Noted, "fail_at", 0)
    for noted in (OPENED, ASKED, CLOSED):
        noted.clear()


def settings(**fields: Any) -> EvalConfig:
    """Settings of the fake engine with changes."""
    return load_eval("nano", {"engine": "fake"} | fields)


def spar_eval(out: Path, *names: str, config: EvalConfig | None = None, **flags: Any) -> list[Any]:
    """Evaluate the toy benchmark, or others, without output."""
    request = EvalRequest(names or ("toy",), out, **flags)
    results, error = asyncio.run(evaluate(config or settings(), request, Progress()))
    assert error is None
    return results


def test_a_run_leaves_trees_examples_and_results(tmp_path: Path) -> None:
    """Each benchmark has a directory with its answers, its stages and its scores."""
    (results,) = spar_eval(tmp_path)
    trees = {tree.prompt.id: tree.answer for tree in read_trees(tmp_path / "toy")}
    graded = {tree.prompt.id for tree in read_trees(tmp_path / "toy" / "grades")}
    examples = list(read_examples(tmp_path / "toy"))
    even = [len(answer or "") % 2 == 0 for answer in trees.values()]
    assert len(trees) == NUM_PROMPTS and graded == set(trees)
    assert {example.id: example.response for example in examples} == trees
    assert examples[3].prompt == "Say 3."
    assert results == read_results(tmp_path / "toy")
    assert results.metrics["even"].value == sum(even) / NUM_PROMPTS
    assert results.metrics["both"].value == pytest.approx((sum(even) / NUM_PROMPTS + 1) / 2)
    assert results.usage.calls == NUM_PROMPTS
    assert all(tree.strategy == "greedy" for tree in read_trees(tmp_path / "toy"))


def test_examples_that_are_not_scored_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A benchmark that scores fewer examples than it loaded does not pass in silence."""
    score = Toy.score
    monkeypatch.setattr(
        Toy, "score", lambda self, examples, outputs: score(self, examples[2:], outputs)
    )
    (results,) = spar_eval(tmp_path)
    assert results.notes == (f"scored {NUM_PROMPTS - 2} of {NUM_PROMPTS} loaded examples",)
    monkeypatch.undo()


def test_a_finished_run_is_rescored_without_a_model(tmp_path: Path) -> None:
    """The same command sends no request, opens no engine, and has the same results."""
    first = spar_eval(tmp_path)
    calls = len(ASKED)
    OPENED.clear()
    assert spar_eval(tmp_path) == first
    assert len(ASKED) == calls
    assert OPENED == []


def test_a_finished_run_is_rescored_without_its_server(tmp_path: Path) -> None:
    """Settings that a run resolved, such as the server's model, match settings that leave them open."""
    with ScriptedServer() as server:
        served = load_eval("paper", {"base_url": [server.url]})
        first = spar_eval(tmp_path, config=served)
    assert read_manifest(tmp_path / "toy").models["actor"] == "tiny"
    assert spar_eval(tmp_path, config=served) == first


def test_an_interrupted_run_resumes(tmp_path: Path) -> None:
    """After a failure only the missing requests are sent."""
    whole = spar_eval(tmp_path / "whole")
    Noted.fail_at = len(ASKED) + 18
    one_by_one = settings(concurrency=1)
    with pytest.raises(Exception, match="the server is gone"):
        spar_eval(tmp_path / "cut", config=one_by_one)
    Noted.fail_at, num_requests = 0, len(ASKED)
    (results,) = spar_eval(tmp_path / "cut", config=one_by_one)
    assert len(ASKED) - num_requests == 2 * NUM_PROMPTS - 17
    assert results.metrics == whole[0].metrics


def test_a_larger_limit_extends_a_run(tmp_path: Path) -> None:
    """The first examples are not generated again, and n counts all."""
    (few,) = spar_eval(tmp_path, config=settings(limit=5))
    num_requests = len(ASKED)
    (more,) = spar_eval(tmp_path, config=settings(limit=7))
    assert (few.n, more.n, few.run["whole"]) == (5, 7, NUM_PROMPTS)
    assert len(ASKED) - num_requests == 4


def test_a_smaller_limit_says_that_fewer_examples_are_scored(tmp_path: Path) -> None:
    """Once: the results are of fewer from then on, and the answers remain."""
    line = "7 examples were scored here, now 5; the same command with a larger --limit"
    spar_eval(tmp_path, config=settings(limit=7))
    (few,) = spar_eval(tmp_path, config=settings(limit=5))
    assert few.n == 5 and any(note.startswith(line) for note in few.notes)
    (same,) = spar_eval(tmp_path, config=settings(limit=5))
    (more,) = spar_eval(tmp_path, config=settings(limit=7))
    (new,) = spar_eval(tmp_path, config=settings(limit=2, seed=1), overwrite=True)
    assert not any("were scored here" in note for each in (same, more, new) for note in each.notes)


def test_other_settings_are_rejected_in_the_same_directory(tmp_path: Path) -> None:
    """The error has the difference; `--overwrite` deletes the first run and starts over."""
    spar_eval(tmp_path)
    with pytest.raises(ConfigChanged, match="seed: 0 -> 1"):
        spar_eval(tmp_path, config=settings(seed=1))
    num_requests = len(ASKED)
    spar_eval(tmp_path, config=settings(seed=1), overwrite=True)
    assert len(ASKED) - num_requests == 2 * NUM_PROMPTS
    assert read_manifest(tmp_path / "toy" / "grades").seed == 1


def test_overwrite_without_a_server_deletes_nothing(tmp_path: Path) -> None:
    """The old run is deleted only when the new one can start."""
    with ScriptedServer() as server:
        served = load_eval("paper", {"base_url": [server.url], "retry_for": 0.1})
        first = spar_eval(tmp_path, config=served)
    with pytest.raises(SparError):
        spar_eval(tmp_path, config=served, overwrite=True)
    assert spar_eval(tmp_path, config=served) == first


def test_overwrite_with_a_wrong_option_deletes_nothing(tmp_path: Path) -> None:
    """An option that the strategy or the judge refuses does not cost the old evaluation."""
    first = spar_eval(tmp_path)
    for wrong in ({"strategy_args": {"waves": "growing"}}, {"judge_args": {"structured": True}}):
        with pytest.raises(UsageError, match=r"greedy has no options|option of votes"):
            spar_eval(tmp_path, config=settings(**wrong), overwrite=True)
    num_requests = len(ASKED)
    assert spar_eval(tmp_path) == first
    assert len(ASKED) == num_requests


def test_benchmarks_of_a_command_share_the_model(tmp_path: Path) -> None:
    """One model is loaded for two benchmarks and their grades, and freed once."""
    spar_eval(tmp_path, "toy", "other")
    assert len(OPENED) == len(CLOSED) == 1
    assert (tmp_path / "other" / "grades" / "trees.jsonl").is_file()


def test_the_graders_model_is_loaded_after_all_answers(tmp_path: Path) -> None:
    """The model that answered is freed first."""
    config = settings(grader_model="strict", grader_engine="fake")
    spar_eval(tmp_path, "toy", "other", config=config)
    models = [model for model, _ in ASKED]
    assert [deployment.model for deployment in OPENED][1:] == ["strict"]
    assert models == [models[0]] * 2 * NUM_PROMPTS + ["strict"] * 2 * NUM_PROMPTS
    assert [models[0], "strict"] == CLOSED
    assert read_manifest(tmp_path / "toy" / "grades").models["actor"] == "strict"


def test_another_grader_is_warned_of(tmp_path: Path) -> None:
    """The results name its model and engine, as they were when the answers were graded."""
    for model in ("strict", "lax"):
        spar_eval(tmp_path / model, config=settings(grader_model=model, grader_engine="fake"))
    (found,) = compare(tmp_path / "strict", tmp_path / "lax")
    (warning,) = found.warnings
    assert 'in different ways: grader.model ("strict" and "lax"); ' in warning


def test_the_judges_model_grades_by_default(tmp_path: Path) -> None:
    """The answers are the actor's, the grades the judge's."""
    spar_eval(tmp_path, config=settings(actor_model="a", judge_model="j"))
    assert {model for model, text in ASKED if text.startswith("Is it good")} == {"j"}
    assert {model for model, text in ASKED if text.startswith("Say")} == {"a"}


def test_a_search_answers_if_configured(tmp_path: Path) -> None:
    """The strategy and its budget apply to the answers, not to other stages."""
    spar_eval(tmp_path, config=settings(strategy="bfs", budget=7))
    assert {tree.strategy for tree in read_trees(tmp_path / "toy")} == {"bfs"}
    assert {tree.strategy for tree in read_trees(tmp_path / "toy" / "grades")} == {"greedy"}


def test_stored_answers_and_grades_are_scored_without_a_model(
    tmp_path: Path,
) -> None:
    """Answers and grades from files: nothing is loaded."""
    answers = [{"id": f"t{i}", "response": "x" * i} for i in range(NUM_PROMPTS)]
    grades = [{"id": f"t{i}", "output": "fine"} for i in range(3)]
    answers_file = rows(tmp_path / "answers.jsonl", *answers)
    config = settings(responses=str(answers_file))
    outputs = str(rows(tmp_path / "grades.jsonl", *grades))
    (results,) = spar_eval(tmp_path / "out", config=config, judge_outputs=outputs)
    assert OPENED == []
    assert results.metrics["even"].value == 0.5
    assert results.metrics["graded"].value == 3 / NUM_PROMPTS
    assert results.run["responses"] == str(answers_file)


def test_other_answers_are_rejected_in_the_directory_of_graded_answers(tmp_path: Path) -> None:
    """A grade belongs to one answer."""
    answers = [{"id": f"t{i}", "response": "x"} for i in range(NUM_PROMPTS)]
    answers_file = rows(tmp_path / "answers.jsonl", *answers)
    spar_eval(tmp_path / "out", config=settings(responses=str(answers_file)))
    rows(answers_file, *({**answer, "response": "y"} for answer in answers))
    with pytest.raises(ConfigChanged, match="data_digest"):
        spar_eval(tmp_path / "out", config=settings(responses=str(answers_file)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            lambda: EvalRequest(("toi",)),
            "unknown benchmark 'toi'; did you mean 'toy'",
            marks=pytest.mark.evalharness,
        ),
        (lambda: EvalRequest(("toy", "toy")), "given twice"),
        (lambda: EvalRequest(("toy", "other"), judge_outputs="x"), "--judge-outputs is for one"),
    ],
)
def test_invalid_requests_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[], EvalRequest], words: str
) -> None:
    """One line, and no directory is created."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        asyncio.run(evaluate(settings(), change(), Progress()))
    assert list(tmp_path.iterdir()) == []


def test_json_has_lm_evals_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fractions under the metric's name, `_stderr` beside each."""
    run(settings(), EvalRequest(("toy",), tmp_path), as_json=True, display="none")
    printed = json.loads(capsys.readouterr().out)
    metrics = read_results(tmp_path / "toy").metrics
    assert printed["results"]["toy"]["even"] == metrics["even"].value
    assert printed["results"]["toy"]["even_stderr"] == metrics["even"].stderr


def test_the_table_names_metric_error_and_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table that is printed by default."""
    run(settings(), EvalRequest(("toy",), tmp_path), display="none")
    printed = capsys.readouterr().out
    metric = read_results(tmp_path / "toy").metrics["even"]
    assert f"{100 * metric.value:.2f} %" in printed
    assert f"{100 * (metric.stderr or 0):.2f}" in printed
    assert str(tmp_path / "toy") in printed


@pytest.mark.slow
def test_the_command_line_takes_flags_before_and_after_the_name(tmp_path: Path) -> None:
    """An unknown name is an error of one line with exit code 2."""
    done = spar("eval", "--engine", "fake", "nano-iff", "--out", tmp_path / "x")
    assert done.returncode == 2
    assert "did you mean 'nano-if'" in done.stderr
    assert not (tmp_path / "x").exists()
    assert "Usage: " in spar("eval").stdout
    assert "compare" in spar("eval", "--help", check=0).stdout


def test_the_report_names_the_model_that_was_measured(tmp_path: Path) -> None:
    """The server's model by name; the judge for a judging benchmark; none for answers from a file."""
    with ScriptedServer() as server:
        (served,) = spar_eval(tmp_path / "a", config=load_eval("paper", {"base_url": [server.url]}))
    two = settings(actor_model="a", judge_model="j", limit=1)
    (judged,) = spar_eval(tmp_path / "b", "toy-judge", config=two)
    answers_file = rows(tmp_path / "given.jsonl", {"id": "t0", "response": "x"})
    (stored,) = spar_eval(tmp_path / "c", config=settings(responses=str(answers_file), limit=1))
    assert [results.run["model"] for results in (served, judged, stored)] == ["tiny", "j", ""]


def test_overwrite_does_not_delete_the_answers_to_score(tmp_path: Path) -> None:
    """Answers in the directory that would be deleted are an error."""
    spar_eval(tmp_path)
    config = settings(responses=str(tmp_path / "toy"))
    with pytest.raises(UsageError, match="--overwrite would delete"):
        spar_eval(tmp_path, config=config, overwrite=True)
    assert len(list(read_trees(tmp_path / "toy"))) == NUM_PROMPTS


def test_overwrite_leaves_nested_evaluations(tmp_path: Path) -> None:
    """The points of a sweep and the runs of others stay; stages are deleted."""
    spar_eval(tmp_path)
    (tmp_path / "toy" / "bfs-3").mkdir()
    for name in ("run.json", "results.json"):
        (tmp_path / "toy" / "bfs-3" / name).write_text("{}")
    foreign = tmp_path / "toy" / "mine"
    RunStore.open(foreign, Manifest(spar_version="1", config={"budget": 3})).close()
    forget({tmp_path / "toy": "toy"})
    left = {path.name for path in (tmp_path / "toy").iterdir()}
    assert left <= {"bfs-3", "mine", "run.lock"}
    with pytest.raises(UsageError, match="another kind of run"):
        forget({foreign: "toy"})
    assert (foreign / "run.json").exists()
    assert len(list((tmp_path / "toy" / "bfs-3").iterdir())) == 2


def test_an_evaluation_is_not_written_into_a_run(tmp_path: Path) -> None:
    """Not into that of a decode, nor into a benchmark of an earlier evaluation."""
    spar_eval(tmp_path)
    with pytest.raises(UsageError, match=r"toy is a run itself; .* such as .*toy-eval"):
        spar_eval(tmp_path / "toy")
    assert not (tmp_path / "toy" / "toy").exists()


def test_rescoring_a_stored_run_keeps_its_identity(tmp_path: Path) -> None:
    """Only the answers of the run count, not its totals."""
    spar_eval(tmp_path / "run", config=settings(limit=3))
    config = settings(responses=str(tmp_path / "run" / "toy"), limit=3)
    first = spar_eval(tmp_path / "scored", config=config)
    (tmp_path / "run" / "toy" / "results.json").write_text("{}")
    assert spar_eval(tmp_path / "scored", config=config) == first


def test_a_run_of_the_fake_engine_does_not_match_auto(tmp_path: Path) -> None:
    """`auto` never resolves to the fake engine."""
    made_up = settings()
    spar_eval(tmp_path, config=made_up)
    prompts = PromptSource(lambda: iter(Toy().load(made_up)), NUM_PROMPTS)
    stored = EvalConfig.model_validate(read_manifest(tmp_path / "toy").config)
    left_open = stored.model_copy(update={"engine": "auto"})
    assert is_complete(tmp_path / "toy", stored, prompts)
    assert not is_complete(tmp_path / "toy", left_open, prompts)


def test_a_stage_without_prompts_leaves_a_run(tmp_path: Path) -> None:
    """Without failing answers there is nothing to refine; later ones resume in the directory."""
    row = {"id": "w", "prompt": "Two words.", "response": "two words"}
    words = {"instruction_id_list": ["nano:exact_words"], "kwargs": [{"num_words": 2}]}
    answers_file = rows(tmp_path / "given.jsonl", row | words)
    config = settings(responses=str(answers_file))
    (first,) = spar_eval(tmp_path / "out", "refinement", config=config)
    assert (first.n, OPENED) == (0, [])
    assert spar_eval(tmp_path / "out", "refinement", config=config) == [first]
    rows(answers_file, row | words | {"response": "one"})
    (failing,) = spar_eval(tmp_path / "out", "refinement", config=config, overwrite=True)
    assert failing.n == 1


@pytest.mark.parametrize(
    ("changes", "engine", "arguments"),
    [
        ({"grader_model": "g"}, "vllm", {"max_model_len": 9}),
        ({"grader_model": "g", "grader_engine": "hf"}, "hf", {}),
        ({"grader_url": ("http://g",)}, "auto", {}),
        ({"judge_url": ("http://j",)}, "auto", {}),
        ({"judge_model": "j"}, "vllm", {"max_model_len": 9}),
    ],
)
def test_settings_of_the_runs_engine_do_not_go_to_a_graders(
    changes: dict[str, Any], engine: str, arguments: dict[str, int]
) -> None:
    """A server has no vLLM arguments; an in-process grader runs with those of the answers."""
    own = {"engine": "vllm", "engine_args": {"max_model_len": 9}, "speculative_decoding": "on"}
    grader = grader_config(EvalConfig(**own, **changes))
    assert (grader.engine, grader.engine_args) == (engine, arguments)
    assert grader.speculative_decoding == ("on" if arguments else "auto")


def test_a_grader_on_a_server_has_no_replicas() -> None:
    """Replicas are those of the answering model."""
    config = EvalConfig(engine="ray", replicas=4, ray_address="auto", grader_url=("http://g",))
    grader = grader_config(config)
    assert (grader.replicas, grader.ray_address) == (1, "")
