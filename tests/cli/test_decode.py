"""`spar decode` end to end: a child process, the fake engine, real files and signals."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from spar.config import DecodeConfig
from spar.plugins import STRATEGIES
from spar.run.decoding import assumed, ignored_settings
from spar.store import read_trees
from tests.forked import run_spar

SPAR = [sys.executable, "-m", "spar"]


def spar(
    *arguments: str | Path, stdin: str = "", check: int | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command as a fork of a process that has imported everything."""
    with tempfile.TemporaryDirectory() as folder:
        run = run_spar([*map(str, arguments)], Path(folder, "run"), stdin, timeout)
    if check is not None:
        assert run.returncode == check, run.stderr
    assert "Traceback" not in run.stderr
    return run


def decode(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return spar("decode", "--engine", "fake", "--display", "none", *arguments, **options)  # type: ignore[arg-type]


def rows(path: Path, *objects: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in objects))
    return path


def comparable(directory: Path) -> dict[str, str]:
    """Each tree without its times and cache hits, by prompt id."""
    trees = {}
    for tree in read_trees(directory):
        data = json.loads(tree.to_json())
        data["seconds"] = 0
        for item in (*data["nodes"], *data["faults"]):
            for cost in (item["usage"], item["judge_usage"]):
                cost["seconds"] = cost["cached_tokens"] = 0
        trees[tree.prompt.id] = json.dumps(data, sort_keys=True)
    return trees


def test_a_run_prints_its_table_and_names_its_directory(tmp_path: Path) -> None:
    """The table has passes before and after, cost and directory."""
    run = decode("--limit", "12", "--out", tmp_path / "r", "--show-tree", check=0)
    for word in (
        "prompts",
        "before",
        "after",
        "nodes",
        "calls",
        "tokens",
        "seconds",
        "run directory",
    ):
        assert word in run.stdout
    assert len(comparable(tmp_path / "r")) == 12


def test_the_prompts_of_a_recipe_are_answered(tmp_path: Path) -> None:
    """Where neither a file nor --prompt is given; either replaces them."""
    file = rows(tmp_path / "p.jsonl", {"id": "of-recipe", "ask": "Write."})
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"decode: {{prompts: {file}, prompt_field: ask, votes: 1}}\n")
    decode("--recipe", recipe, "--out", tmp_path / "r", check=0)
    assert [*comparable(tmp_path / "r")] == ["of-recipe"]
    decode("--recipe", recipe, "--prompt", "Say it.", "--out", tmp_path / "one", check=0)
    (tree,) = read_trees(tmp_path / "one")
    assert tree.prompt.messages[0].content == "Say it."


def test_a_temperature_without_effect_is_said(tmp_path: Path) -> None:
    """Where a tree has one draft, which is greedy; not where it is sampled, or where there are more."""
    file = rows(tmp_path / "p.jsonl", {"prompt": "Write."})
    display = ("--dry-run", "--display", "plain")
    said = "there is no other: --temperature 1.5 has no effect"
    for flags, expected in (
        (("--strategy", "greedy"), True),
        (("--strategy", "bfs", "--budget", "1"), True),
        (("--strategy", "best-of-n", "--budget", "1"), True),
        (("--strategy", "greedy", "--no-greedy-first"), False),
        (("--strategy", "best-of-n", "--budget", "4"), False),
        (("--strategy", "bfs"), False),  # a draft that failed is made again, and sampled
    ):
        run = decode(file, *flags, "--temperature", "1.5", *display, check=0)
        assert (said in run.stderr) == expected, flags
    plain = decode(file, "--strategy", "greedy", *display, check=0)
    assert "no effect" not in plain.stderr


def test_a_table_says_where_nothing_was_judged_and_why_attempts_failed(tmp_path: Path) -> None:
    """Greedy answers are not judged, which is not that none passes; faults have their most frequent reason."""
    greedy = decode("--limit", "2", "--strategy", "greedy", "--out", tmp_path / "g", check=0)
    assert "no response was judged" in greedy.stdout
    config = DecodeConfig(strategy="best-of-n", judge="verifier", refiner="rewrite")
    assert ignored_settings(config) == [
        "best-of-n refines no response: --refiner rewrite has no effect"
    ]
    (line,) = ignored_settings(DecodeConfig(strategy="greedy", judge="verifier"))
    assert line == "greedy judges no response: --judge verifier has no effect"
    assert ignored_settings(DecodeConfig(strategy="bfs", judge="verifier", refiner="rewrite")) == []
    constraints = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    fixed = {"prompt": "No commas.", **constraints}
    file = rows(tmp_path / "p.jsonl", fixed, {"prompt": "Write."})
    flags = ("--judge", "hybrid", "--refiner", "rewrite", "--strategy", "iterative")
    run = decode(file, *flags, "--budget", "3", "--out", tmp_path / "r", check=0)
    faults = [fault for tree in read_trees(tmp_path / "r") for fault in tree.faults]
    assert faults
    line = next(line for line in run.stdout.splitlines() if "faults" in line)
    assert f"{len(faults)}, {faults[0].stage}" in line


@pytest.mark.parametrize("judge", ["scale", "curation", "logprob", "verifier"])
def test_a_vote_rule_without_votes_on_a_verdict_is_noted(judge: str) -> None:
    """All judgements are paid for, whatever rule was chosen to save some of them."""
    chosen = DecodeConfig(strategy="bfs", judge=judge, vote_rule="race")
    said = f"{judge} has no votes to save: --vote-rule race has no effect"
    assert ignored_settings(chosen) == [said]
    assert ignored_settings(chosen.changed({"vote_rule": "full"})) == []
    assert ignored_settings(chosen.changed({"judge": "votes"})) == []


def test_a_table_says_what_came_from_a_response_cache(tmp_path: Path) -> None:
    """Its seconds are not those of the model."""
    cache = ("--response-cache", tmp_path / "cache.db", "--limit", "3")
    assert (
        "response cache" not in decode("--limit", "3", "--out", tmp_path / "none", check=0).stdout
    )
    for name in ("first", "again"):
        table = decode(*cache, "--out", tmp_path / name, check=0).stdout
        line = next(line for line in table.splitlines() if "from the response cache" in line)
    calls = sum(tree.usage.calls for tree in read_trees(tmp_path / "again"))
    assert f"{calls:,} of {calls:,} replies" in line


def test_json_prints_one_object(tmp_path: Path) -> None:
    """With --json standard output is only the summary; progress is on standard error."""
    run = spar(
        "decode", "--engine", "fake", "--limit", "5", "--out", tmp_path / "r", "--json", check=0
    )
    summary = json.loads(run.stdout)
    assert summary["trees"] == summary["verified"] == 5
    assert 0 <= summary["passed_before"] <= 1
    assert summary["calls"] > 5
    roles = summary["roles"]
    for count in ("calls", "prompt_tokens", "cached_tokens", "completion_tokens"):
        assert summary[count] == sum(role[count] for role in roles.values())
    assert roles["actor"]["calls"] == 5
    (engine,) = summary["engines"].values()
    assert engine["calls"] == summary["calls"]
    assert 0 < engine["busy_share"] <= 1
    assert "trees" in run.stderr


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_budgets_hold_on_the_command_line(tmp_path: Path, strategy: str) -> None:
    """No tree of any strategy has more nodes than its budget, and every prompt is answered."""
    decode(
        "--strategy", strategy, "--budget", "4", "--limit", "10", "--out", tmp_path / "r", check=0
    )
    trees = list(read_trees(tmp_path / "r"))
    assert all(1 <= len(tree.nodes) <= 4 for tree in trees)
    assert len(trees) == 10


def test_votes_saved_by_majority_are_in_the_summary(tmp_path: Path) -> None:
    """Skipped votes are counted and printed."""
    args = ("decode", "--engine", "fake", "--limit", "8", "--vote-rule", "majority")
    run = spar(*args, "--out", tmp_path / "r", check=0)
    assert "votes skipped" in run.stdout
    again = spar(*args, "--out", tmp_path / "r", "--json", check=0)
    summary = json.loads(again.stdout)
    trees = list(read_trees(tmp_path / "r"))
    assert summary["skipped_calls"] == sum(tree.usage.skipped_calls for tree in trees) > 0


def test_the_same_command_resumes_and_a_changed_one_is_rejected(tmp_path: Path) -> None:
    """A second run adds nothing; another budget is rejected with a diff; --overwrite starts over."""
    out = tmp_path / "r"
    decode("--limit", "6", "--out", out, check=0)
    before = (out / "trees.jsonl").read_bytes()
    decode("--limit", "6", "--out", out, check=0)
    assert (out / "trees.jsonl").read_bytes() == before
    decode("--limit", "9", "--out", out, check=0)
    assert len(comparable(out)) == 9
    refused = decode("--limit", "6", "--out", out, "--budget", "3", check=2)
    assert "budget: 15 -> 3" in refused.stderr
    assert "--overwrite" in refused.stderr
    decode("--limit", "2", "--out", out, "--budget", "3", "--overwrite", check=0)
    assert len(comparable(out)) == 2


@pytest.fixture
def slow_engine(tmp_path: Path) -> dict[str, str]:
    """An environment with a slow fake engine, so that a run can be interrupted."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import spar.infer.engines.fake as fake\n"
        "make = fake.FakeEngine.__init__\n"
        "def slow(self, reply, *, latency=0.0, model='fake'):\n"
        "    make(self, reply, latency=0.02, model=model)\n"
        "fake.FakeEngine.__init__ = slow\n"
    )
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def start(out: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [
        *SPAR,
        "decode",
        "--engine",
        "fake",
        "--limit",
        "200",
        "--concurrency",
        "4",
        "--out",
        str(out),
    ]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def await_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not path.is_file() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "the run wrote nothing"
        time.sleep(0.01)


def test_kill_9_loses_only_trees_in_flight(tmp_path: Path, slow_engine: dict[str, str]) -> None:
    """Killed twice and resumed, a run has the same trees as an uninterrupted one."""
    out = tmp_path / "killed"
    for count in (5, 30):
        process = start(out, slow_engine)
        await_lines(out / "trees.jsonl", count)
        process.kill()
        process.communicate()
    decode("--limit", "200", "--concurrency", "4", "--out", out, check=0)
    decode("--limit", "200", "--out", tmp_path / "whole", check=0)
    assert comparable(out) == comparable(tmp_path / "whole")


def test_ctrl_c_stops_within_two_seconds(tmp_path: Path, slow_engine: dict[str, str]) -> None:
    """SIGINT ends the run with 130, a summary of the finished trees, and how to resume.

    A machine that needs longer than two seconds for the first trees may need as long for the end.
    """
    started = time.monotonic()
    process = start(tmp_path / "r", slow_engine)
    await_lines(tmp_path / "r" / "trees.jsonl", 3)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert time.monotonic() - sent < max(2, sent - started)
    assert process.returncode == 130
    assert "to resume" in stderr
    assert "Traceback" not in stderr
    num_trees = len(comparable(tmp_path / "r"))
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["trees"] == num_trees >= 3


def test_a_second_process_is_rejected(tmp_path: Path, slow_engine: dict[str, str]) -> None:
    """Two runs in one directory: the second names the process that is writing, and exits with 1."""
    process = start(tmp_path / "r", slow_engine)
    await_lines(tmp_path / "r" / "trees.jsonl", 1)
    second = decode("--limit", "200", "--out", tmp_path / "r", check=1)
    process.kill()
    process.communicate()
    assert str(process.pid) in second.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no prompt"),
        ("{nope\n", ":1"),
        ('{"text": "x"}\n', "prompt"),
        ('{"prompt": " "}\n', ":1"),
        ('{"id": "a", "prompt": "x"}\n{"id": "a", "prompt": "y"}\n', ":2"),
        ('{"prompt": "x"}\n[1]\n', ":2"),
    ],
)
def test_invalid_prompt_files_are_one_line(tmp_path: Path, content: str, message: str) -> None:
    """Each error in a prompt file exits with 2 and one line that names file and line."""
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    run = decode(path, "--out", tmp_path / "r", check=2)
    assert message in run.stderr
    assert "p.jsonl" in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["missing.jsonl"], "missing.jsonl"),
        (["--strategy", "bsf"], "did you mean 'bfs'"),
        (["--budget", "0"], "--budget 0"),
        (["--branching", "0"], "--branching 0"),
        (["--depth", "0"], "--depth 0"),
        (["--votes", "0"], "--votes 0"),
        (["--judge", "voters"], "did you mean 'votes'"),
        (["--engine", "faek"], "did you mean 'fake'"),
        (["--display", "big"], "unknown display"),
        (["--templates", "nowhere"], "nowhere"),
        (["--recipe", "nowhere"], "nowhere"),
        (["--prompt", ""], "blank"),
        (["p.jsonl", "--prompt", "x"], "p.jsonl and --prompt"),
        (["--vote-rule", "most"], "'full', 'majority', 'race' or 'posterior'"),
        (["--engine-arg", "seed"], "expected NAME=VALUE"),
        (["--engine", "hf", "--engine-arg", "seed=1"], "needs --engine vllm"),
        (["--engine", "hf", "--adapter", "x"], "--adapter needs --engine vllm"),
        (["--engine", "hf", "--base-url", "http://127.0.0.1:1/v1"], "use --engine openai"),
        (["--engine", "openai"], "give --base-url"),
        (["--replicas", "0"], "--replicas 0"),
        (["--strategy-arg", "c=1"], "bfs has no options"),
        (["--total-budget", "5"], "--total-budget 5 is less than"),
        (["--total-budget", "60", "--max-seconds", "5"], "exclude each other"),
        (["--vote-rule", "race", "--threshold", "0.7"], "at --threshold 0.5 only"),
    ],
)
def test_invalid_flags_are_one_line(tmp_path: Path, flags: list[str], message: str) -> None:
    """Each invalid flag exits with 2 and one line that names the value, and leaves no run behind."""
    run = decode("--limit", "1", "--out", tmp_path / "r", *flags, check=2)
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.model
def test_a_folder_without_a_model_is_rejected(tmp_path: Path) -> None:
    """A folder without config.json is rejected before anything is loaded."""
    run = spar("decode", "--model", tmp_path, "--limit", "1", "--out", tmp_path / "r", check=2)
    assert "config.json" in run.stderr
    assert not (tmp_path / "r").exists()


def test_unusual_text_is_preserved(tmp_path: Path) -> None:
    """Lone surrogates, NUL, emoji, right-to-left text and 100,000 characters are preserved."""
    texts = [
        "\ud800 alone",
        "nul \x00 end",
        "\U0001f600",
        "\u202eabc\u05d0",
        "x" * 100_000,
        "{response} [/x]",
    ]
    path = rows(
        tmp_path / "p.jsonl", *({"prompt": text, "id": str(i)} for i, text in enumerate(texts))
    )
    decode(path, "--out", tmp_path / "r", "--show-tree", check=0)
    texts_by_id = {
        tree.prompt.id: tree.prompt.messages[0].content for tree in read_trees(tmp_path / "r")
    }
    assert [texts_by_id[str(i)] for i in range(len(texts))] == texts


def test_one_prompt_prints_its_answer_and_tree_as_text(tmp_path: Path) -> None:
    """Markup and escape codes in a prompt are printed, never interpreted."""
    run = decode("--prompt", "[bold]hi[/x] \x1b[31m", "--out", tmp_path / "r", check=0)
    assert "[bold]hi[/x]" in run.stdout
    assert "\x1b[31m" not in run.stdout
    assert "<- answer" in run.stdout


def test_standard_input_and_text_files(tmp_path: Path) -> None:
    """`-` reads JSON lines or plain lines; a text file has a prompt on each line."""
    decode("-", "--out", tmp_path / "a", stdin='{"prompt": "one"}\nplain two\n', check=0)
    (tmp_path / "p.txt").write_text("first\n\nsecond\nthird\n")
    decode(tmp_path / "p.txt", "--out", tmp_path / "b", check=0)
    assert len(comparable(tmp_path / "a")) == 2
    assert len(comparable(tmp_path / "b")) == 3


def test_dry_run_prints_prompts_and_maximum_calls(tmp_path: Path) -> None:
    """--dry-run prints the three rendered conversations and the cost, and writes nothing."""
    run = decode("--limit", "10", "--dry-run", "--out", tmp_path / "r", check=0)
    for part in ("== draft ==", "== judge ==", "== refine ==", "Final Judgement", "[[start]]"):
        assert part in run.stdout
    assert "900 calls where every reply parses" in run.stdout
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("strategy", "shown", "cost"),
    [
        ("greedy", ["draft"], "1 prompt, at most 1 response each: 1 call where"),
        ("best-of-n", ["draft", "judge"], "1 prompt, at most 3 responses each: 18 calls where"),
    ],
)
def test_a_dry_run_prints_what_the_strategy_sends(
    strategy: str, shown: list[str], cost: str
) -> None:
    """No conversation of a role that it does not ask."""
    command = ("--limit", "1", "--strategy", strategy, "--budget", "3", "--dry-run")
    run = decode(*command, check=0)
    assert re.findall(r"^== (\w+) ==$", run.stdout, re.M) == shown
    assert cost in run.stdout


@pytest.mark.parametrize("text", ["Write a poem.", "Add 2.5 and 3.5 up", "one two " * 200])
def test_a_prompt_in_place_of_a_file_is_refused_with_the_option(text: str) -> None:
    """The error names `--prompt`; a file's name with a blank in it is the name of a file."""
    assert "--prompt TEXT" in decode(text, check=2).stderr
    assert "pass a file (.jsonl" in decode("my prompts.jsonl", check=2).stderr


def test_what_is_assumed_is_said(tmp_path: Path) -> None:
    """Where no prompts are passed, and where the embedded model would answer prompts of the caller's own."""
    built_in = spar("decode", "--engine", "fake", "--limit", "3", "--out", tmp_path / "a", check=0)
    assert "prompts: 3 of nano-if's test split, since none were passed" in built_in.stderr
    file = rows(tmp_path / "p.jsonl", {"prompt": "Write."})
    config = DecodeConfig(prompts=str(file), engine="hf")
    assert ["name another with --model" in line for line in assumed(config, 1)] == [True]
    assert not list(assumed(config.model_copy(update={"model": "/models/mine"}), 1))
    assert not list(assumed(config.model_copy(update={"engine": "fake"}), 1))


def test_a_dry_run_refuses_what_the_run_would(tmp_path: Path) -> None:
    """A judge that cannot judge the prompts says so before any time is planned for them."""
    file = rows(tmp_path / "p.jsonl", {"prompt": "Write."})
    run = decode(file, "--judge", "verifier", "--dry-run", check=2)
    assert "it has no constraints" in run.stderr


def test_custom_templates(tmp_path: Path) -> None:
    """A folder with judge.txt replaces that template, and its digest is in the manifest."""
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "judge.txt").write_text("Mine. {instruction} | {response} Final Judgement?")
    run = decode("--limit", "1", "--templates", folder, "--dry-run", check=0)
    assert "Mine. " in run.stdout
    decode("--limit", "1", "--templates", folder, "--out", tmp_path / "a", check=0)
    decode("--limit", "1", "--out", tmp_path / "b", check=0)
    digests = [
        json.loads((tmp_path / run / "run.json").read_text())["templates"] for run in ("a", "b")
    ]
    assert digests[0]["judge"] != digests[1]["judge"]
    assert digests[0]["refine"] == digests[1]["refine"]


def processor_time(command: list[str]) -> float:
    """Seconds of processor time that a process takes, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True, timeout=180)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_instant() -> None:
    """--help loads no library but the command line's own, and takes less than three times as long as a few standard modules.

    Both are timed in turn, best of five: a slow or busy machine is slow for both (0.15 s against 0.07 s on two cores).
    """
    yardstick = [sys.executable, "-c", "import argparse, dataclasses, json, pathlib, typing"]
    pairs = [(processor_time([*SPAR, "--help"]), processor_time(yardstick)) for _ in range(5)]
    assert min(ours for ours, _ in pairs) < 3 * min(theirs for _, theirs in pairs)
    script = (
        "import atexit, runpy, sys\n"
        "names = lambda: {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "started = names()\n"
        "atexit.register(lambda: print(*sorted(names() - started), file=sys.stderr))\n"
        "sys.argv = ['spar', '--help']\n"
        "runpy.run_module('spar', run_name='__main__')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=180
    )
    assert set(run.stderr.split()) <= {
        "annotated_doc",
        "click",
        "shellingham",
        "spar",
        "typer",
        "typing_extensions",
    }


def test_doctor_names_what_is_missing() -> None:
    """Doctor prints versions and next steps."""
    run = spar("doctor", check=0)
    assert "hf" in run.stdout
    assert "cores" in run.stdout


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    """Without torch the error of the hf engine is what to install."""
    (tmp_path / "torch.py").write_text("raise ImportError('blocked', name='torch')")
    command = [*SPAR, "decode", "--engine", "hf", "--limit", "1", "--out", str(tmp_path / "r")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "pip install '.[hf]'" in run.stderr
    assert "Traceback" not in run.stderr
