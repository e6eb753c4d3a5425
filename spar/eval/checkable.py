"""A file of prompts whose constraints programs can check: the share of them that a model's answers meet.

    spar evolve --checkable seeds.jsonl --n 2000 --holdout 200 --out runs/checkable
    spar eval checkable --prompts runs/checkable/holdout.jsonl --model DIR

Dataset: the prompts of `--prompts`, of which each names its constraints (`spar.verifiers`).
Metric:  `pass`, the share of answers that meet every constraint as they are, `pass_instruction`, the share of constraints
         that are met, and both by type; `words`, the length of an answer; `repetitive`, the share of answers that repeat
         themselves, and `pass_without_repetition` (`spar.eval.repetition`).
Pattern: one answer a prompt, no judge.

Held-out prompts of the kind that a model is trained on tell whether it learns what it is taught, and settings may be
chosen by them; IFEval and IFBench are then still unseen.
"""

from __future__ import annotations

from collections.abc import Sequence

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import Answer, Benchmark, JobOutputs
from spar.eval.nano_if import checked_example
from spar.eval.needed_verifiers import load_needed_verifiers, needed_packages
from spar.eval.repetition import repetition_notes, with_repetition
from spar.prompts import read_prompts
from spar.record.evaluation import Example, Scored
from spar.types import Prompt
from spar.verifiers import CONSTRAINTS, unverifiable_prompts

WORDS = "words"
"""The metric of the answers' lengths."""


class Checkable(Benchmark):
    """The benchmark `checkable`; see the module's docstring."""

    reads_prompts = True
    headline = "pass"

    def load(self, config: EvalConfig) -> list[Prompt]:
        """The prompts of the file.

        Raises
        ------
        UsageError
            No file is given, a row is malformed, or a constraint cannot be checked here.
        """
        if not config.prompts:
            raise UsageError(
                "checkable: give the prompts with --prompts FILE, such as those of `spar evolve --checkable`"
            )
        prompts = list(read_prompts(config.prompts, prompt_field=config.prompt_field))
        load_needed_verifiers(prompts, config.data)
        count, listed = unverifiable_prompts(prompts)
        if count:
            raise UsageError(
                f"{config.prompts}: {count:,} of its {len(prompts):,} prompts cannot be checked: {listed}; give prompts "
                f"with {CONSTRAINTS} and kwargs, of the types of IFEval, IFBench or nano-if"
            )
        return prompts

    def packages_of(self, examples: Sequence[Prompt]) -> tuple[str, ...]:
        """Those of the verifiers that the prompts need."""
        return needed_packages(examples)

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Verify every answer."""
        answers = outputs.answers()
        scored = [_example(prompt, answers.get(prompt.id, Answer(None))) for prompt in examples]
        return Scored(
            examples=tuple(scored),
            counts={"unanswered": sum(example.response is None for example in scored)},
            units={WORDS: "words"},
            notes=repetition_notes(scored, self.headline),
        )


def _example(prompt: Prompt, answer: Answer) -> Example:
    example = checked_example(prompt, answer)
    length = float(len((answer.text or "").split()))
    scores = {**example.scores, WORDS: (length, 1.0)}
    return with_repetition(example.model_copy(update={"scores": scores}), Checkable.headline)
