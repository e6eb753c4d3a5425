"""Small tasks for lm-eval, and a job runner over a fake engine, for tests of the two together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spar.config import EvalConfig, load_eval
from spar.errors import EngineError
from spar.eval.job_outputs import RunOutputs
from spar.infer.decode import DEFAULT_ROOM, decode
from spar.infer.engine import Completion, Continuation, Likelihood, Request
from spar.infer.engine_wrappers import InstrumentedEngine
from spar.infer.engines.fake import FakeEngine
from spar.infer.summary import Summary
from spar.run.build import make_manifest, open_roles, search_settings
from spar.run.engines import Engines
from spar.run.job import Job
from spar.run.resolve import deployments
from spar.store import RunStore

CODE = """
import datasets


def make(rows, **_):
    made = [{"question": f"{n} and {n}?", "answer": str(2 * n), "choices": ["even", "odd"],
             "gold": n % 2, "text": f"the number {n} is fine"} for n in range(rows)]
    return datasets.DatasetDict({"test": datasets.Dataset.from_list(made)})
"""
BASE = """
task: {name}
custom_dataset: !function documents.make
dataset_kwargs: {{rows: {rows}}}
test_split: test
"""
CHOICE = """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: gold
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
REPLY = """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["!", "STOP"], max_gen_toks: 7, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
filter_list:
  - {name: number, filter: [{function: regex, regex_pattern: "([0-9]+)"}, {function: take_first}]}
  - {name: whole, filter: [{function: take_first}]}
"""
ROLLING = """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
"""
OFTEN = """
repeats: 3
filter_list:
  - {name: majority, filter: [{function: regex, regex_pattern: "([0-9]+)"}, {function: majority_vote}, {function: take_first}]}
"""
GROUP = """
group: {name}
task: [toy_small, toy_large]
aggregate_metric_list: [{{metric: acc, weight_by_size: {weighted}}}]
"""
SIZES = {"toy_small": 3, "toy_large": 7}


def write_tasks(folder: Path) -> str:
    """Write tasks toy_small and toy_large of choices, toy_reply, toy_free, toy_within, toy_often, toy_lower, toy_text, toy_prefix, toy_zero and
    toy_unsafe, and two groups of the first two; returns the folder as `open_tasks` takes it."""
    (folder / "documents.py").write_text(CODE)
    files = {name: BASE.format(name=name, rows=rows) + CHOICE for name, rows in SIZES.items()}
    files["toy_reply"] = BASE.format(name="toy_reply", rows=5) + REPLY
    files["toy_free"] = BASE.format(name="toy_free", rows=2) + REPLY.split("filter_list")[0]
    files["toy_within"] = (
        BASE.format(name="toy_within", rows=4)
        + REPLY.split("filter_list")[0]
        + "fewshot_split: test\n"
    )
    files["toy_often"] = (
        BASE.format(name="toy_often", rows=3) + REPLY.split("filter_list")[0] + OFTEN
    )
    files["toy_lower"] = BASE.format(name="toy_lower", rows=4) + REPLY.split("filter_list")[
        0
    ].replace("higher_is_better: true", "higher_is_better: false")
    files["toy_text"] = BASE.format(name="toy_text", rows=4) + ROLLING
    files["toy_prefix"] = BASE.format(name="toy_prefix", rows=2) + REPLY + 'gen_prefix: "It is"\n'
    files["toy_zero"] = BASE.format(name="toy_zero", rows=2) + REPLY + "num_fewshot: 0\n"
    files["toy_unsafe"] = BASE.format(name="toy_unsafe", rows=2) + REPLY + "unsafe_code: true\n"
    files["toy_weighted"] = GROUP.format(name="toy_weighted", weighted="true")
    files["toy_plain"] = GROUP.format(name="toy_plain", weighted="false")
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    return str(folder)


def settings(**fields: object) -> EvalConfig:
    """Greedy, over the fake engine."""
    return load_eval("nano", {"engine": "fake", "strategy": "greedy"} | fields)


def adds(request: Request) -> str:
    """Right for even numbers, wrong by one for odd ones; blank space before it and a remark behind it."""
    text = request.messages[-1].content
    numbers = re.findall(r"(\d+) and", text)
    number = int(numbers[-1]) if numbers else 0
    return f"  {2 * number + number % 2} ! and more"


class CountingEngine(FakeEngine):
    """Adds numbers, scores texts as the fake does, counts both, and fails where the test sets it."""

    def __init__(self, fail_at: int = 0) -> None:
        super().__init__(adds)
        self.num_asked = 0
        self.fail_at = fail_at

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Count, and reply."""
        self._count(len(requests))
        return await super().generate(requests)

    async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """Count, and score."""
        self._count(len(continuations))
        return await super().score(continuations)

    def _count(self, num: int) -> None:
        self.num_asked += num
        if self.fail_at and self.num_asked >= self.fail_at:
            raise EngineError("the server is gone")


@dataclass(slots=True)
class EngineJobRunner:
    """`spar.eval.benchmark.JobRunner` over one engine, into a directory."""

    config: EvalConfig
    outputs: RunOutputs
    engine: FakeEngine | None = None
    """None if no request may be sent."""
    ran: list[str] = field(default_factory=list)
    """Names of the jobs, in order."""

    async def run(self, job: Job) -> None:
        """Search the prompts that have no tree yet."""
        self.ran.append(job.name)
        config = self.config.model_copy(update=dict(job.settings))
        with RunStore.open(self.outputs.directory / job.name, make_manifest(config)) as store:
            missing = [prompt for prompt in job.prompts if prompt.id not in store.done]
            if not missing:
                return
            assert self.engine is not None, f"{len(missing)} prompts were requested again"
            engines = Engines(config)
            engines.opened[deployments(config)["actor"]] = InstrumentedEngine(self.engine)
            await decode(
                missing,
                job.change(open_roles(config, engines)),
                job.changed(search_settings(config, store.manifest.digest)),
                store,
                summary=Summary(),
                room=lambda: config.concurrency or DEFAULT_ROOM,
            )
