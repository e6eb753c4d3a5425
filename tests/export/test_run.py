"""Finding a tree of a run, and what the run says about its nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar.errors import UsageError
from spar.export import export_tree
from spar.export.columns import rows_of
from spar.export.otlp import RunOrigin, requests
from spar.export.run import annotations_for, check_constraints, find_tree, prompt_renderer
from spar.record.evaluation import Example, Verdict, write_examples
from spar.store import TREES
from spar.templates import load
from spar.types import Judgement, Message, Node, Usage
from tests.export.pages import read_page
from tests.export.samples import NANO, with_meta, write_three
from tests.hostile import EVERYTHING
from tests.train.trees import make_tree, tree_of, write_run


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A run of three trees: p1, p10 and a hostile one."""
    return write_three(tmp_path)


def test_finding_a_tree(three: Path) -> None:
    """A tree is found by its id or a unique prefix, in a directory or a file."""
    assert find_tree(three, "p1").prompt.id == "p1"
    assert find_tree(three, "p10").prompt.id == "p10"
    assert find_tree(three / TREES, "[").prompt.id == EVERYTHING
    with pytest.raises(UsageError, match=r"3 trees, 2 with an id that starts with 'p'.*p1, p10"):
        find_tree(three, "p")
    with pytest.raises(UsageError, match=r"3 trees, none with an id that starts with 'q'.*p1"):
        find_tree(three, "q")
    with pytest.raises(UsageError, match=r"has 3 trees; pass --id with one of p1, p10") as caught:
        find_tree(three)
    assert "\x1b" not in str(caught.value)


def test_the_only_tree_needs_no_id(tmp_path: Path) -> None:
    """The id may be left out for a run of one tree; an empty run is an error."""
    one = write_run(tmp_path / "one", make_tree((None, 3), prompt_id="only"))
    assert find_tree(one).prompt.id == "only"
    with pytest.raises(UsageError, match="has no trees yet"):
        find_tree(write_run(tmp_path / "none"))


def test_an_evaluation_of_answers_from_a_file_says_that_it_has_no_trees(tmp_path: Path) -> None:
    """It is finished, so there is nothing to run again: its examples can be exported."""
    directory = write_run(tmp_path / "run")
    write_examples(directory, [Example(id="p", response="r", passed=True)])
    with pytest.raises(UsageError, match=r"answers from a file, which has no trees.*--format jso"):
        find_tree(directory)


def test_more_ids_than_can_be_listed(tmp_path: Path) -> None:
    """An error lists the first few ids and an ellipsis."""
    many = write_run(tmp_path / "many", *(make_tree(prompt_id=f"p{n}") for n in range(9)))
    with pytest.raises(
        UsageError, match=r"9 trees; pass --id with one of p0, p1, p2, p3, p4, \.\.\."
    ):
        find_tree(many)


def test_check_constraints() -> None:
    """Each constraint is named; an unknown one gives no result at all."""
    node = Node(id=0, parent=None, depth=0, response="a, done")
    expected = [("punctuation:no_comma", False), ("startend:end_checker", True)]
    findings = check_constraints(with_meta(tree_of(node), NANO), node)
    assert [(finding.type, finding.met) for finding in findings] == expected
    unknown = with_meta(tree_of(node), {"instruction_id_list": ["no:such"]})
    assert not check_constraints(tree_of(node), node)
    assert not check_constraints(unknown, node)


def test_every_export_has_the_verdict_of_an_evaluation(tmp_path: Path) -> None:
    """One tree as text and as a page, spans and tables take it for the answer, as the page of the whole run does."""
    run = write_run(tmp_path / "run", make_tree((None, 1), (0, 5)))
    verdict = Verdict(name="level 1", passed=False, why="too short")
    write_examples(run, [Example(id="p", response="r1", passed=False, verdicts=(verdict,))])
    tree, annotations = find_tree(run), annotations_for(run)
    text = export_tree(tree, "markdown", annotations)
    assert "failed → still fails: level 1" in text and "✗ level 1: too short" in text
    page = read_page(export_tree(tree, "html", annotations))
    assert page.rows[0]["after"] == [True, False]
    assert page.trees[0]["nodes"][1]["truth"] == [["level 1", "level 1", False, "too short", None]]
    (request,) = requests([tree], RunOrigin("run", 0), annotations)
    search, *_ = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    attributes = {each["key"]: each["value"] for each in search["attributes"]}
    assert attributes["spar.change"] == {"stringValue": "failed"}
    assert [row["truth"] for row in rows_of(tree, "nodes", annotations)] == [None, False]
    assert [row["truth"] for row in rows_of(tree, "trees", annotations)] == [False]


def test_rendered_prompts(tmp_path: Path) -> None:
    """A draft continues the prompt, a refinement the judge's conversation with the stored critique."""
    judgement = Judgement(verdicts=(False,), critique="too long")
    written = Usage(calls=1)
    draft = Node(id=0, parent=None, depth=0, response="r0", judgement=judgement, usage=written)
    child = Node(id=1, parent=0, depth=1, response="r1", usage=written)
    tree = tree_of(draft, child, Node(id=2, parent=1, depth=2, response="r2", usage=written))
    render = prompt_renderer(write_run(tmp_path / "run", tree))
    assert render is not None
    assert render(tree, draft) == tree.prompt.messages
    turns = render(tree, child)
    assert turns == load().refine_conversation(tree.prompt.messages, "r0", "too long")
    assert turns[1] == Message(role="assistant", content="too long")
    assert render(tree, tree.nodes[2]) == ()
    assert render(tree, draft.model_copy(update={"usage": Usage()})) == ()


def test_changed_templates_are_not_rendered(tmp_path: Path) -> None:
    """No renderer for changed or missing templates, or for a file that is not a run directory."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "refine.txt").write_text("Do better.")
    directory = write_run(tmp_path / "run", make_tree((None, 1)), templates=folder)
    assert prompt_renderer(directory) is not None
    load.cache_clear()
    (folder / "refine.txt").write_text("Do worse.")
    assert prompt_renderer(directory) is None
    load.cache_clear()
    (folder / "refine.txt").unlink()
    assert prompt_renderer(directory) is None
    assert prompt_renderer(directory / TREES) is None
