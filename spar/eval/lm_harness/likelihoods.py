"""Likelihoods on the disk: `likelihoods.jsonl`, one line a document, written as they come.

    {"id": "mmlu_anatomy/3", "digest": "5e0c...", "likelihoods": [{"text": " A", "logprob": -1.2, ...}]}

A document's line is there before its tree is, so an interrupted run continues without repeating a request, and a
finished one is scored again without a model. The last line of an id counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from spar.errors import UsageError
from spar.eval.lm_harness.requests import LikelihoodRequest
from spar.files import LineFile
from spar.record.evaluation import LIKELIHOODS
from spar.record.row_files import record_line
from spar.types import Record, Text


class ScoredText(Record):
    """One text and how likely a model finds it."""

    text: Text
    """The continuation."""
    logprob: float
    """Natural log-probability of the whole text."""
    greedy: bool
    """Whether each of its tokens is the likeliest at its place."""
    tokens: int
    """How many it has."""


class ScoredDocument(Record):
    """All texts of one document."""

    id: Text
    """The prompt's id."""
    digest: str
    """Of the request (`LikelihoodRequest.digest`)."""
    likelihoods: tuple[ScoredText, ...]
    """In the order of the requests."""

    @property
    def likeliest(self) -> ScoredText:
        """The text with the highest log-probability, the first of several."""
        return max(self.likelihoods, key=lambda text: text.logprob)


class LikelihoodFile:
    """Documents that are scored already, and a place to add more."""

    def __init__(self, directory: Path) -> None:
        path = directory / LIKELIHOODS
        self._scored = read_likelihoods(directory)
        if path.is_file():
            _cut_torn_line(path)
        self._lines = LineFile(path)

    def get(self, request: LikelihoodRequest) -> ScoredDocument | None:
        """The stored document, None where it is new or its request has changed."""
        document = self._scored.get(request.prompt.id)
        return document if document is not None and document.digest == request.digest else None

    def add(self, document: ScoredDocument) -> None:
        """Append one document; it survives the death of the process once this returns."""
        self._lines.append(record_line(document))
        self._scored[document.id] = document

    def close(self) -> None:
        """Sync and close."""
        self._lines.__exit__()


def read_likelihoods(directory: Path) -> dict[str, ScoredDocument]:
    """Prompt id to its document's likelihoods; empty where a stage has none. A torn last line is skipped.

    Raises
    ------
    UsageError
        A line before the last is damaged.
    """
    path = directory / LIKELIHOODS
    if not path.is_file():
        return {}
    return {document.id: document for document in _documents(path)}


def _documents(path: Path) -> Iterator[ScoredDocument]:
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield ScoredDocument.model_validate(json.loads(line))
            except (ValidationError, ValueError) as error:
                raise UsageError(
                    f"{path}:{number} is damaged; delete the line, or start over with --overwrite"
                ) from error


def _cut_torn_line(path: Path) -> None:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as handle:
            handle.truncate(whole)
