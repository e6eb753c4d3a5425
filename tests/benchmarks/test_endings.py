"""How the benchmarks end where their user can help it: with one line and no traceback."""

from __future__ import annotations

from pathlib import Path

import fewer_votes
import pytest
from reporting import run_benchmark

from tests.docs.pages import ROOT

SCRIPTS = [
    path
    for path in sorted((ROOT / "benchmarks").glob("*.py"))
    if 'if __name__ == "__main__":' in path.read_text("utf-8")
]


def test_a_user_error_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the script and what is wrong, and the exit status is that of the command line."""
    monkeypatch.setattr("sys.argv", ["benchmarks/fewer_votes.py", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as caught:
        run_benchmark(fewer_votes.main)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fewer_votes.py: ")
    assert "none" in line


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_benchmark_ends_so(script: Path) -> None:
    """Each script runs its `main` through `run_benchmark`."""
    assert script.read_text("utf-8").endswith("    run_benchmark(main)\n")
