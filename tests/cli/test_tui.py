"""`spar tui`: what it says where it cannot start, what it hands to the browser, and that it starts."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spar.cli import run_tui
from spar.cli.run_tui import WEB_DRIVER, demo, make_inputs, stages_of
from spar.cli.run_tui import run as run_browser
from spar.config import DecodeConfig
from spar.errors import RunStopped, UsageError
from spar.export.run import annotations_for
from tests.tui.samples import solved_tree, trees, write_run
from tui.index.row_summary import summarize_tree

NANO = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}


@pytest.fixture
def no_web(monkeypatch: pytest.MonkeyPatch) -> None:
    """No web server runs us."""
    monkeypatch.delenv(WEB_DRIVER, raising=False)


@pytest.mark.usefixtures("no_web")
def test_without_a_terminal(tmp_path: Path) -> None:
    """One line, exit code 2, and what to do instead."""
    command = [sys.executable, "-m", "spar", "tui", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "needs a terminal" in done.stderr and "spar export RUN" in done.stderr


@pytest.mark.usefixtures("no_web")
def test_in_a_terminal_that_cannot_be_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would show the escape codes."""
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(UsageError, match=r"TERM is 'dumb'; set TERM, use spar view RUN"):
        run_browser((), DecodeConfig())


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(UsageError, match=r"nowhere does not exist; pass a run directory"):
        run_browser((tmp_path, tmp_path / "nowhere"), DecodeConfig())


def test_without_textual(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is named, and how to get it."""
    monkeypatch.setenv(WEB_DRIVER, "x")
    for name in [name for name in sys.modules if name.split(".")[0] in ("textual", "tui")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)
    with pytest.raises(UsageError, match=r"needs the package 'textual'.*pip install \."):
        run_browser((), DecodeConfig())


def test_what_is_handed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a run, those below runs/, where the browser was left; ground truth; the rendered prompt."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    inputs = make_inputs(())
    assert (inputs.paths, inputs.resume) == ((Path("runs"),), True)
    assert inputs.state_file == tmp_path / "spar" / "tui.json"
    named = make_inputs((tmp_path,))
    assert (named.paths, named.resume) == ((tmp_path,), False)


def test_truth(tmp_path: Path) -> None:
    """Of the answer, by the verifiers of its prompt; None where there are none. A prompt without an answer fails."""
    tree = solved_tree()
    with_meta = tree.model_copy(update={"prompt": tree.prompt.model_copy(update={"meta": NANO})})
    check = make_inputs(()).authority(tmp_path).check
    unanswered = with_meta.model_copy(update={"selected": None})
    rows = [summarize_tree(each, check=check) for each in (with_meta, tree, unanswered)]
    assert [row.truth for row in rows] == [True, None, False]


def test_the_stages_of_a_loop(tmp_path: Path) -> None:
    """As `spar train status` has them, without a change to the loop's lock; none of another folder."""
    stored = Path(__file__).parents[1] / "compat/data/runs/train-39e2db12"
    before = (stored / "run.lock").read_bytes()
    stages = stages_of(stored)
    assert {stage.state for stage in stages} == {"done"} and stages[-1].name == "eval"
    assert (stored / "run.lock").read_bytes() == before
    assert stages_of(tmp_path) == ()


def test_annotations(tmp_path: Path) -> None:
    """Verdicts come from the verifiers; a run that names no templates has no rendered prompts."""
    annotations = annotations_for(write_run(tmp_path / "a", trees(1)))
    tree = solved_tree()
    with_meta = tree.model_copy(update={"prompt": tree.prompt.model_copy(update={"meta": NANO})})
    assert annotations.render is None
    assert annotations.check is not None
    (finding,) = annotations.check(with_meta, with_meta.nodes[0])
    assert (finding.type, finding.met) == ("punctuation:no_comma", True)


async def test_a_demo_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line that it said is the reason."""
    monkeypatch.setattr(run_tui, "DEMO", ("--strategy", "nonsense"))
    with pytest.raises(RunStopped, match=r"the demo failed: .*nonsense"):
        await demo(tmp_path / "demo")


async def test_a_demo_that_is_cancelled_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the person leaves the browser meanwhile."""
    started: list[asyncio.subprocess.Process] = []
    begin = asyncio.create_subprocess_exec

    async def noted(*command: str, **flags: object) -> asyncio.subprocess.Process:
        started.append(await begin("sleep", "600", **flags))  # type: ignore[arg-type]
        return started[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    task = asyncio.create_task(demo(tmp_path / "demo"))
    while not started:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.wait_for(started[0].wait(), 10) != 0


@pytest.mark.usefixtures("no_web")
def test_in_a_terminal(tmp_path: Path) -> None:
    """It draws the runs, quits at `q`, leaves the terminal as it was, and exits with 0."""
    write_run(tmp_path / "runs" / "mine", trees(3))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "spar", "tui", str(tmp_path / "runs")]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        drawn = read_until(ours, b"1 run")
        os.write(ours, b"q")
        drawn += read_until(ours, b"\x1b[?1049l")
        assert process.wait(30) == 0
    os.close(ours)
    assert b"mine" in drawn and b"Traceback" not in drawn
    assert (tmp_path / "spar" / "tui.json").is_file()


def read_until(descriptor: int, wanted: bytes, seconds: float = 60.0) -> bytes:
    """What a terminal shows until something was shown."""
    deadline, shown = time.monotonic() + seconds, b""
    while wanted not in shown:
        assert time.monotonic() < deadline, shown[-2000:]
        if select.select([descriptor], [], [], 0.1)[0]:
            try:
                shown += os.read(descriptor, 65536)
            except OSError:  # the other side has ended
                assert wanted in shown, shown[-2000:]
    return shown
