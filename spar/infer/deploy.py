"""Which models run where: from settings to open engines, one for each model and server.

Roles that share a model and its servers share an engine. What `auto` stands for, and which model a
server has, is settled before the run directory is made, so that the manifest says what ran.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from spar.config import DecodeConfig
from spar.errors import EngineError, UsageMistake
from spar.infer.decode import DEFAULT_ROOM
from spar.infer.engine import Deployment, Engine, Tell
from spar.infer.meter import Adapted, Meter, Unopened
from spar.nano import CHECKPOINT
from spar.registry import ENGINES, resolve
from spar.types import SPEAKERS, Speaker

C = TypeVar("C", bound=DecodeConfig)

TREES_PER_SLOT = 3
"""Trees in flight for each request that an engine can work on at once. Two leave an engine of 256
slots idle for 4 % of a run of 541 prompts, three for none (reports/schedule_ratio.md)."""


@dataclass(slots=True)
class Engines:
    """The engines of a run, opened when first asked for."""

    config: DecodeConfig
    tell: Tell = lambda _: None
    shares: Mapping[str, float] = field(default_factory=dict)
    """Model to the share of the memory that it may take, where it may not have all."""
    roles: Collection[Speaker] = SPEAKERS
    """Roles that have an engine; none is opened for the others, who must not be asked."""
    opened: dict[Deployment, Meter] = field(default_factory=dict)
    """May be shared by several of these, whose runs then share loaded models."""
    ready: float = 0.0
    """When the last of them was loaded, by the monotonic clock; 0 before that."""
    closed: bool = False

    def get(self, role: Speaker) -> Engine:
        """The engine that a role asks."""
        if role not in self.roles:
            return Unopened(role)
        wanted = self.wanted[role]
        found = self._serving(wanted)
        meter = self._open(wanted) if found is None else self.opened[found]
        adapter = self.config.adapter.get(role, "")
        return Adapted(meter, adapter) if adapter else meter

    async def aclose(self) -> None:
        """Close them all, also where one fails at it."""
        self.closed = True
        await close_all(self.opened, self.tell)

    @property
    def wanted(self) -> dict[Speaker, Deployment]:
        """Role to what must be open for it."""
        served = deployments(self.config)
        return {
            role: replace(served[role], share=self.shares.get(served[role].model, 1.0))
            for role in self.roles
        }

    @property
    def meters(self) -> dict[Deployment, Meter]:
        """What is open for these roles."""
        found = (self._serving(wanted) for wanted in self.wanted.values())
        return {deployment: self.opened[deployment] for deployment in found if deployment}

    def _serving(self, wanted: Deployment) -> Deployment | None:
        return next((one for one in tuple(self.opened) if one.serves(wanted)), None)

    def _open(self, wanted: Deployment) -> Meter:
        name = pick_engine(self.config)[0] if wanted.engine == "auto" else wanted.engine
        opener = resolve(ENGINES, "engine", name)
        meter = self.opened[wanted] = Meter(opener(wanted, self.config, self.tell))
        if self.closed:  # the run was given up while this one was loading, in another thread
            self.opened.pop(wanted, None)
            asyncio.run(meter.aclose())
            raise EngineError("the engines are closed")
        return meter

    @property
    def completion_tokens(self) -> int:
        """Tokens generated so far."""
        return sum(meter.completion_tokens for meter in self.meters.values())

    def room(self) -> int:
        """Trees to keep in flight: as the user says, or enough to keep every engine full."""
        if self.config.concurrency:
            return self.config.concurrency
        capacities = [meter.capacity for meter in self.meters.values()]
        return TREES_PER_SLOT * sum(capacities) if all(capacities) else DEFAULT_ROOM

    def describe(self) -> list[str]:
        """One line an engine: what it holds and how full its batches were."""
        lines = []
        for deployment, meter in self.meters.items():
            batch = getattr(meter.engine, "mean_batch", 0.0)
            rows = f", mean batch {batch:.1f} rows" if batch else ""
            lines.append(f"{engine_label(deployment)}: {meter.description}{rows}")
        return lines

    def facts(self) -> dict[str, dict[str, float]]:
        """Engine to its counts."""
        return {engine_label(deployment): m.facts() for deployment, m in self.meters.items()}


async def close_all(opened: MutableMapping[Deployment, Meter], tell: Tell) -> None:
    """Close every engine and take it out, also where one fails at it."""
    meters = [opened.pop(deployment) for deployment in tuple(opened)]
    closing = [meter.aclose() for meter in meters]
    for result in await asyncio.gather(*closing, return_exceptions=True):
        if isinstance(result, Exception):
            tell(f"an engine did not close: {result}")


def roles_asked(config: DecodeConfig) -> tuple[Speaker, ...]:
    """Roles that a strategy and a judge ask a model for."""
    if config.strategy == "greedy":
        return ("actor",)
    judges: tuple[Speaker, ...] = () if config.judge == "verifier" else ("judge",)
    refines: tuple[Speaker, ...] = () if config.strategy == "best-of-n" else ("refiner",)
    return ("actor", *judges, *refines)


def deployments(config: DecodeConfig) -> dict[Speaker, Deployment]:
    """Role to what serves it. Roles with the same model and servers have the same deployment."""
    names, servers = models(config), urls(config)
    found: dict[Speaker, Deployment] = {}
    for role in SPEAKERS:
        alike = [r for r in SPEAKERS if (names[r], servers[r]) == (names[role], servers[role])]
        adapters = {config.adapter[r]: None for r in alike if config.adapter.get(r)}
        model = names[role] or ("" if servers[role] else str(CHECKPOINT))
        engine = "openai" if servers[role] and config.engine != "fake" else config.engine
        found[role] = Deployment(model, servers[role], tuple(adapters), engine=engine)
    return found


def models(config: DecodeConfig) -> dict[Speaker, str]:
    """Role to the model that plays it; "" for the embedded one, or for a server's only one.

    A role on a server does not take over the model of one that runs here.
    """
    servers = urls(config)

    def inherited(role: Speaker, model: str, whose: tuple[str, ...]) -> str:
        return "" if servers[role] and not whose else model

    refiner = config.refiner_model or inherited("refiner", config.model, config.base_url)
    return {
        "actor": config.actor_model or inherited("actor", config.model, config.base_url),
        "judge": config.judge_model or inherited("judge", refiner, servers["refiner"]),
        "refiner": refiner,
    }


def urls(config: DecodeConfig) -> dict[Speaker, tuple[str, ...]]:
    """Role to the servers that it asks; none for an engine in process."""
    refiner = config.refiner_url or config.base_url
    return {
        "actor": config.actor_url or config.base_url,
        "judge": config.judge_url or refiner,
        "refiner": refiner,
    }


def pick_engine(config: DecodeConfig, asked: Sequence[Speaker] = ()) -> tuple[str, str]:
    """The engine's name, and why `auto` stands for it ("" where the user named it).

    Where only some roles have servers, it is the engine of the others.

    Parameters
    ----------
    asked:
        Roles that ask a model, () for those that the strategy and the judge need.
    """
    if config.engine != "auto":
        return config.engine, ""
    asked = asked or roles_asked(config)
    served = [role for role in asked if urls(config)[role]]
    if len(served) == len(asked):
        return "openai", "a server's URL was given"
    name, why = _pick_local(config)
    return name, why + f" (a server is the {' and the '.join(served)})" * bool(served)


def _pick_local(config: DecodeConfig) -> tuple[str, str]:
    if config.ray_address or config.replicas > 1:
        return "ray", "a Ray cluster or several replicas were asked for"
    if not has_gpu():
        return "hf", "no GPU is seen"
    if has_package("vllm"):
        return "vllm", "vLLM is installed and there is a GPU"
    return "hf", "vLLM is not installed"


def has_package(name: str) -> bool:
    """Whether a package can be imported, without importing it."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def has_gpu() -> bool:
    """Whether torch sees a GPU; asks the driver, so that no CUDA context is made here."""
    import os

    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def settle(config: C, tell: Tell, *, interactive: bool = False, asked: Sequence[Speaker] = ()) -> C:
    """The configuration with nothing left open: engine, servers' models, speculation.

    Parameters
    ----------
    interactive:
        Whether a person waits for the answer to one prompt.
    asked:
        Roles that ask a model, () for those that the strategy and the judge need.

    Raises
    ------
    UsageMistake
        Settings that cannot go together, a folder without a model, a server without the model.
    """
    asked = asked or roles_asked(config)
    name, why = pick_engine(config, asked)
    if why:
        tell(f"engine: {name}, since {why}")
    config = config.model_copy(update={"engine": name, **_checked_urls(config)})
    _refuse_mixtures(config, asked)
    if name != "fake":
        _check_folders(config)
        config = _with_served_models(config, asked, tell)
    if config.speculate == "auto":
        single = name == "vllm" and interactive and has_gpu()
        config = config.model_copy(update={"speculate": "on" if single else "off"})
    return config


def _refuse_mixtures(config: DecodeConfig, asked: Sequence[Speaker]) -> None:
    name, servers = config.engine, urls(config)
    missing = [role for role in asked if not servers[role]]
    if not missing and name not in ("openai", "fake"):
        raise UsageMistake(f"--engine {name} runs models itself; for a URL, use --engine openai")
    if name == "openai" and missing:
        raise UsageMistake(
            f"--engine openai: no server for the {missing[0]}; give --base-url URL, or leave "
            "--engine out to run that role here"
        )
    if name != "ray" and (config.replicas > 1 or config.ray_address):
        raise UsageMistake(f"--replicas and --ray-address need --engine ray, not {name}")
    secrets = [name for name in config.engine_args if "token" in name.split("_")]
    if secrets:
        raise UsageMistake(
            f"--engine-arg {secrets[0]}: would be written into run.json; set HF_TOKEN instead"
        )
    if config.adapter and name not in ("vllm", "ray"):
        raise UsageMistake(f"--adapter needs --engine vllm, not {name}")
    if config.engine_args and name not in ("vllm", "ray"):
        raise UsageMistake(f"--engine-arg needs --engine vllm, not {name}")
    if config.speculate == "on" and name not in ("vllm", "ray"):
        raise UsageMistake(f"--speculate on needs --engine vllm, not {name}")
    if name == "ray":
        from spar.infer.engines.ray.engine import check_replicas

        check_replicas(config)


def _checked_urls(config: DecodeConfig) -> dict[str, tuple[str, ...]]:
    """All URLs in one form; none may carry a key, whether it is asked or not."""
    names = ("base_url", "actor_url", "judge_url", "refiner_url")
    if not any(getattr(config, name) for name in names):
        return {}
    from spar.infer.engines.openai.servers import base_url

    return {name: tuple(map(base_url, getattr(config, name))) for name in names}


def _check_folders(config: DecodeConfig) -> None:
    from spar.infer.engines.hf import check_model_folder

    for deployment in deployments(config).values():
        if not deployment.urls:
            check_model_folder(deployment.model)


def _with_served_models(config: C, asked: Sequence[Speaker], tell: Tell) -> C:
    from spar.infer.engines.openai.servers import check_server

    found: dict[Deployment, str] = {}
    names: dict[str, str] = {}
    for role in asked:
        deployment = deployments(config)[role]
        if not deployment.urls:
            continue
        if deployment not in found:
            found[deployment] = check_server(
                deployment.urls, deployment.model, config.api_key_env, tell=tell
            )
        names[f"{role}_model"] = found[deployment]
    return config.model_copy(update=names)


def engine_label(deployment: Deployment) -> str:
    """A deployment's name for people: its model, and its servers where it has any."""
    return " ".join([shown_model(deployment.model), *deployment.urls])


def shown_model(model: str) -> str:
    """A model's name for people; the embedded model's own folder is not of interest."""
    return "embedded" if model in ("", str(CHECKPOINT)) else model
