"""What the reports of both kinds of data sets share: their fields, and how they are written and read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from spar.errors import RunStopped, UsageError
from spar.record.training import BUILD_REPORT
from spar.record.training_data import DatasetReport, RefinerExample, SourceReport
from spar.train.data.scan import Scan, Source
from spar.train.data.selection import bucket_name

R = TypeVar("R", bound=DatasetReport)


def report_fields(scan: Scan, examples: Sequence[RefinerExample]) -> dict[str, Any]:
    """The fields of a report about the refiner's examples."""
    verdicts = [example.verdict for example in examples if example.verdict is not None]
    selected = Counter(bucket_name((example.kind, example.verdict)) for example in examples)
    possible = Counter(bucket_name(candidate.bucket) for candidate in scan.candidates)
    return {
        "possible_examples": dict(sorted(possible.items())),
        "examples": dict(sorted(selected.items())),
        "yes_share": sum(verdicts) / len(verdicts) if verdicts else None,
        "without_tokens": scan.not_encodable,
    }


def source_report(source: Source, scan: Scan) -> SourceReport:
    """The report about one of the runs."""
    return SourceReport(
        directory=str(source.directory),
        digest=source.manifest.digest,
        models=source.manifest.models,
        trees=scan.trees[source.run],
        solved=scan.solved[source.run],
        votes=scan.votes[source.run].measures(),
    )


@contextmanager
def writing_dataset(folder: Path) -> Iterator[None]:
    """Create the folder of a data set, and delete its report until the files are complete.

    Raises
    ------
    RunStopped
        The disk is full or fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / BUILD_REPORT).unlink(missing_ok=True)
        yield
    except OSError as error:
        raise RunStopped(
            f"cannot write to {folder}: {error.strerror or error}; fix this and build again"
        ) from error


def read_dataset_report(kind: type[R], folder: Path, advice: str) -> R:
    """The report of a finished data set.

    Parameters
    ----------
    advice:
        The next step, for the message.

    Raises
    ------
    UsageError
        There is none.
    """
    try:
        return kind.model_validate_json((folder / BUILD_REPORT).read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(f"{folder} holds no finished build ({BUILD_REPORT}); {advice}") from error
