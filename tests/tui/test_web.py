"""`spar view`: runs as pages on loopback, read only, followed while they grow."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from spar.errors import UsageError
from spar.export.run import program_annotations
from spar.record.evaluation import Example, write_examples
from spar.store import TREES
from tests.browsers import Visit, headless
from tests.export.pages import read_live_page, searched, story_run, strings
from tests.export.samples import write_three
from tests.train.trees import make_tree, write_run
from tests.view.test_text import unseen
from tui.index.run_index import TreeIndex
from tui.web.catalogue import Catalogue
from tui.web.live_run import CHECK_SECONDS, LiveRun
from tui.web.server import HOST, PageServer

Reply = tuple[int, dict[str, str], str]


@contextmanager
def serving(*paths: Path) -> Iterator[PageServer]:
    """A server on any free port."""
    server = PageServer(Catalogue(paths, program_annotations), 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.close()


def ask(server: PageServer, path: str, *, method: str = "GET", **headers: str) -> Reply:
    """Status, headers and text of an answer."""
    connection = http.client.HTTPConnection(HOST, server.server_address[1], timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, dict(answer.headers), text


def rows(server: PageServer, run: str, start: int = 0, generation: str = "") -> dict[str, Any]:
    """The rows of a run so far."""
    path = f"/run/{run}/rows?from={start}&generation={generation}"
    values: dict[str, Any] = json.loads(ask(server, path)[2])
    return values


def wait_for(check: Callable[[], Any]) -> Any:
    """What a check returns, once it is true."""
    deadline = time.monotonic() + 60
    while not (value := check()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def done(server: PageServer, run: str) -> dict[str, Any]:
    """The rows of a run once it is read."""

    def read() -> dict[str, Any] | None:
        values = rows(server, run)
        return values if values["done"] else None

    values: dict[str, Any] = wait_for(read)
    return values


def test_a_run_without_a_tree_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is looked at now and then, not all the time."""
    run = write_run(tmp_path / "empty")
    (run / TREES).write_bytes(b"")
    looks = []
    refresh = TreeIndex.refresh

    def look(self: TreeIndex) -> int:
        looks.append(1)
        return refresh(self)

    monkeypatch.setattr(TreeIndex, "refresh", look)
    served = LiveRun(run, program_annotations)
    time.sleep(1)
    served.close()
    assert 1 <= len(looks) <= 2 + 1 / CHECK_SECONDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a run of each kind of tree, and one with hostile text."""
    write_run(tmp_path / "story", *story_run())
    write_three(tmp_path)
    return tmp_path


def test_rows_trees_and_totals(folder: Path) -> None:
    """What the exported page has is served: rows with their stories, totals, and trees with their diffs."""
    with serving(folder) as server:
        values = done(server, "story")
        changes = {row["id"]: row["change"] for row in values["rows"]}
        assert changes["fixed"] == "fixed" and changes["broken"] == "broken"
        assert values["totals"]["trees"] == 5 and values["totals"]["too_lenient"] == 2
        status, headers, text = ask(server, "/run/story/tree/0")
        tree = json.loads(text)
        assert (status, headers["Cache-Control"], tree["id"]) == (200, "no-store", "fixed")
        assert [change for change in tree["nodes"][1]["delta"] if change != 0]
        assert rows(server, "story", 3, values["generation"])["rows"] == values["rows"][3:]


def test_a_folder_lists_its_runs(folder: Path) -> None:
    """The list links to each run's page; a single run is shown at once."""
    with serving(folder) as server:
        listed = read_live_page(ask(server, "/")[2])["runs"]
        assert {run["name"]: run["href"] for run in listed["rows"]} == {
            "story": "/run/story/",
            "three": "/run/three/",
        }
        page = read_live_page(ask(server, "/run/story/")[2])
        assert (page["live"], page["home"]) == ("/run/story", "/")
    with serving(folder / "story") as server:
        status, headers, _ = ask(server, "/")
        place = f"/run/{quote(folder.name)}/story/"
        assert (status, headers["Location"]) == (302, place)
        assert ask(server, place)[0] == 200


@pytest.mark.parametrize("path", ["..", "../../three", ".", "../../linked/.."])
def test_a_path_with_dots_has_an_address(
    folder: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser would drop them from it; `..` behind a link is the folder above what it leads to."""
    inside = folder / "three" / "sub"
    inside.mkdir()
    (folder / "linked").symlink_to(inside, target_is_directory=True)
    monkeypatch.chdir(folder / "three" if path == "." else inside)
    with serving(Path(path)) as server:
        place = ask(server, "/")[1]["Location"]
        assert place == f"/run/{quote(folder.name)}/three/"
        assert ask(server, place)[0] == 200
    assert sorted(Catalogue([folder / "story", Path(path)], program_annotations).names()) == [
        "story",
        "three",
    ]


def test_runs_are_set_side_by_side(folder: Path) -> None:
    """A row has its figures, without the columns that no run has; a stage stands below its run."""
    totals: dict[str, Any] = {
        "trees": 5,
        "calls": 20,
        "completion_tokens": 900,
        "passed_after": 0.4,
    }
    totals |= {
        "passed_after_stderr": 0.1,
        "seconds": 9.0,
        "load_seconds": 2.0,
        "engines": {"e": {}},
    }
    (folder / "story" / "summary.json").write_text(json.dumps(totals))
    write_run(folder / "story" / "drafts", *story_run())
    catalogue = Catalogue([folder], program_annotations)
    table = catalogue.table()
    rows = {
        row["name"]: dict(zip(table["headings"], row["cells"], strict=True))
        for row in table["rows"]
    }
    story = rows["story"]
    assert (story["pass, %"], story["n"], story["calls"]) == ("40.0 ± 10.0", "5", "4.0")
    assert (story["tokens"], story["run seconds"]) == ("180", "7.0")
    assert "metric" not in table["headings"]
    names = [(row["short"], row["level"]) for row in table["rows"]]
    assert names[names.index(("story", 0)) + 1] == ("drafts", 1)
    assert {row.run for row in catalogue.run_rows()} == {"story", "three"}
    write_run(folder / "other" / "deep", *story_run())
    only = Catalogue([folder / "other" / "deep" / TREES, folder / "three"], program_annotations)
    assert [row.run for row in only.run_rows()] == ["deep", "three"]


def test_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    """Evaluations of one benchmark in several folders are all there, each under an address of its own."""
    for name in "abc":
        write_run(tmp_path / name / "mine" / "nano-if", *story_run())
    paths = [tmp_path / name / "mine" for name in "abc"]
    catalogue = Catalogue([*paths, paths[0]], program_annotations)
    assert catalogue.names() == [f"{name}/mine/nano-if" for name in "abc"]
    for path, name in zip(paths, catalogue.names(), strict=True):
        assert catalogue.open(name).directory == path / "nano-if"
    catalogue.close()
    runs = [path / "nano-if" for path in paths]
    assert Catalogue(runs, program_annotations).names() == [
        f"{name}/mine/nano-if" for name in "abc"
    ]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "0.0.0.0:{port}"]
)
def test_other_names_are_refused(folder: Path, host: str) -> None:
    """A site whose name was pointed at this machine reads nothing."""
    with serving(folder) as server:
        name = host.format(port=server.server_address[1])
        for path in ("/", "/run/story/rows"):
            status, _, text = ask(server, path, Host=name)
            assert status == 403 and text.startswith("refused: this server answers to 127.0.0.1:")


def test_pages_of_other_sites_are_refused(folder: Path) -> None:
    """They may link to the page, but not read or embed anything of it."""
    with serving(folder) as server:
        assert ask(server, "/run/story/rows", Sec_Fetch_Site="cross-site")[0] == 403
        link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
        status, headers, _ = ask(server, "/run/story/", **link)
        assert status == 200
        policy = headers["Content-Security-Policy"]
        assert "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_nothing_can_be_written(folder: Path) -> None:
    """Other methods are not known, and paths lead nowhere else."""
    with serving(folder) as server:
        assert {ask(server, "/run/story/rows", method=m)[0] for m in ("POST", "PUT", "DELETE")} == {
            501
        }
        assert ask(server, "/run/story/", method="HEAD")[2] == ""
        for path in (
            "/etc/passwd",
            "/run/../../etc/",
            "/run/no/rows",
            "/run/story/tree/99",
            "/run/story/tree/%C2%B2",
            "/run/story/tree/%E0%B9%93",
            f"/run/story/tree/{'9' * 5_000}",
            "/run/story",
        ):
            status, _, text = ask(server, path)
            assert status == 404 and text.count("\n") == 0


def test_a_folder_whose_name_is_not_utf_8(folder: Path) -> None:
    """It is listed, and its address leads to its page and to its trees."""
    run = folder / os.fsdecode(b"caf\xe9")
    write_run(run, *story_run())
    with serving(folder) as server:
        status, _, home = ask(server, "/")
        assert status == 200 and "/run/caf%E9/" in home
        assert ask(server, "/run/caf%E9/")[0] == 200
        assert len(done(server, "caf%E9")["rows"]) == len(story_run())
    with serving(run) as server:
        status, headers, _ = ask(server, "/")
        assert (status, headers["Location"]) == (302, f"/run/{folder.name}/caf%E9/")


def test_an_unexpected_failure_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader is told of it, where the connection ended without an answer; other requests are answered."""

    def fail(catalogue: Catalogue) -> list[str]:
        raise RuntimeError("no\nway \udcff")

    with serving(folder) as server:
        with monkeypatch.context() as patched:
            patched.setattr(Catalogue, "names", fail)
            status, _, text = ask(server, "/")
            assert (status, text.count("\n")) == (500, 0)
            assert text.startswith("unexpected error: RuntimeError: no")
        assert ask(server, "/")[0] == 200


def test_it_listens_on_loopback_alone(folder: Path) -> None:
    """And says which port is taken."""
    with serving(folder) as server:
        port = server.server_address[1]
        assert server.server_address[0] == "127.0.0.1"
        with pytest.raises(UsageError, match=f"port {port} is taken .* pass another --port"):
            PageServer(Catalogue((folder,), program_annotations), port)


def test_a_growing_run_is_followed(folder: Path) -> None:
    """A tree that is appended comes as a new row; one that is half written does not, until it is whole."""
    with serving(folder) as server:
        first = done(server, "story")
        line = searched("late", ("all done", 5)).to_json() + "\n"
        with (folder / "story" / TREES).open("a") as handle:
            handle.write(line[:40])
            handle.flush()
            time.sleep(0.8)
            assert rows(server, "story", 5, first["generation"])["rows"] == []
            handle.write(line[40:])
        new = wait_for(lambda: rows(server, "story", 5, first["generation"])["rows"])
        assert [row["id"] for row in new] == ["late"]


def test_of_two_trees_of_a_prompt_the_last_counts(folder: Path) -> None:
    """A round of `--total-budget` appends the new one: the totals have it alone, and a search finds the lines of both."""
    first = [make_tree((None, 1), prompt_id=f"{n}") for n in range(2)]
    run = write_run(folder / "rounds", *first)
    with serving(folder) as server:
        assert done(server, "rounds")["totals"]["trees"] == 2
        with (run / TREES).open("a") as handle:
            handle.write(make_tree((None, 1), (0, 5), prompt_id="1").to_json() + "\n")
        values = wait_for(lambda: v if len((v := done(server, "rounds"))["rows"]) == 3 else None)
        assert [row["id"] for row in values["rows"]] == ["0", "1", "1"]
        assert (values["totals"]["trees"], values["totals"]["nodes"]) == (2, 3)
        assert values["totals"]["changes"] == {"failed": 1, "fixed": 1}
        found = json.loads(ask(server, "/run/rounds/search?text=r0&from=1")[2])
        assert found == {"numbers": [1, 2], "next": 3, "done": True}


def test_a_replaced_file_and_a_damaged_line(folder: Path) -> None:
    """Everything is read again under another generation; a line that is no tree is a row that says so."""
    trees = folder / "story" / TREES
    with serving(folder) as server:
        before = done(server, "story")["generation"]
        new = trees.with_name("new")
        new.write_text("{broken\n" + make_tree((None, 3), prompt_id="other").to_json() + "\n")
        new.replace(trees)
        values = wait_for(
            lambda: v if (v := done(server, "story"))["generation"] != before else None
        )
        assert [row["id"] for row in values["rows"]] == ["line-1", "other"]
        assert values["rows"][0]["error"] and "corrupt" in values["rows"][0]["title"]


def test_verdicts_that_come_later_count(folder: Path) -> None:
    """An evaluation scores its answers at the end; the rows are made again."""
    run = write_run(folder / "graded", make_tree((None, 1), (0, 5)))
    with serving(folder) as server:
        assert done(server, "graded")["rows"][0]["after"] == [True, None]
        write_examples(run, [Example(id="p", response="r1", passed=False)])
        wait_for(lambda: done(server, "graded")["rows"][0]["after"] == [True, False])


def test_a_search_finds_responses(folder: Path) -> None:
    """Through the index: rows whose prompt or any response has the text."""
    with serving(folder) as server:
        done(server, "story")
        values = json.loads(ask(server, f"/run/story/search?text={quote('one, two')}&from=0")[2])
        assert values == {"numbers": [0], "next": 1, "done": True}


def test_hostile_runs_are_data(folder: Path) -> None:
    """No escape sequence or lone surrogate is sent."""
    with serving(folder) as server:
        values = [done(server, "three"), json.loads(ask(server, "/run/three/tree/2")[2])]
        assert "<script>alert(1)</script>" in "".join(strings(values))
        assert unseen("".join(strings(values)).replace("\t", "")) == set()


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
def test_the_page_follows_in_a_browser(folder: Path) -> None:
    """A new tree appears without a reload, a tree opens by its address, and no request goes elsewhere."""
    with headless() as browser, serving(folder) as server:
        visit = Visit(browser)
        page = visit.open(f"{server.url}run/story/")
        page.locator(".count", has_text="5 prompts").first.wait_for()
        with (folder / "story" / TREES).open("a") as handle:
            handle.write(searched("late", ("all done", 5)).to_json() + "\n")
        page.locator(".row", has_text="Say late.").click()
        page.wait_for_selector(".drawing")
        assert page.url.endswith("/run/story/#late")
        page.locator(".list-head input").fill("one, two")
        page.locator(".count", has_text="1 of 6 prompts").first.wait_for()
        page.locator(".list-head input").fill("")
        with (folder / "story" / TREES).open("a") as handle:
            handle.write(searched("late", ("all done", 1), ("done", 5)).to_json() + "\n")
        late = page.locator(".row", has_text="Say late.").filter(has_text="12 calls")
        late.wait_for()
        assert page.locator('[data-filter="all"] span').inner_text() == "6"
        assert page.locator(".count").first.inner_text() == "6 prompts"
        page.goto(server.url)
        page.keyboard.press("?")
        assert page.locator("dialog.help[open] dt").all_inner_texts() == ["t", "?"]
        page.keyboard.press("Escape")
        page.get_by_role("link", name="story").click()
        page.wait_for_selector(".dashboard .big")
        assert all(url.startswith(server.url) for url in visit.requests)
        visit.close()


def test_the_command(folder: Path) -> None:
    """It prints where it listens and the runs side by side, and Ctrl-C ends it without an error."""
    command = [sys.executable, "-m", "spar", "view", str(folder), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(f"http://{HOST}:") and line.endswith("; Ctrl-C ends it\n")
    table = "".join(process.stdout.readline() for _ in range(6))
    assert "│ story │ stopped │" in table and "│ three │ stopped │" in table
    port = int(line.split(":")[2].split("/")[0])
    with socket.create_connection((HOST, port), timeout=30):
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
