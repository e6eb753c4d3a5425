"""The stages of a training loop, as data: what each reads, what it writes, what it is told.

    iteration-0/eval                                       the first models, measured
    iteration-1/draft judge search build dpo rft eval      an iteration
    iteration-2/...

Every stage has a folder of its own, an order beside it (`draft.order.json`), a log (`draft.log`) and, once
it began, a record (`draft.json`). Nothing here runs or reads anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from spar.embedded import CHECKPOINT
from spar.record.training import (
    BUILD_REPORT,
    PROMPTS,
    SCORES_FILE,
    TRAIN_REPORT,
    iteration_folder,
)
from spar.train.recipe import Benchmarked, TrainConfig, first_models

StageName = Literal["draft", "judge", "search", "build", "dpo", "rft", "eval"]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""The stages of an iteration, in order."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a loop begins."""

    actor: str
    """The first actor, "" for the embedded model."""
    refiner: str
    """The first refiner, "" for the embedded model."""
    iteration: int = 0
    """Iterations that came before it."""

    @classmethod
    def of(cls, config: TrainConfig) -> Origin:
        """The one that a recipe names."""
        return cls(*first_models(config))


@dataclass(frozen=True, slots=True)
class Models:
    """The models of one time."""

    actor: str
    refiner: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of one iteration."""

    iteration: int
    name: str
    home: Path
    """The iteration's folder."""
    order: Mapping[str, Any]
    """What its process is told."""
    needs: tuple[Path, ...]
    """What must be there before it can begin."""
    makes: Path
    """What is there when it is done."""

    @property
    def folder(self) -> Path:
        """What it writes lies in here."""
        return self.home / self.name

    @property
    def order_file(self) -> Path:
        """Where its process finds what it is told."""
        return self.home / f"{self.name}.order.json"

    @property
    def log(self) -> Path:
        """What its process says."""
        return self.home / f"{self.name}.log"

    @property
    def record(self) -> Path:
        """Whether and how it ran (`spar.record.training.StageRecord`)."""
        return self.home / f"{self.name}.json"

    @property
    def title(self) -> str:
        """Its name in the loop, such as 2/search."""
        return f"{self.iteration}/{self.name}"


def all_stages(config: TrainConfig, run: Path, origin: Origin) -> tuple[Stage, ...]:
    """Every stage of a loop, in the order in which they run.

    Parameters
    ----------
    run:
        The loop's folder.
    """
    stages: list[Stage] = []
    if config.measure_start and config.benchmarks:
        stages.append(_eval(config, run, origin.iteration, origin))
    for iteration in range(origin.iteration + 1, config.last_iteration + 1):
        stages += _iteration(config, run, iteration, origin)
    return tuple(stages)


def models_after(run: Path, iteration: int, origin: Origin) -> Models:
    """The models that an iteration leaves behind."""
    if iteration <= origin.iteration:
        return Models(origin.actor, origin.refiner)
    home = iteration_folder(run, iteration)
    return Models(str(home / "dpo" / "model"), str(home / "rft" / "model"))


def _iteration(config: TrainConfig, run: Path, iteration: int, origin: Origin) -> Iterator[Stage]:
    before = models_after(run, iteration - 1, origin)
    home = iteration_folder(run, iteration)
    yield _generation(config, home, "draft", before, {"budget": config.samples, **_SAMPLED})
    yield _generation(config, home, "judge", before, {"budget": config.samples, **_SAMPLED})
    yield _generation(config, home, "search", before, config.search)
    yield _build(config, home)
    yield _training(config, home, "dpo", before.actor, config.dpo)
    yield _training(config, home, "rft", before.refiner, config.rft)
    if config.benchmarks:
        yield _eval(config, run, iteration, origin)


_SAMPLED = {"strategy": "best-of-n", "greedy_first": False, "vote_rule": "full"}
"""Drafts are all sampled, and every vote is cast, since split votes are what judges learn from."""
_SOURCE: Mapping[StageName, StageName] = {"judge": "draft", "search": "judge"}


def _generation(
    config: TrainConfig, home: Path, name: StageName, models: Models, changed: Mapping[str, Any]
) -> Stage:
    decode = config.decode.stored()
    # The prompts' own file says which; its place on the disk is of no interest to a record.
    decode |= {"prompts": f"{home.name}/{PROMPTS}", "seed": config.seed, "limit": None}
    decode |= {"actor_model": models.actor, "refiner_model": models.refiner}
    source = home / _SOURCE[name] if name in _SOURCE else None
    order = {
        "kind": name,
        "prompts": str(home / PROMPTS),
        "source": str(source) if source else "",
        "out": str(home / name),
        "config": {**decode, **changed},
    }
    needs = (source / "trees.jsonl",) if source else ()
    return Stage(_number(home), name, home, order, needs, home / name / "trees.jsonl")


def _build(config: TrainConfig, home: Path) -> Stage:
    named = ("pairs", "shuffle_labels", "quotas", "min_pairs", "max_pairs", "embedding_model")
    order = {
        "kind": "build",
        "out": str(home / "build"),
        "search": str(home / "search"),
        "drafts": str(home / "judge"),
        "seed": config.seed,
        **{name: getattr(config, name) for name in named},
    }
    needs = (home / "judge" / "trees.jsonl", home / "search" / "trees.jsonl")
    return Stage(_number(home), "build", home, order, needs, home / "build" / BUILD_REPORT)


def _training(
    config: TrainConfig, home: Path, name: StageName, model: str, settings: Mapping[str, Any]
) -> Stage:
    data, out = home / "build" / f"{name}.jsonl", home / name
    order = {**settings, "seed": config.seed, "data": str(data), "out": str(out)}
    order["model"] = model or str(CHECKPOINT)
    return Stage(_number(home), name, home, order, (data,), out / TRAIN_REPORT)


def _eval(config: TrainConfig, run: Path, iteration: int, origin: Origin) -> Stage:
    home = iteration_folder(run, iteration)
    now = models_after(run, iteration, origin)
    order = {
        "kind": "eval",
        "out": str(home / "eval"),
        "items": [_measured(config, item, now, origin) for item in config.benchmarks],
    }
    trained = [Path(now.actor), Path(now.refiner)] if iteration > origin.iteration else []
    needs = tuple(path / "config.json" for path in trained)
    return Stage(iteration, "eval", home, order, needs, home / "eval" / SCORES_FILE)


def _measured(
    config: TrainConfig, item: Benchmarked, now: Models, origin: Origin
) -> dict[str, Any]:
    actor = origin.actor if item.actor == "first" else now.actor
    settings = {**config.eval.stored(), "seed": config.seed, **item.settings}
    settings |= {"actor_model": actor, "refiner_model": now.refiner}
    return {"name": item.title, "benchmark": item.benchmark, "config": settings}


def _number(home: Path) -> int:
    return int(home.name.split("-")[1])
