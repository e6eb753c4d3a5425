"""lm-eval's own `hf` model and spar say the same about a real chat model: choices, replies and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import spar
from tests.eval.test_lm_harness_equal import (
    assert_equal_metrics,
    assert_near_likelihoods,
    builtin_task,
    ours,
    theirs,
)
from tests.fixture_smollm2 import NAME
from tests.requires import requires

pytestmark = [
    requires("lm_eval"),
    pytest.mark.evalharness,
    pytest.mark.data,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

LIMIT, MAX_TOKENS = 4, 32
NEAR = 2e-3
"""Most that two log-probabilities of a choice may differ: thirty layers in float32, in batches of other shapes."""


def replies_of_lm_eval(folder: Path, prompts: list[spar.Prompt]) -> dict[str, str]:
    """What lm-eval's own hf model replies to each prompt, as its task of IFEval asks."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=LIMIT)
    settings = {
        "until": [],
        "do_sample": False,
        "temperature": 0.0,
        "max_gen_toks": MAX_TOKENS,
    }
    asked = [
        Instance(
            "generate_until",
            {},
            (
                model.apply_chat_template([turn.model_dump() for turn in prompt.messages]),
                settings,
            ),
            index,
        )
        for index, prompt in enumerate(prompts)
    ]
    replies = model.generate_until(asked, disable_tqdm=True)
    return {prompt.id: reply for prompt, reply in zip(prompts, replies, strict=True)}


def test_ifeval_is_the_same(smollm2: Path, data_root: Path, tmp_path: Path) -> None:
    """Every greedy reply, and the four scores by lm-eval's own scoring of its own replies."""
    evaluation = spar.evaluate(
        "ifeval",
        out=tmp_path / "run",
        model=NAME,
        engine="hf",
        dtype="fp32",
        device="cpu",
        limit=LIMIT,
        draft={"max_tokens": MAX_TOKENS},
        data=str(data_root),
        offline=True,
    )
    prompts = [tree.prompt for tree in spar.read_trees(tmp_path / "run" / "ifeval")]
    expected = replies_of_lm_eval(smollm2, prompts)
    replies = {example.id: example.response for example in evaluation.examples}
    assert replies == {id_: reply.strip() for id_, reply in expected.items()}
    from lm_eval.tasks.ifeval.utils import process_results  # which looks for NLTK's data

    verdicts: dict[str, list[Any]] = {}
    for prompt in prompts:
        document = {**prompt.meta, "prompt": prompt.messages[-1].content}
        for name, verdict in process_results(document, [expected[prompt.id]]).items():
            verdicts.setdefault(name, []).extend(
                verdict if isinstance(verdict, list) else [verdict]
            )
    for name, values in verdicts.items():
        assert evaluation.metrics[name] == pytest.approx(sum(values) / len(values))


def test_mmlu_is_the_same(smollm2: Path, data_root: Path, tmp_path: Path) -> None:
    """The likelihoods of all choices in the chat template, and the accuracy."""
    results = theirs("mmlu_anatomy", str(data_root), True, model=str(smollm2), limit=LIMIT)
    scored = ours(
        builtin_task("mmlu_anatomy"),
        str(data_root),
        tmp_path,
        engine="hf",
        dtype="fp32",
        model=NAME,
        limit=LIMIT,
        chat_template=True,
    )
    assert_near_likelihoods(scored, results, LIMIT, NEAR)
    assert_equal_metrics(scored, results, "mmlu_anatomy", LIMIT)
