"""The bootstrap as a pipeline: its manifest and its prompts.

Source: section 2.2 of the paper; the proportions of the refiner's set are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from spar import __version__
from spar.manifest import Manifest
from spar.nano.tasks import prompts as nano_prompts
from spar.prompts import read_prompts
from spar.train.bootstrap.recipe import CHANGEABLE, FREE, STAGE_SETTINGS, BootstrapConfig
from spar.train.bootstrap.stages import ACTOR_PROMPTS, REFINER_PROMPTS, bootstrap_stages
from spar.train.pipeline import Pipeline, default_folder
from spar.train.set_by_pipeline import OF_BOOTSTRAP, without_set
from spar.train.stage import Stage
from spar.train.stage_runner import write_prompts
from spar.types import Prompt

NANO_SEED = 1
"""Draw of nano-if's training prompts; the loop draws with 0."""


def bootstrap_pipeline(config: BootstrapConfig, run: Path) -> Pipeline:
    """The bootstrap of a recipe in a folder."""
    stages = bootstrap_stages(config, run)
    prompts = {run / ACTOR_PROMPTS: actor_prompts, run / REFINER_PROMPTS: refiner_prompts}

    def prepare(stage: Stage) -> None:
        for path, read in prompts.items():
            if not path.exists():
                write_prompts(path, read(config))

    return Pipeline(
        title="bootstrap",
        folder=run,
        stages=stages,
        manifest=_manifest(config),
        stage_settings=STAGE_SETTINGS,
        changeable=CHANGEABLE,
        complete=partial(without_set, OF_BOOTSTRAP),
        key=_setting_key,
        prepare=prepare,
        past_stages=lambda: stages,
        prompt_files=tuple(prompts),
    )


def actor_prompts(config: BootstrapConfig) -> Iterator[Prompt]:
    """The prompts that the teacher answers: the first ones."""
    if not config.prompts:
        return nano_prompts("train", NANO_SEED, config.num_actor_prompts)
    return islice(_read(config.prompts, config), config.num_actor_prompts)


def refiner_prompts(config: BootstrapConfig) -> Iterator[Prompt]:
    """The prompts whose drafts are judged: those after the actor's, or the last ones where there are too few."""
    count = config.num_refiner_prompts
    if config.refiner_prompts:
        return islice(_read(config.refiner_prompts, config), count)
    if not config.prompts:
        start = config.num_actor_prompts
        return islice(nano_prompts("train", NANO_SEED, start + count), start, None)
    total = sum(1 for _ in _read(config.prompts, config))
    start = min(config.num_actor_prompts, max(0, total - count))
    return islice(_read(config.prompts, config), start, start + count)


def default_directory(config: BootstrapConfig) -> Path:
    """`runs/bootstrap-DIGEST`: the same for the same settings, also with other `CHANGEABLE` ones."""
    stored = config.stored()
    earlier = default_folder("bootstrap", stored, FREE)
    return default_folder("bootstrap", stored, (*FREE, *CHANGEABLE), earlier=earlier)


def _setting_key(stage: Stage, name: str) -> str:
    """What the recipe calls a setting of a stage."""
    section = stage.name.removeprefix("sft-")
    return name if section == stage.name else f"{section}.{name}"


def _read(source: str, config: BootstrapConfig) -> Iterator[Prompt]:
    return read_prompts(source, prompt_field=config.prompt_field)


def _manifest(config: BootstrapConfig) -> Manifest:
    models = {"student": config.base, "teacher": config.teacher.model}
    return Manifest(
        spar_version=__version__,
        config=config.stored(),
        free=FREE,
        models={role: model or "embedded" for role, model in models.items()},
        seed=config.seed,
    )
