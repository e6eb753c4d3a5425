"""Shares the fixture `data_root` with the tests of evolution."""

from __future__ import annotations

from tests.eval.conftest import data_root

__all__ = ["data_root"]
