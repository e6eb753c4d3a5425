"""Ctrl-C as one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from spar.errors import Interrupted


@contextlib.contextmanager
def interruptible(directory: Path) -> Iterator[None]:
    """Turn Ctrl-C into one line that names the directory.

    Raises
    ------
    Interrupted
        In place of the interrupt.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; finished work is saved in {directory}; rerun the command to resume"
        ) from None
