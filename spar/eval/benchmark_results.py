"""What the methods of a benchmark returned, held against their contract: they may be anybody's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import Benchmark, JobOutputs
from spar.record.evaluation import Scored
from spar.rows.row import cut
from spar.types import Prompt, Usage


def loaded_by(benchmark: Benchmark, config: EvalConfig) -> list[Prompt]:
    """What the method `load` of a benchmark returned.

    Raises
    ------
    UsageError
        It is no list of prompts with ids of their own.
    """
    loaded: Any = benchmark.load(config)
    name = type(benchmark).__name__
    if isinstance(loaded, str) or not isinstance(loaded, Iterable):
        raise UsageError(
            f"{name}.load returned {cut(repr(loaded))}; expected a list of spar.Prompt"
        )
    prompts = list(loaded)
    ids = set[str]()
    for number, prompt in enumerate(prompts, start=1):
        if not isinstance(prompt, Prompt):
            raise UsageError(
                f"{name}.load returned {cut(repr(prompt))} as example {number}; expected a spar.Prompt"
            )
        if prompt.id and prompt.id in ids:
            raise UsageError(
                f"{name}.load returned two examples with the id {prompt.id!r}; give each its own"
            )
        ids.add(prompt.id)
    return prompts


def scored_by(benchmark: Benchmark, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
    """What the method `score` of a benchmark returned, with the costs of the answers where it states none.

    Raises
    ------
    UsageError
        It is no `Scored`.
    """
    scored: Any = benchmark.score(examples, outputs)
    if not isinstance(scored, Scored):
        raise UsageError(
            f"{type(benchmark).__name__}.score returned {cut(repr(scored))}; expected a spar.Scored(examples=...), with one "
            "spar.Example for each"
        )
    if any(example.usage != Usage() for example in scored.examples):
        return scored
    costs = {name: answer.usage for name, answer in outputs.answers().items()}
    return scored.model_copy(
        update={
            "examples": tuple(
                example.model_copy(update={"usage": costs.get(example.id, Usage())})
                for example in scored.examples
            )
        }
    )
