"""Build training data out of a run of searches and a run of judged drafts.

    python -m spar.train.build --search runs/search --drafts runs/drafts --out data/1

`--out` then holds `dpo.jsonl` for the actor, `rft.jsonl` for the refiner and `build.json`, the report. The
same runs and seed give the same bytes, whatever the order in which the runs' searches ended. The runs
are streamed twice: once to find out which examples there are, once for the texts of those that are kept.
What an example is stands in `pairs.py` and `refiner_data.py`, what is kept in `mix.py` (paper, section 2.3).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from spar.errors import RunStopped, SparError, UsageError
from spar.files import replace_json
from spar.plugins import check_name
from spar.record.training import BUILD_REPORT as REPORT
from spar.record.training_data import (
    EXPORT_FORMATS,
    BuildReport,
    Pair,
    Pairing,
    RefinerExample,
    SourceReport,
)
from spar.train.data.export import export
from spar.train.data.measure import measure_pairs, open_similarity
from spar.train.data.pairs import shuffled
from spar.train.data.scan import BuildSettings, Source, Survey, open_sources, paired_run, survey
from spar.train.data.selection import QUOTAS, Bucket, Ticket, bucket_name, choose, key_of


def build(settings: BuildSettings) -> BuildReport:
    """Read the runs, write the files and the report.

    Raises
    ------
    UsageError
        A run is missing or corrupt, its templates are not at hand, or it has too few pairs.
    MissingExtra
        rapidfuzz is not installed, or sentence-transformers where a model is named.
    RunStopped
        The disk is full or fails.
    """
    check_name(QUOTAS, "quotas", settings.quotas)
    open_similarity()  # a missing package is told before the runs are read, not after
    sources = open_sources(settings)
    found = survey(sources, settings)
    _require_pairs(found, settings)
    prompt_ids = sorted(found.pairs, key=found.pairs.__getitem__)[: settings.max_pairs]
    tickets = choose(found.tickets, QUOTAS[settings.quotas])
    pairs, examples = collect(sources, settings, prompt_ids, tickets)
    measures = measure_pairs(pairs, settings.embedding_model)
    with _writing(settings.out):
        settings.out.mkdir(parents=True, exist_ok=True)
        (settings.out / REPORT).unlink(missing_ok=True)  # it vouches for the files beside it
        files = export(settings.export, settings.out, pairs=pairs, examples=examples)
        report = BuildReport(
            **_facts(settings, sources, found, examples), pairs=measures, files=files
        )
        replace_json(settings.out / REPORT, report.model_dump(mode="json"))
    return report


def read_report(folder: Path) -> BuildReport:
    """The report of a finished build; raises `UsageError` where there is none."""
    try:
        return BuildReport.model_validate(json.loads((folder / REPORT).read_bytes()))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} holds no finished build ({REPORT}); build it again") from error


def _require_pairs(found: Survey, settings: BuildSettings) -> None:
    run, had = paired_run(settings), len(found.pairs)
    if had >= settings.min_pairs:
        return
    what = {
        "search": "turned a failing draft into a passing refinement",
        "drafts": "have a passing and a failing draft",
    }[run]
    directory = settings.search if run == "search" else settings.drafts
    raise UsageError(
        f"{directory}: {had} of {found.trees[run]} trees {what}, and {settings.min_pairs} are needed; "
        "run more prompts, or lower min_pairs"
    )


def collect(
    sources: Iterable[Source],
    settings: BuildSettings,
    prompt_ids: Sequence[str],
    tickets: Sequence[Ticket],
) -> tuple[list[Pair], list[RefinerExample]]:
    """Read the runs again for the texts of what is kept, in its order.

    Raises
    ------
    RunStopped
        They do not hold it any more.
    """
    pairs: dict[str, Pair] = {}
    examples: dict[tuple[Bucket, str, int], RefinerExample] = {}
    wanted_pairs, wanted = set(prompt_ids), {one.key for one in tickets}
    for source in sources:
        for tree in source.trees():
            pair = source.pair(tree, settings)
            if pair is not None and pair.prompt_id in wanted_pairs:
                pairs[pair.prompt_id] = (
                    shuffled(pair, settings.seed) if settings.shuffle_labels else pair
                )
            for example in source.examples(tree, settings):
                if (key := key_of(example)) in wanted:
                    examples[key] = example
    if len(pairs) < len(wanted_pairs) or len(examples) < len(wanted):
        raise RunStopped("a run was replaced while it was being read; build again")
    return [pairs[one] for one in prompt_ids], [examples[one.key] for one in tickets]


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"cannot write to {folder}: {error.strerror or error}; mend that and build again"
        ) from error


def _facts(
    settings: BuildSettings,
    sources: Iterable[Source],
    found: Survey,
    examples: Sequence[RefinerExample],
) -> dict[str, Any]:
    kept = Counter(bucket_name((example.kind, example.verdict)) for example in examples)
    verdicts = [example.verdict for example in examples if example.verdict is not None]
    return {
        "seed": settings.seed,
        "pairing": settings.pairs,
        "shuffle_labels": settings.shuffle_labels,
        "quotas": settings.quotas,
        "export": settings.export,
        "runs": {source.run: run_facts(source, found) for source in sources},
        "possible_pairs": len(found.pairs),
        "possible_examples": _sorted(Counter(bucket_name(one.bucket) for one in found.tickets)),
        "examples": _sorted(kept),
        "yes_share": sum(verdicts) / len(verdicts) if verdicts else None,
        "without_tokens": found.without_tokens,
        "notes": tuple(_notes(sources, found, verdicts)),
    }


def run_facts(source: Source, found: Survey) -> SourceReport:
    """What one of the runs held."""
    return SourceReport(
        directory=str(source.directory),
        digest=source.manifest.digest,
        models=source.manifest.models,
        trees=found.trees[source.run],
        solved=found.solved[source.run],
        votes=found.votes[source.run].measures(),
    )


def _notes(sources: Iterable[Source], found: Survey, verdicts: Sequence[bool]) -> Iterator[str]:
    for source in sources:
        votes, rule = found.votes[source.run], source.manifest.config.get("vote_rule", "full")
        if rule != "full":
            yield f"{source.directory}: votes were cast by the rule {rule!r}; split ones are fewer than of full votes"
        if not votes.split:
            yield f"{source.directory}: no judgement was split, so none of them is learnt from"
        if votes.mismatched:
            yield (
                f"{source.directory}: {votes.mismatched} critiques do not say what their votes' majority "
                "says; none of them is learnt from"
            )
    if found.tickets and not verdicts:
        yield "no judgements are kept: a balanced mix needs split judgements that say Yes and such that say No"


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def main() -> None:
    """Parse the command line, build, and say what was built; a person's mistake is one line."""
    settings = BuildSettings(**vars(_parser().parse_args()))
    try:
        report = build(settings)
    except SparError as error:
        print(f"spar: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    print("\n".join(summary_lines(report, settings.out)))


def summary_lines(report: BuildReport, out: Path) -> list[str]:
    """The report in a few lines for a person."""
    alike, longer = report.pairs.edit_similarity, report.pairs.words_more
    counts = ", ".join(f"{name} {count}" for name, count in report.examples.items())
    lines = [
        f"wrote {out}: {', '.join(report.files)}, {REPORT}",
        f"pairs: {report.pairs.pairs} of {report.possible_pairs} ({report.pairing})",
        f"refiner examples: {sum(report.examples.values())} ({counts})",
    ]
    if alike and longer:
        lines.append(
            f"two sides of a pair: edit similarity {alike.mean:.3f} (median {alike.median:.3f}), "
            f"the chosen one {longer.mean:+.1f} words"
        )
    for run, facts in report.runs.items():
        votes = facts.votes
        lines.append(
            f"{run}: {facts.solved} of {facts.trees} trees solved; {votes.judgements} judgements, "
            f"{_percent(votes.yes_share)} yes, {_percent(votes.unanimous_share)} unanimous, "
            f"votes agree {_percent(votes.pairwise_agreement)}"
        )
    return [*lines, *(f"note: {note}" for note in report.notes)]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spar.train.build", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--search", type=Path, help="run directory of searches from failing drafts")
    parser.add_argument(
        "--drafts", type=Path, help="run directory of several judged drafts a prompt"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--pairs", choices=get_args(Pairing), default="refined")
    parser.add_argument(
        "--shuffle-labels", action="store_true", help="a control: swap sides at random"
    )
    parser.add_argument("--quotas", choices=tuple(QUOTAS), default="balanced")
    parser.add_argument(
        "--export", choices=EXPORT_FORMATS, default="trl", help="whose format the files have"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--min-pairs", type=int, default=1, help="fewer are an error")
    parser.add_argument("--max-pairs", type=int, help="most pairs, drawn by the seed")
    parser.add_argument("--templates", type=Path, help="folder of the runs' own templates")
    parser.add_argument("--embedding-model", default="", help="also measure pairs by this model")
    return parser


if __name__ == "__main__":
    main()
