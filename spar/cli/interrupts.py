"""Ctrl-C as an error of one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from spar.errors import Interrupted


@contextlib.contextmanager
def interruptible(directory: Path | None = None) -> Iterator[None]:
    """Turn Ctrl-C into one line that names the directory.

    Raises
    ------
    Interrupted
        In place of the interrupt.
    """
    try:
        yield
    except KeyboardInterrupt:
        saved = f"finished work is saved in {directory}; " if directory else ""
        raise Interrupted(f"interrupted; {saved}rerun the command to resume") from None
