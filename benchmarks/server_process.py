"""A scripted server of a benchmark in a process of its own. Not a command."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def server_process(command: Sequence[str], cwd: Path | None = None) -> Iterator[str]:
    """Run a server until the block ends; gives its base URL, the first line that it prints."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
