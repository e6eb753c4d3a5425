"""A run as a page: what is embedded, that only its own script may run, and hostile text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from spar.errors import UsageError
from spar.export import export_tree
from spar.export.page.document import document
from spar.export.page.run_data import run_facts
from spar.export.page.tree_data import IDENTIFIER, LIMIT, delta, identifier
from spar.record.evaluation import Example, Verdict, write_examples
from spar.record.marks import MarkBook
from spar.record.run_log import start_line
from spar.types import Fault, Node, SearchTree
from tests.export.pages import read_page, story_run, strings, write_pages
from tests.export.samples import write_three
from tests.hostile import EVERYTHING, hostile_text, hostile_tree
from tests.strategies import trees
from tests.train.trees import make_tree, tree_of, write_run
from tests.view.test_text import unseen


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def digest(text: str) -> str:
    """A hash as a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.fixture
def story(tmp_path: Path) -> Path:
    """A run with one tree of each kind."""
    return write_run(tmp_path / "story", *story_run())


def test_only_its_own_script_and_style_may_run(story: Path, tmp_path: Path) -> None:
    """The policy names the hashes of one script and one style, and allows no request and nothing else."""
    (file,) = write_pages(story, tmp_path / "run.html")
    page = read_page(file.read_text())
    assert page.policy == (
        f"default-src 'none'; script-src {digest(page.script)}; style-src {digest(page.style)}; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page.text)
    assert "innerHTML" not in page.script and "eval(" not in page.script


def test_rows_say_what_the_search_did(story: Path, tmp_path: Path) -> None:
    """A row for each prompt: the change, both verdicts before and after, and the failing types of the answer."""
    page = read_page(write_pages(story, tmp_path / "run.html")[0].read_text())
    assert {row["id"]: row["change"] for row in page.rows} == {
        "fixed": "fixed",
        "broken": "broken",
        "right": "passed",
        "fails": "failed",
        "fooled": "failed",
    }
    rows = {row["id"]: row for row in page.rows}
    assert rows["fooled"]["after"] == [True, False]
    assert rows["fixed"]["before"] == [False, False] and rows["fixed"]["after"] == [True, True]
    assert rows["fails"]["failing"] == ["startend:end_checker"]
    assert rows["fixed"]["story"] == "failed: no commas → fixed in 1 refinement, 12 calls"
    assert page.run["totals"]["changes"] == {"fixed": 1, "broken": 1, "passed": 1, "failed": 2}
    assert page.run["totals"]["too_lenient"] == 2
    assert page.run["totals"]["truth"]["before"][0] == pytest.approx(2 / 5)


def test_a_tree_has_votes_constraints_and_changes(story: Path, tmp_path: Path) -> None:
    """The first tree: a refinement as its change against the draft, and what was found."""
    tree = read_page(write_pages(story, tmp_path / "run.html")[0].read_text()).trees[0]
    draft, refined = tree["nodes"]
    assert draft["text"] == "one, two done"
    assert draft["judgement"]["votes"] == "ynnnn" and not draft["judgement"]["passed"]
    assert [finding[2] for finding in draft["truth"]] == [False, True]
    assert "text" not in refined and applied(draft["text"], refined["delta"]) == "one two done"
    assert (refined["parent"], refined["column"], tree["selected"]) == (0, 2, 1)
    assert draft["id"] == 0 and draft["judgement"]["critique"] == "critique of one, two done"


def applied(before: str, changes: list[Any]) -> str:
    """The text after a change, as the page's script makes it: counting UTF-16 units."""
    units, at, after = before.encode("utf-16-le"), 0, b""
    for change in changes:
        if isinstance(change, list):
            after += change[1].encode("utf-16-le")
        else:
            after += units[2 * at : 2 * (at + change)] if change > 0 else b""
            at += abs(change)
    assert 2 * at == len(units)
    return after.decode("utf-16-le")


@given(hostile_text, hostile_text)
@example("a 👩‍💻 b", "a 👩‍💻👩‍💻 b")
def test_a_change_leads_to_the_refinement(before: str, after: str) -> None:
    """Also where a character takes two units."""
    before, after = (text.encode("utf-8", "replace").decode() for text in (before, after))
    assert applied(before, delta(before, after)) == after


@given(trees())
@example(hostile_tree())
@example(make_tree())
def test_any_tree_as_a_page(tree: SearchTree) -> None:
    """No tag comes from model text, and all text is in visible forms."""
    page = read_page(export_tree(tree, "html"))
    tags = Tags(page.text)
    expected = "html head meta meta meta meta meta title style body noscript code script script script script"
    assert tags.tags == expected.split()
    assert unseen("".join(strings([page.run, page.rows, page.trees])).replace("\t", "")) == set()


def test_hostile_text_everywhere(tmp_path: Path) -> None:
    """A hostile run: its text stands in the data as text, and the page has no tag of it."""
    page = read_page(write_pages(write_three(tmp_path), tmp_path / "x.html")[0].read_text())
    assert [row["id"] for row in page.rows][:2] == ["p1", "p10"]
    assert "<script>alert(1)</script>" not in page.text
    assert "<script>alert(1)</script>" in page.trees[2]["nodes"][0]["text"]


def test_a_huge_text_is_cut(tmp_path: Path) -> None:
    """A response of a million characters ends with the number left out."""
    node = Node(id=0, parent=None, depth=0, response="x" * 1_000_000)
    page = read_page(export_tree(tree_of(node), "html"))
    shown = page.trees[0]["nodes"][0]["text"]
    assert len(shown) < LIMIT + 100 and shown.endswith("900,000 characters more")


def test_long_ids_that_begin_alike_have_addresses_of_their_own(tmp_path: Path) -> None:
    """Each tree of the page is opened by its own id, which fits the list; marks are found under it."""
    ids = [f"{'x' * 200}-{number}" for number in range(3)]
    run = write_run(tmp_path / "run", *(make_tree((None, 1), prompt_id=each) for each in ids))
    MarkBook(run).change(ids[1], star=True)
    page = read_page(write_pages(run, tmp_path / "x.html")[0].read_text())
    addresses = [row["id"] for row in page.rows]
    assert len(set(addresses)) == 3 and max(map(len, addresses)) <= IDENTIFIER
    assert all(address.startswith("x" * 100) and "…" in address for address in addresses)
    assert [tree["id"] for tree in page.trees] == addresses
    assert list(page.run["marks"]) == [addresses[1]]
    assert identifier("x" * IDENTIFIER) == "x" * IDENTIFIER


def test_a_number_that_json_lacks() -> None:
    """NaN from a foreign engine becomes null, which a browser can read."""
    text = "".join(document({"name": "x", "value": float("nan")}))
    assert '"value":null' in text


def test_a_large_run_comes_in_pages(tmp_path: Path) -> None:
    """Several files beside each other, each with its own trees and the dashboard of the whole run."""
    run = write_run(
        tmp_path / "run", *(make_tree((None, n % 6), prompt_id=f"p{n}") for n in range(70))
    )
    files = write_pages(run, tmp_path / "run.html", page_size=33)
    assert [file.name for file in files] == ["run.html", "run-2.html", "run-3.html"]
    pages = [read_page(file.read_text()) for file in files]
    assert [len(page.rows) for page in pages] == [33, 33, 4] == [len(page.trees) for page in pages]
    assert {page.run["totals"]["trees"] for page in pages} == {70}
    assert pages[1].run["pages"] == ["run.html", "run-2.html", "run-3.html"]
    assert pages[1].trees[0]["id"] == pages[1].rows[0]["id"] == "p33"


def test_of_two_trees_of_a_prompt_the_last_counts(tmp_path: Path) -> None:
    """As for every other reader of a run."""
    run = write_run(tmp_path / "run", make_tree((None, 1)))
    line = (run / "trees.jsonl").read_text()
    (run / "trees.jsonl").write_text(line + make_tree((None, 5)).to_json() + "\n")
    page = read_page(write_pages(run, tmp_path / "x.html")[0].read_text())
    assert [row["stop"] for row in page.rows] == ["solved"]


def test_an_evaluation_grades_answers(tmp_path: Path) -> None:
    """Where no program can check a prompt, the verdicts of the evaluation are the ground truth."""
    run = write_run(tmp_path / "run", make_tree((None, 1), (0, 5)))
    verdict = Verdict(name="level 1", passed=False, why="too short")
    write_examples(run, [Example(id="p", response="r1", passed=False, verdicts=(verdict,))])
    page = read_page(write_pages(run, tmp_path / "x.html")[0].read_text())
    assert page.rows[0]["after"] == [True, False] and page.run["totals"]["too_lenient"] == 1
    assert page.trees[0]["nodes"][1]["truth"] == [["level 1", "level 1", False, "too short", None]]


def test_a_run_without_trees(tmp_path: Path) -> None:
    """An error that says what to do."""
    with pytest.raises(UsageError, match="has no trees yet; run spar decode first"):
        write_pages(write_run(tmp_path / "run"), tmp_path / "x.html")


def test_how_many_prompts_a_run_has(tmp_path: Path) -> None:
    """By its totals, else by its log; a limit says nothing, since a file may have fewer prompts than that."""
    run = write_run(tmp_path / "run", make_tree((None, 5)))
    manifest = json.loads((run / "run.json").read_text())
    manifest["config"] |= {"limit": 100, "prompts": "two.jsonl"}
    (run / "run.json").write_text(json.dumps(manifest))
    (run / "log.txt").unlink(missing_ok=True)
    assert run_facts(run).expected is None
    (run / "log.txt").write_text(f"2026-01-02T10:00:00+00:00 {start_line(0, 60)}\n")
    assert run_facts(run).expected == run_facts(run / "trees.jsonl").expected == 60
    (run / "summary.json").write_text('{"trees": 1, "prompts": 2}')
    assert run_facts(run).expected == 2
    page = read_page(write_pages(run, tmp_path / "x.html")[0].read_text())
    assert page.run["expected"] == 2


def test_faults_are_drawn() -> None:
    """A failed attempt has its place below its node."""
    fault = Fault(parent=0, stage="refine", reason="no markers", text="oops")
    tree = make_tree((None, 2)).model_copy(update={"faults": (fault,)})
    (drawn,) = read_page(export_tree(tree, "html")).trees[0]["faults"]
    assert (drawn["parent"], drawn["column"], drawn["reason"]) == (0, 2, "no markers")
    assert EVERYTHING not in drawn["reason"]
