"""What an evaluation writes: what is read back is what was written, and damage is told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import RunStopped, UsageError
from spar.record.evaluation import (
    EXAMPLES,
    RESULTS,
    Example,
    Metric,
    Results,
    Verdict,
    as_lm_eval,
    read_examples,
    read_results,
    write_examples,
    write_results,
)
from spar.types import Usage
from tests.strategies import any_text, json_values, usages

numbers = st.floats(0, 1e6)
verdicts = st.builds(
    Verdict, name=any_text, passed=st.sampled_from([True, False, None]), why=any_text
)
examples = st.builds(
    Example,
    id=any_text,
    group=any_text,
    response=st.none() | any_text,
    passed=st.sampled_from([True, False, None]),
    verdicts=st.lists(verdicts, max_size=2).map(tuple),
    scores=st.dictionaries(any_text, st.tuples(numbers, numbers), max_size=3),
    usage=usages,
    facts=st.dictionaries(any_text, json_values, max_size=2),
)


def results(**changes: object) -> Results:
    """Totals of two examples."""
    fields = {
        "benchmark": "ifeval",
        "n": 2,
        "metrics": {
            "acc": Metric(value=0.5, stderr=0.5, n=2),
            "one": Metric(value=1, stderr=None, n=1),
        },
        "counts": {"unanswered": 1},
        "notes": ("a note",),
        "usage": Usage(calls=2),
        "run": {"strategy": "greedy"},
    }
    return Results.model_validate({**fields, **changes})


@given(st.lists(examples, max_size=4))
def test_examples_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[Example]) -> None:
    """Any text, lone surrogates and line breaks included, survives the file, a line an example."""
    folder = tmp_path_factory.mktemp("record")
    write_examples(folder, rows)
    assert list(read_examples(folder)) == rows
    assert (folder / EXAMPLES).read_bytes().count(b"\n") == len(rows)
    assert [path.name for path in folder.iterdir()] == [EXAMPLES]


def test_results_come_back(tmp_path: Path) -> None:
    """Totals survive the file."""
    write_results(tmp_path, results())
    assert read_results(tmp_path) == results()


def test_a_rewrite_replaces_the_file(tmp_path: Path) -> None:
    """Scoring again leaves nothing of the earlier examples."""
    for count in (3, 1):
        write_examples(
            tmp_path, [Example(id=f"{i}", response=None, passed=None) for i in range(count)]
        )
    assert [example.id for example in read_examples(tmp_path)] == ["0"]


def test_the_shape_that_lm_eval_prints() -> None:
    """Each metric, its error beside it, n and the counts."""
    assert as_lm_eval(results()) == {
        "n": 2,
        "acc": 0.5,
        "acc_stderr": 0.5,
        "one": 1.0,
        "one_stderr": None,
        "unanswered": 1,
    }


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "is not an example"),
        ("[" * 100_000, "is not an example"),
        ('{"id": "a"}', "is not an example"),
        ('{"id": "a", "response": null, "passed": null, "odd": 1}', "is not an example"),
        ("", "is not an example"),
        ("\xff", "is not an example"),
    ],
    ids=["torn", "deep", "fields", "unknown", "blank", "not UTF-8"],
)
def test_a_damaged_example_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    """File, line number and what is wrong, in one line."""
    write_examples(tmp_path, [Example(id="a", response=None, passed=None)])
    with (tmp_path / EXAMPLES).open("ab") as handle:
        handle.write(line.encode("latin-1") + b"\n")
    with pytest.raises(UsageError, match=complaint) as caught:
        list(read_examples(tmp_path))
    assert f"{EXAMPLES}:2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_files_are_named(tmp_path: Path) -> None:
    """A directory without an evaluation says what is missing, at once."""
    with pytest.raises(UsageError, match=EXAMPLES):
        read_examples(tmp_path)
    with pytest.raises(UsageError, match=RESULTS):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", json.dumps({"benchmark": 1}), "[" * 100_000],
    ids=["torn", "list", "empty", "fields", "deep"],
)
def test_damaged_results_are_named(tmp_path: Path, text: str) -> None:
    """Not JSON, or not the totals."""
    (tmp_path / RESULTS).write_text(text)
    with pytest.raises(UsageError, match="is not a results file"):
        read_results(tmp_path)


def test_a_disk_that_fails_stops_the_run_in_one_line(tmp_path: Path) -> None:
    """What was answered is safe, so that the same command can go on."""
    gone = tmp_path / "gone"
    with pytest.raises(
        RunStopped, match=r"cannot write to .*gone: No such file .* answers and grades are saved"
    ):
        write_examples(gone, ())
    with pytest.raises(RunStopped, match="cannot write to"):
        write_results(gone, Results(benchmark="toy", n=0, metrics={}))
