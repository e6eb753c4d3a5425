"""The processes of a pipeline's stages: forks of one that has imported what they need, where a fork does what a process of its own would.

    with stage_processes() as execute:
        run_pipeline(pipeline, execute, listener=listener)

Importing torch, transformers and TRL takes longer than most stages of a small model. A stage is a process of its own as
ever (`spar.worker.execute_in_process`) with a GPU or outside Linux, in several processes or with DeepSpeed, with an engine
that needs other packages (they may set what torch reads when it is imported, or start processes themselves), and where
environment or folder have changed meanwhile (`spar.fork_server`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from spar.config import DecodeConfig
from spar.fork_server import ForkServer
from spar.hardware import may_see_gpu
from spar.plugins import ENGINES
from spar.run.resolve import deployments, loads_models
from spar.subprocesses import run_child
from spar.train.specs import EvalStageSpec, GenerationSpec, TrainingSpec
from spar.train.stage import Stage
from spar.train.stage_runner import ExecuteStage
from spar.train.stage_spec import StageSpec
from spar.worker import execute_in_process

_IMPORTED = (
    *("transformers.models.llama.modeling_llama", "spar.run.build", "spar.run.session"),
    *("spar.eval.runner", "spar.worker"),
    *("trl.trainer.dpo_trainer", "trl.trainer.sft_trainer", "matplotlib.figure"),
    *("spar.train.dpo", "spar.train.sft"),
)
"""What stages import, in the order of a loop: TRL while the first models answer."""
_PACKAGES = frozenset({"torch", "transformers"})
"""Packages of engines that work in a fork of a process which has imported them."""
_READ_BY_IMPORTS = {"HF_HUB_DISABLE_TELEMETRY": "1", "DS_ACCELERATOR": "cpu"}
"""Variables that a training on a CPU sets before it imports TRL."""


@contextmanager
def stage_processes(environment: Mapping[str, str] | None = None) -> Iterator[ExecuteStage]:
    """What executes stages, in processes; it may be called from several threads.

    The process that is forked starts with the first stage that loads a model, and ends with the block.

    Parameters
    ----------
    environment:
        Variables of the stages beside those of this process.
    """
    variables = dict(environment or {})
    with ForkServer(_IMPORTED, {**_READ_BY_IMPORTS, **variables}) as server:

        def execute(stage: Stage, tick: Callable[[], None]) -> None:
            is_first = not server.is_running
            forks = may_fork(stage.spec) and (not is_first or _loads_model(stage.spec))
            run = server.run_child if forks else run_child

            def run_with_variables(
                parts: Sequence[str],
                stream: IO[bytes] | None,
                *,
                environment: Mapping[str, str],
                tick: Callable[[], None] = lambda: None,
            ) -> int:
                return run(parts, stream, environment={**variables, **environment}, tick=tick)

            execute_in_process(stage, tick, run=run_with_variables)

        yield execute


def may_fork(spec: StageSpec) -> bool:
    """Whether a fork does what a process of the stage's own would, as far as its specification and this machine say."""
    if sys.platform != "linux" or may_see_gpu():
        return False
    if isinstance(spec, TrainingSpec):
        return not spec.settings.deepspeed
    return all(map(_works_in_a_fork, _configs(spec)))


def _works_in_a_fork(config: DecodeConfig) -> bool:
    if config.replicas > 1 or config.ray_address:
        return False
    # Without a GPU, `auto` is transformers or a server.
    return config.engine == "auto" or _PACKAGES.issuperset(ENGINES.spec(config.engine).packages)


def _loads_model(spec: StageSpec) -> bool:
    if isinstance(spec, TrainingSpec):
        return True
    return any(
        not deployments(config)[role].urls
        for config in filter(loads_models, _configs(spec))
        for role in spec.roles
    )


def _configs(spec: StageSpec) -> list[DecodeConfig]:
    """The settings of the searches and evaluations of a stage."""
    if isinstance(spec, EvalStageSpec):
        return [item.config for item in spec.items]
    return [spec.config] if isinstance(spec, GenerationSpec) else []
