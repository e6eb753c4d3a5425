"""lm-eval's own `hf` model and spar say the same about the embedded model.

The reference is `simple_evaluate` with lm-eval's HFLM, none of spar but the local data in it. The embedded
model solves none of GSM8K's problems, so equal scores would say little: the very replies are compared, and
the likelihoods; and replies to prompts in the model's own language.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spar.embedded import CHECKPOINT
from spar.eval.job_outputs import RunOutputs
from spar.eval.lm_harness.benchmark import HarnessTask
from spar.eval.statistics import metrics
from spar.record.evaluation import Example, Scored
from tests.eval.lm_harness_tasks import settings
from tests.requires import requires

pytestmark = [
    requires("lm_eval", "torch"),
    pytest.mark.xdist_group("vllm"),  # whose test needs lm-eval's answers of the others
    pytest.mark.evalharness,
    pytest.mark.data,
    pytest.mark.model,
    pytest.mark.slow,
]

LIMIT = 24
FOLDERS = {"gsm8k": "gsm8k", "mmlu_anatomy": "mmlu/default"}
NANO_CODE = """
import datasets
from tests.requires import requires
from spar.nano.tasks import prompts


def make(**_):
    rows = [{"question": prompt.messages[0].content} for prompt in prompts("test", seed=7, limit=24)]
    return datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})
"""
NANO_TASK = """
task: nano
custom_dataset: !function documents.make
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "none"
generation_kwargs: {until: [" and", "!"], max_gen_toks: 60}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
NEAR = 2e-4
"""Most that two log-probabilities in float32 may differ: batches of other shapes add up in another order.
Those of one question's choices lie farther apart than that, so the choices, and the scores, are equal."""
SMALL = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 28, "max_num_seqs": 16}


@functools.cache
def theirs(
    task: str, data: str, chat: bool, folder: str = "", *, model: str = "", limit: int = LIMIT
) -> dict[str, Any]:
    """What lm-eval's own hf model gives.

    Parameters
    ----------
    model:
        Its folder, "" for the embedded model.
    folder:
        Where the task is, "" among lm-eval's own.
    """
    from lm_eval import evaluator
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from spar.eval.lm_harness.local_data import local_data

    whole = Path(evaluator.__file__).parent / "tasks" / (folder or FOLDERS[task])
    manager = TaskManager(include_path=str(whole), include_defaults=False)
    reference = HFLM(
        pretrained=model or str(CHECKPOINT), device="cpu", dtype="float32", batch_size=8
    )
    with pytest.MonkeyPatch.context() as patch, local_data(data):
        patch.setattr(evaluator, "add_env_info", lambda _: None)  # asks pip and the drivers
        results: dict[str, Any] = evaluator.simple_evaluate(
            model=reference,
            tasks=[task],
            limit=limit,
            task_manager=manager,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            bootstrap_iters=10,
        )
    return results


def ours(benchmark: HarnessTask, data: str, directory: Path, **fields: Any) -> Scored:
    """What `spar eval` gives: load, respond, score."""
    from spar.run.interactive import Session

    config = settings(**{"data": data, "limit": LIMIT} | fields)
    examples = benchmark.load(config)
    session = Session(config)
    runner = SessionJobRunner(session, RunOutputs(directory))
    try:
        asyncio.run(benchmark.respond(runner, examples))
    finally:
        session.close()
    return benchmark.score(examples, runner.outputs)


class SessionJobRunner:
    """`spar.eval.benchmark.JobRunner` over a `Session`, which opens the real engine."""

    def __init__(self, session: Any, outputs: RunOutputs) -> None:
        self.config, self.outputs, self._session = session.config, outputs, session

    async def run(self, job: Any) -> None:
        """Search the prompts that have no tree yet."""
        self._session.run(job, self.outputs.directory / job.name)


def builtin_task(task: str) -> HarnessTask:
    """A task of lm-eval's own, loaded fast."""
    return HarnessTask(task, folder=FOLDERS[task])


def documents(results: dict[str, Any], task: str) -> Iterator[tuple[str, Any]]:
    """Example id to what the reference's model said about it; each once."""
    for sample in results["samples"][task]:
        yield f"{task}/{sample['doc_id']}", sample["resps"]


def assert_equal_metrics(
    scored: Scored, results: dict[str, Any], task: str, n: int = LIMIT
) -> None:
    """Every metric of lm-eval's, and its standard error."""
    for name, metric in metrics(scored).items():
        key, _, filter_name = name.partition(",")
        official = results["results"][task]
        assert metric.value == pytest.approx(official[f"{key},{filter_name or 'none'}"], rel=1e-12)
        error = official[f"{key}_stderr,{filter_name or 'none'}"]
        assert metric.stderr == pytest.approx(error, rel=1e-9)
        assert metric.n == n


def assert_same_replies(scored: Scored, results: dict[str, Any], task: str) -> set[str]:
    """Letter by letter; returns the replies."""
    said = {name: resps[0][0] for name, resps in documents(results, task)}
    assert {example.id: example.response for example in scored.examples} == said
    return set(said.values())


def assert_near_likelihoods(
    scored: Scored, results: dict[str, Any], n: int = LIMIT, near: float = NEAR
) -> None:
    """Choice by choice."""
    by_id: dict[str, Example] = {example.id: example for example in scored.examples}
    gaps = []
    for name, resps in documents(results, "mmlu_anatomy"):
        mine = [logprob for _, logprob in by_id[name].facts["logprobs"]]
        gaps += [abs(a - float(b[0][0])) for a, b in zip(mine, resps, strict=True)]
    assert len(gaps) == 4 * n
    assert max(gaps) < near


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_gsm8k_is_the_same_through_hf(data_root: Path, tmp_path: Path, chat: bool) -> None:
    """Prompts longer than the model's context included: both lose their first tokens alike."""
    results = theirs("gsm8k", str(data_root), chat)
    scored = ours(builtin_task("gsm8k"), str(data_root), tmp_path, engine="hf", chat_template=chat)
    assert len(assert_same_replies(scored, results, "gsm8k")) > 3  # often it has nothing to say
    assert_equal_metrics(scored, results, "gsm8k")


def test_replies_in_the_models_own_language_are_the_same_through_hf(tmp_path: Path) -> None:
    """Prompts that it has much to say to, with stop strings in the middle of it."""
    (tmp_path / "documents.py").write_text(NANO_CODE)
    (tmp_path / "nano.yaml").write_text(NANO_TASK)
    results = theirs("nano", "", True, folder=str(tmp_path))
    task = HarnessTask("nano", folder=str(tmp_path))
    scored = ours(task, "", tmp_path / "run", engine="hf")
    replies = assert_same_replies(scored, results, "nano")
    assert len(replies) > 18
    assert not any(" and" in reply or "!" in reply for reply in replies)


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
def test_mmlu_is_the_same_through_hf(data_root: Path, tmp_path: Path, chat: bool) -> None:
    """One subject; the subjects' sum is held by other tests."""
    results = theirs("mmlu_anatomy", str(data_root), chat)
    scored = ours(
        builtin_task("mmlu_anatomy"), str(data_root), tmp_path, engine="hf", chat_template=chat
    )
    assert_near_likelihoods(scored, results)
    assert_equal_metrics(scored, results, "mmlu_anatomy")
    assert 0 < metrics(scored)["acc"].value < 1


@pytest.mark.vllm
def test_gsm8k_and_mmlu_are_the_same_through_vllm(
    forked_vllm: None, data_root: Path, tmp_path: Path
) -> None:
    """In float32 kernels differ in the last digits: a greedy reply could part from the other at a near tie
    of two tokens, which one reply may do; scores and choices are the same."""
    engine = {"engine": "vllm", "dtype": "fp32", "engine_args": SMALL, "chat_template": False}
    results = theirs("mmlu_anatomy", str(data_root), False)
    scored = ours(builtin_task("mmlu_anatomy"), str(data_root), tmp_path / "mmlu", **engine)
    assert_near_likelihoods(scored, results)
    assert_equal_metrics(scored, results, "mmlu_anatomy")
    results = theirs("gsm8k", str(data_root), False)
    scored = ours(builtin_task("gsm8k"), str(data_root), tmp_path / "gsm8k", **engine)
    assert_equal_metrics(scored, results, "gsm8k")
    said = {name: resps[0][0] for name, resps in documents(results, "gsm8k")}
    assert sum(example.response != said[example.id] for example in scored.examples) <= 1
