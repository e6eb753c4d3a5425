"""Benchmarks that read a file of the user's: checkable prompts, and texts whose likelihood is asked."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from spar.config import load_eval
from spar.errors import ConfigChanged, UsageError
from spar.eval.datasets.seed_prompts import seed_prompts
from spar.eval.needed_verifiers import needed_packages
from spar.eval.runner import EvalRequest, default_directory, evaluate
from spar.infer.engine import Continuation
from spar.infer.engines.fake import scripted_likelihood
from spar.record.evaluation import Results, read_examples
from spar.types import Message, Prompt
from tests.fakes import Notes

WORDS = "length_constraints:number_words"
CHECKABLE: tuple[dict[str, Any], ...] = (
    {
        "id": "short",
        "prompt": "Say two words.",
        "instruction_id_list": [WORDS, "punctuation:no_comma"],
        "kwargs": [{"relation": "less than", "num_words": 3}, {}],
    },
    {
        "id": "long",
        "prompt": "Say a lot.",
        "instruction_id_list": [WORDS],
        "kwargs": [{"relation": "at least", "num_words": 100}],
    },
)
TEXTS: tuple[dict[str, Any], ...] = (
    {"id": "reply", "instruction": "Greet.", "input": "", "output": "Good morning to you."},
    {"id": "text", "prompt": "A text without a context."},
    {"id": "blank", "instruction": "Say nothing.", "output": " "},
)


def write(path: Path, rows: tuple[Mapping[str, Any], ...]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(name: str, prompts: Path | str, out: Path, **fields: Any) -> Results:
    """Evaluate one benchmark on a file with the scripted engine."""
    config = load_eval(None, {"engine": "fake", "prompts": str(prompts), **fields})
    results, error = asyncio.run(evaluate(config, EvalRequest((name,), out=out), Notes([])))
    if error is not None:
        raise error
    return results[0]


def test_checkable_prompts(tmp_path: Path) -> None:
    """The scripted answer has two words: it meets both constraints of one prompt and not that of the other."""
    path = write(tmp_path / "prompts.jsonl", CHECKABLE)
    results = run("checkable", path, tmp_path / "run")
    values = {name: metric.value for name, metric in results.metrics.items()}
    assert values == {
        "pass": 0.5,
        "pass_instruction": pytest.approx(2 / 3),
        "words": 2.0,
        "seq_rep_4": 0.0,
        "repetitive": 0.0,
        "pass_without_repetition": 0.5,
        f"pass/{WORDS}": 0.5,
        "pass/punctuation:no_comma": 1.0,
    }
    assert (results.n, results.units) == (2, {"words": "words"})
    assert run("checkable", path, tmp_path / "run", limit=1).metrics["pass"].value == 1.0


def test_a_field_of_another_name(tmp_path: Path) -> None:
    """Both benchmarks read the prompts, or the texts, of the field that is named."""
    renamed = tuple({"ask" if k == "prompt" else k: v for k, v in row.items()} for row in CHECKABLE)
    path = write(tmp_path / "prompts.jsonl", renamed)
    for name in ("checkable", "perplexity"):
        assert run(name, path, tmp_path / name, prompt_field="ask").n == 2
        with pytest.raises(UsageError, match="rename the field"):
            run(name, path, tmp_path / "other")


def test_the_results_name_the_verifiers_that_the_prompts_need(tmp_path: Path) -> None:
    """A comparison can then warn of other versions."""
    pytest.importorskip("if_verifiable")
    rows: list[dict[str, Any]] = [
        {"id": "ifbench", "instruction_id_list": ["count:numbers"], "kwargs": [{"N": 3}]},
        *CHECKABLE,
    ]
    prompts = [
        Prompt(
            id=str(row["id"]),
            messages=(Message(role="user", content="Go."),),
            meta={name: row[name] for name in ("instruction_id_list", "kwargs")},
        )
        for row in rows
    ]
    assert {"lm_eval", "if-verifiable"} <= {*needed_packages(prompts)}
    assert "if-verifiable" in needed_packages(prompts[:1])
    assert "lm_eval" not in needed_packages(prompts[:1])
    results = run("checkable", write(tmp_path / "prompts.jsonl", CHECKABLE), tmp_path / "run")
    assert "lm_eval" in results.run["verifiers"]


def test_likelihoods_of_replies_and_texts(tmp_path: Path) -> None:
    """A reply is scored after its conversation, a text without a context; a blank one is left out and counted."""
    results = run("perplexity", write(tmp_path / "texts.jsonl", TEXTS), tmp_path / "run")
    examples = {e.id: e for e in read_examples(tmp_path / "run" / "perplexity")}
    assert examples.keys() == {"reply", "text", "blank"}
    assert (examples["blank"].scores, results.counts) == ({}, {"unscored": 1})
    plain = scripted_likelihood(Continuation("", TEXTS[1]["prompt"]))
    assert examples["text"].scores == {
        "nats_per_token": (-plain.logprob, 5.0),
        "nats_per_byte": (-plain.logprob, 25.0),
    }
    assert examples["reply"].response == TEXTS[0]["output"]
    assert examples["reply"].scores["nats_per_token"][1] == 4.0
    nats = sum(examples[name].scores["nats_per_token"][0] for name in ("reply", "text"))
    assert results.metrics["nats_per_token"].value == pytest.approx(nats / 9)
    assert results.metrics["nats_per_byte"].value == pytest.approx(nats / 45)
    assert results.notes[-1] == f"perplexity {math.exp(nats / 9):.2f} a token, over 9 tokens"


def test_likelihoods_take_no_responses(tmp_path: Path) -> None:
    """A file of responses has none; nothing is written."""
    responses = write(tmp_path / "responses.jsonl", ({"id": "text", "response": "Yes."},))
    texts = write(tmp_path / "texts.jsonl", TEXTS)
    with pytest.raises(UsageError, match=r"perplexity takes no --responses: .* texts of --prompts"):
        run("perplexity", texts, tmp_path / "run", responses=str(responses))
    assert not (tmp_path / "run").exists()


def test_another_file_is_another_evaluation(tmp_path: Path) -> None:
    """The same folder refuses a changed file, and the default folder is another one."""
    path = write(tmp_path / "prompts.jsonl", CHECKABLE)
    run("checkable", path, tmp_path / "run")
    config = load_eval(None, {"prompts": str(path)})
    before = default_directory(config)
    write(path, CHECKABLE[:1])
    assert default_directory(config) != before
    with pytest.raises(ConfigChanged, match="data_digest"):
        run("checkable", path, tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("checkable", ({"prompt": "Say it."},), "1 of its 1 prompts cannot be checked"),
        ("checkable", None, "give the prompts with --prompts FILE"),
        ("nano-if-answers", CHECKABLE, "--prompts is for checkable, perplexity; nano-if-answers"),
        ("perplexity", TEXTS[2:], "has no text to score"),
    ],
)
def test_wrong_files(
    name: str, rows: tuple[Mapping[str, Any], ...] | None, words: str, tmp_path: Path
) -> None:
    """Each is an error before a model is loaded."""
    path = write(tmp_path / "prompts.jsonl", rows) if rows else ""
    with pytest.raises(UsageError, match=words):
        run(name, path, tmp_path / "run")
    assert not (tmp_path / "run" / name / "run.json").exists()


def test_a_text_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    """The embedded model's context ends before it; the other text is scored."""
    rows = (
        {"id": "ok", "prompt": "Go.", "output": "The fox runs."},
        {"id": "long", "prompt": "Go.", "output": "The fox runs. " * 2000},
    )
    results = run("perplexity", write(tmp_path / "t.jsonl", rows), tmp_path / "run", engine="hf")
    assert (results.n, results.counts["unscored"]) == (2, 1)
    assert results.metrics["nats_per_token"].n == 1
    assert results.metrics["nats_per_token"].value > 0


@pytest.mark.data
def test_the_seed_prompts(data_root: Path) -> None:
    """507 prompts with ids of their own; those of self-instruct have replies."""
    prompts = list(seed_prompts(str(data_root)))
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 507
    assert sum("output" in prompt.meta for prompt in prompts) == 427
    assert prompts[1].messages[-1].content.endswith("pairs?\n\nNight : Day :: Right : Left")


@pytest.mark.data
def test_without_a_file_the_replies_of_people_are_scored(data_root: Path, tmp_path: Path) -> None:
    """The data set's, the first ones with a limit."""
    results = run("perplexity", "", tmp_path / "run", data=str(data_root), limit=3)
    assert (results.n, results.run["whole"]) == (3, 427)
