"""The record of a server: run directories that rotate, and that the browser follows while they grow."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from spar.errors import RunLocked
from spar.listener import Listener
from spar.manifest import Manifest
from spar.serve import recording
from spar.serve.recording import Recorder
from spar.store import TREES, read_summary, read_trees
from spar.types import Message, Node, Prompt, SearchTree
from tests.browsers import Visit, headless
from tests.serve.harness import asking, serving
from tests.tui.test_web import serving as viewing
from tui.index.run_index import TreeIndex
from tui.index.run_list import RunWalk
from tui.index.run_summary import read_run

MANIFEST = Manifest(spar_version="0", config={"strategy": "bfs", "budget": 3})
OTHER = Manifest(spar_version="0", config={"strategy": "dfs", "budget": 3})


def tree(name: str) -> SearchTree:
    """A tree of one node."""
    prompt = Prompt(id=name, messages=(Message(role="user", content="Hi."),))
    node = Node(id=0, parent=None, depth=0, response="x" * 100)
    return SearchTree(
        prompt=prompt,
        strategy="bfs",
        config=MANIFEST.digest,
        nodes=(node,),
        selected=0,
        stop="budget",
    )


def record(recorder: Recorder, names: str) -> list[str]:
    """Store trees one after the other; returns the names of their directories."""

    async def store() -> list[str]:
        places = []
        for name in names:
            directory = recorder.reserve(MANIFEST)
            assert await recorder.append(directory, tree(name))
            recorder.release(directory)
            places.append(directory.path.name)
        return places

    return asyncio.run(store())


def test_a_full_directory_is_followed_by_the_next(tmp_path: Path) -> None:
    """By size; a recorder that is opened again goes on in the one that is not full."""
    line = len(tree("a").to_json()) + 1
    name = f"bfs-3-{MANIFEST.digest[:8]}"
    for _ in range(2):
        recorder = Recorder(tmp_path / "out", max_bytes=2 * line)
        places = record(recorder, "ab" if _ == 0 else "cde")
        recorder.close()
    assert places == [f"{name}-2", f"{name}-2", f"{name}-3"]
    counts = {d.name: len(list(read_trees(d))) for d in (tmp_path / "out").iterdir() if d.is_dir()}
    assert counts == {name: 2, f"{name}-2": 2, f"{name}-3": 1}
    assert read_summary(tmp_path / "out" / f"{name}-2")["trees"] == 2


def test_each_day_has_its_directory(tmp_path: Path) -> None:
    """A request that received yesterday's address still goes there."""
    days = iter(["2026-11-28", "2026-11-29", "2026-11-29"])
    recorder = Recorder(tmp_path / "out", daily=True, today=lambda: next(days))
    before = recorder.reserve(MANIFEST)
    assert record(recorder, "b") == [f"bfs-3-{MANIFEST.digest[:8]}-2026-11-29"]
    assert asyncio.run(recorder.append(before, tree("a")))
    recorder.close()
    assert before.path.name.endswith("2026-11-28")
    assert [t.prompt.id for t in read_trees(before.path)] == ["a"]


def test_the_address_of_a_folder_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    """It has the folder's bytes, so that the answer is sent and the address leads there."""
    recorder = Recorder(tmp_path / os.fsdecode(b"caf\xe9"))
    (name,) = record(recorder, "a")
    directory = recorder.reserve(MANIFEST)
    recorder.close()
    assert directory.address("id") == f"caf%E9/{name}/id"


async def test_the_summary_has_the_last_trees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without another request and before the server ends, so that a killed one leaves totals that are right."""
    monkeypatch.setattr(recording, "SUMMARY_SECONDS", 0.3)
    recorder = Recorder(tmp_path / "out")
    try:
        directory = recorder.reserve(MANIFEST)
        for name in "abc":
            assert await recorder.append(directory, tree(name))
        recorder.release(directory)
        async with asyncio.timeout(60):
            while read_summary(directory.path)["trees"] < 3:
                await asyncio.sleep(0.01)
    finally:
        recorder.close()


async def test_a_directory_of_an_earlier_day_is_closed(tmp_path: Path) -> None:
    """Once nothing is to come, whatever the searches of the new day are: its run is finished, with all trees in its summary."""
    days = iter(["2026-11-28", "2026-11-28", "2026-11-29"])
    recorder = Recorder(tmp_path / "out", daily=True, today=lambda: next(days))
    try:
        before, other = recorder.reserve(MANIFEST), recorder.reserve(OTHER)
        for directory in (before, other, before, other):
            assert await recorder.append(directory, tree("ab"[directory.size > 0]))
        recorder.release(before)
        after = recorder.reserve(MANIFEST)
        assert await recorder.append(after, tree("c"))
        runs = [read_run(each.path) for each in (before, other, after)]
        assert [run.state for run in runs if run] == ["finished", "running", "running"]
        assert runs[0] is not None and runs[0].trees == 2
        recorder.release(other)
        assert await recorder.append(after, tree("d"))
        run = read_run(other.path)
        assert run is not None and (run.state, run.trees) == ("finished", 2)
    finally:
        recorder.close()


def test_one_server_writes_to_a_folder(tmp_path: Path) -> None:
    """Another one is refused before it loads a model."""
    recorder = Recorder(tmp_path / "out")
    with pytest.raises(RunLocked, match="choose another --out"):
        Recorder(tmp_path / "out")
    recorder.close()
    Recorder(tmp_path / "out").close()


def damage(directory: Path) -> None:
    """Take the file of trees away."""
    (directory / TREES).unlink()


def test_a_tree_that_cannot_be_stored_is_answered_all_the_same(tmp_path: Path) -> None:
    """A line says so, the answer has no address, health counts it, and the next tree is stored again."""
    notes: list[str] = []

    class Notes(Listener):
        """Collects notes."""

        def note(self, line: str) -> None:
            """Collect one."""
            notes.append(line)

    with serving(out=tmp_path / "out", listener=Notes()) as served:
        run = served.post(asking()).headers["x-spar-tree"].rpartition("/")[0]
        damage(tmp_path / "out" / Path(run).name)
        response = served.post(asking())
        assert response.status_code == 200
        assert "x-spar-tree" not in response.headers
        assert response.json()["spar"]["choices"][0]["tree"] is None
        assert served.get("/health").json()["trees_not_stored"] == 1
        assert any("is not stored" in note for note in notes)
        assert "x-spar-tree" in served.post(asking()).headers


def test_the_browser_follows_a_server(tmp_path: Path) -> None:
    """Its runs are listed while it serves, and an open index finds each new tree."""
    with serving(out=tmp_path / "out") as served:
        first = served.post(asking("One."))
        (run,) = RunWalk(tmp_path / "out")
        assert run.directory.name.startswith("bfs-7-")
        assert run.kind == "decode"
        with TreeIndex.open(run.directory) as index:
            assert len(index) == 1
            second = served.post(asking("Two."))
            assert index.refresh() == 1
            while not index.summarise():
                pass
            for reply in (first, second):
                row = index.find(reply.json()["id"])
                assert row is not None
                text = reply.json()["choices"][0]["message"]["content"]
                assert index.tree(row).answer == text
        served.post(asking("Three.", model="greedy/tiny"))
        assert len(list(RunWalk(tmp_path / "out"))) == 2


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
def test_the_page_follows_a_live_server(tmp_path: Path) -> None:
    """Requests appear on the open page without a reload, each with its tree, and a new search in the list of runs."""
    out = tmp_path / "out"
    with serving(out=out) as served, headless() as browser:
        first = served.post(asking("Say one."))
        name = Path(first.headers["x-spar-tree"]).parent.name
        with viewing(out) as pages:
            visit = Visit(browser)
            page = visit.open(f"{pages.url}run/{name}/")
            page.locator(".row", has_text="Say one.").wait_for()
            second = served.post(asking("Say two."))
            page.locator(".row", has_text="Say two.").click()
            page.wait_for_selector(".drawing")
            assert page.url.endswith(f"#{second.json()['id']}")
            other = served.post({**asking("Say three."), "model": "dfs-3/tiny"})
            page.goto(pages.url)
            page.get_by_role("link", name=Path(other.headers["x-spar-tree"]).parent.name).click()
            page.locator(".row", has_text="Say three.").wait_for()
            visit.close()
