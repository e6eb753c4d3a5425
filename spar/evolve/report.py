"""The report of an evolution. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from spar.evolve.coverage import coverage, never_covered
from spar.evolve.inputs import Material
from spar.evolve.select import Selection
from spar.evolve.taxonomy import KINDS
from spar.record.evolution import CheckedBenchmark, Counts, EvolveReport

EMBEDDED = "embedded"
"""Name of the model that ships with spar."""


def make_report(
    material: Material, selection: Selection, *, teacher: str, files: Mapping[str, str]
) -> EvolveReport:
    """What was asked, what became of it, and what of the taxonomy is covered."""
    kept = selection.kept
    never = never_covered(kept)
    sizes = Counter(len(prompt.constraints) for prompt in kept)
    counts = _counts(material, selection)
    return EvolveReport(
        teacher=teacher,
        seed=material.config.seed,
        per_prompt=material.config.per_prompt,
        counts=counts,
        benchmarks={
            one.name: CheckedBenchmark(prompts=len(one.texts), digest=one.digest)
            for one in material.prompts
        },
        absent_benchmarks=material.absent,
        coverage=coverage(kept),
        never_covered=never,
        never_covered_share=len(never) / len(KINDS),
        constraints_a_prompt={str(size): sizes[size] for size in sorted(sizes)},
        unknown_names=selection.unknown_names,
        notes=tuple(_notes(material, counts, teacher)),
        files=dict(files),
    )


def absent_note(material: Material) -> str:
    """Which benchmarks nothing is compared with; "" where all are here."""
    if not material.absent:
        return ""
    names = ", ".join(material.absent)
    return (
        f"not compared with {names}, whose data are not on this machine (spar data fetch "
        f"{' '.join(material.absent)}; --data DIR)"
    )


def _counts(material: Material, selection: Selection) -> Counts:
    found = Counter(one.reason for one in selection.rejected)
    bad = len(material.bad_seeds)
    return Counts(
        seeds=len(material.seeds) + bad,
        contaminated_seeds=bad,
        asked=len(selection.kept) + len(selection.rejected),
        none=found["none"],
        refused=found["refused"],
        unparsable=found["unparsable"],
        contaminated=found["contaminated"],
        exact_duplicates=found["exact duplicate"],
        near_duplicates=found["near duplicate"],
        kept=len(selection.kept),
    )


def _notes(material: Material, counts: Counts, teacher: str) -> Iterator[str]:
    if note := absent_note(material):
        yield note
    if counts.kept:
        return
    if counts.asked and teacher == EMBEDDED:
        yield (
            "no prompt was kept: the embedded model knows its own small language only and cannot rewrite "
            "prompts; name a teacher with --model or --base-url"
        )
    else:
        yield "no prompt was kept; rejected.jsonl says why of each"
