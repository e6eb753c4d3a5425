"""Skips by installed packages, decided without importing them: collecting the tests stays cheap."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


def requires(*packages: str) -> pytest.MarkDecorator:
    """Skip the test, or the module whose `pytestmark` this is, unless all packages are installed."""
    missing = [package for package in packages if find_spec(package) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
