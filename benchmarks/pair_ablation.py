"""Refined pairs against independent pairs and shuffled labels: same drafts, same number, same steps.

    spar train --iterations 1 --seed 0 --stop-after search --out runs/ablation-0
    python benchmarks/pair_ablation.py runs/ablation-0 runs/ablation-1 --pairs 150 --prompts 1500

For each loop: three sets of pairs from the drafts and searches of its first iteration, of the same prompts, which have a
passing and a failing draft and whose search was solved; one DPO run each from the same first actor with the loop's
settings; and the share of test prompts that each actor passes, greedy and sampled. Differences are paired over prompts.
Errors and intervals are over prompts and training seeds (`spar.eval.statistics.over_seeds`).
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reporting import run_benchmark

from spar.eval.statistics import over_seeds
from spar.files import replace_json, replace_lines
from spar.record.evaluation import Share, read_examples
from spar.record.layout import DPO_FILE
from spar.train.build import build
from spar.train.data.scan import BuildSettings
from spar.train.launch import launch
from spar.train.loop_stages import loop_stages
from spar.train.specs import BuildSpec, EvalStageSpec, TrainingSpec
from spar.train.stage import Stage
from spar.train.status import read_config
from spar.worker import run_worker

ARMS: Mapping[str, Mapping[str, Any]] = {
    "refined": {},
    "independent": {"pairs": "independent"},
    "shuffled": {"shuffle_labels": True},
}
WAYS: Mapping[str, Mapping[str, Any]] = {"greedy": {}, "sampled": {"greedy_first": False}}
Passed = Mapping[str, Share]
"""Test prompt to whether it passes."""


def main() -> None:
    """Run every arm of every loop and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("loops", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, required=True)
    parser.add_argument("--prompts", type=int, default=500, help="test prompts")
    parser.add_argument("--prompt-seed", type=int, default=0, help="which draw of them")
    parser.add_argument("--learning-rate", type=float, help="in place of the loop's own")
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/pair-ablation"))
    flags = parser.parse_args()
    passed: dict[tuple[str, str], list[Passed]] = {}
    for loop in flags.loops:
        stages = _stages(loop)
        prompts = {"limit": flags.prompts, "prompt_seed": flags.prompt_seed}
        for arm in ("start", *flags.arms):
            home = flags.out / loop.name / arm
            home.mkdir(parents=True, exist_ok=True)
            model = _model(arm, stages, home, flags)
            for way, changed in WAYS.items():
                results = _measure(stages["eval"], model, home / way, {**prompts, **changed})
                passed.setdefault((arm, way), []).append(results)
                print(f"{loop.name} {arm} {way}: {_share([results])}", flush=True)
    _table(passed)


def _stages(loop: Path) -> dict[str, Stage]:
    config, origin = read_config(loop)
    return {s.name: s for s in loop_stages(config, loop, origin) if s.iteration == 1}


def _model(arm: str, stages: Mapping[str, Stage], home: Path, flags: argparse.Namespace) -> str:
    training, data = stages["dpo"].spec, stages["build"].spec
    assert isinstance(training, TrainingSpec) and isinstance(data, BuildSpec)
    if arm == "start":
        return training.settings.model
    if not (home / "build" / DPO_FILE).exists():
        _build(data, home, flags.pairs, ARMS[arm])
    order = {
        **training.stored(),
        "data": str(home / "build" / "dpo.jsonl"),
        "out": str(home / "dpo"),
    }
    if flags.learning_rate:
        order["learning_rate"] = flags.learning_rate
    if not (home / "dpo" / "report.json").exists():
        replace_json(home / "dpo.order.json", order)
        launch("dpo", home / "dpo.order.json", log=home / "dpo.log")
    return str(home / "dpo" / "model")


def _build(data: BuildSpec, home: Path, num_pairs: int, arm: Mapping[str, Any]) -> None:
    """The arm's pairs of prompts, drawn by the seed, that have a pair of either kind."""
    kinds = {"refined": {}, "independent": ARMS["independent"], "arm": arm}
    rows = {name: _rows(data, home / "all" / name, changed) for name, changed in kinds.items()}
    both = sorted(rows["refined"].keys() & rows["independent"].keys())
    if len(both) < num_pairs:
        raise SystemExit(
            f"{data.search}: {len(both)} prompts have pairs of both kinds; give --pairs {len(both)}"
        )
    chosen = random.Random(data.seed).sample(both, num_pairs)
    (home / "build").mkdir(exist_ok=True)
    replace_lines(home / "build" / DPO_FILE, (rows["arm"][prompt_id] for prompt_id in chosen))


def _rows(data: BuildSpec, out: Path, changed: Mapping[str, Any]) -> dict[str, str]:
    """Prompt's id to the line of its pair."""
    search, drafts = Path(data.search), Path(data.drafts)
    settings = BuildSettings(
        out=out, search=search, drafts=drafts, methods=("dpo",), seed=data.seed, **changed
    )
    build(settings)
    lines = (out / DPO_FILE).read_text(encoding="utf-8").splitlines()
    return {json.loads(line)["prompt_id"]: line for line in lines}


def _measure(stage: Stage, model: str, out: Path, changed: Mapping[str, Any]) -> Passed:
    assert isinstance(stage.spec, EvalStageSpec)
    config = {**stage.spec.items[0].config.stored(), "actor_model": model, **changed}
    item = {"name": "nano", "benchmark": "nano-if-answers", "config": config}
    order = {"kind": "eval", "out": str(out), "items": [item]}
    replace_json(out.with_suffix(".json"), order)
    run_worker(out.with_suffix(".json"), out.with_suffix(".log"))
    examples = read_examples(out / "nano" / "nano-if-answers")
    return {example.id: (float(bool(example.passed)), 1.0) for example in examples}


def _table(passed: Mapping[tuple[str, str], list[Passed]]) -> None:
    print(f"\n| pairs | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    arms = dict.fromkeys(arm for arm, _ in passed)
    for arm in arms:
        print(f"| {arm} | {' | '.join(_share(passed[arm, way]) for way in WAYS)} |")
    for other in (arm for arm in arms if arm != "refined"):
        cells = [_difference(passed["refined", way], passed[other, way]) for way in WAYS]
        print(f"| refined - {other} | {' | '.join(cells)} |")


def _share(runs: Sequence[Passed]) -> str:
    mean = over_seeds(runs)
    by_run = ", ".join(f"{100 * value:.1f}" for value in mean.by_seed)
    return f"{100 * mean.value:.1f} ± {100 * (mean.stderr or 0):.1f} ({by_run})"


def _difference(left: Sequence[Passed], right: Sequence[Passed]) -> str:
    mean = over_seeds(left, right)
    by_run = ", ".join(f"{100 * value:+.1f}" for value in mean.by_seed)
    interval = f"({100 * (mean.low or 0):.1f} to {100 * (mean.high or 0):.1f})"
    return f"{100 * mean.value:+.1f} {interval}, by seed {by_run}"


if __name__ == "__main__":
    run_benchmark(main)
