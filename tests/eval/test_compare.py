"""Comparing two evaluations: flips, intervals, the exact test, and every wrong pair of directories."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.cli.show.compare_report import print_comparison, print_several
from spar.errors import UsageError
from spar.eval.compare import Flip, as_dict, compare, holm, mcnemar
from spar.eval.standings import standings
from spar.eval.statistics import metrics
from spar.record.evaluation import (
    Example,
    Results,
    Scored,
    read_examples,
    write_examples,
    write_results,
)
from spar.record.standing import Standing


def write(
    directory: Path,
    outcomes: Mapping[str, bool | None],
    *,
    benchmark: str = "ifeval",
    response: str = "text",
    n: int | None = None,
    run: Mapping[str, Any] | None = None,
    counts: Mapping[str, int] | None = None,
) -> Path:
    """An evaluation's files: example to whether it passes."""
    examples = tuple(
        Example(
            id=name,
            response=None if passed is None else f"{response} {name}",
            passed=passed,
            scores={"acc": (float(bool(passed)), 1.0), "acc/easy": (1.0, 1.0)},
        )
        for name, passed in outcomes.items()
    )
    means = {"average": ("acc", "acc")}
    found = metrics(Scored(examples=examples, means=means))
    directory.mkdir(parents=True)
    write_examples(directory, examples)
    total = len(examples) if n is None else n
    results = Results(
        benchmark=benchmark,
        n=total,
        metrics=found,
        means=means,
        counts=dict(counts or {}),
        run=dict(run or {}),
    )
    write_results(directory, results)
    return directory


BEFORE = {"a": True, "b": False, "c": False, "d": True, "e": None}
AFTER = {"a": True, "b": True, "c": True, "d": False, "e": True}


def test_what_changed(tmp_path: Path) -> None:
    """Two of five pass, then four; b and c are gained, d is lost, e had no outcome."""
    (found,) = compare(write(tmp_path / "one", BEFORE), write(tmp_path / "two", AFTER))
    assert (found.benchmark, found.n, found.passed, found.undecided) == ("ifeval", 5, (2, 4), 1)
    assert found.gained == (Flip("b", "text b", "text b"), Flip("c", "text c", "text c"))
    assert found.lost == (Flip("d", "text d", "text d"),)
    assert found.p == 1.0
    assert list(found.metrics) == ["acc", "acc/easy", "average"]
    accuracy = found.metrics["acc"]
    assert (accuracy.first, accuracy.second, accuracy.n) == (0.4, 0.8, 5)
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert found.metrics["average"] == accuracy


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"lm_eval": "1", "nltk": "3"}, {"lm_eval": "2", "nltk": "3"}, "lm_eval (1 and 2);"),
        ({"data/ifeval": "a"}, {}, "data/ifeval (a and none);"),
        ({"lm_eval": "1"}, {"lm_eval": "1"}, ""),
        ({"lm_eval": "1"}, None, ""),
    ],
)
def test_other_verifiers_are_warned_of(
    first: Any, second: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Versions that differ are named; those of an evaluation by an earlier version are not known."""
    sides = [
        write(tmp_path / name, AFTER, run={} if verifiers is None else {"verifiers": verifiers})
        for name, verifiers in (("one", first), ("two", second))
    ]
    (found,) = compare(*sides)
    print_comparison(found)
    shown = " ".join(capsys.readouterr().out.split())
    assert (words in shown) and ("warning" in shown) == bool(words)
    assert len(as_dict(found)["warnings"]) == bool(words)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ({"grader.model": '"a"'}, {"grader.model": '"b"'}, 'grader.model ("a" and "b");'),
        ({"official_scoring": "true"}, {"official_scoring": "false"}, "official_scoring (true and"),
        ({"grader.model": '"a"'}, {"grader.model": '"a"'}, ""),
        ({"grader.model": '"a"'}, None, ""),
    ],
)
def test_other_graders_are_warned_of(first: Any, second: Any, words: str, tmp_path: Path) -> None:
    """Grader and way of scoring; those of an evaluation by an earlier version are not known."""
    sides = [
        write(tmp_path / name, AFTER, run={"verifiers": {}, **({"grading": ways} if ways else {})})
        for name, ways in (("one", first), ("two", second))
    ]
    (found,) = compare(*sides)
    assert len(found.warnings) == bool(words)
    assert words in "".join(found.warnings)


def test_the_run_that_shares_no_example_with_the_others_is_named(tmp_path: Path) -> None:
    """Each pair may have some in common, and all three none."""
    runs = [
        write(tmp_path / name, dict.fromkeys(ids, True))
        for name, ids in (("one", "abc"), ("two", "ab"), ("three", "c"))
    ]
    with pytest.raises(UsageError) as caught:
        compare(*runs, allow_missing=True)
    assert str(caught.value) == (
        f"the runs have no example in common: {runs[2]} has none of the 2 that are in {runs[0]}, {runs[1]}; leave one of them out"
    )


def test_texts_that_one_run_did_not_score_are_warned_of(tmp_path: Path) -> None:
    """Else a metric would differ by what it is of, and nobody would know."""
    sides = [
        write(tmp_path / name, AFTER, counts={"unscored": count})
        for name, count in (("one", 0), ("two", 3))
    ]
    (found,) = compare(*sides)
    assert found.warnings == (
        "the two did not score the same: unscored, 0 and 3; a metric compares what each has scored",
    )


def test_other_prompts_under_the_same_ids_are_warned_of(tmp_path: Path) -> None:
    """Files of prompts may number their rows alike; an example without a stored prompt says nothing."""
    first, second = write(tmp_path / "first", BEFORE), write(tmp_path / "second", AFTER)
    for folder, texts in ((first, "aBcd"), (second, "abcd")):
        given = [
            example.model_copy(update={"prompt": text})
            for example, text in zip(read_examples(folder), [*texts, ""], strict=True)
        ]
        write_examples(folder, given)
    (compared,) = compare(first, second)
    (warning,) = compared.warnings
    assert warning.startswith(
        "1 of 5 examples have different prompts under one id (the first is 'b')"
    )


def test_a_run_with_itself(tmp_path: Path) -> None:
    """Nothing flips, and no interval has a width."""
    one = write(tmp_path / "one", AFTER)
    (found,) = compare(one, one)
    assert (found.gained, found.lost, found.p) == ((), (), 1.0)
    assert all((m.value, m.low, m.high) == (0, 0, 0) for m in found.metrics.values())


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 2 / 32),
        (0, 5, 2 / 32),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (3, 3, 1.0),
        (2000, 0, 0.0),
    ],
)
def test_mcnemar_by_hand(gained: int, lost: int, p: float) -> None:
    """Twice the tail of a fair coin, at most 1; small beyond what a float holds is 0."""
    assert mcnemar(gained, lost) == pytest.approx(p, abs=1e-300)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_tail(gained: int, lost: int) -> None:
    """The same sum, by binomial coefficients."""
    n = gained + lost
    tail = sum(math.comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n
    assert mcnemar(gained, lost) == pytest.approx(min(1.0, 2 * tail))


def test_several_benchmarks(tmp_path: Path) -> None:
    """Parents are compared by what both have, whatever the folders are called."""
    for run, names in (("one", ("ifeval", "llmbar", "gsm8k")), ("two", ("llmbar", "ifeval"))):
        for index, name in enumerate(names):
            write(tmp_path / run / f"{index}", BEFORE, benchmark=name)
    (tmp_path / "one" / "notes").mkdir()
    found = compare(tmp_path / "one", tmp_path / "two")
    assert [one.benchmark for one in found] == ["ifeval", "llmbar"]
    (single,) = compare(tmp_path / "one", tmp_path / "two" / "0")
    assert single.benchmark == "llmbar"


def test_other_examples_are_refused_unless_allowed(tmp_path: Path) -> None:
    """The message counts and names them; with leave, what both have is compared."""
    one = write(tmp_path / "one", BEFORE | {"f": True})
    two = write(tmp_path / "two", AFTER | {"g": True})
    with pytest.raises(UsageError, match=r"1 only in .*one \('f'\) and 1 only in .*two \('g'\)"):
        compare(one, two)
    (found,) = compare(one, two, allow_missing=True)
    assert (found.n, found.only_first, found.only_second) == (5, ("f",), ("g",))
    assert found.metrics["acc"].first == 0.4


def test_no_common_example_is_refused_always(tmp_path: Path) -> None:
    """There is nothing to compare."""
    one, two = write(tmp_path / "one", {"a": True}), write(tmp_path / "two", {"b": True})
    with pytest.raises(UsageError, match="none in common"):
        compare(one, two, allow_missing=True)


def test_wrong_directories(tmp_path: Path) -> None:
    """Each is named in one line."""
    one = write(tmp_path / "one", BEFORE)
    other = write(tmp_path / "other", BEFORE, benchmark="llmbar")
    write(tmp_path / "double" / "x", BEFORE)
    write(tmp_path / "double" / "y", BEFORE)
    write(tmp_path / "cut", BEFORE, n=6)
    (tmp_path / "empty").mkdir()
    for second, complaint in (
        (tmp_path / "absent", "there is no directory"),
        (tmp_path / "empty", "holds no finished evaluation"),
        (other, "ifeval .*llmbar"),
        (tmp_path / "double", "two evaluations of ifeval"),
        (tmp_path / "cut", "has 5 examples, but its results.json says 6"),
    ):
        with pytest.raises(UsageError, match=complaint) as caught:
            compare(one, second)
        assert "\n" not in str(caught.value)


def test_an_example_that_comes_twice_is_refused(tmp_path: Path) -> None:
    """Its outcome would be a guess."""
    one = write(tmp_path / "one", BEFORE)
    lines = (one / "examples.jsonl").read_text().splitlines(keepends=True)
    (one / "examples.jsonl").write_text("".join([*lines, lines[0]]))
    with pytest.raises(UsageError, match="'a' twice"):
        compare(one, one)


def test_json_is_plain(tmp_path: Path) -> None:
    """Everything that is printed, as JSON values."""
    (found,) = compare(write(tmp_path / "one", BEFORE), write(tmp_path / "two", AFTER))
    value = json.loads(json.dumps(as_dict(found)))
    assert value["metrics"]["acc"]["difference"] == pytest.approx(0.4)
    flip = {"id": "b", "first": "text b", "second": "text b", "prompt": None}
    assert value["gained"][0] == flip
    assert (value["first"], value["passed"]) == (str(tmp_path / "one"), [2, 4])


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Percent with signs, the flips, and the count of what is hidden."""
    (found,) = compare(write(tmp_path / "one", BEFORE), write(tmp_path / "two", AFTER))
    print_comparison(found, flips=1)
    shown = capsys.readouterr().out
    for part in (
        "40.00 %",
        "+40.00",
        "1 more metrics by subset",
        "passed: 2 in the first run, 4 in the second, 1 without an outcome; 2 gained, 1 lost",
        "passed in the second run only: 1 of 2",
        "text b",
    ):
        assert part in shown
    assert "acc/easy" not in shown
    assert "text c" not in shown


def test_hostile_text_is_shown_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither an id nor a response is markup or an escape code, and long ones are cut."""
    hostile = "[bold]x[/nonsense] \x1b[2J \u202e"
    outcome = {f"{hostile}1": True}
    one = write(tmp_path / "one", outcome, response=hostile)
    two = write(tmp_path / "two", dict.fromkeys(outcome, False), response="y" * 10_000)
    (found,) = compare(one, two)
    assert len(found.lost[0].second or "") < 400
    print_comparison(found)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[bold]x[/nonsense]" in shown.replace("\n", "")


def test_several_runs_against_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has the numbers of the comparison of the two, and a p that is adjusted by Holm's method for their number."""
    first = write(tmp_path / "a", {f"{n}": n < 4 for n in range(20)})
    better = write(tmp_path / "b", {f"{n}": n < 14 for n in range(20)})
    same = write(tmp_path / "c", {f"{n}": 1 <= n < 5 for n in range(20)})
    compared = compare(first, better, same)
    for each, other in zip(compared, (better, same), strict=True):
        (alone,) = compare(first, other)
        assert replace(each, adjusted_p=None) == alone
    assert [each.adjusted_p for each in compared] == holm([each.p for each in compared])
    print_several(compared, flips=0)
    shown = capsys.readouterr().out
    for part in (f"B: {better}"[-20:], "70.00 %", "+50.00", "10 gained, 0 lost", "adjusted 0.0039"):
        assert part in shown
    assert "passed: 4 in A, 14 in B;" in shown


def test_several_runs_are_compared_on_what_all_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `allow_missing`; else the difference is an error, as is a benchmark that one of them lacks."""
    runs = [write(tmp_path / str(n), {f"{k}": k % 2 == 0 for k in range(n, 10)}) for n in range(3)]
    with pytest.raises(UsageError, match="different examples"):
        compare(*runs)
    compared = compare(*runs, allow_missing=True)
    print_several(compared)
    assert "left out, as not all runs have them: 2\n" in capsys.readouterr().out
    assert [each.n for each in compared] == [8, 8]
    other = write(tmp_path / "other", {"a": True}, benchmark="ifbench")
    with pytest.raises(UsageError, match="the same benchmark"):
        compare(runs[0], runs[1], other)
    with pytest.raises(UsageError, match="two runs or more"):
        compare(runs[0])


def test_several_runs_of_several_benchmarks(tmp_path: Path) -> None:
    """A benchmark's comparisons stand together; one that a run lacks is left out of all."""
    for run, names in (
        ("a", ("ifeval", "llmbar", "gsm8k")),
        ("b", ("llmbar", "ifeval")),
        ("c", ("llmbar", "ifeval")),
    ):
        for name in names:
            write(tmp_path / run / name, BEFORE, benchmark=name)
    compared = compare(*(tmp_path / run for run in "abc"))
    assert [(each.benchmark, each.second.parent.name) for each in compared] == [
        *(("ifeval", "b"), ("ifeval", "c"), ("llmbar", "b"), ("llmbar", "c"))
    ]


def test_each_of_many_runs_has_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those after Z too."""
    runs = [write(tmp_path / str(n), AFTER) for n in range(30)]
    print_several(compare(*runs))
    shown = capsys.readouterr().out.splitlines()
    assert f"Z: {runs[25]}" in shown
    assert f"AD: {runs[29]}" in shown


def test_holm() -> None:
    """The textbook's example, in the order of the tests; an adjusted p is at most 1 and keeps their order."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_standings() -> None:
    """Shares with Wilson's interval; changes against the first as two runs have them, adjusted where there are several."""
    first, better = [False] * 15 + [True] * 5, [False] * 5 + [True] * 15
    two, three = standings([first, better]), standings([first, better, first])
    assert two[0] == three[0] == Standing(5, 20)
    assert two[1].change is not None and three[1].change is not None
    assert replace(three[1].change, adjusted_p=None) == two[1].change
    assert (two[1].change.gained, two[1].change.lost, two[1].change.value) == (10, 0, 0.5)
    assert two[1].change.p == mcnemar(10, 0)
    assert [each.change and each.change.adjusted_p for each in three] == [
        None,
        2 * mcnemar(10, 0),
        1.0,
    ]
    assert three[1].interval == pytest.approx((0.5313, 0.8881), abs=1e-4)
    assert standings([[], []])[1] == Standing(0, 0)
