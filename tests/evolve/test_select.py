"""What is kept of replies: duplicates by hand, contamination first, and the report's sums."""

from __future__ import annotations

from pathlib import Path

import pytest

from spar.errors import RunStopped, UsageError
from spar.evolve.coverage import coverage, never_covered
from spar.evolve.finalize import finish
from spar.evolve.inputs import Material
from spar.evolve.report import make_report
from spar.evolve.select import Outcome, clean_seeds, outcome, select
from spar.evolve.settings import EvolveConfig
from spar.evolve.taxonomy import KINDS
from spar.prompts import read_prompts
from spar.record.evolution import EvolvedPrompt, read_report, write_files, write_report
from spar.types import Fault, Message, Node, Prompt, SearchTree, Usage
from tests.evolve.worlds import benchmarks, reply_text, request, rewritten, seed

BOAT = seed("Write about a small boat.", "boat", source="people")
KITE = seed("Write about a red kite.", "kite")
EMPTY = benchmarks()

PASSAGE = " ".join(f"word{number}" for number in range(200))
"""A text to work on, far longer than what is asked about it."""


def reasons(outcomes: list[Outcome], *seeds: Prompt) -> dict[str, str]:
    """Request to `kept`, or why not."""
    found = select(outcomes, seeds, EMPTY)
    assert [p.id for p in found.kept] == [
        o.request.id for o in outcomes if o.request.id in {p.id for p in found.kept}
    ]
    return {p.id: "kept" for p in found.kept} | {r.id: r.reason for r in found.rejected}


def numbered(count: int, name: str = "n") -> str:
    """So many words that nothing else has."""
    return " ".join(f"{name}{number}" for number in range(count))


def test_the_first_of_equal_prompts_is_kept() -> None:
    """Case and punctuation do not tell prompts apart; a seed prompt given back is a duplicate of it."""
    outcomes = [
        rewritten(BOAT, "Write nine words about a boat, in rhyme."),
        rewritten(BOAT, "write about a SMALL boat", 1),
        rewritten(KITE, "Write nine words about a boat in rhyme"),
        rewritten(KITE, "Write nine words about a kite, in rhyme.", 1),
    ]
    assert reasons(outcomes, BOAT, KITE) == {
        "boat/0": "kept",
        "boat/1": "exact duplicate",
        "kite/0": "exact duplicate",
        "kite/1": "kept",
    }


@pytest.mark.parametrize(("other", "reason"), [(1, "near duplicate"), (2, "kept")])
def test_in_a_short_prompt_the_share_of_new_words_counts(other: int, reason: str) -> None:
    """Of 30 words one may be another, and it is a near duplicate; two, and it is not."""
    words = numbered(30).split()
    changed = [f"x{i}" if i in (5, 20)[:other] else word for i, word in enumerate(words)]
    outcomes = [rewritten(BOAT, " ".join(words)), rewritten(KITE, " ".join(changed))]
    assert reasons(outcomes, BOAT, KITE)["kite/0"] == reason


@pytest.mark.parametrize(("words", "reason"), [(9, "near duplicate"), (10, "kept")])
def test_in_a_long_prompt_the_number_of_new_words_counts(words: int, reason: str) -> None:
    """Two tasks on one passage, alike by nine tenths, are two from ten new runs of words on."""
    outcomes = [
        rewritten(BOAT, f"{PASSAGE} {numbered(words, 'a')}"),
        rewritten(KITE, f"{PASSAGE} {numbered(words, 'b')}"),
    ]
    assert reasons(outcomes, BOAT, KITE)["kite/0"] == reason


@pytest.mark.parametrize(("words", "reason"), [(5, "near duplicate"), (6, "kept")])
def test_a_rewriting_adds_more_than_a_phrase(words: int, reason: str) -> None:
    """A long seed prompt with up to five words added is that seed prompt, also where it lost some."""
    long_seed = seed(PASSAGE, "long")
    asked = f"{' '.join(PASSAGE.split()[20:])} {numbered(words)}"
    assert reasons([rewritten(long_seed, asked)], long_seed) == {"long/0": reason}


def test_contamination_comes_before_duplicates() -> None:
    """What is in a benchmark cannot make another prompt a duplicate of it."""
    leak = "name the ninth king of the old river town and say in two lines how he lost"
    toy = benchmarks(f"{leak} it")
    outcomes = [
        rewritten(BOAT, f"{leak} everything {numbered(30)}"),
        rewritten(KITE, f"{leak[5:26]} {numbered(30)}"),
    ]
    found = select(outcomes, [BOAT, KITE], toy)
    assert [(r.id, r.reason) for r in found.rejected] == [("boat/0", "contaminated")]
    assert found.rejected[0].why.startswith("toy, 0: 13 words in a row: name the ninth")
    assert [p.id for p in found.kept] == ["kite/0"]


def test_seed_prompts_in_a_benchmark_are_not_sent() -> None:
    """They are named with where they were found; the others keep their order."""
    clean, bad = clean_seeds([BOAT, KITE], benchmarks("write about a red kite"))
    assert clean == [BOAT]
    assert [(r.id, r.reason, r.main_constraint) for r in bad] == [("kite", "contaminated", None)]


def test_a_conversation_keeps_what_was_said_before() -> None:
    """Only the last turn is new; the same last turn after other words is another prompt."""
    before = (Message(role="system", content="Be brief."), Message(role="user", content="Hi."))
    talk = [
        Prompt(id=name, messages=(*before, Message(role="assistant", content=said), last))
        for name, said in (("a", numbered(9, "a")), ("b", numbered(9, "b")))
        for last in [Message(role="user", content="Go on.")]
    ]
    found = select(
        [rewritten(one, "Go on in rhyme with nine words in each line.") for one in talk],
        talk,
        EMPTY,
    )
    assert [p.id for p in found.kept] == ["a/0", "b/0"]
    assert [m.role for m in found.kept[0].messages] == ["system", "user", "assistant", "user"]
    assert found.kept[0].messages[-1].content == "Go on in rhyme with nine words in each line."


def tree(of: Prompt, response: str | None, fault: Fault | None = None) -> SearchTree:
    """The tree of a request."""
    node = Node(id=0, parent=None, depth=0, response=response or "")
    return SearchTree(
        prompt=request(of),
        strategy="greedy",
        config="",
        nodes=(node,) if response is not None else (),
        faults=(fault,) if fault else (),
        selected=0 if response is not None else None,
        stop="exhausted",
    )


def test_outcomes_of_trees() -> None:
    """A reply, None, a reply that nobody could read, a request that the engine refused."""
    unread = Fault(parent=None, stage="draft", reason="lacks", text="Hm.", usage=Usage(calls=3))
    refused = Fault(parent=None, stage="draft", reason="too long")
    good = outcome(tree(BOAT, reply_text("Row.", "length/words", "style/era")))
    assert good.reply is not None and good.reply.prompt == "Row."
    cases = [(tree(BOAT, "None"), "none"), (tree(BOAT, None, unread), "unparsable")]
    for one, reason in [*cases, (tree(BOAT, None, refused), "refused")]:
        found = outcome(one)
        assert found.reply is None and found.rejected is not None
        assert found.rejected.reason == reason
    assert outcome(cases[1][0]).rejected.text == "Hm."  # type: ignore[union-attr]


def kept(main: str, *others: str) -> EvolvedPrompt:
    """A kept prompt with these constraints."""
    return EvolvedPrompt(
        id="p",
        messages=BOAT.messages,
        source="",
        seed_prompt="boat",
        main_constraint=main,
        constraints=(main, *others),
    )


def test_coverage_by_hand() -> None:
    """A kind counts as main and at all; a group once a prompt; a group alone names no kind."""
    found = coverage(
        [
            kept("length/words", "length/sentences", "style/era"),
            kept("length/words", "style"),
            kept("style/era", "length/words"),
        ]
    )
    length, style = found["length"], found["style"]
    assert (length.main, length.mentioned) == (2, 3)
    assert (style.main, style.mentioned) == (1, 3)
    assert (length.kinds["words"].main, length.kinds["words"].mentioned) == (2, 3)
    assert (length.kinds["sentences"].main, length.kinds["sentences"].mentioned) == (0, 1)
    assert (style.kinds["era"].main, style.kinds["era"].mentioned) == (1, 2)
    assert found["genre"].mentioned == 0
    never = never_covered([kept("length/words", "style")])
    assert len(never) == len(KINDS) - 1 and "length/words" not in never


def test_what_cannot_be_written_or_lacks_trees_can_be_resumed(tmp_path: Path) -> None:
    """A missing folder, as a failing disk, and a run that is not at its end: told with the next step."""
    with pytest.raises(RunStopped, match="replies are kept"):
        write_files(tmp_path / "nowhere", [], [])
    material = Material(EvolveConfig(per_prompt=2), (BOAT, KITE), (), (), EMPTY, ())
    asked = list(material.requests())
    assert [one.id for one in asked] == ["boat/0", "boat/1", "kite/0", "kite/1"]
    done = tree(BOAT, "None").model_copy(update={"prompt": asked[1]})
    (tmp_path / "trees.jsonl").write_text(done.to_json() + "\n")
    with pytest.raises(RunStopped, match="lacks 3 trees"):
        finish(tmp_path, material, "t")


def test_the_report_adds_up_and_comes_back(tmp_path: Path) -> None:
    """Asked is the sum of what became of it; what is written is read again, by the decoder's reader too."""
    outcomes = [
        rewritten(BOAT, "Write nine words about a boat, in rhyme.", 0, "style/era"),
        rewritten(BOAT, "Write nine words about a boat in rhyme", 1),
        outcome(tree(KITE, "None")),
    ]
    material = Material(EvolveConfig(per_prompt=1), (BOAT, KITE), (), (), EMPTY, ("mmlu",))
    selection = select(outcomes, material.seeds, EMPTY)
    files = write_files(tmp_path, selection.kept, selection.rejected)
    with pytest.raises(UsageError, match="no report"):
        read_report(tmp_path)
    report = make_report(material, selection, teacher="t", files=files)
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
