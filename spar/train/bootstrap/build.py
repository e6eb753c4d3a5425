"""Builds a bootstrap's two sets of examples from its runs: `actor.jsonl`, `refiner.jsonl` and `build.json`.

The same runs and settings give the same bytes, whatever the order in which searches ended. `build.json` is
written last, so that the files beside it are complete where it exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.files import replace_json
from spar.record.training import BUILD_REPORT
from spar.record.training_data import (
    AnswerCounts,
    BootstrapReport,
    Conversation,
    RefinerExample,
)
from spar.store import read_trees
from spar.train.bootstrap.examples import choose_answers, count_drafts, why_few_examples
from spar.train.build import collect
from spar.train.data.export import export_conversations
from spar.train.data.report import (
    read_dataset_report,
    report_fields,
    source_report,
    writing_dataset,
)
from spar.train.data.scan import BuildSettings, Scan, open_sources, scan_sources
from spar.train.data.selection import Quotas, select
from spar.train.specs import BootstrapBuildSpec

LLAMAFACTORY = "llamafactory"
"""Folder of the files in LLaMA-Factory's format."""


def build(spec: BootstrapBuildSpec) -> BootstrapReport:
    """Read the runs, write the files and the report.

    Raises
    ------
    UsageError
        A run is missing or corrupt, its templates are unknown, or there are too few examples.
    RunStopped
        The disk is full or fails.
    """
    settings = BuildSettings(
        out=Path(spec.out),
        search=Path(spec.refine),
        drafts=Path(spec.judge),
        judgements=spec.judgements,
        seed=spec.seed,
    )
    sources = open_sources(settings)
    scan, drafts = scan_sources(sources, settings), count_drafts(read_trees(spec.judge))
    candidates = select(scan.candidates, _quotas(spec))
    answers, answer_counts = choose_answers(
        read_trees(spec.answers),
        seed=spec.seed,
        most=spec.max_answers,
        max_tokens=spec.max_answer_tokens,
    )
    why_few = why_few_examples(drafts, scan.solved["search"])
    _require_examples(spec, answer_counts, len(candidates), why_few)
    _, examples = collect(sources, settings, (), candidates)
    with writing_dataset(settings.out):
        report = BootstrapReport(
            seed=spec.seed,
            judgements=spec.judgements,
            answers=answer_counts,
            judged=drafts,
            runs={source.run: source_report(source, scan) for source in sources},
            notes=tuple(_notes(scan, examples)),
            files=_write_files(spec, {"actor": answers, "refiner": examples}),
            **report_fields(scan, examples),
        )
        replace_json(settings.out / BUILD_REPORT, report.model_dump(mode="json"))
    return report


def read_report(folder: Path) -> BootstrapReport:
    """The report of a finished build; raises `UsageError` where there is none."""
    return read_dataset_report(
        BootstrapReport, folder, "rerun the bootstrap with --rerun-from build"
    )


def summary_lines(report: BootstrapReport) -> list[str]:
    """The report in a few human-readable lines."""
    excluded = _format_counts(report.answers.left_out)
    drafts, refined = report.judged, report.runs["search"]
    yes = "" if report.yes_share is None else f"; {report.yes_share:.0%} of the judgements say Yes"
    return [
        f"actor: {report.answers.kept} answers of {report.answers.prompts}"
        + (f" (excluded: {excluded})" if excluded else ""),
        f"drafts: {drafts.drafts}, of which the teacher passed {drafts.passed}, failed {drafts.failed} and "
        f"left {drafts.undecided} undecided; {refined.solved} of {refined.trees} searches fixed a draft",
        f"refiner: {sum(report.examples.values())} examples ({_format_counts(report.examples)}){yes}",
        *(f"note: {note}" for note in report.notes),
    ]


def _quotas(spec: BootstrapBuildSpec) -> Quotas:
    each = spec.max_judgements // 2
    return Quotas(spec.max_refinements, each, each, each, each, each_verdict=each)


def _require_examples(
    spec: BootstrapBuildSpec, answers: AnswerCounts, num_examples: int, why_few: str
) -> None:
    if answers.kept < spec.min_answers:
        excluded = _format_counts(answers.left_out) or "none"
        raise UsageError(
            f"the actor has {answers.kept} examples, and {spec.min_answers} are required: of "
            f"{answers.prompts} answers of the teacher were excluded: {excluded}; give more prompts, or raise "
            "teacher.draft.max_tokens where answers were cut"
        )
    if num_examples < spec.min_examples:
        raise UsageError(
            f"the refiner has {num_examples} examples, and {spec.min_examples} are required: {why_few}"
        )


def _notes(scan: Scan, examples: Sequence[RefinerExample]) -> Iterator[str]:
    kinds = {example.kind for example in examples}
    if "refine" not in kinds:
        yield "no refinement is used: the teacher passed none of its own, or there was no failing draft"
    if not kinds - {"refine"}:
        yield "no judgement is used: a balanced mix needs judgements of either verdict"
    mismatched = sum(votes.mismatched for votes in scan.votes.values())
    if mismatched:
        yield f"{mismatched} critiques contradict the majority of their votes and are not used"


def _write_files(
    spec: BootstrapBuildSpec, sets: Mapping[str, Sequence[Conversation]]
) -> dict[str, str]:
    out = Path(spec.out)
    files = export_conversations("trl", out, sets)
    if spec.llamafactory:
        (out / LLAMAFACTORY).mkdir(exist_ok=True)
        written = export_conversations("llamafactory", out / LLAMAFACTORY, sets)
        files |= {f"{LLAMAFACTORY}/{name}": digest for name, digest in written.items()}
    return files


def _format_counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
