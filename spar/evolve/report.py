"""The report of an evolution. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from spar.evolve.benchmarks import absent_note
from spar.evolve.coverage import coverage, never_covered
from spar.evolve.inputs import EvolveInputs
from spar.evolve.select import Selection
from spar.evolve.taxonomy import CONSTRAINT_TYPES
from spar.record.evolution import CheckedBenchmark, EvolveCounts, EvolveReport

EMBEDDED = "embedded"
"""Name of the model that ships with spar."""


def make_report(
    inputs: EvolveInputs, selection: Selection, *, teacher: str, files: Mapping[str, str]
) -> EvolveReport:
    """The report: what became of the requests, and the coverage of the taxonomy."""
    prompts = selection.selected
    never = never_covered(prompts)
    sizes = Counter(len(prompt.constraints) for prompt in prompts)
    counts = _counts(inputs, selection)
    return EvolveReport(
        teacher=teacher,
        seed=inputs.config.seed,
        per_prompt=inputs.config.per_prompt,
        counts=counts,
        benchmarks={
            benchmark.name: CheckedBenchmark(prompts=len(benchmark.texts), digest=benchmark.digest)
            for benchmark in inputs.benchmarks
        },
        absent_benchmarks=inputs.absent,
        coverage=coverage(prompts),
        never_covered=never,
        never_covered_share=len(never) / len(CONSTRAINT_TYPES),
        constraints_a_prompt={str(size): sizes[size] for size in sorted(sizes)},
        unknown_names=selection.unknown_names,
        notes=tuple(_notes(inputs, counts, teacher)),
        files=dict(files),
    )


def _counts(inputs: EvolveInputs, selection: Selection) -> EvolveCounts:
    reasons = Counter(rejected.reason for rejected in selection.rejected)
    contaminated = len(inputs.contaminated_seeds)
    return EvolveCounts(
        seeds=len(inputs.seeds) + contaminated,
        contaminated_seeds=contaminated,
        asked=len(selection.selected) + len(selection.rejected),
        none=reasons["none"],
        refused=reasons["refused"],
        unparsable=reasons["unparsable"],
        contaminated=reasons["contaminated"],
        exact_duplicates=reasons["exact duplicate"],
        near_duplicates=reasons["near duplicate"],
        kept=len(selection.selected),
    )


def _notes(inputs: EvolveInputs, counts: EvolveCounts, teacher: str) -> Iterator[str]:
    if note := absent_note(inputs.absent):
        yield note
    if counts.kept:
        return
    if counts.asked and teacher == EMBEDDED:
        yield (
            "no prompt was selected: the embedded model only knows its own small language and cannot rewrite "
            "prompts; choose a teacher with --model or --base-url"
        )
    else:
        yield "no prompt was selected; see rejected.jsonl for the reasons"
