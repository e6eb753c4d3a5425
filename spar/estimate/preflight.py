"""Checks before a training loop of what would otherwise fail hours into it. Imports nothing heavy."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from spar.config import DecodeConfig, check_plugins
from spar.errors import UsageError, did_you_mean
from spar.estimate.memory import Processes
from spar.plugins import BENCHMARKS, ENGINES, is_path
from spar.run.build import judge_with
from spar.train.common import accumulation
from spar.train.deepspeed_files import deepspeed_config
from spar.train.specs import EvalItem, EvalStageSpec, GenerationSpec, TrainingSpec
from spar.train.stage import Stage


def check_stages(stages: Sequence[Stage], processes: Processes) -> None:
    """Check the specifications of the stages.

    Raises
    ------
    UsageError
        A batch that cannot be divided among the processes, a DeepSpeed preset or file that its trainer would refuse, an
        unknown strategy, judge, engine or benchmark, settings that a judge does not take, or two evaluations with one name.
    """
    for stage in stages:
        if isinstance(stage.spec, GenerationSpec):
            check_plugins(stage.spec.config)
            _check_judge(stage.name, stage.spec)
        elif isinstance(stage.spec, TrainingSpec):
            try:
                if stage.spec.settings.deepspeed:
                    deepspeed_config(stage.spec.settings)
                accumulation(stage.spec.settings, processes.total)
            except UsageError as error:
                raise UsageError(f"{stage.name}: {error}") from error
    evaluations = (stage.spec for stage in stages if isinstance(stage.spec, EvalStageSpec))
    first = next(evaluations, None)
    if first is not None:  # all iterations have the same
        _check_evaluations(first.items)


def _check_judge(name: str, spec: GenerationSpec) -> None:
    """Raise `UsageError` for settings that the judge of a stage does not take; one of a plug-in is not imported for it."""
    if "judge" in spec.roles and not is_path(spec.config.judge):
        try:
            judge_with(spec.config)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from error


def is_remote(config: DecodeConfig) -> bool:
    """Whether the engine only serves models behind URLs."""
    return config.engine != "auto" and ENGINES.spec(config.engine).urls == "required"


def _check_evaluations(items: Sequence[EvalItem]) -> None:
    names = [item.name for item in items]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(
            f"two of the recipe's benchmarks are called {repeated[0]!r}; give one of them another `name`"
        )
    for item in items:
        _check_benchmark(item.benchmark)
        check_plugins(item.config)


def _check_benchmark(name: str) -> None:
    if name in BENCHMARKS or _in_harness(name):
        return
    hint = did_you_mean(name, BENCHMARKS)
    raise UsageError(
        f"unknown benchmark {name!r}{hint} (accepted: {', '.join(BENCHMARKS)}, or, with lm-eval "
        "installed, one of its tasks)"
    )


def _in_harness(name: str) -> bool:
    """Whether lm-eval may have such a task: its own index takes minutes to build on a slow machine, but every
    task, group and tag is named in one of its YAML files."""
    plain = name.encode()
    word = re.compile(rb"(?<![\w-])" + re.escape(plain) + rb"(?![\w-])")
    files = (path for folder in harness_folders() for path in folder.glob("tasks/**/*.yaml"))
    texts = (path.read_bytes() for path in files)
    return bool(name) and any(plain in text and word.search(text) for text in texts)


def harness_folders() -> list[Path]:
    """The folders of an installed lm-eval; none where it is not installed."""
    spec = importlib.util.find_spec("lm_eval")
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
