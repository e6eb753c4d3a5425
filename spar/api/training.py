"""`spar.train`."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import spar.train as _train_package
from spar.errors import UsageError
from spar.files import expand_home
from spar.listener import Listener, checked_listener
from spar.run.keywords import importable_name, plugin_names
from spar.train.pipeline import StageSelection
from spar.train.status import loop_settings
from spar.train_runner import TrainResult, cancellable
from spar.train_runner import train as run_training


def train(
    prompts: str | Path = "",
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    rerun_from: str = "",
    only: str = "",
    stop_after: str = "",
    assignments: Sequence[str] | str = (),
    listener: Listener | None = None,
    **settings: Any,
) -> TrainResult:
    """Run the self-play loop: draft, judge, search, build pairs, train actor and refiner, measure, again.

    Every stage is a process of its own; stages that are done are left alone, so the same call resumes.

    Parameters
    ----------
    prompts:
        A file of prompts; "" for those of the recipe, or nano-if's.
    recipe:
        A YAML file or a shipped recipe; None for the settings of the loop in `out`, where there is one, else `nano`.
    out:
        The loop's folder; None for `runs/train-DIGEST`.
    rerun_from, only, stop_after:
        Stages such as `search` or `2/search`: run this one and all after it again, run no other, end after it.
    assignments:
        Dotted settings of the recipe, such as `dpo.learning_rate=1e-6`; a text is one.
    overwrite, listener:
        As in `decode`; the listener receives stages as activities.
    settings:
        Fields of the recipe's `train` section (`iterations=3`) or of `DecodeConfig`.

    Returns
    -------
    TrainResult
        Folders of the last actor and refiner, the scores of every iteration, and the state of every stage.

    Raises
    ------
    UsageError
        Something is wrong with the settings, prompts or models; mostly before anything runs.
    ConfigChanged
        The folder holds a loop with another recipe.
    RunStopped
        A stage stopped; the same call resumes.
    """
    values = plugin_names(settings)
    for name in ("strategy", "judge", "refiner", "engine"):
        if values.get(name):
            values[name] = importable_name(str(values[name]), name, settings.get(name))
    listed = [assignments] if isinstance(assignments, str) else assignments
    if not isinstance(prompts, str | Path):
        raise UsageError(
            f"prompts is a {type(prompts).__name__}; stages read a file, so write the rows to one (.jsonl) and pass its name"
        )
    folder = None if out is None else expand_home(Path(out))
    config = loop_settings(
        recipe, folder, {"prompts": str(prompts) or None, **values}, listed, overwrite=overwrite
    )
    selection = StageSelection(rerun_from=rerun_from, only=only, stop_after=stop_after)
    return run_training(
        config, out=out, listener=listener, selection=selection, overwrite=overwrite
    )


async def train_async(prompts: str | Path = "", **options: Any) -> TrainResult:
    """Like `train`, in a thread; cancelling it ends the stage that is running, which can be resumed."""
    listener = checked_listener(options.pop("listener", None))
    return await cancellable(
        lambda listening: train(prompts, listener=listening, **options), listener
    )


class _CallableModule(ModuleType):
    """The package `spar.train`, called as a function."""

    __signature__ = signature(train)  # `help(spar.train.__call__)` and notebooks show what it takes

    def __call__(self, *arguments: Any, **options: Any) -> TrainResult:
        return train(*arguments, **options)

    __call__.__doc__ = train.__doc__


_train_package.__class__ = _CallableModule  # `spar.train(...)`, and `spar.train.dpo` as before
