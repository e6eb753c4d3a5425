"""A folder that refuses to be written: root, as which tests may run, is not stopped by permissions."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from spar import files


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int = errno.EROFS) -> None:
    """Let the lock of marks in a folder fail."""

    def taking_turns(path: Path) -> Any:
        if path.is_relative_to(folder):
            raise OSError(number, "refused", str(path))
        return files.taking_turns(path)

    monkeypatch.setattr("spar.record.marks.taking_turns", taking_turns)
