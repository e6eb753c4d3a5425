"""Checkable prompts end to end: files, report, contamination, held-out prompts, order."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from spar.errors import ConfigChanged, MissingExtra, UsageError
from spar.evolve.checkable.runner import CheckableResult, make_checkable
from spar.evolve.checkable.settings import load_checkable, parse_counts, parse_types
from spar.prompts import read_prompts
from spar.record.checkable import read_report
from spar.verifiers import passes, unverifiable
from tests.evolve.worlds import LEAK, write_ifeval, write_seeds

TOPICS = "kites lanterns rivers bridges harvests mountains markets trains mirrors villages winters oceans".split()
SEEDS = [
    *(f"Explain to a curious child why {topic} matter so much to us." for topic in TOPICS),
    *(f"Describe what {topic} meant to your grandparents in their youth." for topic in TOPICS),
    f"{LEAK.capitalize()}.",
    "Write a Python script.",
]


@pytest.fixture
def data(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder whose IFEval is one prompt and fillers."""
    monkeypatch.setenv("NLTK_DATA", str(data_root / "nltk_data"))
    return write_ifeval(tmp_path / "data", LEAK)


@pytest.fixture
def no_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with nothing: reading the benchmarks takes most of the time of a small run."""
    monkeypatch.setattr("spar.evolve.checkable.runner.load_benchmark_prompts", lambda _: ([], ()))


def make(seeds: Path, data: Path, out: Path, **settings: Any) -> CheckableResult:
    """Checkable prompts with these settings."""
    values = {"prompts": str(seeds), "data": str(data), "n": 15, **settings}
    overwrite = values.pop("overwrite", False)
    return make_checkable(load_checkable(values), out=out, overwrite=overwrite)


def lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.evalharness
@pytest.mark.data
def test_prompts_witnesses_and_report(tmp_path: Path, data: Path, verifiers: None) -> None:
    """What is written can be read and checked, witnesses pass, and the report adds up."""
    seeds = write_seeds(tmp_path / "seeds.jsonl", SEEDS)
    made = make(seeds, data, tmp_path / "run", n=40, holdout=10, witnesses=True)
    report = read_report(tmp_path / "run")
    assert report == made.report
    assert (report.prompts, report.held_out, report.witnesses) == (40, 10, 50)
    assert sum(report.by_count.values()) == sum(report.by_length.values()) == 50
    assert (
        report.seeds.read == report.seeds.used + sum(report.seeds.rejected.values()) == len(SEEDS)
    )
    assert report.seeds.rejected["contaminated"] == 1
    assert report.seeds.rejected["asks for program code or is about it"] == 1
    assert 0 < report.benchmarks["ifeval"].longest_shared < 13
    assert "gsm8k" in report.absent_benchmarks
    training = [*read_prompts(tmp_path / "run" / "prompts.jsonl")]
    held_out = [*read_prompts(tmp_path / "run" / "holdout.jsonl")]
    assert [p.messages for p in training] == [p.messages for p in made.prompts]
    witnesses = {row["id"]: row["response"] for row in lines(tmp_path / "run" / "witnesses.jsonl")}
    for prompt in (*training, *held_out):
        assert not unverifiable(prompt)
        assert passes(witnesses[prompt.id], prompt)
    sources = [{p.meta["seed_prompt"] for p in part} for part in (training, held_out)]
    assert not sources[0] & sources[1]
    assert not any(LEAK in p.messages[-1].content.lower() for p in (*training, *held_out))


@pytest.mark.evalharness
@pytest.mark.data
def test_the_same_prompts_in_any_order(
    tmp_path: Path, data: Path, verifiers: None, no_benchmarks: None
) -> None:
    """The order of the seed prompts and their ids change nothing, more prompts extend the file; the seed changes all."""
    seeds = write_seeds(tmp_path / "seeds.jsonl", SEEDS)
    shuffled = write_seeds(tmp_path / "shuffled.jsonl", random.Random(3).sample(SEEDS, len(SEEDS)))

    def texts(made: CheckableResult) -> list[str]:
        return [prompt.messages[-1].content for prompt in made.prompts]

    first = make(seeds, data, tmp_path / "a")
    assert texts(make(shuffled, data, tmp_path / "b")) == texts(first)
    assert texts(make(seeds, data, tmp_path / "c", n=10)) == texts(first)[:10]
    more = make(seeds, data, tmp_path / "a", n=20)
    assert len(more.prompts) == 20
    assert texts(more)[:15] == texts(first)
    with pytest.raises(ConfigChanged, match="seed: 0, now 1"):
        make(seeds, data, tmp_path / "a", seed=1)
    other = make(seeds, data, tmp_path / "a", seed=1, overwrite=True)
    assert not {*texts(other)} & {*texts(more)}


@pytest.mark.evalharness
@pytest.mark.data
def test_variants_of_one_instruction_stay_together(
    tmp_path: Path, data: Path, verifiers: None, no_benchmarks: None
) -> None:
    """What a teacher evolved from one seed prompt is held out as a whole."""
    path = tmp_path / "evolved.jsonl"
    rows = [
        {"id": f"s{n}/{v}", "prompt": f"{text} Speak {how}.", "seed_prompt": f"s{n}"}
        for n, text in enumerate(SEEDS[:8])
        for v, how in enumerate(("as warmly as a friend", "like an old sailor on leave"))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = make(path, data, tmp_path / "run", n=16, holdout=8)
    parts = (made.prompts, made.held_out)
    origins = [{p.meta["seed_prompt"].partition("/")[0] for p in part} for part in parts]
    assert origins[1]
    assert not origins[0] & origins[1]


@pytest.mark.evalharness
@pytest.mark.data
def test_types_and_counts_are_options(
    tmp_path: Path, data: Path, verifiers: None, no_benchmarks: None
) -> None:
    """Only the named types are drawn, as many as asked for; what cannot be reached is said."""
    seeds = write_seeds(tmp_path / "seeds.jsonl", SEEDS[:3])
    made = make(
        seeds, data, tmp_path / "run", n=40, constraints="2", types="no_comma,title,english_capital"
    )
    assert {*made.report.by_count} == {"2"}
    assert {name for name, count in made.report.by_type.items() if count} <= {
        *("punctuation:no_comma", "detectable_format:title", "change_case:english_capital")
    }
    assert 0 < made.report.prompts < 40
    assert "prompts of 40: the seed prompts give no more new ones" in made.report.notes[0]


@pytest.mark.evalharness
@pytest.mark.data
def test_a_mix_that_few_seed_prompts_take_is_named(
    tmp_path: Path, data: Path, verifiers: None, no_benchmarks: None
) -> None:
    """More of the same seed prompts would not help, so the note speaks of constraints and types."""
    poems = [f"Write a poem about {topic}." for topic in TOPICS[:3]]
    seeds = write_seeds(tmp_path / "seeds.jsonl", [SEEDS[0], *poems])
    mix = {"types": "no_comma,number_words", "constraints": "2"}
    report = make(seeds, data, tmp_path / "run", n=9, **mix).report
    assert report.prompts == 1
    assert "1 prompts of 9: as many of the --types" in report.notes[0]
    assert "add seed prompts" not in report.notes[0]


def test_without_lm_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install, and nothing is written."""
    monkeypatch.setattr("spar.ifeval_verifiers._LOADED", {})
    monkeypatch.setattr("spar.ifeval_verifiers.require_tokenizer", lambda _: None)
    monkeypatch.setattr("spar.eval.ifeval.named_folders", lambda: ["a folder with it"])
    monkeypatch.setitem(sys.modules, "lm_eval.tasks.ifeval.instructions_registry", None)
    seeds = write_seeds(tmp_path / "seeds.jsonl", SEEDS)
    with pytest.raises(MissingExtra, match=r"lm_eval.*\[eval\]"):
        make(seeds, tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (("prompts.jsonl", "run.json"), "no checkable.json"),
        (("checkable.json",), "is not the report"),
    ],
)
def test_other_directories_are_refused(
    tmp_path: Path, content: Iterable[str], message: str
) -> None:
    """A run of a teacher, or a damaged report, is not written over."""
    for name in content:
        (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match=message):
        make(tmp_path / "seeds.jsonl", tmp_path, tmp_path)


def test_counts() -> None:
    """A number, a range with weights that fall, weights."""
    assert parse_counts("3") == {3: 1.0}
    assert parse_counts("1-3") == {1: 3.0, 2: 2.0, 3: 1.0}
    assert parse_counts("1=2, 4=0.5, 2=0") == {1: 2.0, 4: 0.5}
    for text in ("", "0", "0-2", "3-1", "9", "a", "1=x", "1-", "1=0"):
        with pytest.raises(UsageError, match="accepted: a number of 1 to 8"):
            parse_counts(text)


def test_types() -> None:
    """Names restrict, a minus leaves out, a weight multiplies."""
    every = parse_types("all")
    assert len(every) == 25
    assert [*parse_types("title,punctuation:no_comma")] == [
        *("detectable_format:title", "punctuation:no_comma")
    ]
    assert every.keys() - parse_types("-title,-json_format").keys() == {
        *("detectable_format:title", "detectable_format:json_format")
    }
    comma = "punctuation:no_comma"
    assert parse_types("all,no_comma=3")[comma] == 3 * every[comma]
    with pytest.raises(UsageError, match="did you mean 'no_comma'"):
        parse_types("nocomma")
    for text in ("title=x", "title=-1", "title=nan", "title=0"):
        with pytest.raises(UsageError):
            parse_types(text)


@pytest.mark.parametrize(
    "text", ["all,-title,no_comma=3", "-title,no_comma=3,all", "no_comma=3,all,-title"]
)
def test_all_types_may_stand_anywhere(text: str) -> None:
    """What is left out or made more frequent stays so where `all` comes after it."""
    every, types = parse_types("all"), parse_types(text)
    assert every.keys() - types.keys() == {"detectable_format:title"}
    assert types["punctuation:no_comma"] == 3 * every["punctuation:no_comma"]
