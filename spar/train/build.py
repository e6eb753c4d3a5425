"""Builds training data from a run of searches and a run of judged drafts.

    python -m spar.train.build --search runs/search --drafts runs/drafts --out data/1

`--out` then holds `dpo.jsonl` for the actor, `rft.jsonl` for the refiner and `build.json`, the report. The
same runs and seed give the same bytes, whatever the order in which the runs' searches ended. The runs
are streamed twice: once to find the candidates, once for the texts of those that are selected. The examples
are defined in `pairs.py` and `refiner_data.py`, the selection in `selection.py` (paper, section 2.3).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from spar.errors import RunStopped, SparError
from spar.files import replace_json
from spar.plugins import check_name
from spar.record.layout import DPO_FILE, RFT_FILE, SFT_FILE
from spar.record.training import BUILD_REPORT
from spar.record.training_data import (
    EXPORT_FORMATS,
    Answer,
    BuildReport,
    JudgePairs,
    NoPair,
    Pair,
    Pairing,
    RefinerExample,
    is_encodable,
)
from spar.store import read_trees
from spar.train.data.answers import mixed, own_answers, read_answers
from spar.train.data.export import export
from spar.train.data.judge_pairs import judge_pairs
from spar.train.data.measure import measure_pairs, open_similarity
from spar.train.data.pairs import ScoreRule, shuffled
from spar.train.data.report import (
    read_dataset_report,
    report_fields,
    source_report,
    writing_dataset,
)
from spar.train.data.required import require_answers, require_examples, require_pairs
from spar.train.data.scan import (
    BuildSettings,
    PairKey,
    Scan,
    Source,
    key_of_pair,
    learns_answers,
    open_sources,
    runs_of_pairs,
    scan_sources,
)
from spar.train.data.selection import QUOTAS, Bucket, Candidate, key_of, select


def build(settings: BuildSettings) -> BuildReport:
    """Read the runs, write the files and the report.

    Raises
    ------
    UsageError
        A run is missing or corrupt, its templates are unknown, or it has too few pairs, answers or examples.
    MissingExtra
        rapidfuzz is not installed, or sentence-transformers where a model is named.
    RunStopped
        The disk is full or fails.
    """
    check_name(QUOTAS, "quotas", settings.quotas)
    open_similarity()  # a missing package is an error before the runs are read, not after
    sources = open_sources(settings)
    scan = scan_sources(sources, settings)
    require_pairs(scan, settings)
    pair_keys = sorted(scan.pairs, key=scan.pairs.__getitem__)[: settings.max_pairs]
    candidates = select(scan.candidates, QUOTAS[settings.quotas])
    pairs, examples = collect(sources, settings, pair_keys, candidates)
    of_judgements, judge_report = _judge_pairs(settings)
    answers = own_answers(sources, settings) if learns_answers(settings) else []
    require_answers(answers, scan, settings)
    learnt: list[RefinerExample | Answer] = [*examples]
    learnt += answers if settings.own_answers else []
    require_examples(learnt, scan, settings)
    seeds = [] if settings.seeds is None else read_answers(settings.seeds)
    measures = measure_pairs(pairs, settings.embedding_model)
    runs = runs_of_pairs(settings)
    by_run = {run: [pair for pair in pairs if pair.run == run] for run in runs if len(runs) > 1}
    with writing_dataset(settings.out):
        files = export(
            settings.export,
            settings.out,
            pairs=[*pairs, *of_judgements] if "dpo" in settings.methods else None,
            examples=learnt if "rft" in settings.methods else None,
            answers=mixed([*answers, *seeds], settings.seed) if "sft" in settings.methods else None,
        )
        report = BuildReport(
            seed=settings.seed,
            pairing=settings.pairs,
            shuffle_labels=settings.shuffle_labels,
            quotas=settings.quotas,
            export=settings.export,
            runs={source.run: source_report(source, scan) for source in sources},
            possible_pairs=len(scan.pairs),
            without_pair=dict(sorted(scan.without_pair.items())),
            pairs=measures,
            pairs_by_run={run: measure_pairs(of_run) for run, of_run in by_run.items()},
            answers=len(answers) if learns_answers(settings) else None,
            seeds=len(seeds) if settings.seeds else None,
            judge_pairs=judge_report,
            drafts=scan.drafts.measures(
                {*(prompt for _, prompt in scan.pairs), *(answer.prompt_id for answer in answers)}
            ),
            notes=tuple(_notes(sources, scan, examples, settings)),
            files=files,
            **report_fields(scan, examples),
        )
        replace_json(settings.out / BUILD_REPORT, report.model_dump(mode="json"))
    return report


def _judge_pairs(settings: BuildSettings) -> tuple[list[Pair], JudgePairs | None]:
    if settings.judgement_run is None:
        return [], None
    pairs, report = judge_pairs(
        read_trees(settings.judgement_run),
        None if settings.comparison_run is None else read_trees(settings.comparison_run),
        seed=settings.seed,
        max_characters=settings.max_judgement_characters,
    )
    encodable = [pair for pair in pairs if is_encodable(pair)]
    if settings.shuffle_labels:
        encodable = [shuffled(pair, settings.seed) for pair in encodable]
    return encodable, report.model_copy(update={"pairs": len(encodable)})


def read_report(folder: Path) -> BuildReport:
    """The report of a finished build; raises `UsageError` where there is none."""
    return read_dataset_report(BuildReport, folder, "build it again")


def collect(
    sources: Iterable[Source],
    settings: BuildSettings,
    pair_keys: Sequence[PairKey],
    candidates: Sequence[Candidate],
) -> tuple[list[Pair], list[RefinerExample]]:
    """Read the runs again for the selected pairs and examples, in the order of the selection.

    Raises
    ------
    RunStopped
        The runs have changed.
    """
    pairs: dict[PairKey, Pair] = {}
    examples: dict[tuple[Bucket, str, int], RefinerExample] = {}
    selected, keys = set(pair_keys), {candidate.key for candidate in candidates}
    for source in sources:
        for tree in source.trees():
            pair = source.pair(tree, settings)
            if isinstance(pair, Pair) and key_of_pair(pair) in selected:
                pairs[key_of_pair(pair)] = (
                    shuffled(pair, settings.seed) if settings.shuffle_labels else pair
                )
            for example in source.examples(tree, settings):
                if (key := key_of(example)) in keys:
                    examples[key] = example
    if len(pairs) < len(selected) or len(examples) < len(keys):
        raise RunStopped("a run was replaced while it was being read; build again")
    return [pairs[key] for key in pair_keys], [examples[c.key] for c in candidates]


def summary_lines(report: BuildReport, out: Path) -> list[str]:
    """The report in a few human-readable lines."""
    similarity, longer = report.pairs.edit_similarity, report.pairs.words_more
    counts = ", ".join(f"{name} {count}" for name, count in report.examples.items())
    lines = [f"wrote {out}: {', '.join(report.files)}, {BUILD_REPORT}"]
    if DPO_FILE in report.files:
        kinds = [f"{run} {measures.pairs}" for run, measures in report.pairs_by_run.items()]
        by_run = f": {', '.join(kinds)}" if kinds else ""
        lines.append(
            f"pairs: {report.pairs.pairs} of {report.possible_pairs} ({report.pairing}{by_run})"
        )
    without = [f"{count} {WITHOUT_PAIR[reason]}" for reason, count in report.without_pair.items()]
    if without:
        lines.append(f"prompts without a pair: {', '.join(without)}")
    if (judged := report.judge_pairs) is not None:
        lines.append(
            f"pairs of judgements: {judged.pairs} of {judged.responses} responses, by the {judged.by}; "
            f"{judged.undecided} undecided, {judged.long} too long; {judged.comparisons} comparisons, {judged.unread} unread, "
            f"the first wins {_percent(judged.first_wins)}"
        )
    if RFT_FILE in report.files:
        lines.append(f"refiner examples: {sum(report.examples.values())} ({counts})")
        lines += [f"own answers: {report.answers}"] * (report.answers is not None)
    if SFT_FILE in report.files:
        more = f", and {report.seeds} that were there before" if report.seeds is not None else ""
        lines.append(f"answers: {report.answers}{more}")
    if similarity and longer:
        shorter = f", {report.pairs.cut} of them its beginning" if report.pairs.cut else ""
        lines.append(
            f"sides of a pair: edit similarity {similarity.mean:.3f} (median {similarity.median:.3f}), "
            f"the chosen side {longer.mean:+.1f} words{shorter}"
        )
    for run, source in report.runs.items():
        votes = source.votes
        if not votes.judgements:
            lines.append(f"{run}: {source.trees} trees, not judged")
            continue
        lines.append(
            f"{run}: {source.solved} of {source.trees} trees solved; {votes.judgements} judgements, "
            f"{_percent(votes.yes_share)} yes, {_percent(votes.unanimous_share)} unanimous, "
            f"votes agree {_percent(votes.pairwise_agreement)}"
        )
    return [*lines, *(f"note: {note}" for note in report.notes)]


def main() -> None:
    """Parse the command line, build, and print a summary; a user error is one line."""
    flags = vars(_parser().parse_args())
    rule = ScoreRule(flags.pop("length_control"), flags.pop("max_chosen_characters"))
    settings = BuildSettings(**flags, score_rule=rule)
    try:
        report = build(settings)
    except SparError as error:
        print(f"spar: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    print("\n".join(summary_lines(report, settings.out)))


WITHOUT_PAIR: Mapping[NoPair, str] = {
    "tied": "all drafts have the same score",
    "undecided": "fewer drafts or scores than a pair needs",
    "long": "the chosen side is too long",
    "same": "the draft is the prompt's own reply",
}
"""Why a prompt has no pair, in words."""


def _notes(
    sources: Iterable[Source],
    scan: Scan,
    examples: Sequence[RefinerExample],
    settings: BuildSettings,
) -> Iterator[str]:
    for source in sources if "rft" in settings.methods else ():
        votes, rule = scan.votes[source.run], source.manifest.config.get("vote_rule", "full")
        if rule != "full":
            yield f"{source.directory}: votes were cast by the rule {rule!r}, so fewer judgements are split"
        if not votes.split:
            yield f"{source.directory}: no judgement was split, so none is used"
        if votes.mismatched:
            yield (
                f"{source.directory}: {votes.mismatched} critiques contradict the majority of their votes "
                "and are not used"
            )
    if settings.quotas == "official":
        verdicts = [example.verdict for example in examples]
        num_no, refined = verdicts.count(False), verdicts.count(None)
        yield (
            f"{verdicts.count(True)} Yes and {num_no} No are selected; with train_on 'all', as in the paper's code, the "
            f"critiques in the refinements make it {num_no + refined} No"
        )
    if scan.candidates and all(example.verdict is None for example in examples):
        yield "no judgement is selected: a balanced mix needs split judgements of either verdict"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number < 0.5:
        raise argparse.ArgumentTypeError(f"{text} is not in 0 to below 0.5")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spar.train.build", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--search", type=Path, help="run directory of searches from failing drafts")
    parser.add_argument("--drafts", type=Path, help="run directory of judged drafts")
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--pairs", choices=get_args(Pairing), default="refined")
    parser.add_argument("--length-control", type=_share, help="best_worst: rho of Meta-Rewarding")
    parser.add_argument("--max-chosen-characters", type=_count, help="best_worst: most of them")
    parser.add_argument(
        "--shuffle-labels", action="store_true", help="a control: swap sides at random"
    )
    parser.add_argument("--quotas", choices=tuple(QUOTAS), default="balanced")
    parser.add_argument(
        "--export", choices=EXPORT_FORMATS, default="trl", help="format of the files"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--min-pairs", type=_count, default=1, help="fewer are an error")
    parser.add_argument("--max-pairs", type=_count, help="most pairs, drawn by the seed")
    parser.add_argument("--templates", type=Path, help="folder of the runs' own templates")
    parser.add_argument("--embedding-model", default="", help="also measure pairs by this model")
    return parser


if __name__ == "__main__":
    main()
