"""Builds a bootstrap's two sets of examples out of its runs: `actor.jsonl`, `refiner.jsonl` and `build.json`.

The same runs and settings give the same bytes, whatever the order in which searches ended. `build.json` is
written last and vouches for the files beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spar.errors import RunStopped, UsageError
from spar.files import replace_json
from spar.record.training import BUILD_REPORT as REPORT
from spar.record.training_data import (
    AnswerCounts,
    BootstrapReport,
    Conversation,
    RefinerExample,
)
from spar.store import read_trees
from spar.train.bootstrap.examples import (
    choose_answers,
    count_drafts,
    why_few_examples,
)
from spar.train.build import collect, run_facts
from spar.train.data.export import export_chats
from spar.train.data.scan import BuildSettings, Source, Survey, open_sources, survey
from spar.train.data.selection import Quotas, bucket_name, choose
from spar.train.specs import BootstrapBuildSpec


def build(order: BootstrapBuildSpec) -> BootstrapReport:
    """Read the runs, write the files and the report.

    Raises
    ------
    UsageError
        A run is missing or corrupt, its templates are not at hand, or there are too few examples.
    RunStopped
        The disk is full or fails.
    """
    settings = BuildSettings(
        out=Path(order.out),
        search=Path(order.refine),
        drafts=Path(order.judge),
        judgements=order.judgements,
        seed=order.seed,
    )
    sources = open_sources(settings)
    found, judged = survey(sources, settings), count_drafts(read_trees(order.judge))
    tickets = choose(found.tickets, _quotas(order))
    answers, answered = choose_answers(
        read_trees(order.answers),
        seed=order.seed,
        most=order.max_answers,
        max_tokens=order.max_answer_tokens,
    )
    _require(order, answered, len(tickets), why_few_examples(judged, found.solved["search"]))
    _, examples = collect(sources, settings, (), tickets)
    facts = _facts(sources, found, examples) | {"answers": answered, "judged": judged}
    facts |= {"seed": order.seed, "judgements": order.judgements}
    return _write(order, {"actor": answers, "refiner": examples}, facts)


def read_report(folder: Path) -> BootstrapReport:
    """The report of a finished build.

    Raises
    ------
    UsageError
        There is none.
    """
    try:
        return BootstrapReport.model_validate_json((folder / REPORT).read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"{folder} holds no finished build ({REPORT}); run the bootstrap again with --rerun-from build"
        ) from error


def summary_lines(report: BootstrapReport) -> list[str]:
    """The report in a few lines for a person."""
    left_out = _listed(report.answers.left_out)
    judged, kept = report.judged, sum(report.examples.values())
    yes = "" if report.yes_share is None else f"; {report.yes_share:.0%} of the judgements say Yes"
    return [
        f"actor: {report.answers.kept} answers of {report.answers.prompts}"
        + (f" (left out: {left_out})" if left_out else ""),
        f"drafts: {judged.drafts}, of which the teacher passed {judged.passed}, failed {judged.failed} and left "
        f"{judged.undecided} undecided; {report.runs['search'].solved} of "
        f"{report.runs['search'].trees} searches mended one",
        f"refiner: {kept} examples ({_listed(report.examples)}){yes}",
        *(f"note: {note}" for note in report.notes),
    ]


def _quotas(order: BootstrapBuildSpec) -> Quotas:
    each = order.max_judgements // 2
    return Quotas(order.max_refinements, each, each, each, each, each_verdict=each)


def _require(order: BootstrapBuildSpec, answered: AnswerCounts, had: int, why: str) -> None:
    if answered.kept < order.min_answers:
        left_out = _listed(answered.left_out) or "none"
        raise UsageError(
            f"the actor has {answered.kept} examples, and {order.min_answers} are needed: of {answered.prompts} "
            f"answers of the teacher were left out: {left_out}; give more prompts, or raise "
            "teacher.draft.max_tokens where answers were cut"
        )
    if had < order.min_examples:
        raise UsageError(
            f"the refiner has {had} examples, and {order.min_examples} are needed: {why}"
        )


def _facts(
    sources: Sequence[Source], found: Survey, examples: Sequence[RefinerExample]
) -> dict[str, Any]:
    verdicts = [example.verdict for example in examples if example.verdict is not None]
    kept = Counter(bucket_name((example.kind, example.verdict)) for example in examples)
    possible = Counter(bucket_name(one.bucket) for one in found.tickets)
    return {
        "runs": {source.run: run_facts(source, found) for source in sources},
        "possible_examples": dict(sorted(possible.items())),
        "examples": dict(sorted(kept.items())),
        "yes_share": sum(verdicts) / len(verdicts) if verdicts else None,
        "without_tokens": found.without_tokens,
        "notes": tuple(_notes(found, kept)),
    }


def _notes(found: Survey, kept: Counter[str]) -> Iterator[str]:
    if not kept["refine"]:
        yield "no refinement is learnt: the teacher passed none of its own, or found no failing draft"
    if kept.total() == kept["refine"]:
        yield "no judgement is learnt: a balanced mix needs some that say Yes and some that say No"
    mismatched = sum(votes.mismatched for votes in found.votes.values())
    if mismatched:
        yield (
            f"{mismatched} critiques do not say what their votes' majority says; none of them is learnt from"
        )


def _write(
    order: BootstrapBuildSpec, sets: Mapping[str, Sequence[Conversation]], facts: Mapping[str, Any]
) -> BootstrapReport:
    out = Path(order.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / REPORT).unlink(missing_ok=True)  # it vouches for the files beside it
        files = export_chats("trl", out, sets)
        if order.llamafactory:
            (out / _OTHER).mkdir(exist_ok=True)
            written = export_chats("llamafactory", out / _OTHER, sets)
            files |= {f"{_OTHER}/{name}": digest for name, digest in written.items()}
        report = BootstrapReport(**facts, files=files)
        replace_json(out / REPORT, report.model_dump(mode="json"))
    except OSError as error:
        raise RunStopped(
            f"cannot write to {out}: {error.strerror or error}; mend that and run the same command again"
        ) from error
    return report


_OTHER = "llamafactory"


def _listed(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
