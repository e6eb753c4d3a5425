"""The report of checkable prompts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from spar.evolve.benchmarks import absent_note
from spar.evolve.checkable.draw import NO_DRAW, SEED_PROMPT, CheckablePrompt
from spar.evolve.checkable.inputs import SeedPrompts
from spar.evolve.checkable.settings import CheckableConfig
from spar.evolve.contamination import BenchmarkPrompts
from spar.evolve.shared_words import SharedWordsIndex
from spar.ifeval_verifiers import PACKAGES
from spar.prompts import INSTRUCTIONS
from spar.record.checkable import CheckableReport, ComparedBenchmark, SeedCounts
from spar.templates import transcript

LENGTHS = (25, 50, 75, 100, 150)
"""Bounds of the ranges of words."""
FREE = ("n", "holdout", "witnesses", "prompts", "data")
"""Settings that are not part of the report's `settings`."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made, and what became of the rest."""

    config: CheckableConfig
    seeds: SeedPrompts
    training: Sequence[CheckablePrompt]
    held_out: Sequence[CheckablePrompt]
    redrawn: Mapping[str, int]
    """Reason why a set of constraints was drawn again, to times."""
    dropped: Mapping[str, int]
    """Reason why a whole prompt was dropped, to times."""
    benchmarks: Sequence[BenchmarkPrompts]
    """Those that the prompts were compared with."""
    absent: tuple[str, ...]
    """Benchmarks whose data are not on this machine."""

    @property
    def all(self) -> tuple[CheckablePrompt, ...]:
        """The prompts for training, then those held out."""
        return (*self.training, *self.held_out)


def make_report(made: Made, files: Mapping[str, str]) -> CheckableReport:
    """The report: what became of the seed prompts, the mix, and how close the benchmarks come.

    Parameters
    ----------
    files:
        File to the SHA-256 of its bytes.
    """
    config, prompts = made.config, [each.prompt for each in made.all]
    by_type = Counter(name for prompt in prompts for name in prompt.meta[INSTRUCTIONS])
    by_count = Counter(len(prompt.meta[INSTRUCTIONS]) for prompt in prompts)
    by_length = Counter(_length_range(len(p.messages[-1].content.split())) for p in prompts)
    return CheckableReport(
        settings=settings_of(config),
        asked=config.n,
        asked_holdout=config.holdout,
        seeds=SeedCounts(
            read=made.seeds.num_read,
            rejected=dict(Counter(each.reason for each in made.seeds.rejected).most_common()),
            used=len(made.seeds.instructions),
            restricted=dict(made.seeds.restricted.most_common()),
            digest=made.seeds.digest,
        ),
        prompts=len(made.training),
        held_out=len(made.held_out),
        held_out_seeds=len({each.prompt.meta[SEED_PROMPT] for each in made.held_out}),
        by_type={name: by_type[name] for name in config.mix.weights},
        by_count={str(number): by_count[number] for number in sorted(by_count)},
        by_length={name: by_length[name] for name in map(_length_range, (0, *LENGTHS))},
        redrawn=dict(Counter(made.redrawn).most_common()),
        dropped=dict(Counter(made.dropped).most_common()),
        witnesses=len(prompts),
        verifiers={name: version(name) for name in PACKAGES},
        benchmarks=_compared(made),
        absent_benchmarks=made.absent,
        notes=tuple(_notes(made)),
        files=dict(files),
    )


def why_no_more(made: Made) -> str:
    """Why there are no more prompts, by what most drawn ones were dropped for, and what to do."""
    reason = max(made.dropped, key=lambda each: made.dropped[each], default="")
    if reason == NO_DRAW:
        why = max(made.redrawn, key=lambda each: made.redrawn[each])
        return (
            f"as many of the --types as --constraints {made.config.constraints} asks for seldom go together for these seed prompts "
            f"(most often: {why}); ask for fewer constraints, or name more types"
        )
    if not made.training:
        return f"what is drawn is dropped (most often: {reason}); give other seed prompts"
    return "the seed prompts give no more new ones; add seed prompts"


def settings_of(config: CheckableConfig) -> dict[str, object]:
    """The settings that prompts depend on, one by one."""
    return {name: value for name, value in config.stored().items() if name not in FREE}


def _length_range(count: int) -> str:
    above = next((bound for bound in LENGTHS if count < bound), None)
    if above is None:
        return f"{LENGTHS[-1]} or more"
    below = max((bound for bound in (0, *LENGTHS) if bound < above), default=0)
    return f"{below}-{above - 1}"


def _compared(made: Made) -> dict[str, ComparedBenchmark]:
    """Each benchmark, and the longest run of words that it shares with the prompts."""
    own = SharedWordsIndex({each.prompt.id: transcript(each.prompt.messages) for each in made.all})
    compared = {}
    for benchmark in made.benchmarks:
        shared = own.longest(benchmark.texts)
        compared[benchmark.name] = ComparedBenchmark(
            prompts=len(benchmark.texts),
            digest=benchmark.digest,
            longest_shared=shared.length,
            shared_words=shared.words,
            prompt=shared.own,
            item=shared.other,
        )
    return compared


def _notes(made: Made) -> Iterator[str]:
    for what, count, asked in (
        ("prompts", len(made.training), made.config.n),
        ("held-out prompts", len(made.held_out), made.config.holdout),
    ):
        if count < asked:
            yield f"{count:,} {what} of {asked:,}: {why_no_more(made)}"
    if note := absent_note(made.absent):
        yield note
