"""What the command line prints of an exception that a plug-in's own code raised."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import spar.cli.plugin_errors
from spar import plugins
from spar.cli import app
from spar.cli.plugin_errors import describe_plugin_error

MODULE = """
def helper(response):
    return {}[response[:0]]
def judge(prompt, response):
    return helper(response)
async def later(prompt, response):
    open("/nowhere/at/all")
def plan(roots, config):
    yield [1 / 0]
def refine(prompt, node):
    raise RuntimeError
def short(response):
    return True
"""


def fails(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """The exit code and the line of a decode on the fake engine."""
    monkeypatch.setattr(
        sys, "argv", ["spar", "decode", "--engine", "fake", "--display", "none", *arguments]
    )
    with pytest.raises(SystemExit) as stopped:
        app.main()
    return int(str(stopped.value.code)), capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--judge", "MODULE:judge"], "MODULE:helper raised KeyError: '' ("),
        (["--judge", "MODULE:later"], "MODULE:later raised FileNotFoundError: "),
        (["--strategy", "MODULE:plan"], "MODULE:plan raised ZeroDivisionError: division by zero ("),
        (["--judge", "MODULE:short"], "MODULE:short raised TypeError: short() takes 1 positional"),
        (["--judge", "BROKEN:judge"], "BROKEN raised ModuleNotFoundError: No module named"),
        (["--judge", "UNREADABLE:judge"], "UNREADABLE.py, line 1: "),
    ],
    ids=["judge", "async", "strategy", "parameters", "import", "syntax"],
)
def test_an_exception_of_a_plugin_is_one_line_with_its_place(
    flags: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line names the plug-in's function, the exception, file and line; the thirty frames of spar above are left out."""
    names = {"MODULE": MODULE, "BROKEN": "import there_is_no_such_package", "UNREADABLE": "def f(:"}
    for name, text in names.items():
        (tmp_path / f"{name}_{tmp_path.name}.py").write_text(text)
        flags = [flag.replace(name, f"{name}_{tmp_path.name}") for flag in flags]
        words = words.replace(name, f"{name}_{tmp_path.name}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "LOADED_MODULES", set())
    monkeypatch.setattr(spar.cli.plugin_errors, "LOADED_MODULES", plugins.LOADED_MODULES)
    out = ["--prompt", "Write.", "--budget", "2", "--out", str(tmp_path / "run")]
    code, err = fails([*flags, *out], monkeypatch, capsys)
    last = err.splitlines()[-1]
    assert last.startswith("spar: "), err
    assert words in last
    assert code in (1, 2)
    assert "Traceback" not in err


def test_an_exception_of_spar_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a frame of a plug-in below the last one of spar, an exception is spar's own fault."""
    monkeypatch.setattr(spar.cli.plugin_errors, "LOADED_MODULES", {__name__})
    with pytest.raises(AttributeError) as caught:
        plugins.load("spar.plugins:load", "judge")(None, "judge")
    assert describe_plugin_error(caught.value) is None
