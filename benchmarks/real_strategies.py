"""Search strategies of a real model on IFEval: with programs as the judge, and with the model's own votes.

    python benchmarks/real_strategies.py --model DIR --limit 200 --out runs/real-strategies
    python benchmarks/real_strategies.py --out runs/real-strategies --report reports/real_strategies.md

The prompts are a sample of IFEval's, drawn by `--prompt-seed`. `--only oracle` sweeps strategies over budgets with
`--judge verifier`, which is the benchmark's own truth: a ceiling for any judge. Refinements are `--refiner`'s, by
default a program's (`rewrite`), which costs no call. `--only votes` draws `--vote-budget` drafts a prompt, has
the model vote on each (one round, every vote cast), and holds the votes against the truth. Without `--only`
both are done. spar stores every tree, so a rerun resumes. Strategies share a response cache: a draft has the same seed
in each of them and is generated once, and counted for every one that asks for it; so there are no seconds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ifeval_sample import ONE_ROUND, ShuffledIFEval
from reporting import (
    Rows,
    by_id,
    change,
    engine_settings,
    facts,
    flips,
    paired,
    parser,
    percent,
    read_result,
    run_benchmark,
    shares,
    stored_result,
    table,
    write_page,
    write_result,
)

import spar
from spar.eval.ifeval import FOUR, PROMPT_STRICT
from spar.eval.repetition import REPETITIVE, WITHOUT
from spar.eval.statistics import metrics
from spar.eval.sweep import Point
from spar.plugins import BENCHMARKS
from spar.record.evaluation import Example, Metric, Scored, read_examples
from spar.train.data.measure import open_similarity
from spar.types import best
from spar.verifiers import passes

BEST_OF_N = "best-of-n"
GROWING = f"{BEST_OF_N}:waves=growing"
STRATEGIES = (
    *(GROWING, "iterative", "iterative:restart_after=3", "bfs", "dfs", "best-first"),
    *("beam", "ab-mcts", "mcts"),
)
CACHE = "responses.db"
WITHOUT_REPETITION = f"{PROMPT_STRICT}_{WITHOUT}"
SHOWN = (*FOUR, REPETITIVE, WITHOUT_REPETITION)
PASS = "pass"


def main() -> None:
    """Measure what is missing, or write the page."""
    made = parser(__doc__, "runs/real-strategies", engines=True)
    made.add_argument("--only", choices=("oracle", "votes"), help="one of the two parts")
    made.add_argument("--strategies", default=",".join(STRATEGIES))
    made.add_argument("--budgets", default="1,3,7,15")
    made.add_argument("--refiner", default="rewrite")
    made.add_argument(
        "--no-repetition", action="store_true", help="the judge fails what repeats itself"
    )
    made.add_argument("--dtype", default="fp32", choices=("fp32", "bf16"))
    made.add_argument("--max-tokens", type=int, default=1280, help="new tokens of a draft")
    made.add_argument("--votes", type=int, default=5)
    made.add_argument("--vote-budget", type=int, default=3, help="drafts that are voted on")
    made.add_argument("--vote-tokens", type=int, default=512, help="new tokens of a vote")
    made.add_argument("--prompt-seed", type=int, default=0)
    made.add_argument("--seed", type=int, default=0)
    args = made.parse_args()
    if args.report:
        page(read_result(args.out), args.report)
        return
    for part, work in (("oracle", oracle), ("votes", votes)):
        if args.only in (None, part):
            measured = {"facts": facts(args), "settings": _settings(args), **work(args)}
            result = stored_result(
                args.out
            )  # read now, since the other part may run beside this one
            write_result(args.out, {**result, part: measured})
            print(f"{part}: wrote {args.out}", flush=True)


def oracle(args: argparse.Namespace) -> dict[str, Any]:
    """Sweep the strategies over the budgets with the verifiers as the judge."""
    folder = args.out / "oracle"
    rows = spar.sweep(
        ShuffledIFEval,
        strategies=args.strategies.split(","),
        budgets=[int(part) for part in args.budgets.split(",")],
        metric=PROMPT_STRICT,
        out=folder,
        judge="verifier",
        judge_args={"no_repetition": True} if args.no_repetition else {},
        refiner=args.refiner,
        **_common(args),
    )
    home = folder / BENCHMARKS.name_of(ShuffledIFEval)
    folders = {
        _name(asdict(row)): home / Point(row.strategy, row.budget, row.depth).name for row in rows
    }
    most = max(row.budget for row in rows)
    largest = [row.strategy for row in rows if row.budget == most]
    best_of_n = folders.get(f"{BEST_OF_N}-{most}")
    return {
        "rows": [asdict(row) for row in rows],
        "rewrites": {name: [*_rewrites(folders[f"{name}-{most}"])] for name in largest},
        "shares": {name: by_id(read_examples(run), SHOWN) for name, run in folders.items()},
        "drafts": {
            tree.prompt.id: [
                [bool(passes(node.response, tree.prompt)), node.usage.completion_tokens]
                for node in tree.nodes
            ]
            for tree in (spar.read_trees(best_of_n) if best_of_n else ())
        },
    }


def _rewrites(folder: Path) -> Iterable[tuple[float, int]]:
    """Edit similarity to its draft, and words more, of each answer that is a refinement and passes."""
    similarity = open_similarity()
    for tree in spar.read_trees(folder):
        if (
            tree.solved
            and tree.selected is not None
            and tree.nodes[tree.selected].parent is not None
        ):
            draft, answer = tree.path(tree.selected)[0].response, tree.answer or ""
            yield similarity(answer, draft), len(answer.split()) - len(draft.split())


def votes(args: argparse.Namespace) -> dict[str, Any]:
    """Drafts with the model's votes on each, and what the verifiers say."""
    folder = args.out / "votes"
    spar.evaluate(
        ShuffledIFEval,
        out=folder,
        strategy=BEST_OF_N,
        budget=args.vote_budget,
        judge=ONE_ROUND,
        votes=args.votes,
        vote={"temperature": 0.7, "top_p": 1.0, "max_tokens": args.vote_tokens},
        **_common(args),
    )
    trees = list(spar.read_trees(folder / BENCHMARKS.name_of(ShuffledIFEval)))
    return {
        "judged": {
            tree.prompt.id: [
                {
                    "truth": bool(passes(node.response, tree.prompt)),
                    "verdicts": list(node.judgement.verdicts) if node.judgement else [],
                    "cut": len(node.judgement.cut) if node.judgement else 0,
                }
                for node in tree.nodes
            ]
            for tree in trees
        },
        "chosen": {
            tree.prompt.id: [
                bool(passes(best(tree.nodes[:count])[0].response, tree.prompt))
                for count in range(1, len(tree.nodes) + 1)
            ]
            for tree in trees
        },
        "faults": sum(len(tree.faults) for tree in trees),
        "vote_tokens": sum(
            node.judge_usage.completion_tokens for tree in trees for node in tree.nodes
        ),
    }


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    names = (
        "refiner",
        "no_repetition",
        "dtype",
        "engine",
        "max_tokens",
        "votes",
        "vote_budget",
        "vote_tokens",
    )
    return {name: getattr(args, name) for name in (*names, "prompt_seed", "seed")}


def _common(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": args.model,
        **engine_settings(args),
        "limit": args.limit,
        "prompt_seed": args.prompt_seed,
        "seed": args.seed,
        "draft": {"temperature": 0.9, "top_p": 0.9, "max_tokens": args.max_tokens},
        "offline": True,
        "response_cache": args.out / CACHE,
    }


def page(result: Mapping[str, Any], path: Path) -> None:
    """Write the report."""
    parts = [
        part
        for name in ("oracle", "votes")
        if name in result
        for part in _PARTS[name](result[name])
    ]
    first = result.get("oracle") or result["votes"]
    write_page(path, "Strategies of a real model on IFEval", first["facts"], parts)


def _oracle_parts(measured: Mapping[str, Any]) -> Iterable[str]:
    rows, points, settings = measured["rows"], measured["shares"], measured["settings"]
    n = rows[0]["prompts"]
    base = points[
        _name(next(row for row in rows if row["budget"] == min(r["budget"] for r in rows)))
    ]
    yield (
        f"## Programs as the judge\n\n{n} prompts of IFEval, drawn by seed {settings['prompt_seed']}; drafts of at most "
        f"{settings['max_tokens']:,} tokens ({settings['dtype']}, temperature 0.9, top-p 0.9, the first greedy, run seed "
        f"{settings['seed']}), refinements by `{settings['refiner']}`. **The judge is the benchmark's own truth**, so "
        "this is a ceiling: what a search can find, not what it would find with a judge of its own. "
        f"{_JUDGED[bool(settings.get('no_repetition'))]} Strict pass "
        "of the prompt as a whole, plus or minus one standard error; gains are over the greedy draft, "
        "paired over prompts, with a 95 % bootstrap interval and the prompts gained and lost."
    )
    yield table(
        (
            "strategy",
            "budget",
            "pass, %",
            "pass, do not repeat themselves, %",
            "n",
            "gain, points",
            "gained, lost",
            "responses",
            "drafts",
            "tokens",
            "steps",
        ),
        [_oracle_row(row, points[_name(row)], base) for row in rows],
    )
    yield (
        "Responses, drafts (calls of the model), generated tokens and dependent steps are means of a prompt. A rewrite costs no "
        "call. Smaller budgets are read out of the largest search where it contains them. A draft that several strategies "
        "ask for was generated once and is counted for each."
    )
    yield from _how_close(measured, n)
    if measured["drafts"]:
        yield from _first_pass(measured["drafts"], points)
    yield from _against(rows, points)


_JUDGED = {
    True: "It also fails a response that repeats itself, of which more than half of the word 4-grams occurred before "
    "(`--judge-arg no_repetition=true`), and the refiner leaves out what is said again.",
    False: "It does not see whether a response repeats itself, which the second column does: more than half of its word 4-grams "
    "occurred before.",
}


def _oracle_row(row: Mapping[str, Any], points: Rows, base: Rows) -> list[str]:
    found = shares(points)
    metric = found[PROMPT_STRICT]
    gained, lost, _ = flips(base, points, PROMPT_STRICT)
    return [
        row["strategy"],
        f"{row['budget']}",
        percent(metric),
        percent(found[WITHOUT_REPETITION]) if WITHOUT_REPETITION in found else "",
        f"{metric.n}",
        "-" if points is base else change(paired(base, points)[PROMPT_STRICT]),
        "-" if points is base else f"{gained}, {lost}",
        f"{row['nodes']:.1f}",
        f"{row['calls']:.1f}",
        f"{row['tokens']:,.0f}",
        "" if row["steps"] is None else f"{row['steps']:.1f}",
    ]


def _how_close(measured: Mapping[str, Any], n: int) -> Iterable[str]:
    """How much refinements change, at the largest budget."""
    lines = []
    for name, edits in measured["rewrites"].items():
        if edits:
            alike, more = (statistics.fmean(values) for values in zip(*edits, strict=True))
            lines.append([name, f"{len(edits)} of {n}", f"{alike:.3f}", f"{more:+.1f}"])
    if lines:
        yield (
            "Answers at the largest budget that are refinements and pass, with the mean edit similarity to their draft and the words that "
            "they have more. A rewriter reads the constraints that the verifiers check, so this is what programs can fix; nobody "
            "judged how the texts read."
        )
        yield table(("strategy", "rewritten", "similarity", "words"), lines)


def _first_pass(
    drafts: Mapping[str, Sequence[tuple[bool, int]]], points: Mapping[str, Rows]
) -> Iterable[str]:
    """What best-of-n would cost if it stopped at the first draft that passes."""
    budgets = sorted(int(name.rpartition("-")[2]) for name in points if name.startswith(BEST_OF_N))
    cells = []
    for budget in budgets:
        used = []
        for nodes in drafts.values():
            tried = nodes[:budget]
            first = next((i for i, (passed, _) in enumerate(tried) if passed), len(tried) - 1)
            used.append(tried[: first + 1])
        tokens = sum(count for nodes in used for _, count in nodes) / len(used)
        calls = sum(map(len, used)) / len(used)
        cells.append(f"{budget}: {calls:.1f} calls and {tokens:,.0f} tokens")
    yield (
        "best-of-n as searched here draws all its drafts. Stopped at the first draft that passes, which finds the same "
        f"answers, it would cost a prompt, by budget, {'; '.join(cells)} (computed from the trees)."
    )


def _against(rows: Sequence[Mapping[str, Any]], points: Mapping[str, Rows]) -> Iterable[str]:
    """The strategies against best-of-n at the largest budget."""
    budget = max(row["budget"] for row in rows)
    last = {row["strategy"]: points[_name(row)] for row in rows if row["budget"] == budget}
    base = next((name for name in (GROWING, BEST_OF_N) if name in last), "")
    lines = []
    for strategy, shown in last.items() if base else ():
        if not strategy.startswith(BEST_OF_N):
            gained, lost, p = flips(last[base], shown, PROMPT_STRICT)
            difference = change(paired(last[base], shown)[PROMPT_STRICT])
            lines.append([strategy, difference, f"{gained}, {lost}", f"{p:.2g}"])
    if lines:
        yield table(
            (f"at budget {budget}", f"less {base}, points", "gained, lost", "McNemar p"), lines
        )


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['strategy']}-{row['budget']}"


def _votes_parts(measured: Mapping[str, Any]) -> Iterable[str]:
    judged, settings = measured["judged"], measured["settings"]
    responses = sum(map(len, judged.values()))
    cast = [verdict for nodes in judged.values() for node in nodes for verdict in node["verdicts"]]
    cut = sum(node["cut"] for nodes in judged.values() for node in nodes)
    unread = cast.count(None)
    yield (
        f"## The model's own votes as the judge\n\n{responses} drafts to {len(judged)} prompts, {settings['votes']} votes on "
        f"each (temperature 0.7, at most {settings['vote_tokens']} tokens, one round, {measured['vote_tokens']:,} tokens "
        f"in all), held against the verifiers. Of {len(cast):,} votes {unread:,} ({_of(unread, len(cast))}) have no "
        f"verdict that can be read, {cut:,} of them since they were cut at the limit; {measured['faults']} drafts "
        f"failed. {_of(cast.count(True), len(cast))} of all votes say Yes. Errors are over prompts."
    )
    kinds: tuple[tuple[str, Callable[[Sequence[bool | None]], list[bool | None]]], ...] = (
        ("one vote", list),
        (f"majority of {settings['votes']}", _majority),
    )
    names = ("decided", "accuracy", "precision", "recall", "yes on failing", "truth")
    lines = []
    for title, decide in kinds:
        measured_votes = _vote_metrics(judged, decide)
        lines.append([title, *(percent(measured_votes.get(name)) for name in names)])
    yield table(
        (
            "judge",
            "decided, %",
            "accuracy, %",
            "precision of Yes, %",
            "recall of Yes, %",
            "Yes on failing drafts, %",
            "passing drafts, %",
        ),
        lines,
    )
    yield (
        "Accuracy is among the verdicts that decide; precision is the share of passing drafts among those with a Yes, recall the "
        "share of Yes among passing drafts. A judge that knows nothing has a precision equal to the share of passing "
        "drafts (last column), and says Yes as often to failing drafts as to passing ones."
    )
    yield from _chosen_parts(measured)


def _vote_metrics(
    judged: Mapping[str, Sequence[Mapping[str, Any]]],
    decide: Callable[[Sequence[bool | None]], list[bool | None]],
) -> dict[str, Metric]:
    """Metrics of verdicts, with errors over prompts."""
    examples = []
    for id_, nodes in judged.items():
        pairs = [(verdict, node["truth"]) for node in nodes for verdict in decide(node["verdicts"])]
        read = [(verdict, truth) for verdict, truth in pairs if verdict is not None]
        both = sum(verdict and truth for verdict, truth in read)
        said = sum(verdict is True for verdict, _ in read)
        true = sum(truth for _, truth in read)
        right = sum(verdict == truth for verdict, truth in read)
        counts = {
            "decided": (len(read), len(pairs)),
            "accuracy": (right, len(read)),
            "precision": (both, said),
            "recall": (both, true),
            "yes on failing": (said - both, len(read) - true),
            "truth": (sum(truth for _, truth in pairs), len(pairs)),
        }
        scores = {name: (float(above), float(below)) for name, (above, below) in counts.items()}
        examples.append(Example(id=id_, response=None, passed=None, scores=scores))
    return metrics(Scored(examples=tuple(examples)))


def _majority(verdicts: Sequence[bool | None]) -> list[bool | None]:
    yes, no = list(verdicts).count(True), list(verdicts).count(False)
    return [None if yes == no else yes > no]


def _chosen_parts(measured: Mapping[str, Any]) -> Iterable[str]:
    """How good the answers are that the votes choose among the first drafts."""
    chosen, judged = measured["chosen"], measured["judged"]
    budget = measured["settings"]["vote_budget"]
    whole = {id_: nodes for id_, nodes in judged.items() if len(nodes) == budget}
    ways: dict[str, Rows] = {
        "greedy draft": {id_: _passed(nodes[0]["truth"]) for id_, nodes in whole.items()},
        f"chosen by votes among {budget}": {id_: _passed(chosen[id_][-1]) for id_ in whole},
        f"drawn at random among {budget}": {
            id_: {PASS: (sum(node["truth"] for node in nodes) / budget, 1.0)}
            for id_, nodes in whole.items()
        },
        f"chosen by the truth among {budget}": {
            id_: _passed(any(node["truth"] for node in nodes)) for id_, nodes in whole.items()
        },
    }
    base = ways["greedy draft"]
    yield table(
        ("answer", "pass, %", "n", "against the greedy draft, points"),
        [
            (
                way,
                percent(shares(rows)[PASS]),
                f"{len(rows)}",
                "-" if rows is base else change(paired(base, rows)[PASS]),
            )
            for way, rows in ways.items()
        ],
    )


def _passed(value: bool) -> dict[str, tuple[float, float]]:
    return {PASS: (float(value), 1.0)}


def _of(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


_PARTS: Mapping[str, Callable[[Mapping[str, Any]], Iterable[str]]] = {
    "oracle": _oracle_parts,
    "votes": _votes_parts,
}

if __name__ == "__main__":
    run_benchmark(main)
