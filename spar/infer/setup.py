"""From settings to what a run needs: engines, roles, search settings, the manifest."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from spar import __version__
from spar.config import FREE, DecodeConfig, SamplingConfig
from spar.infer.engine import Completion, Engine, Request, Sampling
from spar.infer.judges import JudgeSettings, open_judge
from spar.infer.roles import Actor, Refiner
from spar.infer.search import Budget, Roles, SearchSettings
from spar.infer.strategy import SearchConfig
from spar.manifest import Manifest
from spar.nano import CHECKPOINT
from spar.registry import ENGINES, STRATEGIES, resolve
from spar.templates import Templates, load

_TRACKED_PACKAGES = ("pydantic", "torch", "transformers", "tokenizers", "numpy")


@dataclass(slots=True)
class Meter:
    """An engine that counts what passes through another."""

    engine: Engine
    calls: int = 0
    completion_tokens: int = 0

    @property
    def model(self) -> str:
        """The inner engine's model."""
        return self.engine.model

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Pass on, and count the replies."""
        replies = await self.engine.generate(requests)
        self.calls += len(replies)
        self.completion_tokens += sum(reply.completion_tokens for reply in replies)
        return replies

    async def aclose(self) -> None:
        """Close the inner engine."""
        await self.engine.aclose()


@dataclass(slots=True)
class Engines:
    """One engine a distinct model; roles that share a model share it."""

    config: DecodeConfig
    by_model: dict[str, Meter] = field(default_factory=dict)

    def get(self, model: str) -> Meter:
        """The engine of a model, opened when it is first asked for."""
        name = model or str(CHECKPOINT)
        if name not in self.by_model:
            opener = resolve(ENGINES, "engine", engine_name(self.config))
            self.by_model[name] = Meter(opener(name, self.config))
        return self.by_model[name]

    async def aclose(self) -> None:
        """Close them all."""
        for meter in self.by_model.values():
            await meter.aclose()

    @property
    def completion_tokens(self) -> int:
        """Tokens generated so far."""
        return sum(meter.completion_tokens for meter in self.by_model.values())

    def describe(self) -> list[str]:
        """One line an engine: what it holds and how full its batches were."""
        lines = []
        for name, meter in self.by_model.items():
            what = getattr(meter.engine, "description", "")
            batch = getattr(meter.engine, "mean_batch", 0.0)
            rows = f", mean batch {batch:.1f} rows" if batch else ""
            lines.append(f"{shown_model(name)}: {what}{rows}")
        return lines


def engine_name(config: DecodeConfig) -> str:
    """The engine that `auto` stands for: hf, the one that runs a model in process."""
    return "hf" if config.engine == "auto" else config.engine


def models(config: DecodeConfig) -> dict[str, str]:
    """Role to the model that plays it."""
    refiner = config.refiner_model or config.model
    return {
        "actor": config.actor_model or config.model,
        "judge": config.judge_model or refiner,
        "refiner": refiner,
    }


def check_models(config: DecodeConfig) -> None:
    """Refuse a local folder that is no model before a run directory is made for it."""
    if engine_name(config) == "hf":
        from spar.infer.engines.hf import check_model_folder

        for name in set(models(config).values()) - {""}:
            check_model_folder(name)


def shown_model(model: str) -> str:
    """A model's name for people; the embedded model's own folder is not of interest."""
    return "embedded" if model in ("", str(CHECKPOINT)) else model


def open_templates(config: DecodeConfig) -> Templates:
    """spar's templates, or the user's in their place."""
    return load(Path(config.templates) if config.templates else None)


def open_roles(config: DecodeConfig, engines: Engines) -> Roles:
    """Actor, judge and refiner, each with its model's engine."""
    templates, model = open_templates(config), models(config)
    judging = JudgeSettings(
        engine=engines.get(model["judge"]),
        sampling=_sampling(config.vote),
        templates=templates,
        votes=config.votes,
        vote_rule=config.vote_rule,
    )
    return Roles(
        actor=Actor(engines.get(model["actor"]), _sampling(config.draft), config.greedy_first),
        judge=open_judge(config.judge, judging),
        refiner=Refiner(engines.get(model["refiner"]), _sampling(config.refine), templates),
    )


def search_settings(config: DecodeConfig, digest: str) -> SearchSettings:
    """The driver's settings."""
    return SearchSettings(
        strategy=resolve(STRATEGIES, "strategy", config.strategy),
        name=config.strategy,
        shape=SearchConfig(branch=config.branch, keep=config.keep, depth=config.depth),
        budget=Budget(config.budget, config.max_calls, config.max_tokens, config.max_seconds),
        gate=config.gate,
        stop_rule=config.stop,
        seed=config.seed,
        digest=digest,
    )


def make_manifest(config: DecodeConfig) -> Manifest:
    """What the run is, for `run.json`."""
    return Manifest(
        spar_version=__version__,
        config=config.model_dump(mode="json"),
        free=FREE,
        git_commit=_git_commit(),
        packages=_packages(),
        models={role: shown_model(name) for role, name in models(config).items()},
        templates=open_templates(config).digests(),
        seed=config.seed,
    )


def _sampling(config: SamplingConfig) -> Sampling:
    return Sampling(config.temperature, config.top_p, config.max_tokens)


def _packages() -> dict[str, str]:
    found = {}
    for name in _TRACKED_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
