"""What `spar evolve` writes beside its trees.

prompts.jsonl    the prompts that were kept, as `spar decode` and `spar train` read them
rejected.jsonl   every request and seed prompt that gave none, and why
evolve.json      the report; written last, so where it is the other two are whole
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from spar.errors import RunStopped, UsageError
from spar.files import replace_json, replace_lines
from spar.types import Message, Record, Text

PROMPTS, REJECTED, REPORT = "prompts.jsonl", "rejected.jsonl", "evolve.json"
FILES = (PROMPTS, REJECTED, REPORT)

Reason = Literal[
    "none", "refused", "unparsable", "contaminated", "exact duplicate", "near duplicate"
]
"""Why there is no prompt: the teacher answered None; the engine would not serve the request; no reply could be
read; it is in a benchmark; it has the words of another prompt, or nearly those."""


class EvolvedPrompt(Record):
    """One complex prompt; a line of `prompts.jsonl`."""

    id: Text
    """The request's: the seed prompt's id and the number of the variant."""
    messages: tuple[Message, ...]
    source: Text
    """The seed prompt's own `source` where it has one, else the file it came from."""
    seed_prompt: Text
    """Id of the seed prompt."""
    main_constraint: Text
    """Id of the kind that was drawn, such as `length/words`."""
    constraints: tuple[Text, ...]
    """What the teacher says it built in, the main one first: ids of kinds, or groups."""


class Rejected(Record):
    """What did not become a prompt; a line of `rejected.jsonl`."""

    id: Text
    """The request's, or the seed prompt's where that one was rejected itself."""
    seed_prompt: Text
    main_constraint: Text | None
    """None for a seed prompt."""
    reason: Reason
    why: Text
    """One line for a person."""
    text: Text
    """The prompt where there is one, else the reply."""


class KindCoverage(Record):
    """How many kept prompts have a kind of constraint."""

    main: int
    """As the main one."""
    mentioned: int
    """At all, by what the teacher says."""


class GroupCoverage(Record):
    """How many kept prompts have a constraint of a group."""

    main: int
    mentioned: int
    """Prompts; one with two kinds of the group counts once."""
    kinds: dict[str, KindCoverage]


class Counts(Record):
    """What became of everything: asked is the sum of what follows it."""

    seeds: int
    """Seed prompts read."""
    contaminated_seeds: int
    """Of these, the ones in a benchmark, which were not sent."""
    asked: int
    """Requests to the teacher."""
    none: int
    refused: int
    unparsable: int
    contaminated: int
    exact_duplicates: int
    near_duplicates: int
    kept: int


class CheckedBenchmark(Record):
    """A benchmark that the prompts were kept out of."""

    prompts: int
    digest: Text
    """Of its data files, "" for one that spar makes itself."""


class EvolveReport(Record):
    """What an evolution made; `evolve.json`."""

    teacher: Text
    """The model."""
    seed: int | None
    per_prompt: int
    counts: Counts
    benchmarks: dict[str, CheckedBenchmark]
    absent_benchmarks: tuple[Text, ...]
    """Not on this machine, so nothing was compared with them."""
    coverage: dict[str, GroupCoverage]
    """Group to what was covered of it."""
    never_covered: tuple[Text, ...]
    """Ids of kinds that no kept prompt has."""
    never_covered_share: float
    """Of all kinds."""
    constraints_a_prompt: dict[str, int]
    """Number of constraints to how many kept prompts have so many."""
    unknown_names: int
    """Names in kept prompts' replies that the taxonomy does not have."""
    notes: tuple[Text, ...]
    """Lines for a person."""
    files: dict[str, str]
    """File to the SHA-256 of its bytes."""


def write_files(
    directory: Path, kept: Iterable[EvolvedPrompt], rejected: Iterable[Rejected]
) -> dict[str, str]:
    """Replace the two files of rows; file to its SHA-256. The report goes, until there is a new one.

    Raises
    ------
    RunStopped
        They cannot be written.
    """
    try:
        (directory / REPORT).unlink(missing_ok=True)
        return {
            PROMPTS: replace_lines(directory / PROMPTS, map(_line, kept)),
            REJECTED: replace_lines(directory / REJECTED, map(_line, rejected)),
        }
    except OSError as error:
        raise _stopped(directory, error) from error


def write_report(directory: Path, report: EvolveReport) -> None:
    """Write `evolve.json`; raises `RunStopped` where it cannot be written."""
    try:
        replace_json(directory / REPORT, report.model_dump(mode="json"))
    except OSError as error:
        raise _stopped(directory, error) from error


def read_report(directory: Path) -> EvolveReport:
    """The report of a finished evolution; raises `UsageError` where there is none."""
    path = directory / REPORT
    try:
        return EvolveReport.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError) as error:
        raise UsageError(f"{path} is no report of a finished `spar evolve`") from error


def _line(record: Record) -> str:
    return json.dumps(record.model_dump(), separators=(",", ":"))


def _stopped(directory: Path, error: OSError) -> RunStopped:
    return RunStopped(
        f"cannot write to {directory}: {error.strerror or error}; mend that and run the same command "
        "again, the teacher's replies are kept"
    )
