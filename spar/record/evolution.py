"""What `spar evolve` writes beside its trees.

prompts.jsonl    the selected prompts, as `spar decode` and `spar train` read them
rejected.jsonl   the requests and seed prompts that gave none, and why
evolve.json      the report; written last, so that the other two are complete where it exists
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from spar.record import row_files
from spar.types import Message, Record, Text

PROMPTS, REJECTED, REPORT = "prompts.jsonl", "rejected.jsonl", "evolve.json"
FILES = (PROMPTS, REJECTED, REPORT)

Reason = Literal[
    "none", "refused", "unparsable", "contaminated", "exact duplicate", "near duplicate"
]
"""Why there is no prompt: the teacher answered None; the engine refused the request; no reply parsed; the prompt is
in a benchmark; it duplicates another prompt, exactly or nearly."""


class EvolvedPrompt(Record):
    """One complex prompt; a line of `prompts.jsonl`."""

    id: Text
    """The request's id: the seed prompt's id and the number of the variant."""
    messages: tuple[Message, ...]
    source: Text
    """The seed prompt's own `source` where it has one, else the file it came from."""
    seed_prompt: Text
    """Id of the seed prompt."""
    main_constraint: Text
    """Id of the constraint type that was drawn, such as `length/words`."""
    constraints: tuple[Text, ...]
    """What the teacher says it added, the main one first: ids of constraint types, or groups."""


class Rejected(Record):
    """A request or seed prompt without an evolved prompt; a line of `rejected.jsonl`."""

    id: Text
    """The request's id, or the seed prompt's where it was rejected itself."""
    seed_prompt: Text
    main_constraint: Text | None
    """None for a seed prompt."""
    reason: Reason
    why: Text
    """A human-readable reason, in one line."""
    text: Text
    """The prompt where there is one, else the reply."""


class ConstraintCoverage(Record):
    """How many selected prompts use a type of constraint."""

    main: int
    """As the main one."""
    mentioned: int
    """As any of the constraints that the teacher names."""


class GroupCoverage(Record):
    """How many selected prompts use a constraint of a group."""

    main: int
    mentioned: int
    """Prompts; one with two types of the group counts once."""
    kinds: dict[str, ConstraintCoverage]


class EvolveCounts(Record):
    """What became of the requests: `asked` is the sum of the fields after it."""

    seeds: int
    """Seed prompts read."""
    contaminated_seeds: int
    """Seed prompts that are in a benchmark and were not sent."""
    asked: int
    """Requests to the teacher."""
    none: int
    refused: int
    unparsable: int
    contaminated: int
    exact_duplicates: int
    near_duplicates: int
    kept: int
    """Selected prompts."""


class CheckedBenchmark(Record):
    """A benchmark that the prompts were compared with."""

    prompts: int
    digest: Text
    """Of its data files, "" for one that spar generates."""


class EvolveReport(Record):
    """The report of an evolution; `evolve.json`."""

    teacher: Text
    """The model."""
    seed: int | None
    per_prompt: int
    counts: EvolveCounts
    benchmarks: dict[str, CheckedBenchmark]
    absent_benchmarks: tuple[Text, ...]
    """Benchmarks that are not on this machine, so that nothing was compared with them."""
    coverage: dict[str, GroupCoverage]
    """Group to the coverage of its constraint types."""
    never_covered: tuple[Text, ...]
    """Ids of constraint types that no selected prompt uses."""
    never_covered_share: float
    """Their share of all types."""
    constraints_a_prompt: dict[str, int]
    """Number of constraints to the number of selected prompts with so many."""
    unknown_names: int
    """Names in the replies of selected prompts that are not in the taxonomy."""
    notes: tuple[Text, ...]
    """Human-readable hints."""
    files: dict[str, str]
    """File to the SHA-256 of its bytes."""


def write_files(
    directory: Path, prompts: Iterable[EvolvedPrompt], rejected: Iterable[Rejected]
) -> dict[str, str]:
    """Replace the two files of rows and delete the report; returns file to SHA-256.

    Raises
    ------
    RunStopped
        They cannot be written.
    """
    files = {PROMPTS: prompts, REJECTED: rejected}
    return row_files.write_rows(directory, files, outdated=[REPORT], advice=_ADVICE)


def write_report(directory: Path, report: EvolveReport) -> None:
    """Write `evolve.json`; raises `RunStopped` where it cannot be written."""
    row_files.write_report(directory / REPORT, report, advice=_ADVICE)


def read_report(directory: Path) -> EvolveReport:
    """The report of a finished evolution; raises `UsageError` where there is none."""
    return row_files.read_report(directory / REPORT, EvolveReport, "spar evolve")


_ADVICE = "fix this and rerun the command; the teacher's replies are saved"
