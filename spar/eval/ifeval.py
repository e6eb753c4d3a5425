"""IFEval: instructions that a program can check.

Dataset: 541 prompts that carry 834 instructions of 25 types (`ifeval/input_data.jsonl`).
Metric:  share of the prompts with every instruction followed, share of the instructions followed; both
         strict (the response as it is) and loose (any of its variants). `average` is the plain mean of
         the four, the paper's "Avg."; after them each family of instructions and each type.
Pattern: one answer a prompt, no judge.

The names are lm-eval's. The verifiers, and what a verdict rests on, are in `spar.eval.instructions`.
Key 1174 checks the opposite of its instruction, as published; it is left so.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from spar.config import EvalConfig
from spar.eval import paper
from spar.eval.benchmark import Answer, Benchmark, JobOutputs
from spar.eval.datasets.local import DataFolder, open_data
from spar.eval.instructions import Checked, check, check_row, checkers
from spar.record.evaluation import Example, Scored, Share
from spar.types import Message, Prompt

PROMPT_STRICT, PROMPT_LOOSE = "prompt_level_strict_acc", "prompt_level_loose_acc"
STRICT, LOOSE = "inst_level_strict_acc", "inst_level_loose_acc"
AVERAGE = "average"
"""Plain mean of the four."""
ERRORS = "verifier_errors"
"""The count of instructions whose verifier failed, and the fact of an example that names them."""

FILE = "input_data.jsonl"
LETTER = "keywords:letter_frequency"


class IFEval(Benchmark):
    """The benchmark; see the module's docstring."""

    data = ("ifeval", "nltk_data")
    headline = AVERAGE
    paper = paper.IFEVAL

    @staticmethod
    def prompt_texts(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
        """IFEval's prompts by key."""
        assert folder is not None
        for row in folder.jsonl(FILE):
            yield str(row["key"]), row["prompt"]

    def load(self, config: EvalConfig) -> list[Prompt]:
        """The 541 prompts; their ids are IFEval's keys.

        Raises
        ------
        UsageError
            The data is missing or damaged, or lm-eval or NLTK's data are not on this machine.
        """
        rows = open_data("ifeval", config.data).jsonl(FILE)
        checkers(config.data)  # reports what scoring lacks before anything is generated
        return [_prompt(row) for row in rows]

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Verdicts on every instruction; a prompt without an answer follows none of its own."""
        answers = outputs.answers()
        scored = [_scored(prompt, answers.get(prompt.id, Answer(None))) for prompt in examples]
        num_errors = sum(len(example.facts.get(ERRORS, ())) for example in scored)
        return Scored(
            examples=tuple(scored),
            means={AVERAGE: (PROMPT_STRICT, STRICT, PROMPT_LOOSE, LOOSE)},
            counts={
                "unanswered": sum(example.response is None for example in scored),
                ERRORS: num_errors,
            },
            notes=tuple(_notes(examples, num_errors)),
        )


def _prompt(row: Mapping[str, Any]) -> Prompt:
    meta = {name: row[name] for name in ("key", "instruction_id_list", "kwargs")}
    check_row(meta["instruction_id_list"], meta["kwargs"], f"ifeval, key {row['key']}")
    message = Message(role="user", content=row["prompt"])
    return Prompt(id=str(row["key"]), messages=(message,), source="ifeval", meta=meta)


def _scored(prompt: Prompt, answer: Answer) -> Example:
    checked = check(
        answer.text or "",
        prompt.meta["instruction_id_list"],
        prompt.meta["kwargs"],
        seed=prompt.id,
        prompt=prompt.messages[-1].content,
    )
    errors = [f"{result.name}: {result.error}" for result in checked if result.error]
    strict = [result.verdict(result.strict) for result in checked]
    return Example(
        id=prompt.id,
        response=answer.text,
        passed=all(result.strict for result in checked),
        verdicts=(*strict, *(result.verdict(result.loose, " (loose)") for result in checked)),
        scores=_shares(checked),
        usage=answer.usage,
        facts={ERRORS: errors} if errors else {},
    )


def _shares(checked: Sequence[Checked]) -> dict[str, Share]:
    strict = _counted(STRICT, [(result.name, result.strict) for result in checked])
    loose = _counted(LOOSE, [(result.name, result.loose) for result in checked])
    four: dict[str, Share] = {
        PROMPT_STRICT: (float(all(result.strict for result in checked)), 1.0),
        STRICT: strict[STRICT],
        PROMPT_LOOSE: (float(all(result.loose for result in checked)), 1.0),
        LOOSE: loose[LOOSE],
    }
    return four | strict | loose


def _counted(metric: str, verdicts: Sequence[tuple[str, bool]]) -> dict[str, Share]:
    """The metric over all instructions, over each family and over each type."""
    shares: dict[str, Share] = {}
    for kind, passed in verdicts:
        for name in (metric, f"{metric}/{kind.split(':')[0]}", f"{metric}/{kind}"):
            above, below = shares.get(name, (0.0, 0.0))
            shares[name] = (above + passed, below + 1)
    return shares


def _notes(examples: Sequence[Prompt], num_errors: int) -> Iterable[str]:
    yield f"verifiers of lm-eval {version('lm_eval')}"
    if drawn := [prompt.id for prompt in examples if _draws_letter(prompt)]:
        yield (
            f"{', '.join(drawn)}: lm-eval puts a random letter in place of a character that is none; "
            "the prompt's id is its seed here"
        )
    if num_errors:
        yield (
            f"instructions that count as not followed since their verifier failed: {num_errors}; "
            f"{ERRORS} in an example's facts names them"
        )


def _draws_letter(prompt: Prompt) -> bool:
    pairs = zip(prompt.meta["instruction_id_list"], prompt.meta["kwargs"], strict=True)
    letters = set(string.ascii_letters)
    return any(name == LETTER and args.get("letter") not in letters for name, args in pairs)
