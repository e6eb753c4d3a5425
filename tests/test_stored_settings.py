"""The stored form of settings: what the last version wrote, byte by byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from spar.config import FREE, DecodeConfig, EvalConfig, Settings, load_decode, load_eval
from spar.evolve.settings import load_evolve
from spar.manifest import config_digest
from spar.train.bootstrap.recipe import FREE as FREE_OF_BOOTSTRAPS
from spar.train.bootstrap.recipe import load_bootstrap
from spar.train.changeable import FREE_OF_EARLIER_VERSIONS as FREE_OF_LOOPS
from spar.train.recipe import load_train

RENAMED: dict[str, Any] = {
    "beam_width": 4,
    "branching": 2,
    "threshold": 0.25,
    "early_stop": "first",
    "max_batch_size": 9,
    "timeout": 5.0,
    "retry_for": 0.0,
    "speculative_decoding": "on",
}
OLD_NAMES: dict[str, Any] = {
    "keep": 4,
    "branch": 2,
    "gate": 0.25,
    "stop": "first",
    "rows": 9,
    "request_seconds": 5.0,
    "retry_seconds": 0.0,
    "speculate": "on",
}
MORE: dict[str, Any] = {
    "budget": 7,
    "strategy": "dfs",
    "engine_args": {"max_num_seqs": 4, "seed": 1},
    "base_url": ("http://a/v1",),
    "adapter": {"judge": "x"},
    "seed": 0,
}
GRADED = {"judge_votes": 5, "grader_url": ("http://g/v1",), "num_fewshot": 2}
LOOP = ["decode.keep=3", "eval.gate=0.1", "search={keep: 3, branch: 1}", "dpo.beta=0.2"]
LOOP_RENAMED = [
    *("decode.beam_width=3", "eval.threshold=0.1"),
    *("search={beam_width: 3, branching: 1}", "dpo.beta=0.2"),
]


def bootstrap(recipe: str, *changes: str, **teacher: Any) -> Settings:
    student = {"model": "m"} if recipe == "paper" else {}
    return load_bootstrap(recipe, {}, changes, student=student, teacher=teacher)


WRITTEN: list[tuple[Callable[[], Settings], tuple[str, ...], str, str]] = [
    (lambda: load_decode(None, {}), FREE, "e5f5dde4b9d708f6", "0b00e5b548d1e810"),
    (lambda: load_decode("nano", {}), FREE, "1469fdc50c9f55a3", "98c1b1cf21343c64"),
    (
        lambda: load_decode("paper", {**RENAMED, **MORE}),
        *(FREE, "ffd41d34bbaddffd", "a77bf8ac20412b2b"),
    ),
    (
        lambda: load_decode("paper", {**OLD_NAMES, **MORE}),
        *(FREE, "ffd41d34bbaddffd", "a77bf8ac20412b2b"),
    ),
    (lambda: load_eval(None, {}), FREE, "540c4084314c1d3a", "c405a38f725c7ff8"),
    (
        lambda: load_eval("llama3-8b", {**RENAMED, **MORE, **GRADED}),
        *(FREE, "11b05a8bd61c20dc", "1adc7919ca884a36"),
    ),
    (
        lambda: load_evolve("paper", {"prompts": "p.jsonl", "per_prompt": 3, "max_batch_size": 4}),
        *(FREE, "9b6b36ab2507b8f5", "0adfd2b659041fcb"),
    ),
    (lambda: load_train("nano", {}), FREE_OF_LOOPS, "2e9672c867b336f2", "4043279e3b39b112"),
    (lambda: load_train("llama3-8b", {}), FREE_OF_LOOPS, "0144009803854a64", "3f3f8ac6e2e3e7ac"),
    *(
        (
            lambda changes=changes: load_train(
                "nano", {"max_batch_size": 9, "model": "m", "iterations": 2}, changes
            ),
            *(FREE_OF_LOOPS, "a8ea4dddc3dd13d0", "c193477fe0907db1"),
        )
        for changes in (LOOP, LOOP_RENAMED)
    ),
    (
        lambda: bootstrap("paper", base_url=("http://t/v1",)),
        *(FREE_OF_BOOTSTRAPS, "327dc80b2b56dfff", "45249cbb553ff88b"),
    ),
    *(
        (
            lambda changes=changes: bootstrap("nano", *changes),
            *(FREE_OF_BOOTSTRAPS, "669a5d1c575c0ebe", "4239fff9b006e7ce"),
        )
        for changes in (
            ("teacher.keep=4", "student.rows=3", "search.branch=1"),
            ("teacher.beam_width=4", "student.max_batch_size=3", "search.branching=1"),
        )
    ),
]
"""Settings, the names that may change, and what the last version made of them: the digest of a run, and the
first digits of the SHA-256 of the indented JSON in its `run.json`."""


@pytest.mark.parametrize(("load", "free", "digest", "text"), WRITTEN)
def test_the_stored_form_is_that_of_the_last_version(
    load: Callable[[], Settings], free: tuple[str, ...], digest: str, text: str
) -> None:
    """Names, values and their order are the same, so runs resume and are found in the same directories."""
    stored = load().stored()
    assert config_digest(stored, free=free) == digest
    assert hashlib.sha256(json.dumps(stored, indent=2).encode()).hexdigest()[:16] == text


@pytest.mark.parametrize("load", [row[0] for row in WRITTEN])
def test_the_stored_form_is_read_again(load: Callable[[], Settings]) -> None:
    """Through JSON, to equal settings."""
    config = load()
    assert type(config).from_stored(json.loads(json.dumps(config.stored()))) == config


NEW_SECTIONS = {"sft"}
"""Sections of a loop's settings that the last version did not have."""
NEW = {"redo", "header", "total_budget", "early_refine", "keep_votes", "response_cache"}
"""Settings of this version that may change and were not in the last one."""


@pytest.mark.parametrize(
    ("free", "count", "digest"),
    [
        (FREE, 30, "c507b9b4be7a6584"),
        (FREE_OF_LOOPS, 67, "f9dbf995102c5df3"),
        (FREE_OF_BOOTSTRAPS, 65, "084191caa669b272"),
    ],
)
def test_the_settings_that_may_change(free: tuple[str, ...], count: int, digest: str) -> None:
    """They are the last version's and the new ones, in any order."""
    old = [
        name
        for name in free
        if name.rpartition(".")[2] not in NEW and name.partition(".")[0] not in NEW_SECTIONS
    ]
    names = json.dumps(sorted(old))
    assert (len(old), hashlib.sha256(names.encode()).hexdigest()[:16]) == (count, digest)


def test_empty_plugin_options_are_not_stored() -> None:
    """Settings that the last version did not have are stored only where they are set."""
    names = {
        "strategy_args",
        "judge_args",
        "benchmark_args",
        "refiner",
        "total_budget",
        "answer_rule",
    }
    assert not names & EvalConfig().stored().keys()
    config = EvalConfig(strategy_args={"c": 0.7}, refiner="mine")
    assert config.stored()["strategy_args"] == {"c": 0.7}
    assert EvalConfig.from_stored(config.stored()) == config


def test_another_strategy_does_not_take_over_options() -> None:
    """Grading, say, drafts greedily, whatever options the search's strategy has."""
    config = EvalConfig(strategy="best-of-n", strategy_args={"waves": "growing"})
    assert config.changed({"strategy": "greedy"}).strategy_args == {}
    assert config.changed({"strategy": "best-of-n"}) == config
    changed = config.changed({"strategy": "ab-mcts", "strategy_args": {"batch": 2}})
    assert changed.strategy_args == {"batch": 2}


def test_old_names_are_read() -> None:
    """Where an old and a new name are given, the later one wins."""
    assert DecodeConfig.from_stored(OLD_NAMES) == DecodeConfig(**RENAMED)
    assert DecodeConfig.from_stored({"keep": 5, "beam_width": 6}).beam_width == 6
    assert DecodeConfig.stored_names(RENAMED) == OLD_NAMES
    assert DecodeConfig.field_names(OLD_NAMES) == RENAMED
