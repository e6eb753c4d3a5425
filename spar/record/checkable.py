"""What `spar evolve --checkable` writes.

prompts.jsonl     the prompts, as `spar decode` and `spar train` read them
holdout.jsonl     those held out (`--holdout`), of other seed prompts
witnesses.jsonl   a text for each prompt that meets its constraints (`--witnesses`)
rejected.jsonl    the seed prompts that gave none, and why
checkable.json    the report; written last, so that the others are complete where it exists
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from spar.record import row_files
from spar.types import Message, Record, Text

PROMPTS, HOLDOUT, WITNESSES = "prompts.jsonl", "holdout.jsonl", "witnesses.jsonl"
REJECTED, REPORT = "rejected.jsonl", "checkable.json"
FILES = (PROMPTS, HOLDOUT, WITNESSES, REJECTED, REPORT)


class CheckableRow(Record):
    """A prompt with constraints that programs can check; a line of `prompts.jsonl`."""

    id: Text
    """From the content, as `spar.prompts` makes it."""
    messages: tuple[Message, ...]
    source: Text
    """The seed prompt's own `source` where it has one, else the file it came from."""
    seed_prompt: Text
    """Id of the seed prompt."""
    instruction_id_list: tuple[Text, ...]
    """IFEval's types of the constraints."""
    kwargs: tuple[dict[str, Any], ...]
    """Their arguments, one object each."""


class WitnessRow(Record):
    """A text that meets all constraints of a prompt; a line of `witnesses.jsonl`."""

    id: Text
    """The prompt's id."""
    response: Text


class RejectedSeed(Record):
    """A seed prompt that gave no prompt; a line of `rejected.jsonl`."""

    id: Text
    reason: Text
    """Such as `contaminated`, `near duplicate` or `not in English`."""
    why: Text
    """More about it in one line, "" where the reason says all."""
    text: Text
    """Its last turn."""


class ComparedBenchmark(Record):
    """A benchmark that the prompts were compared with, and how close they come."""

    prompts: int
    """Of the benchmark."""
    digest: Text
    """Of its data files, "" for one that spar generates."""
    longest_shared: int
    """Most consecutive words that a prompt of ours shares with one of its prompts."""
    shared_words: Text
    """These words."""
    prompt: Text
    """Id of our prompt."""
    item: Text
    """The benchmark's item."""


class SeedCounts(Record):
    """What became of the seed prompts: `read` is the sum of `rejected` and `used`."""

    read: int
    rejected: dict[str, int]
    """Reason to seed prompts that were left out for it."""
    used: int
    """Seed prompts that take constraints."""
    restricted: dict[str, int]
    """What a used seed prompt asks for itself, so that it only takes types that leave this alone."""
    digest: Text = ""
    """A digest of all that were read; "" in reports of earlier versions."""


class CheckableReport(Record):
    """The report; `checkable.json`."""

    settings: dict[str, Any]
    """The settings of the run but for `n`, `holdout` and folders."""
    asked: int
    """`--n`."""
    asked_holdout: int
    """`--holdout`."""
    seeds: SeedCounts
    prompts: int
    """Prompts in `prompts.jsonl`."""
    held_out: int
    """Prompts in `holdout.jsonl`."""
    held_out_seeds: int
    """Seed prompts they were made from; none of them is in `prompts.jsonl`."""
    by_type: dict[str, int]
    """Constraint type to prompts, of both files."""
    by_count: dict[str, int]
    """Number of constraints to prompts."""
    by_length: dict[str, int]
    """Words of the prompt, as a range such as `50-99`, to prompts."""
    redrawn: dict[str, int]
    """Reason why a set of constraints was drawn again, to times."""
    dropped: dict[str, int]
    """Reason why a whole prompt was dropped and another variant drawn, to times."""
    witnesses: int
    """Prompts whose witness meets all constraints by the verifiers: all of them."""
    verifiers: dict[str, str]
    """Package to version, for those that the verdicts depend on."""
    benchmarks: dict[str, ComparedBenchmark]
    absent_benchmarks: tuple[Text, ...]
    """Benchmarks that are not on this machine, so that nothing was compared with them."""
    notes: tuple[Text, ...] = ()
    """Human-readable hints."""
    files: dict[str, str] = Field(default_factory=dict)
    """File to the SHA-256 of its bytes."""


def write_files(directory: Path, files: Mapping[str, Iterable[Record]]) -> dict[str, str]:
    """Replace the files of rows and delete the report and files without rows; returns file to SHA-256.

    Raises
    ------
    RunStopped
        They cannot be written.
    """
    outdated = [REPORT, *(name for name in FILES if name not in files)]
    row_files.make_directory(directory)
    return row_files.write_rows(directory, files, outdated=outdated)


def write_report(directory: Path, report: CheckableReport) -> None:
    """Write `checkable.json`; raises `RunStopped` where it cannot be written."""
    row_files.write_report(directory / REPORT, report)


def read_report(directory: Path) -> CheckableReport:
    """The report in a directory; raises `UsageError` where there is none."""
    return row_files.read_report(directory / REPORT, CheckableReport, "spar evolve --checkable")
