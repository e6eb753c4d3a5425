"""Selection of prompts: duplicates, contamination, coverage, and the totals of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar.errors import RunStopped, UsageError
from spar.evolve.coverage import coverage, never_covered
from spar.evolve.finalize import finalize
from spar.evolve.inputs import EvolveInputs
from spar.evolve.report import make_report
from spar.evolve.select import RequestOutcome, outcome_of, select, split_seeds
from spar.evolve.settings import EvolveConfig
from spar.evolve.taxonomy import CONSTRAINT_TYPES
from spar.prompts import read_prompts
from spar.record.evolution import EvolvedPrompt, read_report, write_files, write_report
from spar.types import Fault, Message, Node, Prompt, SearchTree, Usage
from tests.evolve.worlds import benchmarks, reply_text, request, rewritten, seed

BOAT = seed("Write about a small boat.", "boat", source="people")
KITE = seed("Write about a red kite.", "kite")
EMPTY = benchmarks()

PASSAGE = " ".join(f"word{number}" for number in range(200))
"""A passage to work on, far longer than a task about it."""


def reasons(outcomes: list[RequestOutcome], *seeds: Prompt) -> dict[str, str]:
    """Request to `selected`, or to the reason for its rejection."""
    selection = select(outcomes, seeds, EMPTY)
    ids = [prompt.id for prompt in selection.selected]
    assert ids == [o.request.id for o in outcomes if o.request.id in set(ids)]
    return dict.fromkeys(ids, "selected") | {r.id: r.reason for r in selection.rejected}


def numbered(count: int, name: str = "n") -> str:
    """So many unique words."""
    return " ".join(f"{name}{number}" for number in range(count))


def test_the_first_of_equal_prompts_is_selected() -> None:
    """Case and punctuation do not matter; an unchanged seed prompt is a duplicate."""
    outcomes = [
        rewritten(BOAT, "Write nine words about a boat, in rhyme."),
        rewritten(BOAT, "write about a SMALL boat", 1),
        rewritten(KITE, "Write nine words about a boat in rhyme"),
        rewritten(KITE, "Write nine words about a kite, in rhyme.", 1),
    ]
    assert reasons(outcomes, BOAT, KITE) == {
        "boat/0": "selected",
        "boat/1": "exact duplicate",
        "kite/0": "exact duplicate",
        "kite/1": "selected",
    }


@pytest.mark.parametrize(("other", "reason"), [(1, "near duplicate"), (2, "selected")])
def test_short_prompts_are_compared_by_share(other: int, reason: str) -> None:
    """Of 30 words, one difference is a near duplicate, two are not."""
    words = numbered(30).split()
    changed = [f"x{i}" if i in (5, 20)[:other] else word for i, word in enumerate(words)]
    outcomes = [rewritten(BOAT, " ".join(words)), rewritten(KITE, " ".join(changed))]
    assert reasons(outcomes, BOAT, KITE)["kite/0"] == reason


@pytest.mark.parametrize(("words", "reason"), [(9, "near duplicate"), (10, "selected")])
def test_long_prompts_are_compared_by_number(words: int, reason: str) -> None:
    """Two tasks on one passage are different from ten new shingles on, however similar."""
    outcomes = [
        rewritten(BOAT, f"{PASSAGE} {numbered(words, 'a')}"),
        rewritten(KITE, f"{PASSAGE} {numbered(words, 'b')}"),
    ]
    assert reasons(outcomes, BOAT, KITE)["kite/0"] == reason


@pytest.mark.parametrize(("words", "reason"), [(5, "near duplicate"), (6, "selected")])
def test_a_rewriting_must_add_more_than_a_phrase(words: int, reason: str) -> None:
    """A long seed prompt with up to five words added is a near duplicate, even if words were removed."""
    long_seed = seed(PASSAGE, "long")
    text = f"{' '.join(PASSAGE.split()[20:])} {numbered(words)}"
    assert reasons([rewritten(long_seed, text)], long_seed) == {"long/0": reason}


def test_a_contaminated_prompt_makes_no_other_a_duplicate() -> None:
    """Contamination is checked before duplicates."""
    leak = "name the ninth king of the old river town and say in two lines how he lost"
    toy = benchmarks(f"{leak} it")
    outcomes = [
        rewritten(BOAT, f"{leak} everything {numbered(30)}"),
        rewritten(KITE, f"{leak[5:26]} {numbered(30)}"),
    ]
    selection = select(outcomes, [BOAT, KITE], toy)
    assert [(r.id, r.reason) for r in selection.rejected] == [("boat/0", "contaminated")]
    assert selection.rejected[0].why.startswith("toy, 0: 13 consecutive words: name the ninth")
    assert [p.id for p in selection.selected] == ["kite/0"]


def test_seed_prompts_in_a_benchmark_are_split_off() -> None:
    """They are rejected with the benchmark; the others keep their order."""
    clean, bad = split_seeds([BOAT, KITE], benchmarks("write about a red kite"))
    assert clean == [BOAT]
    assert [(r.id, r.reason, r.main_constraint) for r in bad] == [("kite", "contaminated", None)]


def test_a_benchmark_prompt_after_a_system_turn_is_contaminated() -> None:
    """As a seed prompt, and as what the teacher makes of one."""
    system = Message(role="system", content="Be brief, and answer in the language of the question.")
    toy = benchmarks("write about a red kite", "write about a tall ship")
    boat, kite = (
        each.model_copy(update={"messages": (system, *each.messages)}) for each in (BOAT, KITE)
    )
    clean, bad = split_seeds([boat, kite], toy)
    assert clean == [boat]
    assert [(r.id, r.reason) for r in bad] == [("kite", "contaminated")]
    selection = select([rewritten(boat, "Write about a tall ship.")], [boat], toy)
    assert [(r.id, r.reason) for r in selection.rejected] == [("boat/0", "contaminated")]


def test_only_the_last_turn_is_rewritten() -> None:
    """Earlier turns stay; the same last turn after other turns is another prompt."""
    before = (Message(role="system", content="Be brief."), Message(role="user", content="Hi."))
    talk = [
        Prompt(id=name, messages=(*before, Message(role="assistant", content=said), last))
        for name, said in (("a", numbered(9, "a")), ("b", numbered(9, "b")))
        for last in [Message(role="user", content="Go on.")]
    ]
    selection = select(
        [rewritten(prompt, "Go on in rhyme with nine words in each line.") for prompt in talk],
        talk,
        EMPTY,
    )
    assert [p.id for p in selection.selected] == ["a/0", "b/0"]
    assert [m.role for m in selection.selected[0].messages] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert (
        selection.selected[0].messages[-1].content == "Go on in rhyme with nine words in each line."
    )


def tree(prompt: Prompt, response: str | None, fault: Fault | None = None) -> SearchTree:
    """The tree of a request."""
    node = Node(id=0, parent=None, depth=0, response=response or "")
    return SearchTree(
        prompt=request(prompt),
        strategy="greedy",
        config="",
        nodes=(node,) if response is not None else (),
        faults=(fault,) if fault else (),
        selected=0 if response is not None else None,
        stop="exhausted",
    )


def test_outcome_of_a_tree() -> None:
    """A reply, None, an unparsable reply, a request that the engine refused."""
    unread = Fault(parent=None, stage="draft", reason="lacks", text="Hm.", usage=Usage(calls=3))
    refused = Fault(parent=None, stage="draft", reason="too long")
    good = outcome_of(tree(BOAT, reply_text("Row.", "length/words", "style/era")))
    assert good.reply is not None and good.reply.prompt == "Row."
    cases = [(tree(BOAT, "None"), "none"), (tree(BOAT, None, unread), "unparsable")]
    for request_tree, reason in [*cases, (tree(BOAT, None, refused), "refused")]:
        outcome = outcome_of(request_tree)
        assert outcome.reply is None and outcome.rejected is not None
        assert outcome.rejected.reason == reason
    assert outcome_of(cases[1][0]).rejected.text == "Hm."  # type: ignore[union-attr]


def evolved(main: str, *others: str) -> EvolvedPrompt:
    """An evolved prompt with these constraints."""
    return EvolvedPrompt(
        id="p",
        messages=BOAT.messages,
        source="",
        seed_prompt="boat",
        main_constraint=main,
        constraints=(main, *others),
    )


def test_coverage_counts() -> None:
    """A type counts as main and as any; a group counts once for each prompt; a group alone names no type."""
    groups = coverage(
        [
            evolved("length/words", "length/sentences", "style/era"),
            evolved("length/words", "style"),
            evolved("style/era", "length/words"),
        ]
    )
    length, style = groups["length"], groups["style"]
    assert (length.main, length.mentioned) == (2, 3)
    assert (style.main, style.mentioned) == (1, 3)
    assert (length.kinds["words"].main, length.kinds["words"].mentioned) == (2, 3)
    assert (length.kinds["sentences"].main, length.kinds["sentences"].mentioned) == (0, 1)
    assert (style.kinds["era"].main, style.kinds["era"].mentioned) == (1, 2)
    assert groups["genre"].mentioned == 0
    never = never_covered([evolved("length/words", "style")])
    assert len(never) == len(CONSTRAINT_TYPES) - 1 and "length/words" not in never


def test_write_errors_and_missing_trees_can_be_resumed(tmp_path: Path) -> None:
    """A missing folder (as a failing disk) and an incomplete run raise RunStopped with the next step."""
    with pytest.raises(RunStopped, match="replies are saved"):
        write_files(tmp_path / "nowhere", [], [])
    inputs = EvolveInputs(EvolveConfig(per_prompt=2), (BOAT, KITE), (), (), EMPTY, ())
    requests = list(inputs.requests())
    assert [prompt.id for prompt in requests] == ["boat/0", "boat/1", "kite/0", "kite/1"]
    done = tree(BOAT, "None").model_copy(update={"prompt": requests[1]})
    (tmp_path / "trees.jsonl").write_text(done.to_json() + "\n")
    with pytest.raises(RunStopped, match="lacks 3 trees"):
        finalize(tmp_path, inputs, "t")


def test_the_report_round_trips(tmp_path: Path) -> None:
    """The counts add up; report and prompts are read back, the prompts by `read_prompts` too."""
    outcomes = [
        rewritten(BOAT, "Write nine words about a boat, in rhyme.", 0, "style/era"),
        rewritten(BOAT, "Write nine words about a boat in rhyme", 1),
        outcome_of(tree(KITE, "None")),
    ]
    inputs = EvolveInputs(EvolveConfig(per_prompt=1), (BOAT, KITE), (), (), EMPTY, ("mmlu",))
    selection = select(outcomes, inputs.seeds, EMPTY)
    files = write_files(tmp_path, selection.selected, selection.rejected)
    with pytest.raises(UsageError, match="not the report"):
        read_report(tmp_path)
    report = make_report(inputs, selection, teacher="t", files=files)
    write_report(tmp_path, report)
    assert read_report(tmp_path) == report
    counts = report.counts
    assert (counts.seeds, counts.asked, counts.kept, counts.none, counts.exact_duplicates) == (
        2,
        3,
        1,
        1,
        1,
    )
    assert report.constraints_a_prompt == {"2": 1}
    assert report.never_covered_share == 61 / 63
    assert any("mmlu" in note for note in report.notes)
    (prompt,) = read_prompts(tmp_path / "prompts.jsonl")
    assert prompt.id == "boat/0"
    assert prompt.meta == {
        "source": "people",
        "seed_prompt": "boat",
        "main_constraint": "length/words",
        "constraints": ["length/words", "style/era"],
    }
