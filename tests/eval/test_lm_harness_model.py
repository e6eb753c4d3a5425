"""spar as a model of lm-eval: its functions, its command line, and a user's mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spar.errors import ConfigChanged, UsageError
from spar.eval.lm_harness.requests import to_chat
from spar.infer.engines.fake import FakeEngine
from spar.plugins import ENGINES
from spar.store import read_trees
from tests.eval.lm_harness_tasks import CountingEngine, write_tasks
from tests.requires import requires

pytestmark = [pytest.mark.evalharness, requires("lm_eval")]

OPENED: list[CountingEngine] = []
"""Engines, in the order in which they were opened."""


def open_counting(deployment: object, config: object, tell: object) -> FakeEngine:
    """An opener for the engines table."""
    OPENED.append(CountingEngine())
    return OPENED[-1]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[CountingEngine]]:
    """The fake engine adds numbers, and counts its requests."""
    monkeypatch.setitem(ENGINES, "fake", f"{__name__}:open_counting")
    OPENED.clear()
    yield OPENED
    OPENED.clear()


def evaluate(tmp_path: Path, *tasks: str, chat: bool = False, **arguments: Any) -> dict[str, Any]:
    """lm-eval's `simple_evaluate` with the model, over small tasks."""
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    from spar.eval.lm_harness.model import SparLM

    folder = tmp_path / "tasks"
    folder.mkdir(exist_ok=True)
    manager = TaskManager(include_path=write_tasks(folder), include_defaults=False)
    model = SparLM(**{"engine": "fake"} | arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluator, "add_env_info", lambda _: None)  # asks pip and the drivers
        try:
            results: dict[str, Any] = evaluator.simple_evaluate(
                model=model,
                tasks=list(tasks),
                task_manager=manager,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,
                bootstrap_iters=0,
            )
        finally:
            model.close()
    return results


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_all_kinds_of_requests_are_answered(
    tmp_path: Path, counting: list[CountingEngine], chat: bool
) -> None:
    """Replies, choices and whole texts in one evaluation, by one engine."""
    results = evaluate(tmp_path, "toy_reply", "toy_large", "toy_text", chat=chat)["results"]
    assert results["toy_reply"]["exact_match,number"] == 0.6
    assert 0 < results["toy_large"]["acc,none"] < 1
    assert results["toy_text"]["word_perplexity,none"] > 1
    (engine,) = counting
    assert engine.num_asked == 5 + 2 * 7 + 4
    assert {request.plain for request in engine.requests} == {not chat}


def test_a_directory_keeps_the_searches_and_the_next_run_asks_nothing(
    tmp_path: Path, counting: list[CountingEngine]
) -> None:
    """Nor does it open an engine; another strategy is another run."""
    out = tmp_path / "run"
    first = evaluate(tmp_path, "toy_reply", "toy_large", out=str(out))
    assert [tree.prompt.id for tree in read_trees(out)] == [f"toy_reply/{n}" for n in range(5)]
    assert len(list(read_trees(out / "likelihoods"))) == 7
    again = evaluate(tmp_path, "toy_reply", "toy_large", out=str(out))
    assert len(counting) == 1
    for task in ("toy_reply", "toy_large"):
        assert again["results"][task] == first["results"][task]
    with pytest.raises(ConfigChanged, match="strategy") as caught:
        evaluate(tmp_path, "toy_reply", out=str(out), strategy="best-of-n", budget=2)
    assert "give another folder" in str(caught.value) and "--overwrite" not in str(caught.value)


def test_calls_of_one_model_do_not_meet_without_a_directory(
    tmp_path: Path, counting: list[CountingEngine]
) -> None:
    """Other worked examples under the same ids are answered; in a directory they are refused, in words for Python."""
    from spar.eval.lm_harness.model import SparLM

    requests = [_Request((f"{shots}What is 1 + 1?", {})) for shots in ("", "0 + 0 = 0. ")]
    scored = [_Request((f"{shots}What?", " This.")) for shots in ("", "That. ")]
    model = SparLM(engine="fake")
    for request, likelihood in zip(requests, scored, strict=True):
        assert len(model.generate_until([request])) == 1
        assert len(model.loglikelihood([likelihood])) == 1
    asked = [each.messages[-1].content for each in counting[0].requests]
    assert asked == ["What is 1 + 1?", "0 + 0 = 0. What is 1 + 1?"]
    model.close()
    kept = SparLM(engine="fake", out=str(tmp_path / "run"))
    kept.generate_until([requests[0]])
    with pytest.raises(ConfigChanged, match="other contents under the ids") as caught:
        kept.generate_until([requests[1]])
    kept.close()
    assert "give another folder" in str(caught.value) and "--redo" not in str(caught.value)


def test_a_strategy_searches(tmp_path: Path, counting: list[CountingEngine]) -> None:
    """Greedy is the default; best-of-n writes its drafts and has them judged."""
    evaluate(tmp_path, "toy_reply", out=str(tmp_path / "run"), strategy="best-of-n", budget=2)
    assert {len(tree.nodes) for tree in read_trees(tmp_path / "run")} == {2}
    assert counting[0].num_asked > 10


def test_another_prompt_under_an_id_is_refused(
    tmp_path: Path, counting: list[CountingEngine]
) -> None:
    """The directory holds answers of text; a conversation is something else."""
    evaluate(tmp_path, "toy_reply", out=str(tmp_path / "run"))
    from spar.eval.lm_harness.model import SparLM

    model = SparLM(engine="fake", out=str(tmp_path / "run"))
    turns = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "That."}]
    request = _Request((to_chat([*turns, turns[0]]), {}))
    with pytest.raises(UsageError, match=r"'toy_reply/0' was '0 and 0\?' and is 'What\?'"):
        model.generate_until([request])
    model.close()


class _Request:
    task_name, doc_id, idx, request_type = "toy_reply", 0, 0, "generate_until"

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.args = args


def test_arguments_are_the_settings_of_an_evaluation() -> None:
    """lm-eval's own flags beside them are its own business."""
    from spar.eval.lm_harness.model import SparLM

    model = SparLM(
        pretrained="some/model",
        base_url="http://127.0.0.1:1/v1",
        budget=7,
        batch_size=1,
        max_batch_size=None,
        device="cuda:0",
    )
    assert model.config.model == "some/model"
    assert model.config.base_url == ("http://127.0.0.1:1/v1",)
    assert (model.config.budget, model.config.strategy, model.config.device) == (
        7,
        "greedy",
        "auto",
    )
    assert (
        model.config.draft.max_tokens == 2048
    )  # the paper's recipe, as for any model of one's own
    assert model.tokenizer_name == "some__model"
    model.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"stratgy": "bfs"}, "--model_args stratgy=bfs: spar has no such setting"),
        ({"strategy": "bsf"}, "did you mean 'bfs'"),
        ({"budget": 0}, "--budget 0"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(arguments: dict[str, Any], words: str) -> None:
    """Before anything is opened."""
    from spar.eval.lm_harness.model import SparLM

    with pytest.raises(UsageError) as caught:
        SparLM(**arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def command(*flags: str, data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """lm-eval's command line with spar in it, as a user runs it."""
    env = os.environ | {"HF_HUB_OFFLINE": "1", "SPAR_DATA": str(data)} | environment
    line = [sys.executable, "-m", "spar.eval.lm_harness", "--model", "spar", *flags]
    return subprocess.run(line, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.data
def test_lm_evals_command_line_knows_spar(data_root: Path, tmp_path: Path) -> None:
    """Its own flags, its own tables, the data folder's documents, and stored searches."""
    run = command(
        *("--model_args", f"engine=fake,strategy=best-of-n,budget=2,out={tmp_path / 'run'}"),
        *("--tasks", "gsm8k", "--limit", "3", "--apply_chat_template"),
        *("--output_path", str(tmp_path / "results")),
        data=data_root,
    )
    assert run.returncode == 0, run.stderr
    assert "|gsm8k|" in run.stdout.replace(" ", "")
    assert "exact_match" in run.stdout
    assert len(list(read_trees(tmp_path / "run"))) == 3
    (written,) = (tmp_path / "results").rglob("results*.json")
    assert json.loads(written.read_text())["n-samples"]["gsm8k"]["effective"] == 3


@pytest.mark.slow
def test_lm_evals_command_line_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    """Missing data: the way to get them, exit code 2 and no traceback."""
    run = command("--model_args", "engine=fake", "--tasks", "gsm8k", data=tmp_path)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith("spar: data set gsm8k: ")
