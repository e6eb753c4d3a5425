"""What tests of evolution share: where the benchmarks' data is."""

from __future__ import annotations

from tests.eval.conftest import data_root

__all__ = ["data_root"]
