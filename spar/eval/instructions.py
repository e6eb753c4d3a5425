"""Benchmarks whose rows carry instructions that programs check: rows, verifiers and metrics.

    class MulDimIF(InstructionBenchmark):
        data, file = ("muldimif",), "test.jsonl"       rows: `key`, `prompt`, `instruction_id_list`, `kwargs`
        verifiers = InstructionVerifiers(load, check, describe)
        order = (PROMPT_LOOSE, STRICT, LOOSE, PROMPT_STRICT)

A subclass says where its rows are, which verifiers check them, and in which order the metrics are shown. Everything
else is here: the four accuracies with each family and each type, their mean, the same without the items whose
verdict is doubtful, failures of verifiers, and instructions that cannot be checked on this machine.

Metric: share of the prompts with every instruction followed, share of the instructions followed; both strict (the
response as it is) and loose (any of its variants, `spar.instruction_checks.variants`). Beside them `repetitive`, the share of
answers that repeat themselves, and the strict metric of the others (`spar.eval.repetition`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from spar import ifeval_verifiers
from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.benchmark import Answer, Benchmark, JobOutputs
from spar.eval.datasets.local import DataFolder, open_data
from spar.eval.repetition import repetition_notes, with_repetition
from spar.findings import finding
from spar.instruction_checks import SEEDS, Checked
from spar.observations import COUNTED, observe
from spar.plugins import check_name
from spar.record.evaluation import UNVERIFIABLE, Example, Scored, Share, Verdict, sum_shares
from spar.types import Message, Prompt

PROMPT_STRICT, PROMPT_LOOSE = "prompt_level_strict_acc", "prompt_level_loose_acc"
STRICT, LOOSE = "inst_level_strict_acc", "inst_level_loose_acc"
FOUR = (PROMPT_STRICT, STRICT, PROMPT_LOOSE, LOOSE)
AVERAGE = "average"
"""Plain mean of the four."""
SOUND = "sound"
"""Suffix of a metric over the prompts whose verdicts are not doubtful."""
ERRORS = "verifier_errors"
"""The count of instructions whose verifier failed, and the fact of an example that names them."""
UNDECIDED = "undecided_languages"
"""The count of answers on whose language langdetect's draws disagree."""
MAX_LISTED = 5
"""Prompts that a note names."""


def _none_unverifiable() -> Mapping[str, str]:
    return {}


def _none_required() -> None:
    return


@dataclass(frozen=True, slots=True)
class InstructionVerifiers:
    """The verifiers of a benchmark."""

    load: Callable[[str], Mapping[str, Any]]
    """Called with the data folder before anything is generated: the types that can be checked here. Raises
    `UsageError` or `MissingExtra` where something is missing."""
    check: Callable[..., list[Checked]]
    """`check(response, instruction_ids, kwargs, *, seed, prompt)`: a verdict on each, in order."""
    describe: Callable[[], str]
    """Package and version, for the results."""
    unverifiable: Callable[[], Mapping[str, str]] = _none_unverifiable
    """Types that the benchmark has and this machine cannot check, and why."""
    require_packages: Callable[[], None] = _none_required
    """Raises `MissingExtra` where a package of theirs is not installed, without reading any data."""


class InstructionBenchmark(Benchmark):
    """One answer a prompt, no judge; see the module's docstring."""

    file: ClassVar[str] = ""
    """File of the rows in the first data set: one JSON object a line."""
    verifiers: ClassVar[InstructionVerifiers]
    occasional_metrics = FOUR  # of prompts or of types that this machine can check
    order: ClassVar[tuple[str, ...]] = FOUR
    """The four metrics in the order in which they are shown."""
    sound: ClassVar[Mapping[str, tuple[str, ...]]] = {AVERAGE: FOUR}
    """Metric to those of which it is the mean, for those that are also shown without the doubtful items."""

    @classmethod
    def prompt_texts(cls, folder: DataFolder | None) -> Iterator[tuple[str, str]]:
        """The prompts by key; none for a benchmark that reads its rows elsewhere."""
        for row in folder.jsonl(cls.file) if folder else ():
            yield str(row["key"]), row["prompt"]

    def require_packages(self) -> None:
        """Those of the verifiers."""
        self.verifiers.require_packages()

    def rows(self, config: EvalConfig) -> Iterable[Mapping[str, Any]]:
        """The rows: `key`, `prompt`, `instruction_id_list` and `kwargs`, one object of arguments for each id.

        Raises
        ------
        UsageError
            The data is missing or damaged.
        """
        return open_data(self.data[0], config.data).jsonl(self.file)

    def load(self, config: EvalConfig) -> list[Prompt]:
        """The prompts; their ids are the rows' keys.

        Raises
        ------
        UsageError
            The data is missing or damaged, or the verifiers or their data are not on this machine.
        """
        rows = list(self.rows(config))
        known = {**self.verifiers.load(config.data), **self.verifiers.unverifiable()}
        source = self.data[0] if self.data else type(self).__name__.lower()
        return [_prompt(row, source, known) for row in rows]

    def doubtful(self) -> Mapping[str, str]:
        """Key of an item, or type of an instruction, whose verdict does not say whether it is followed, and why."""
        return {}

    def notes(self, examples: Sequence[Prompt]) -> Iterator[str]:
        """Further human-readable lines about the verdicts on these examples."""
        return iter(())

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """Verdicts on every instruction; a prompt without an answer follows none of its own."""
        answers = outputs.answers()
        doubtful, missing = self.doubtful(), self.verifiers.unverifiable()
        with_sound = any(_doubts(prompt, doubtful) for prompt in examples)
        results = {p.id: self._check(p, answers.get(p.id, Answer(None)), missing) for p in examples}
        scored = [
            with_repetition(
                _example(
                    prompt,
                    answers.get(prompt.id, Answer(None)),
                    results[prompt.id],
                    order=self.order,
                    sound=with_sound and not _doubts(prompt, doubtful),
                    missing=missing,
                ),
                PROMPT_STRICT,
            )
            for prompt in examples
        ]
        checked = [result for of_prompt in results.values() for result in of_prompt if result]
        undecided = [id_ for id_, of in results.items() if any(c and c.undecided for c in of)]
        counts = {
            "unanswered": sum(example.response is None for example in scored),
            ERRORS: sum(bool(result.error) for result in checked),
        }
        unchecked = sum(result is None for of_prompt in results.values() for result in of_prompt)
        optional = {UNVERIFIABLE: unchecked, UNDECIDED: len(undecided)}
        counts |= {name: count for name, count in optional.items() if count}
        means: dict[str, tuple[str, ...]] = {AVERAGE: FOUR}
        if with_sound:
            means |= {
                f"{metric}_{SOUND}": tuple(f"{part}/{SOUND}" for part in parts)
                for metric, parts in self.sound.items()
            }
        notes = (
            f"verifiers of {self.verifiers.describe()}",
            *self.notes(examples),
            *repetition_notes(scored, PROMPT_STRICT),
            *_unverifiable_notes(examples, missing),
            *_notes(counts, undecided),
        )
        return Scored(examples=tuple(scored), means=means, counts=counts, notes=notes)

    def _check(
        self, prompt: Prompt, answer: Answer, missing: Mapping[str, str]
    ) -> list[Checked | None]:
        """A verdict on each instruction, None where it cannot be checked."""
        names, kwargs = prompt.meta["instruction_id_list"], prompt.meta["kwargs"]
        pairs = [pair for pair in zip(names, kwargs, strict=True) if pair[0] not in missing]
        checked = iter(
            self.verifiers.check(
                answer.text or "",
                [name for name, _ in pairs],
                [arguments for _, arguments in pairs],
                seed=prompt.id,
                prompt=prompt.messages[-1].content,
            )
        )
        return [None if name in missing else next(checked) for name in names]


def check_row(
    ids: Sequence[str], kwargs: Sequence[Any], where: str, known: Mapping[str, Any]
) -> None:
    """Raise `UsageError` where a type is not known, or has not exactly one set of arguments."""
    for name in ids:
        check_name(known, f"instruction type ({where})", name)
    if len(ids) != len(kwargs) or not all(isinstance(args, Mapping) for args in kwargs):
        raise UsageError(
            f"{where}: {len(ids)} instruction types and {len(kwargs)} sets of arguments; "
            "expected one object of arguments a type"
        )


def named_doubts(examples: Iterable[Prompt], doubtful: Mapping[str, str]) -> list[str]:
    """The keys and types of `doubtful` that the examples have, in its order."""
    present = {name for prompt in examples for name in _doubts(prompt, doubtful)}
    return [name for name in doubtful if name in present]


def _doubts(prompt: Prompt, doubtful: Mapping[str, str]) -> list[str]:
    names = (prompt.id, *prompt.meta["instruction_id_list"])
    return [name for name in names if name in doubtful]


def _prompt(row: Mapping[str, Any], source: str, known: Mapping[str, Any]) -> Prompt:
    meta = {name: row[name] for name in ("key", "instruction_id_list", "kwargs")}
    check_row(meta["instruction_id_list"], meta["kwargs"], f"{source}, key {row['key']}", known)
    message = Message(role="user", content=row["prompt"])
    return Prompt(id=str(row["key"]), messages=(message,), source=source, meta=meta)


def _example(
    prompt: Prompt,
    answer: Answer,
    results: Sequence[Checked | None],
    *,
    order: Sequence[str],
    sound: bool,
    missing: Mapping[str, str],
) -> Example:
    checked = [result for result in results if result]
    errors = [f"{result.name}: {result.error}" for result in checked if result.error]
    meta = prompt.meta
    named = list(zip(meta["instruction_id_list"], meta["kwargs"], results, strict=True))
    is_whole = len(checked) == len(results)
    return Example(
        id=prompt.id,
        response=answer.text,
        passed=all(result.strict for result in checked) if is_whole else None,
        verdicts=(
            *(
                _verdict(name, result, missing, found=_found(result, kwargs, answer.text or ""))
                for name, kwargs, result in named
            ),
            *(_verdict(name, result, missing, loose=True) for name, _, result in named),
        ),
        scores=_shares(checked, order, is_whole=is_whole, sound=sound),
        usage=answer.usage,
        facts={ERRORS: errors} if errors else {},
    )


def _found(result: Checked | None, kwargs: Mapping[str, Any], response: str) -> str:
    """What the strict verdict rests on, in brackets; "" where it cannot be counted simply."""
    if result is None or result.error:
        return ""
    arguments = {name: value for name, value in kwargs.items() if value is not None}
    count = ifeval_verifiers.count(result.name, response) if result.name in COUNTED else None
    observed = observe(response, result.name, arguments, count)
    found = finding(result.name, result.strict, observed, words=result.why).found
    return f" [found: {found}]" if found else ""


def _verdict(
    name: str,
    result: Checked | None,
    missing: Mapping[str, str],
    *,
    loose: bool = False,
    found: str = "",
) -> Verdict:
    """The record of one of the two verdicts on an instruction."""
    shown = f"{name} (loose)" if loose else name
    if result is None:
        return Verdict(name=shown, passed=None, why=f"not checked: {missing[name]}")
    met = result.loose if loose else result.strict
    return Verdict(name=shown, passed=met, why=result.reason + found)


def _shares(
    checked: Sequence[Checked], order: Sequence[str], *, is_whole: bool, sound: bool
) -> dict[str, Share]:
    """The example's shares of all metrics; of those by prompt only where every instruction was checked."""
    strict = _counted(STRICT, [(result.name, result.strict) for result in checked])
    loose = _counted(LOOSE, [(result.name, result.loose) for result in checked])
    by_prompt: dict[str, Share] = {
        PROMPT_STRICT: (float(all(result.strict for result in checked)), 1.0),
        PROMPT_LOOSE: (float(all(result.loose for result in checked)), 1.0),
    }
    all_four = {**strict, **loose, **(by_prompt if is_whole else {})}
    four = {metric: all_four[metric] for metric in order if metric in all_four}
    without_doubtful = {f"{metric}/{SOUND}": share for metric, share in four.items()}
    return four | strict | loose | (without_doubtful if sound else {})


def _counted(metric: str, verdicts: Sequence[tuple[str, bool]]) -> dict[str, Share]:
    """The metric over all instructions, over each family and over each type."""
    return sum_shares(
        (name, (float(passed), 1.0))
        for kind, passed in verdicts
        for name in (metric, f"{metric}/{kind.split(':')[0]}", f"{metric}/{kind}")
    )


def _unverifiable_notes(examples: Sequence[Prompt], missing: Mapping[str, str]) -> Iterable[str]:
    names = [name for prompt in examples for name in prompt.meta["instruction_id_list"]]
    absent = [name for name in missing if name in names]
    prompts = sum(not missing.keys().isdisjoint(p.meta["instruction_id_list"]) for p in examples)
    if absent:
        reasons = "; ".join(f"{name} ({names.count(name)}): {missing[name]}" for name in absent)
        yield (
            f"instructions that are not checked, {sum(names.count(name) for name in absent)} of {len(names)}; prompts "
            f"left out of the metrics by prompt, which are then not comparable with published ones: {prompts}; {reasons}"
        )


def _notes(counts: Mapping[str, int], undecided: Sequence[str]) -> Iterable[str]:
    if undecided:
        yield (
            f"answers too short to tell their language, {len(undecided)} "
            f"({', '.join(undecided[:MAX_LISTED])}{', ...' * (len(undecided) > MAX_LISTED)}): langdetect samples, "
            f"and its draws disagree; most of {len(SEEDS)} decide, which is lm-eval's likeliest verdict"
        )
    if counts[ERRORS]:
        yield (
            f"instructions that count as not followed since their verifier failed: {counts[ERRORS]}; "
            f"{ERRORS} in an example's facts names them"
        )
