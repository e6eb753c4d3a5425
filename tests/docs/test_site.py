"""The site of `make docs`: built strictly, so that a broken link fails it, and nothing on it asks another server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import spar

pytest.importorskip("mkdocs")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
LOADING = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
"""HTML element to the attribute by which a browser loads something at once."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fresh build."""
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stderr
    return folder


class Loaded(HTMLParser):
    """Collects what a page loads, and the ids it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note addresses and ids."""
        values = dict(attrs)
        self.addresses += [values[name] or "" for name in [LOADING.get(tag)] if name in values]
        self.ids |= {values["id"] or ""} if "id" in values else set()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Pages, style sheets and pictures name no file of another server."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    loaded = {address for page in pages for address in Loaded(page).addresses}
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []
    for sheet in [*site.rglob("*.css"), *site.rglob("*.svg")]:
        remote = re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text("utf-8"))
        assert remote == [], sheet


def test_every_public_name_has_a_place_in_the_api(site: Path) -> None:
    """A name of `spar.__all__` is an anchor of one page of the API, by itself or in its async form."""
    anchors = {name for page in (site / "docs" / "api").glob("*.html") for name in Loaded(page).ids}
    anchors |= {name.replace("spar.api.training.", "spar.") for name in anchors}
    documented = {name.removesuffix("_async") for name in anchors}
    assert [
        name for name in spar.__all__ if f"spar.{name}".removesuffix("_async") not in documented
    ] == []
