"""Make checkable prompts: from settings to files.

    made = make_checkable(load_checkable({"prompts": "seeds.jsonl", "n": 2000}), out=Path("runs/checkable"))

No model is called. Seed prompts that are in a benchmark, duplicate others or demand a form of their own are left out;
each of the others gets variants in turn until there are enough prompts. A prompt that is in a benchmark, or
too much like one before it, is dropped and another variant drawn. The seed prompts are taken in an order that depends
on their texts and the random seed, not on their order in the file.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spar.errors import ConfigChanged, UsageError
from spar.eval.ifeval import load_verifiers
from spar.evolve.benchmarks import load_benchmark_prompts
from spar.evolve.checkable.draw import NO_DRAW, SEED_PROMPT, CheckablePrompt, Drawer, Instruction
from spar.evolve.checkable.inputs import read_seeds, split
from spar.evolve.checkable.report import Made, make_report, settings_of, why_no_more
from spar.evolve.checkable.settings import CheckableConfig
from spar.evolve.contamination import BenchmarkIndex
from spar.evolve.near_duplicates import NearDuplicateIndex
from spar.evolve.normalize import words
from spar.evolve.select import MOST_NEW
from spar.prompts import ARGUMENTS, INSTRUCTIONS
from spar.record.checkable import (
    FILES,
    HOLDOUT,
    PROMPTS,
    REJECTED,
    REPORT,
    WITNESSES,
    CheckableReport,
    CheckableRow,
    WitnessRow,
    read_report,
    write_files,
    write_report,
)
from spar.templates import transcript
from spar.types import Prompt, Record

VARIANTS = 8
"""Variants of a seed prompt that are tried for one prompt; it gives no more where all of them are dropped."""


@dataclass(frozen=True, slots=True)
class CheckableResult:
    """The result of `make_checkable`."""

    report: CheckableReport
    prompts: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    directory: Path


def make_checkable(
    config: CheckableConfig, *, out: Path | None = None, overwrite: bool = False
) -> CheckableResult:
    """Make the prompts and write them with a report.

    Parameters
    ----------
    out:
        The directory; None for `runs/checkable-DIGEST`.
    overwrite:
        Replace prompts that were made with other settings.

    Raises
    ------
    MissingExtra
        lm-eval, whose verifiers decide, is not installed.
    UsageError
        Seed prompts, benchmark data or settings are missing or wrong, no prompt can be made, or the directory holds
        something else.
    RunStopped
        The disk is full or fails.
    """
    directory = out or Path("runs") / f"checkable-{_digest(config)}"
    _check_directory(directory, config, overwrite=overwrite)
    load_verifiers(config.data)
    benchmarks, absent = load_benchmark_prompts(config.data)
    index = BenchmarkIndex(benchmarks)
    seeds = read_seeds(config, index)
    _check_seeds(directory, config, seeds.digest, overwrite=overwrite)
    if not seeds.instructions:
        reasons = Counter(each.reason for each in seeds.rejected)
        listed = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.items())
        raise UsageError(
            f"{config.prompts}: none of its {seeds.num_read:,} prompts takes constraints ({listed}); "
            "give plain instructions"
        )
    maker = _Maker(Drawer(config.mix, config.seed), index, seeds.instructions)
    training, held_back = split(seeds.instructions, config)
    made = Made(
        config,
        seeds,
        training=[*maker.make(training, config.n)],
        held_out=[*maker.make(held_back, config.holdout)],
        redrawn=maker.drawer.redrawn,
        dropped=maker.dropped,
        benchmarks=benchmarks,
        absent=absent,
    )
    if not made.training:
        raise UsageError(
            f"{config.prompts}: its {len(training):,} seed prompts for training give no prompt: {why_no_more(made)}"
        )
    report = make_report(made, write_files(directory, _files(made)))
    write_report(directory, report)
    prompts, held_out = (
        tuple(each.prompt for each in part) for part in (made.training, made.held_out)
    )
    return CheckableResult(report, prompts, held_out, directory)


class _Maker:
    """Draws prompts for instructions in turn, and drops those that are in a benchmark or like another."""

    def __init__(
        self, drawer: Drawer, benchmarks: BenchmarkIndex, instructions: Sequence[Instruction]
    ) -> None:
        self.drawer = drawer
        self.dropped: Counter[str] = Counter()
        self._benchmarks = benchmarks
        texts = (words(transcript(each.seed.messages)) for each in instructions)
        self._near = NearDuplicateIndex(texts)
        self._ids: set[str] = set()
        self._types: set[tuple[str, frozenset[str]]] = set()
        self._variants: Counter[str] = Counter()

    def make(self, instructions: Sequence[Instruction], count: int) -> Iterator[CheckablePrompt]:
        """At most so many prompts; fewer where the instructions give no more."""
        left = list(instructions)
        made = 0
        while left and made < count:
            productive = []
            for instruction in left:
                if made == count:
                    return
                checkable = self._next(instruction)
                if checkable is not None:
                    productive.append(instruction)
                    made += 1
                    yield checkable
            left = productive

    def _next(self, instruction: Instruction) -> CheckablePrompt | None:
        """The next variant of an instruction that is new."""
        key = instruction.seed.id
        for _ in range(VARIANTS):
            variant = self._variants[key]
            self._variants[key] += 1
            checkable = self.drawer.draw(instruction, variant)
            if checkable is None:
                self.dropped[NO_DRAW] += 1
                continue
            if why := self._objection(checkable.prompt):
                self.dropped[why] += 1
                continue
            return checkable
        return None

    def _objection(self, prompt: Prompt) -> str:
        """Why a prompt is dropped, "" where it is new; it is then remembered."""
        combination = (prompt.meta[SEED_PROMPT], frozenset(prompt.meta[INSTRUCTIONS]))
        if prompt.id in self._ids or combination in self._types:
            return "the seed prompt has these constraint types already"
        if overlap := self._benchmarks.find_in(prompt.messages):
            return f"contaminated: {overlap.benchmark}"
        prompt_words = words(transcript(prompt.messages))
        if any(max(m.new, m.missing) <= MOST_NEW for m in self._near.matches(prompt_words)):
            return "near duplicate"
        self._near.add(prompt_words)
        self._ids.add(prompt.id)
        self._types.add(combination)
        return ""


def _files(made: Made) -> dict[str, list[Record]]:
    """File to its rows."""
    files: dict[str, list[Record]] = {PROMPTS: [_row(each.prompt) for each in made.training]}
    if made.config.holdout:
        files[HOLDOUT] = [_row(each.prompt) for each in made.held_out]
    if made.config.witnesses:
        files[WITNESSES] = [
            WitnessRow(id=each.prompt.id, response=each.witness) for each in made.all
        ]
    return files | {REJECTED: [*made.seeds.rejected]}


def _row(prompt: Prompt) -> CheckableRow:
    return CheckableRow(
        id=prompt.id,
        messages=prompt.messages,
        source=prompt.source,
        seed_prompt=prompt.meta[SEED_PROMPT],
        instruction_id_list=tuple(prompt.meta[INSTRUCTIONS]),
        kwargs=tuple(prompt.meta[ARGUMENTS]),
    )


def _digest(config: CheckableConfig) -> str:
    values = {
        **settings_of(config),
        "prompts": config.prompts,
        "n": config.n,
        "holdout": config.holdout,
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def _check_directory(directory: Path, config: CheckableConfig, *, overwrite: bool) -> None:
    """Refuse a directory that holds something else, or prompts of other settings."""
    if directory.is_dir() and not (directory / REPORT).is_file():
        others = [
            name for name in (*FILES, "run.json", "trees.jsonl") if (directory / name).exists()
        ]
        if others:
            raise UsageError(
                f"{directory} holds {others[0]}, but no {REPORT}: it is no directory of checkable prompts; "
                "choose another --out"
            )
    if overwrite or not (directory / REPORT).is_file():
        return
    report = read_report(directory)
    earlier = {**report.settings, "n": report.asked, "holdout": report.asked_holdout}
    settings = {**settings_of(config), "n": config.n, "holdout": config.holdout}
    if not config.holdout and config.n > report.asked:
        settings["n"] = report.asked  # the file grows; with some held out, others would be
    changed = [name for name in settings if earlier.get(name) != settings[name]]
    if changed:
        name = changed[0]
        raise ConfigChanged(
            f"{directory} holds prompts of other settings ({name}: {earlier.get(name)!r}, now {settings[name]!r}); "
            "replace them with --overwrite, or choose another --out"
        )


def _check_seeds(directory: Path, config: CheckableConfig, digest: str, *, overwrite: bool) -> None:
    """Refuse a directory with prompts that were made from other seed prompts."""
    if overwrite or not (directory / REPORT).is_file():
        return
    earlier = read_report(directory).seeds.digest
    if earlier and earlier != digest:
        raise ConfigChanged(
            f"{directory} holds prompts of other seed prompts than those of {config.prompts}; replace them with --overwrite, or choose "
            "another --out"
        )
