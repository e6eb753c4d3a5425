"""The health of a loop: what its drafts, its judge and its trainings tell, and which signs are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spar.record.health import Change, IterationHealth, read_health
from spar.record.training import METRICS, MetricsRow, iteration_folder
from spar.record.training_data import DraftMeasures
from spar.train.build import build
from spar.train.data.draft_measures import DraftCounter, true_verdict
from spar.train.data.scan import BuildSettings
from spar.types import Node, Prompt, SearchTree
from spar.view.health import COLUMNS, rows, signs
from tests.fakes import make_judgement
from tests.train.trees import make_tree, verified, write_run

MEASURES = DraftMeasures(
    prompts=10,
    drafts=20,
    mean_words=10.0,
    judged=20,
    mean_score=0.6,
    passed_share=0.5,
    tied=3,
    usable=5,
    checked=20,
    true_share=0.5,
    right_share=0.8,
)


def checkable(*responses: tuple[str, int]) -> SearchTree:
    """Drafts of a prompt that forbids commas, each with how many of five votes say yes."""
    base = make_tree(*((None, yes) for _, yes in responses))
    nodes = tuple(
        node.model_copy(update={"response": text})
        for node, (text, _) in zip(base.nodes, responses, strict=True)
    )
    meta = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    prompt = Prompt(id="nano-train-0-0", messages=base.prompt.messages, source="nano-if", meta=meta)
    return base.model_copy(update={"nodes": nodes, "prompt": prompt})


def health(
    iteration: int, chosen: float = -1.0, rejected: float = -9.0, **changes: float
) -> IterationHealth:
    """An iteration with these statistics, and so much change of either side's log-probability."""
    sides = {"chosen": Change(0.0, chosen), "rejected": Change(0.0, rejected)}
    return Stub(iteration, None, sides).with_drafts(MEASURES.model_copy(update=changes))


class Stub(IterationHealth):
    """An iteration whose drafts are given, without the rest of a report."""

    def with_drafts(self, drafts: DraftMeasures) -> Stub:
        object.__setattr__(self, "_drafts", drafts)
        return self

    @property
    def drafts(self) -> DraftMeasures | None:
        return self._drafts  # type: ignore[attr-defined,no-any-return]


def test_a_judge_is_held_against_the_programs() -> None:
    """Where they can check the prompt; a tie of scores is counted for the prompt, words for every draft."""
    counter = DraftCounter()
    counter.add(checkable(("The fox sees.", 5), ("The fox, it sees.", 5)))
    counter.add(checkable(("The fox sees.", 1), ("The fox, it sees.", 0)))
    counter.add(make_tree((None, 3), (None, None)))
    measures = counter.measures({"p"})
    assert measures is not None
    assert (measures.prompts, measures.drafts, measures.judged, measures.usable) == (3, 6, 5, 1)
    assert (measures.tied, measures.checked) == (1, 4)
    assert measures.true_share == 0.5 and measures.right_share == 0.5
    assert measures.passed_share == pytest.approx(3 / 5)
    assert measures.mean_words == pytest.approx((3 + 4 + 3 + 4 + 1 + 1) / 6)


def test_optimism_compares_the_judge_and_the_programs_on_the_same_drafts() -> None:
    """A judge that is never wrong has none, however many prompts programs cannot check."""
    counter = DraftCounter()
    counter.add(checkable(("The fox, it sees.", 0), ("The owl, it sees.", 0)))
    counter.add(make_tree((None, 5), (None, 5)))
    measures = counter.measures(set())
    assert measures is not None
    assert (measures.passed_share, measures.true_share, measures.optimism) == (0.5, 0.0, 0.0)
    counter.add(checkable(("The fox, it sees.", 5), ("The owl, it sees.", 5)))
    measures = counter.measures(set())
    assert measures is not None and measures.optimism == 0.5
    earlier = health(1)  # without a stored difference
    assert earlier.optimism == 0.0
    assert health(1, checked=10).optimism is None
    assert health(1, checked=10, optimism=0.25).optimism == 0.25


def test_what_programs_found_is_not_checked_again() -> None:
    """Their findings in a judgement are the truth, also for prompts that cannot be checked here."""
    tree = verified(make_tree((None, 0), (None, 0)), 3, 2)
    assert [true_verdict(node, tree.prompt) for node in tree.nodes] == [True, False]
    voted = Node(id=0, parent=None, depth=0, response="r", judgement=make_judgement(5))
    assert true_verdict(voted, tree.prompt) is None


def test_no_drafts_no_statistics() -> None:
    """A set that is built from searches alone has none."""
    assert DraftCounter().measures(set()) is None


def test_health_is_read_from_a_loops_folder(tmp_path: Path) -> None:
    """The report of the data, and both ends of the preference training; an iteration without either is left out."""
    home = iteration_folder(tmp_path, 2)
    drafts = write_run(tmp_path / "drafts", make_tree((None, 1), (None, 5)))
    settings = BuildSettings(
        out=home / "build", drafts=drafts, pairs="independent", methods=("dpo",)
    )
    assert build(settings).drafts is not None
    (home / "dpo").mkdir()
    steps = [
        MetricsRow(step=n, epoch=0, values={"logps/chosen": -10.0 - n, "logps/rejected": -2.0 * n})
        for n in range(20)
    ]
    lines = "".join(f"{json.dumps(row.model_dump())}\n" for row in steps)
    (home / "dpo" / METRICS).write_text(lines)
    iteration_folder(tmp_path, 1).mkdir()
    (iteration,) = read_health(tmp_path)
    assert iteration.iteration == 2 and iteration.drafts is not None
    assert iteration.usable_share == 1.0 and iteration.tied_share == 0.0
    changes = iteration.log_probabilities
    assert (changes["chosen"].first, changes["chosen"].last) == (-10.5, -28.5)
    assert changes["rejected"].change == -36.0


def test_a_report_that_cannot_be_read_hides_nothing_else(tmp_path: Path) -> None:
    """It may be another version's, or be written right now."""
    for number, text in ((1, "{}"), (2, '{"step": 1}\n')):
        for name in ("build", "dpo"):
            (iteration_folder(tmp_path, number) / name).mkdir(parents=True)
        (iteration_folder(tmp_path, number) / "build" / "build.json").write_text("{}")
        (iteration_folder(tmp_path, number) / "dpo" / METRICS).write_text(text)
    assert read_health(tmp_path) == ()


def test_each_column_has_a_text_and_a_meaning() -> None:
    """An empty cell is a dash: the truth of prompts that cannot be checked, a loop that does not judge."""
    unchecked = health(1, mean_score=None, true_share=None, right_share=None, judged=0)  # type: ignore[arg-type]
    (row,) = rows([unchecked])
    texts = dict(zip(COLUMNS, row, strict=True))
    assert texts["score"] == texts["tied"] == texts["true"] == texts["judge right"] == "-"
    assert (texts["usable"], texts["chosen"], texts["words"]) == ("50 %", "-1.0", "10.0")
    assert all(meaning for _, meaning in list(COLUMNS.values())[1:])


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({}, ""),
        ({"passed_share": 0.8, "true_share": 0.6}, "20 points more optimistic since iteration 1"),
        ({"mean_words": 16.0}, "drafts grew from 10 to 16 words"),
        ({"tied": 9}, "the drafts of 9 of 10 prompts have one score"),
        ({"usable": 0}, "only 0 of 10 prompts"),
        ({"chosen": -6.0, "rejected": -9.0}, "the log-probability of chosen sides fell by 6.0"),
        ({"chosen": -6.0, "rejected": -15.0}, ""),
    ],
)
def test_signs_of_a_sick_loop(changes: dict[str, float], sign: str) -> None:
    """Each is named with its numbers; a healthy iteration has none."""
    lines = signs([health(1), health(2, **changes)])
    assert [line.startswith("iteration 2: ") for line in lines] == [True] * bool(sign)
    assert sign in "".join(lines)
