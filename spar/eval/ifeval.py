"""IFEval: instructions that a program can check.

Dataset: 541 prompts that carry 834 instructions of 25 types (`ifeval/input_data.jsonl`).
Metric:  share of the prompts with every instruction followed, share of the instructions followed; both
         strict (the response as it is) and loose (any of its variants). `average` is the plain mean of
         the four, the paper's "Avg."; after them each family of instructions and each type.
Pattern: one answer a prompt, no judge.

The names are lm-eval's, and so is every metric: all 541 prompts count, as published. The verifiers, and what a
verdict rests on, are in `spar.ifeval_verifiers`. Five published items are faulty (`FAULTY`); a note names those in
the run, and `average_sound` is the mean of the four without them. Key 1174 checks the opposite of its instruction.
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
from spar.eval.instructions import as_verdict, check_row, load_verifiers
from spar.ifeval_verifiers import PACKAGES, check
from spar.instruction_checks import SEEDS, Checked
from spar.record.evaluation import Example, Scored, Share
from spar.types import Message, Prompt

PROMPT_STRICT, PROMPT_LOOSE = "prompt_level_strict_acc", "prompt_level_loose_acc"
STRICT, LOOSE = "inst_level_strict_acc", "inst_level_loose_acc"
FOUR = (PROMPT_STRICT, STRICT, PROMPT_LOOSE, LOOSE)
AVERAGE = "average"
"""Plain mean of the four."""
SOUND = "sound"
"""Suffix of the four over the prompts that are not faulty, and of their mean."""
FAULTY: Mapping[str, str] = {
    "30": "checks the quotation marks twice and never the lower case",
    "337": "asks for 400 words and checks 336",
    "1122": "counts '#', in whose place lm-eval puts a random letter",
    "1129": "counts '!', in whose place lm-eval puts a random letter",
    "2078": "asks for one bullet point and for a few, and checks one",
}
"""Key of an item whose verdict does not say whether the instruction is followed, and why."""
ERRORS = "verifier_errors"
"""The count of instructions whose verifier failed, and the fact of an example that names them."""

UNDECIDED = "undecided_languages"
"""The count of answers on whose language langdetect's draws disagree."""
MAX_LISTED = 5
"""Prompts that a note names."""

FILE = "input_data.jsonl"
LETTER = "keywords:letter_frequency"


class IFEval(Benchmark):
    """The benchmark; see the module's docstring."""

    data = ("ifeval", "nltk_data")
    packages = PACKAGES
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
        load_verifiers(config.data)  # reports what scoring lacks before anything is generated
        return [_prompt(row) for row in rows]

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Verdicts on every instruction; a prompt without an answer follows none of its own."""
        answers = outputs.answers()
        has_faulty = any(prompt.id in FAULTY for prompt in examples)
        results = {p.id: _check(p, answers.get(p.id, Answer(None))) for p in examples}
        scored = [
            _example(p, answers.get(p.id, Answer(None)), results[p.id], sound=has_faulty)
            for p in examples
        ]
        num_errors = sum(len(example.facts.get(ERRORS, ())) for example in scored)
        undecided = [id_ for id_, checked in results.items() if any(c.undecided for c in checked)]
        sound = {f"{AVERAGE}_{SOUND}": tuple(f"{metric}/{SOUND}" for metric in FOUR)}
        return Scored(
            examples=tuple(scored),
            means={AVERAGE: FOUR, **(sound if has_faulty else {})},
            counts={
                "unanswered": sum(example.response is None for example in scored),
                ERRORS: num_errors,
                **({UNDECIDED: len(undecided)} if undecided else {}),
            },
            notes=tuple(_notes(examples, num_errors, undecided)),
        )


def _prompt(row: Mapping[str, Any]) -> Prompt:
    meta = {name: row[name] for name in ("key", "instruction_id_list", "kwargs")}
    check_row(meta["instruction_id_list"], meta["kwargs"], f"ifeval, key {row['key']}")
    message = Message(role="user", content=row["prompt"])
    return Prompt(id=str(row["key"]), messages=(message,), source="ifeval", meta=meta)


def _check(prompt: Prompt, answer: Answer) -> list[Checked]:
    return check(
        answer.text or "",
        prompt.meta["instruction_id_list"],
        prompt.meta["kwargs"],
        seed=prompt.id,
        prompt=prompt.messages[-1].content,
    )


def _example(prompt: Prompt, answer: Answer, checked: Sequence[Checked], *, sound: bool) -> Example:
    errors = [f"{result.name}: {result.error}" for result in checked if result.error]
    strict = [as_verdict(result) for result in checked]
    return Example(
        id=prompt.id,
        response=answer.text,
        passed=all(result.strict for result in checked),
        verdicts=(*strict, *(as_verdict(result, loose=True) for result in checked)),
        scores=_shares(checked, sound=sound and prompt.id not in FAULTY),
        usage=answer.usage,
        facts={ERRORS: errors} if errors else {},
    )


def _shares(checked: Sequence[Checked], *, sound: bool) -> dict[str, Share]:
    strict = _counted(STRICT, [(result.name, result.strict) for result in checked])
    loose = _counted(LOOSE, [(result.name, result.loose) for result in checked])
    four: dict[str, Share] = {
        PROMPT_STRICT: (float(all(result.strict for result in checked)), 1.0),
        STRICT: strict[STRICT],
        PROMPT_LOOSE: (float(all(result.loose for result in checked)), 1.0),
        LOOSE: loose[LOOSE],
    }
    without_faulty = {f"{metric}/{SOUND}": share for metric, share in four.items()}
    return four | strict | loose | (without_faulty if sound else {})


def _counted(metric: str, verdicts: Sequence[tuple[str, bool]]) -> dict[str, Share]:
    """The metric over all instructions, over each family and over each type."""
    shares: dict[str, Share] = {}
    for kind, passed in verdicts:
        for name in (metric, f"{metric}/{kind.split(':')[0]}", f"{metric}/{kind}"):
            above, below = shares.get(name, (0.0, 0.0))
            shares[name] = (above + passed, below + 1)
    return shares


def _notes(examples: Sequence[Prompt], num_errors: int, undecided: Sequence[str]) -> Iterable[str]:
    yield f"verifiers of lm-eval {version('lm_eval')}"
    if drawn := [prompt.id for prompt in examples if _draws_letter(prompt)]:
        yield (
            f"{', '.join(drawn)}: lm-eval puts a random letter in place of a character that is none; "
            "the prompt's id is its seed here"
        )
    if faulty := [prompt.id for prompt in examples if prompt.id in FAULTY]:
        reasons = "; ".join(f"{id_} {FAULTY[id_]}" for id_ in faulty)
        yield f"published items that are faulty, left out of {AVERAGE}_{SOUND}: {reasons}"
    if undecided:
        yield (
            f"answers too short to tell their language, {len(undecided)} "
            f"({', '.join(undecided[:MAX_LISTED])}{', ...' * (len(undecided) > MAX_LISTED)}): langdetect samples, "
            f"and its draws disagree; most of {len(SEEDS)} decide, which is lm-eval's likeliest verdict"
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
