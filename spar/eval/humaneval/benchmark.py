"""HumanEval: Python functions, written after their docstrings and run against unit tests.

Dataset: 164 functions (Chen et al. 2021, arXiv 2107.03374).
Metric: pass@1, the share of functions whose answer passes every test.
Pattern: a chat model is asked for one code block (`spar.eval.humaneval.program` extracts the function from its
reply). With `--no-chat-template` the model completes the prompt up to the next top-level statement, as in the
paper.

Scoring runs generated code (`spar.sandbox.sandbox`), which requires `--allow-code-execution`; without it
nothing is generated either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval import paper
from spar.eval.benchmark import ANSWERS, PYTHON, Answer, Benchmark, JobOutputs, JobRunner, Work
from spar.eval.datasets.local import DataFolder, open_data
from spar.eval.humaneval.program import solutions
from spar.infer.roles import Actor, Roles
from spar.record.evaluation import Example, Scored, Verdict
from spar.run.job import Job
from spar.sandbox.sandbox import Limits, Outcome, Program, run_programs
from spar.types import Message, Prompt

FILE = "HumanEval.jsonl.gz"
METRIC = "pass@1"
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Strings that end a completion, since they end the function's body (human-eval's paper, section 2.1)."""

REQUEST = """\
Complete the Python function below. Reply with one Python code block that holds the whole function and \
everything it needs, such as imports, and nothing else.

```python
{prompt}
```"""


class HumanEvalOptions(BaseModel):
    """Options of HumanEval."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    allow_code_execution: bool = False
    """Run the code that the model wrote."""


@dataclass(frozen=True, slots=True)
class HumanEval(Benchmark):
    """The benchmark; see the module's docstring."""

    allow_code_execution: bool = False
    """Whether generated code may be run."""
    limits: Limits = Limits()
    """Resource limits of each program."""
    options = HumanEvalOptions
    data = ("humaneval",)
    packages = (PYTHON,)
    runs_code = True
    paper = paper.HUMANEVAL

    @staticmethod
    def prompt_texts(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
        """The functions' signatures and docstrings."""
        assert folder is not None
        for row in folder.jsonl(FILE):
            yield row["task_id"], row["prompt"]

    def load(self, config: EvalConfig) -> list[Prompt]:
        """The functions, as requests to a chat model or as text to complete."""
        self._require_permission()
        rows = open_data("humaneval", config.data).jsonl(FILE)
        return [_prompt(row, chat=config.chat_template) for row in rows]

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Let the configured search write the functions."""
        if runner.config.chat_template:
            await runner.run(Job(ANSWERS, examples))
        else:
            await runner.run(Job(ANSWERS, examples, change=_completing))

    def work(self, config: EvalConfig, examples: Sequence[Prompt]) -> Work:
        """A search for each function."""
        return Work(len(examples))

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Run every answer against its tests."""
        self._require_permission()
        answers = outputs.answers()
        texts = {p.id: a.text for p in examples if (a := answers.get(p.id)) and a.text is not None}
        programs = [_program(p.meta, texts[p.id]) for p in examples if p.id in texts]
        outcomes = dict(zip(texts, run_programs(programs, self.limits), strict=True))
        scored = [_example(p, answers.get(p.id), outcomes.get(p.id)) for p in examples]
        return Scored(
            examples=tuple(scored), counts=_counts(examples, outcomes), notes=_notes(outcomes)
        )

    def _require_permission(self) -> None:
        if not self.allow_code_execution:
            raise UsageError(
                "humaneval runs the code that a model writes, on this machine; allow it with "
                "--allow-code-execution (a child process with limits runs it, but for a model that "
                "you do not trust use a container as well)"
            )


def _completing(roles: Roles) -> Roles:
    actor = roles.model_actor()
    sampling = replace(actor.sampling, stop=STOPS)
    completing = Actor(actor.engine, sampling, actor.greedy_first, completes=True)
    return replace(roles, actor=completing)


def _prompt(row: Mapping[str, Any], *, chat: bool) -> Prompt:
    text = REQUEST.replace("{prompt}", row["prompt"].rstrip()) if chat else row["prompt"]
    return Prompt(
        id=row["task_id"],
        messages=(Message(role="user", content=text),),
        source="humaneval",
        meta={name: row[name] for name in ("prompt", "entry_point", "test")},
    )


def _program(meta: Mapping[str, Any], response: str) -> Program:
    readings = solutions(meta["prompt"], response, meta["entry_point"])
    return Program(tuple(readings), f"{meta['test']}\n\ncheck({meta['entry_point']})\n")


def _example(prompt: Prompt, answer: Answer | None, outcome: Outcome | None) -> Example:
    passed = outcome is not None and outcome.passed
    why = outcome.why if outcome else "no answer"
    return Example(
        id=prompt.id,
        response=answer.text if answer else None,
        passed=passed,
        verdicts=(Verdict(name="tests", passed=passed, why=why),),
        scores={METRIC: (float(passed), 1.0)},
        **({"usage": answer.usage} if answer else {}),
        facts={"entry_point": prompt.meta["entry_point"], "ended": outcome.kind if outcome else ""},
    )


def _counts(examples: Sequence[Prompt], outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    kinds = Counter(outcome.kind for outcome in outcomes.values())
    return {
        "unanswered": len(examples) - len(outcomes),
        "timed_out": kinds["timed out"],
        "out_of_memory": kinds["memory"],
        "blocked": kinds["blocked"],
    }


def _notes(outcomes: Mapping[str, Outcome]) -> tuple[str, ...]:
    layers = sorted({layer for outcome in outcomes.values() for layer in outcome.layers})
    kernel = f"the kernel's {' and '.join(layers)}" if layers else "no restriction by the kernel"
    if not outcomes:
        return ()
    return (
        f"generated code ran in child processes with limits, restricted by Python and {kernel}",
    )
