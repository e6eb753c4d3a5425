"""One server for the tests that need nothing special."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.requires import requires

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.serve.harness import Served, serving

pytestmark = requires("starlette", "uvicorn", "prometheus_client", "jsonschema")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with scripted replies that stores its trees."""
    with serving(out=tmp_path_factory.mktemp("served") / "out", budget=7) as server:
        yield server
