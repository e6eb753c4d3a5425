"""`spar bootstrap` end to end: a teacher on a server, a kill, and the embedded model as its own teacher."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from spar.cli.app import app
from spar.errors import RunLocked, UsageError
from spar.files import locked
from spar.infer.engine import Request
from spar.store import read_trees
from spar.templates import load
from spar.train.data.export import read_examples
from tests.answers import Script
from tests.cli.test_decode import SPAR, rows, spar
from tests.fakes import MUTE, NO, YES, kind_of, refined
from tests.forked import run_spar
from tests.servers import ScriptedServer

pytestmark = pytest.mark.slow

YES_VOTES = {"p0": 5, "p1": 0, "p2": 3, "p3": None, "p4": 2, "p5": 0, "p6": 1}
"""Prompt to the number of Yes among five votes on its draft; None if none is readable."""
MENDED = "p1"
"""The one whose refinement passes; the others' cannot be read."""
TEMPLATES = load()


def prompt_of(request: Request) -> str:
    """The prompt of a request."""
    return next(name for name in YES_VOTES if f"Say {name}." in request.messages[0].content)


def teach(request: Request) -> str:
    """Answers, votes and refinements of a scripted teacher.

    The five votes of a round have seeds in a row, so each remainder by five comes once.
    """
    name, kind = prompt_of(request), kind_of(request)
    if kind == "draft":
        return f"The answer to {name}."
    if kind == "refine":
        return refined("mended") if name == MENDED else "I would not know."
    num_yes = 5 if "mended" in request.messages[0].content else YES_VOTES[name]
    if num_yes is None:
        return MUTE
    assert request.sampling.seed is not None
    return YES if request.sampling.seed % 5 < num_yes else NO


def prompts(folder: Path) -> Path:
    """A file of the prompts."""
    return rows(folder / "prompts.jsonl", *({"id": n, "prompt": f"Say {n}."} for n in YES_VOTES))


def arguments(folder: Path, server: ScriptedServer, out: str, *more: str) -> list[str]:
    """A bootstrap of one draft a prompt, by a scripted student and the teacher, up to the data."""
    fixed = [
        *("bootstrap", str(prompts(folder)), "--engine", "fake", "--teacher-url", server.url),
        *("--stop-after", "build", "--out", str(folder / out), "--set", "samples=1"),
    ]
    return [*fixed, *more]


def data(run: Path) -> dict[str, bytes]:
    """The files that are trained on."""
    return {name: (run / "build" / f"{name}.jsonl").read_bytes() for name in ("actor", "refiner")}


def test_the_examples_of_a_scripted_teacher(tmp_path: Path) -> None:
    """Three Yes and three No out of seven prompts, one refinement, seven answers."""
    with ScriptedServer(Script(reply=teach)) as server:
        completed = spar(*arguments(tmp_path, server, "run"), check=0)
    run = tmp_path / "run"
    drafts = {tree.prompt.id: tree.nodes[0].response for tree in read_trees(run / "drafts")}
    answers = [json.loads(line) for line in (run / "build/actor.jsonl").read_text().splitlines()]
    assert {row["prompt_id"]: [m["content"] for m in row["messages"]] for row in answers} == {
        name: [f"Say {name}.", f"The answer to {name}."] for name in YES_VOTES
    }
    examples = {
        (example.kind, example.verdict, example.prompt_id): [m.content for m in example.messages]
        for example in read_examples(run / "build" / "refiner.jsonl")
    }
    tree_of = {tree.prompt.id: tree.prompt.messages for tree in read_trees(run / "judge")}

    def question(name: str, response: str) -> str:
        return TEMPLATES.judge_prompt(tree_of[name], response)

    expected: dict[tuple[str, bool | None, str], list[str]] = {
        ("draft", True, "p0"): [question("p0", drafts["p0"]), YES],
        ("draft", True, "p2"): [question("p2", drafts["p2"]), YES],
        ("tree", True, "p1"): [question("p1", "mended"), YES],
    }
    for name in ("p4", "p5", "p6"):
        expected["tree", False, name] = [question(name, drafts[name]), NO]
    request, written = TEMPLATES.refine_request(), refined("mended")
    expected["refine", None, "p1"] = [question("p1", drafts["p1"]), NO, request, written]
    assert examples == expected
    assert "actor: 7 answers of 7" in completed.stdout
    assert (
        "passed 2, failed 4 and left 1 undecided; 1 of 4 searches fixed a draft" in completed.stdout
    )
    assert "bootstrap: " in completed.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_killed_while_it_judges_and_resumed(tmp_path: Path) -> None:
    """The same data, byte for byte, and no stored vote is requested twice."""
    with ScriptedServer(Script(reply=teach, seconds=0.05)) as server:
        flags = ("--set", "teacher.concurrency=1", "--display", "plain")
        spar(*arguments(tmp_path, server, "whole", *flags), check=0)
        whole = server.num_requests
        process = subprocess.Popen(
            [*SPAR, *arguments(tmp_path, server, "run", *flags)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(tmp_path / "run" / "judge" / "trees.jsonl", lines=2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        record = json.loads((tmp_path / "run" / "judge.json").read_text())
        assert record["state"] == "running"
        assert not (tmp_path / "run" / "build").exists()
        written = wait_for_rest(tmp_path / "run" / "judge" / "trees.jsonl")
        assert 2 <= written < len(YES_VOTES)
        run = spar(*arguments(tmp_path, server, "run", *flags), check=0)
        assert "judge: resumed" in run.stderr
        assert "answers: started" not in run.stderr
        assert server.num_requests < 2 * whole + whole // 2
        again = spar(*arguments(tmp_path, server, "run", *flags), check=0)
    assert "every selected stage is done" in again.stderr
    assert data(tmp_path / "run") == data(tmp_path / "whole")
    assert "resuming" in (tmp_path / "run" / "judge.log").read_text()


def lines_of(path: Path) -> int:
    """Whole lines of a file that may not be there yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(path: Path, *, lines: int) -> None:
    """Wait until a file has a number of lines."""
    end = time.monotonic() + 180
    while lines_of(path) < lines:
        assert time.monotonic() < end, f"{path} did not grow"
        time.sleep(0.01)


def wait_for_rest(path: Path) -> int:
    """Lines of the file once its writer, whose parent was killed, has died too."""
    end = time.monotonic() + 30
    while True:
        try:
            with locked(path.with_name("run.lock")):
                return lines_of(path)
        except RunLocked:
            assert time.monotonic() < end, "the worker outlived its parent"
            time.sleep(0.05)


def say(kind: str, text: str) -> Any:
    """A teacher with a fixed verdict."""
    return lambda request: text if kind_of(request) == kind else teach(request)


@pytest.mark.parametrize(
    ("vote", "message"),
    [
        (YES, "the teacher said Yes to all 7 drafts that it judged, so nothing was refined"),
        (MUTE, "no judgement of the teacher on 7 drafts can be parsed"),
    ],
)
def test_a_teacher_without_useful_judgements(vote: str, message: str, tmp_path: Path) -> None:
    """One line names what the judgements lack; the answers stay."""
    with ScriptedServer(Script(reply=say("judge", vote))) as server:
        run = spar(*arguments(tmp_path, server, "run"), check=2)
    assert "stage build: the refiner has 0 examples, and 1 are required: " + message in run.stderr
    assert len(list(read_trees(tmp_path / "run" / "answers"))) == 7


def command(*flags: str) -> None:
    """Run the command in this process; errors are raised."""
    app(["bootstrap", *flags], standalone_mode=False)


def test_usage_errors_come_before_any_request(tmp_path: Path, tiny_model: Path) -> None:
    """No teacher for a student of one's own, a server as the student, no chat template, bad rows."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in tiny_model.iterdir():
        if path.name != "chat_template.jinja":
            (bare / path.name).write_bytes(path.read_bytes())
    bad = rows(tmp_path / "bad.jsonl", {"prompt": "Say a."}, {"text": "Say b."})
    own = ("--model", str(tiny_model))
    taught = ("--teacher-engine", "fake", "--out", str(tmp_path / "run"))
    cases: tuple[tuple[tuple[str, ...], str], ...] = (
        (own, "needs a teacher; give --teacher-model"),
        ((*own, "--engine", "openai", *taught), "cannot train the model of a server"),
        (("--model", str(bare), *taught), "has no chat template"),
        ((str(bad), *taught), "bad.jsonl:2"),
        (("-", *taught), "give a file, not -"),
        (("--teacher-model", "./nowhere"), "--teacher-model ./nowhere: no such folder"),
        ((*taught, "--rerun-from", "dpo"), "there is no stage 'dpo'"),
        ((*taught, "--display", "rich"), "unknown display"),
        ((*taught, "--recipe", "nona"), "no such file, nor a shipped recipe"),
    )
    for flags, message in cases:
        with pytest.raises(UsageError, match=re.escape(message)):
            command(*flags)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_prints_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Generations of each stage, examples that they can give, and steps of each training; nothing is written."""
    flags = ("--teacher-engine", "fake", "--out", str(tmp_path / "run"), "--recipe", "paper")
    command(str(prompts(tmp_path)), *flags, "--dry-run")
    assert capsys.readouterr().err.splitlines()[2:] == [
        "student: the embedded one, which knows only the small language of nano-if; name another with --model",
        "answers: 7 answers of the teacher",
        "drafts: 14 drafts of the student, 2 for each of 7 prompts",
        "judge: at most 70 votes of the teacher, 5 on each of 14 drafts",
        "refine: at most 21 refinements and 105 votes of the teacher, by iterative from one failing draft "
        "of each prompt that has one",
        "build: at most 7 examples for the actor and 35 for the refiner",
        "sft-actor: at most 5 steps of 64 examples, from the embedded model",
        "sft-refiner: at most 3 steps of 64 examples, from the embedded model",
    ]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(1200)
@pytest.mark.xdist_group("loop")  # whose process that forks has TRL already
def test_the_embedded_model_teaches_itself(tmp_path: Path) -> None:
    """Two models that load and answer; the same command then runs nothing."""
    pytest.importorskip("trl")
    transformers = pytest.importorskip("transformers")
    from spar.embedded import CHECKPOINT

    quick = [f"{part}.{key}" for part in ("actor", "refiner") for key in ("max_steps=1", "batch=4")]
    more = [f"{part}.{key}" for part in ("actor", "refiner") for key in ("micro_batch=4",)]
    few = ["num_actor_prompts=4", "num_refiner_prompts=6", "search.budget=2"]
    changes = [flag for change in (*quick, *more, *few) for flag in ("--set", change)]
    bootstrap = ["bootstrap", "--out", str(tmp_path / "run"), "--device", "cpu", *changes]
    run = run_spar(bootstrap, tmp_path / "first")
    assert run.returncode == 0, run.stderr
    assert f"spar train --actor-model {tmp_path / 'run' / 'actor' / 'model'}" in run.stdout
    first = (CHECKPOINT / "model.safetensors").read_bytes()
    for trained in ("actor", "refiner"):
        folder = tmp_path / "run" / trained / "model"
        assert (folder / "model.safetensors").read_bytes() != first
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        turns = [{"role": "user", "content": "Write something short. Use exactly 5 words."}]
        ids = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        reply = model.generate(**ids, max_new_tokens=40, do_sample=False)[0]
        assert tokenizer.decode(
            reply[ids["input_ids"].shape[1] :], skip_special_tokens=True
        ).split()
    records = [
        json.loads((tmp_path / "run" / f"{s}.json").read_text()) for s in ("judge", "sft-actor")
    ]
    again = run_spar(bootstrap, tmp_path / "again")
    assert (again.returncode, again.stdout) == (0, run.stdout)
    assert "every selected stage is done" in again.stderr
    assert records == [
        json.loads((tmp_path / "run" / f"{s}.json").read_text()) for s in ("judge", "sft-actor")
    ]
