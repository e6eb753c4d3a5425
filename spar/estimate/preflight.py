"""What would only be found out hours into a training loop, found out before its first stage.

Nothing heavy is imported.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from spar.config import DecodeConfig, EvalConfig, check_plugins
from spar.errors import UsageError
from spar.estimate.memory import Processes, Zero
from spar.plugins import BENCHMARKS
from spar.train.common import accumulation
from spar.train.settings import DpoSettings, SftSettings, TrainerSettings
from spar.train.stages import Stage

TRAINERS: Mapping[str, type[TrainerSettings]] = {"dpo": DpoSettings, "rft": SftSettings}
"""Stage to the settings of its trainer."""

C = TypeVar("C", bound=DecodeConfig)


def check_stages(stages: Sequence[Stage], processes: Processes) -> None:
    """Look through what the stages will be told.

    Raises
    ------
    UsageError
        A batch that cannot be shared out, an unknown DeepSpeed preset, strategy, judge, engine or benchmark,
        settings that a search or an evaluation does not have, or two evaluations of one name.
    """
    evaluations = [stage.order["items"] for stage in stages if stage.name == "eval"]
    for stage in stages:
        if stage.name in TRAINERS:
            _check_training(stage, processes)
        elif stage.name not in ("eval", "build"):
            searched(stage)
    if evaluations:  # all iterations have the same
        _check_evaluations(evaluations[0])


def searched(stage: Stage) -> DecodeConfig:
    """How a stage asks its models.

    Raises
    ------
    UsageError
        Its settings are no search's.
    """
    return _read(DecodeConfig, stage.order["config"], f"the settings of stage {stage.title}")


def trained(stage: Stage) -> TrainerSettings:
    """How a stage trains."""
    return TRAINERS[stage.name].model_validate(dict(stage.order))


def _check_training(stage: Stage, processes: Processes) -> None:
    settings = trained(stage)
    try:
        Zero.of(settings.deepspeed)
        accumulation(settings, processes.total)
    except UsageError as error:
        raise UsageError(f"{stage.name}: {error}") from error


def _check_evaluations(items: Sequence[Mapping[str, Any]]) -> None:
    names = [str(item["name"]) for item in items]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"two of the recipe's benchmarks are called {twice[0]!r}; give one of them another `name`"
        )
    for item in items:
        _check_benchmark(str(item["benchmark"]))
        _read(EvalConfig, item["config"], f"the settings of benchmark {item['name']!r}")


def _check_benchmark(name: str) -> None:
    if name in BENCHMARKS or _in_harness(name):
        return
    close = difflib.get_close_matches(name, BENCHMARKS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(
        f"unknown benchmark {name!r}{hint} (accepted: {', '.join(BENCHMARKS)}, or, with lm-eval "
        "installed, one of its tasks)"
    )


def _in_harness(name: str) -> bool:
    """Whether lm-eval can have such a task: its own index takes minutes on a slow machine, but the name of
    each task, group and tag stands in one of its YAML files."""
    plain = name.encode()
    word = re.compile(rb"(?<![\w-])" + re.escape(plain) + rb"(?![\w-])")
    files = (path for folder in harness_folders() for path in folder.glob("tasks/**/*.yaml"))
    texts = (path.read_bytes() for path in files)
    return bool(name) and any(plain in text and word.search(text) for text in texts)


def harness_folders() -> list[Path]:
    """Where lm-eval is installed; nowhere if it is not."""
    found = importlib.util.find_spec("lm_eval")
    return [Path(folder) for folder in (found and found.submodule_search_locations) or ()]


def _read(kind: type[C], values: Mapping[str, Any], what: str) -> C:
    try:
        config = kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, message = ".".join(map(str, first["loc"])), first["msg"]
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{what}: there is no setting {name!r}") from error
        raise UsageError(
            f"{what}: {name} is {first['input']!r}: {message[:1].lower()}{message[1:]}"
        ) from error
    check_plugins(config)
    return config
