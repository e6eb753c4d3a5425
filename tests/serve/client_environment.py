"""An environment for clients that cannot be installed beside spar: made once, on top of the one that runs the tests.

It has the packages of `clients.txt` and sees those of the project's environment behind them, so that only what differs is
downloaded (34 packages). It lies inside the project's environment and goes with it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from spar.files import taking_turns

PINS = Path(__file__).with_name("clients.txt")
INSTALL_SECONDS = 240


def client_python() -> Path:
    """The interpreter of the clients' environment; a skip where no package registry can be reached."""
    project = sysconfig.get_paths()["purelib"]
    key = hashlib.sha256(PINS.read_bytes() + project.encode() + sys.version.encode()).hexdigest()
    folder = Path(sys.prefix) / "clients" / key[:12]
    python, complete = folder / "bin" / "python", folder / "complete"
    if complete.exists():
        return python
    folder.parent.mkdir(exist_ok=True)
    with taking_turns(folder.with_suffix(".lock")):
        if not complete.exists():
            _make(folder, python, project)
            complete.touch()
    return python


def _make(folder: Path, python: Path, project: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder)
    (own,) = folder.glob("lib/*/site-packages")
    (own / "project.pth").write_text(f"{project}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    install = [
        "install",
        "-q",
        "--no-compile",
        "--retries",
        "1",
        "--timeout",
        "15",
        "-r",
        str(PINS),
    ]
    done = subprocess.run([*pip, *install], capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if done.returncode and not _registry_answers(pip):
        pytest.skip("the clients cannot be installed: no package registry can be reached")
    assert done.returncode == 0, done.stderr


def _registry_answers(pip: list[str]) -> bool:
    asked = subprocess.run([*pip, "index", "versions", "litellm"], capture_output=True, timeout=60)
    return asked.returncode == 0
