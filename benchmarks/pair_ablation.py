"""Refined pairs against independent pairs and shuffled labels: same drafts, same number, same steps.

    spar train --iterations 1 --seed 0 --stop-after search --out runs/ablation-0
    python benchmarks/pair_ablation.py runs/ablation-0 runs/ablation-1 --pairs 150 --prompts 1500

For each loop: three sets of equally many pairs from the drafts and searches of its first iteration, one DPO
run each from the same first actor with the loop's settings, and the share of test prompts that each actor
passes, greedy and sampled. Differences are paired over prompts, with a bootstrap interval over them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spar.files import replace_json
from spar.record.evaluation import read_examples
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
    passed: dict[tuple[str, str], list[np.ndarray]] = {}
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
    settings = BuildSettings(
        out=home / "build",
        search=Path(data.search),
        drafts=Path(data.drafts),
        seed=data.seed,
        min_pairs=flags.pairs,
        max_pairs=flags.pairs,
        **ARMS[arm],
    )
    order = {
        **training.stored(),
        "data": str(home / "build" / "dpo.jsonl"),
        "out": str(home / "dpo"),
    }
    if flags.learning_rate:
        order["learning_rate"] = flags.learning_rate
    if not (home / "dpo" / "report.json").exists():
        build(settings)
        replace_json(home / "dpo.order.json", order)
        launch("dpo", home / "dpo.order.json", log=home / "dpo.log")
    return str(home / "dpo" / "model")


def _measure(stage: Stage, model: str, out: Path, changed: Mapping[str, Any]) -> np.ndarray:
    assert isinstance(stage.spec, EvalStageSpec)
    config = {**stage.spec.items[0].config.stored(), "actor_model": model, **changed}
    item = {"name": "nano", "benchmark": "nano-if-answers", "config": config}
    order = {"kind": "eval", "out": str(out), "items": [item]}
    replace_json(out.with_suffix(".json"), order)
    run_worker(out.with_suffix(".json"), out.with_suffix(".log"))
    examples = read_examples(out / "nano" / "nano-if-answers")
    return np.array([float(bool(example.passed)) for example in examples])


def _table(passed: Mapping[tuple[str, str], list[np.ndarray]]) -> None:
    print(f"\n| pairs | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    arms = dict.fromkeys(arm for arm, _ in passed)
    for arm in arms:
        print(f"| {arm} | {' | '.join(_share(passed[arm, way]) for way in WAYS)} |")
    for other in (arm for arm in arms if arm != "refined"):
        cells = [_difference(passed["refined", way], passed[other, way]) for way in WAYS]
        print(f"| refined - {other} | {' | '.join(cells)} |")


def _share(runs: Sequence[np.ndarray]) -> str:
    values = np.concatenate(runs)
    by_run = ", ".join(f"{100 * run.mean():.1f}" for run in runs)
    error = float(values.std(ddof=1)) / len(values) ** 0.5
    return f"{100 * values.mean():.1f} +- {100 * error:.1f} ({by_run})"


def _difference(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> str:
    """Mean difference, with a 95 % interval by resampling prompts; each prompt counts in all its loops."""
    gaps = np.mean([a - b for a, b in zip(left, right, strict=True)], axis=0)
    dice = np.random.default_rng(0)
    means = [dice.choice(gaps, len(gaps)).mean() for _ in range(2000)]
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{100 * gaps.mean():+.1f} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
