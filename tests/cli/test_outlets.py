"""Whatever is printed is printable: names of files, models and servers never reach the terminal raw."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings

from spar import progress
from spar.cli import app, doctor, run_view
from spar.cli.models import list_models
from spar.cli.show import train_view
from spar.cli.show.compare_report import print_comparison, print_several
from spar.cli.show.eval_report import print_results
from spar.cli.show.report import open_console, print_answer, print_run, print_summary
from spar.config import DecodeConfig
from spar.eval.compare import Comparison
from spar.eval.statistics import Difference
from spar.infer.summary import Summary
from spar.listener import LogListener
from spar.models import folders
from spar.models.cache import CachedModel, ModelSource
from spar.record.evaluation import Metric, Results
from spar.sanitize import printable
from spar.store import read_trees
from spar.train.status import ShownScore
from spar.types import Finding, Judgement, Node, SearchTree
from tests.fakes import make_prompt
from tests.strategies import any_text

ESCAPES = "a\x1b]52;c;aGk=\x07b\x1b[2J\x9b31m\u202e\r\x08\ud800\u2066[red]"
"""Writes to the clipboard, clears the screen, turns the line around."""


def _tree(text: str) -> SearchTree:
    findings = (Finding(type=text, constraint=text, met=False, found=text),)
    judgement = Judgement(verdicts=(), critique=text, findings=findings)
    node = Node(id=0, parent=None, depth=0, response=text, judgement=judgement)
    prompt = make_prompt(prompt_id=text)
    return SearchTree(
        prompt=prompt, strategy=text, config="", nodes=(node,), selected=0, stop="exhausted"
    )


def _results(text: str) -> Results:
    return Results(
        benchmark=text,
        n=1,
        metrics={text: Metric(value=1.0, stderr=None, n=1)},
        units={text: text},
        counts={text: 1},
        notes=(text,),
    )


def _comparisons(text: str) -> list[Comparison]:
    change = Difference(first=0.0, second=1.0, low=None, high=None, n=1)
    compared = Comparison(
        benchmark=text,
        first=Path("a"),
        second=Path("b"),
        n=1,
        metrics={text: change},
        units={text: text},
        passed=(0, 1),
        gained=(),
        lost=(),
        undecided=0,
        p=1.0,
        only_first=(),
        only_second=(),
    )
    return [compared, compared]


def _list_models(text: str) -> None:
    source = ModelSource(kind="file", location=text, sha256="0" * 64)
    record = CachedModel(source=source, folder=text)
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "400"}),
        mock.patch.object(folders, "converted_files", return_value=[record]),
        mock.patch.object(CachedModel, "num_bytes", 1),
    ):
        list_models()


def _doctor(text: str) -> None:
    with mock.patch.object(doctor, "list_gpus", return_value=[text]):
        doctor.doctor()


def _scores(text: str) -> None:
    state: Any = SimpleNamespace(config=SimpleNamespace(benchmarks=()), scores={1: {}})
    score = ShownScore(0.5, None)
    with mock.patch.object(train_view, "shown_scores", return_value={text: score}):
        open_console(400).print(train_view._scores(state))


def _logged(text: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    logger = logging.Logger("outlet")
    logger.addHandler(handler)
    LogListener(logger).note(text)


def _failed(text: str) -> None:
    with pytest.raises(SystemExit):
        app._fail(text, 1)


OUTLETS: dict[str, Callable[[str], object]] = {
    "plain note": lambda text: progress.PlainProgress().note(text),
    "bar note": lambda text: progress.ProgressBar().note(text),
    "log": _logged,
    "error": _failed,
    "summary": lambda text: print_summary(
        DecodeConfig(strategy=text),
        Summary(
            engines={text: {"busy_seconds": 1, "request_seconds": 1}},
            reasons=Counter({("judge", text): 1}),
        ),
    ),
    "run": lambda text: print_run(Path(text.replace("\0", ""))),
    "answer": lambda text: print_answer(_tree(text)),
    "results": lambda text: print_results(_results(text)),
    "comparison": lambda text: print_comparison(_comparisons(text)[0]),
    "comparisons": lambda text: print_several(_comparisons(text)),
    "models": _list_models,
    "doctor": _doctor,
    "scores of a loop": _scores,
    "pages": lambda text: run_view._print_start(
        "http://127.0.0.1:1/", [Path(text.replace("\0", ""))]
    ),
}


@pytest.mark.parametrize("outlet", OUTLETS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(text=any_text)
@example(text=ESCAPES)
def test_every_outlet_is_safe(outlet: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No control, format or surrogate character but line feed and tab, and no markup of rich's, is printed."""
    OUTLETS[outlet](text)
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    if "[red]" in text:
        assert "[red]" in shown.replace("\n", "").replace(" ", "")


def test_the_summary_says_what_of_the_time_was_loading(capsys: pytest.CaptureFixture[str]) -> None:
    """Two prompts of a second look like eight otherwise."""
    print_summary(DecodeConfig(), Summary(seconds=8.46, load_seconds=6.52))
    assert "8.5, 6.5 of them loading" in capsys.readouterr().out
    print_summary(DecodeConfig(), Summary(seconds=8.46))
    assert "loading" not in capsys.readouterr().out


def test_printable_leaves_plain_text_alone() -> None:
    """Letters of any script, line feeds and tabs stay as they are."""
    text = "Zeile\t1\nשלום 你好 é"
    assert printable(text) == text


@pytest.mark.parametrize(
    "arguments",
    [
        ["decode", f"no{ESCAPES[:-6]}.jsonl"],
        ["decode", f"--{ESCAPES[:10]}"],
        [ESCAPES[:10]],
        ["decode", "--prompt", "x", "--strategy", ESCAPES[:10]],
        ["export", ESCAPES[:10], "--format", ESCAPES[:10]],
    ],
    ids=["file", "flag", "command", "value", "choice"],
)
def test_a_command_line_is_echoed_safely(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage errors are one of the outlets."""
    arguments = [part.replace("\ud800", "") for part in arguments]
    monkeypatch.setattr(sys, "argv", ["spar", *arguments])
    with pytest.raises(SystemExit) as stopped:
        app.main()
    shown = capsys.readouterr()
    assert stopped.value.code == 2
    assert "\\x1b" in shown.err
    assert all(c.isprintable() or c in "\n\t" for c in shown.err + shown.out)


def test_a_tilde_behind_an_options_name_is_the_home_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """bash leaves `--out=~/run` as it is; in what is no path a tilde is a character like any other."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("decode: {budget: 1}")
    told = "~/bin//x and http://a.b/./c"
    arguments = [f"--prompt={told}", "--engine=fake", "--recipe=~/mine.yaml", "--out=~/run"]
    monkeypatch.setattr(sys, "argv", ["spar", "decode", *arguments])
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == 0, capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "run"]
    (tree,) = read_trees(tmp_path / "run")
    assert tree.prompt.messages[-1].content == told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["data", "where"]])
def test_a_full_standard_output_is_one_line(arguments: list[str]) -> None:
    """Exit code 1, and no traceback, neither of the command nor of the interpreter's last flush."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "spar", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode == 1
    assert ended.stderr == "spar: cannot write to standard output: No space left on device\n"


def test_an_output_in_another_encoding_is_escaped(tmp_path: Path) -> None:
    """As that of a pipe on Windows: the drawn tree, with what its encoding lacks as escapes, in place of a traceback."""
    prompt, out = "caf\xe9 → \U0001f600", str(tmp_path / "out")
    arguments = ["decode", "--prompt", prompt, "--engine", "fake", "--out", out]
    ended = subprocess.run(
        [sys.executable, "-m", "spar", *arguments],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "caf\xe9 \\u2192 \\U0001f600".encode("latin-1") in ended.stdout


def test_a_closed_standard_output_is_no_error(tmp_path: Path) -> None:
    """What is printed goes nowhere, not into the file that is opened next."""
    code = (
        "import os, sys; os.close(1); sys.stdout = None\n"
        "from spar.cli import app\n"
        "app.app = lambda **_: [open('trees', 'w'), os.system('echo noise'), None][2]\n"
        "app.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "trees").read_text() == ""


def test_an_early_interrupt_is_one_line() -> None:
    """Ctrl-C while the command line is still imported ends with exit code 130, wherever it strikes."""
    code = (
        "import signal, sys, spar.__main__ as m\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'spar.cli.app':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.argv = ['spar', '--version']\n"
        "m.main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr, ended.stdout) == (130, "spar: interrupted\n", "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


LONG_NAME = "n" * 5_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", LONG_NAME, "--format", "html"], "File name too long"),
        (["eval", "compare", LONG_NAME, LONG_NAME], "File name too long"),
        (["decode", "--prompt", "x", "--templates", LONG_NAME], "there is no judge.txt"),
        (["decode", "--limit", "9" * 23, "--dry-run"], "less than or equal to"),
        (["decode", "--prompt", "x", "--votes", "9" * 11], "less than or equal to"),
        (["sweep", "nano-if", "--budgets", "9" * 20, "--dry-run"], "too large a budget"),
        (["eval", "nano-if", "--limit", "9" * 8, "--engine", "fake", "--dry-run"], "too large"),
        (["train", "--iterations", "9" * 11, "--dry-run"], "less than or equal to"),
    ],
    ids=["export", "compare", "templates", "limit", "votes", "sweep", "nano-if", "iterations"],
)
def test_sizes_and_names_without_sense_are_one_line(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At once, in place of a traceback or of hours."""
    monkeypatch.setattr(sys, "argv", ["spar", *arguments])
    with pytest.raises(SystemExit) as stopped:
        app.main()
    shown = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in shown
    assert "Traceback" not in shown
