"""Resolution of settings: which models run where, and one engine for each model and server.

Roles that share a model and its servers share an engine. The engine behind `auto` and the model of a server
are resolved before the run directory is made, so that the manifest records what ran.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT, is_embedded
from spar.errors import EngineError, UsageError
from spar.hardware import has_gpu, has_package
from spar.infer.decode import DEFAULT_ROOM
from spar.infer.engine import Accepts, Deployment, Engine, NoteCallback
from spar.infer.engine_wrappers import AdapterEngine, InstrumentedEngine, MissingEngine, stats
from spar.plugins import ENGINES, JUDGES, REFINERS, STRATEGIES, parse_options
from spar.pretrained import check_model_folder, prepare_model
from spar.run.sampling import chat_template_args, check_sampling, first_accepting
from spar.types import ROLES, Role

C = TypeVar("C", bound=DecodeConfig)

TREES_PER_SLOT = 3
"""Trees in flight for each request that an engine can work on at once. Two leave an engine of 256
slots idle for 4 % of a run of 541 prompts, three for none (reports/schedule_ratio.md)."""


@dataclass(slots=True)
class Engines:
    """The engines of a run, opened when they are first needed."""

    config: DecodeConfig
    note: NoteCallback = lambda _: None
    shares: Mapping[str, float] = field(default_factory=dict)
    """Model to the share of the memory that it may take, where it may not have all."""
    roles: Collection[Role] = ROLES
    """Roles that have an engine; the others must not be called."""
    opened: dict[Deployment, InstrumentedEngine] = field(default_factory=dict)
    """May be shared by several of these, whose runs then share loaded models."""
    ready: float = 0.0
    """When the last of them was loaded, by the monotonic clock; 0 before that."""
    closed: bool = False
    wrap: Callable[[Engine], Engine] = lambda engine: engine
    """Put around the engine that a role gets."""
    _needed: dict[Role, Deployment] | None = None

    def get(self, role: Role) -> Engine:
        """The engine of a role."""
        if role not in self.roles:
            return MissingEngine(role)
        needed = self.needed[role]
        opened = self._serving(needed)
        engine = self._open(needed) if opened is None else self.opened[opened]
        adapter = self.config.adapter.get(role, "")
        return self.wrap(AdapterEngine(engine, adapter) if adapter else engine)

    @property
    def opening_note(self) -> str:
        """What is said while they are opened."""
        remote = all(deployment.urls for deployment in self.needed.values())
        return "connecting to the server ..." if self.needed and remote else "loading the model ..."

    async def aclose(self) -> None:
        """Close them all, also where one fails at it."""
        self.closed = True
        await close_all(self.opened, self.note)

    @property
    def needed(self) -> dict[Role, Deployment]:
        """Role to what must be open for it."""
        if self._needed is None:
            served = deployments(self.config)
            arguments = {role: chat_template_args(self.config, role) for role in self.roles}
            self._needed = {
                role: replace(
                    served[role],
                    share=self.shares.get(served[role].model, 1.0),
                    chat_template_args=tuple(
                        arguments[other] for other in self.roles if served[other] == served[role]
                    ),
                )
                for role in self.roles
            }
        return self._needed

    @property
    def engines(self) -> dict[Deployment, InstrumentedEngine]:
        """What is open for these roles."""
        serving = (self._serving(needed) for needed in self.needed.values())
        return {deployment: self.opened[deployment] for deployment in serving if deployment}

    def _serving(self, needed: Deployment) -> Deployment | None:
        return next((opened for opened in tuple(self.opened) if opened.serves(needed)), None)

    def _open(self, needed: Deployment) -> InstrumentedEngine:
        name = pick_engine(self.config)[0] if needed.engine == "auto" else needed.engine
        spec = ENGINES.spec(name)
        engine = self.opened[needed] = InstrumentedEngine(spec.open(needed, self.config, self.note))
        if self.closed:  # the run was cancelled while this model was loading, in another thread
            self.opened.pop(needed, None)
            asyncio.run(engine.aclose())
            raise EngineError("the engines are closed")
        return engine

    @property
    def generated_tokens(self) -> int:
        """Tokens generated so far, as far as the engines count them before a reply has ended."""
        return sum(engine.generated_tokens for engine in self.engines.values())

    def room(self) -> int:
        """Trees to have in flight: the configured number, or enough to keep every engine busy."""
        if self.config.concurrency:
            return self.config.concurrency
        capacities = [engine.capacity for engine in self.engines.values()]
        busy = capacities and all(capacities)  # without an engine, or without a limit, the default
        return TREES_PER_SLOT * sum(capacities) if busy else DEFAULT_ROOM

    def describe(self) -> list[str]:
        """One line an engine: what it holds and how full its batches were."""
        lines = []
        for deployment, engine in self.engines.items():
            engine_stats = stats(engine)
            batch = engine_stats.mean_batch if engine_stats else 0.0
            rows = f", mean batch {batch:.1f} rows" if batch else ""
            lines.append(f"{engine_label(deployment)}: {engine.description}{rows}")
        return lines

    def counts(self) -> dict[str, dict[str, float]]:
        """Engine to its counts."""
        return {engine_label(deployment): m.counts() for deployment, m in self.engines.items()}


async def close_all(
    opened: MutableMapping[Deployment, InstrumentedEngine], note: NoteCallback
) -> None:
    """Close every engine and take it out, also where one fails at it."""
    engines = [opened.pop(deployment) for deployment in tuple(opened)]
    closing = [engine.aclose() for engine in engines]
    for result in await asyncio.gather(*closing, return_exceptions=True):
        if isinstance(result, Exception):
            note(f"an engine did not close: {result}")


def required_roles(config: DecodeConfig) -> tuple[Role, ...]:
    """Roles for which the strategy, the judge and the refiner call a model."""
    return model_roles(config, STRATEGIES.spec(config.strategy).roles)


def model_roles(config: DecodeConfig, roles: Collection[Role]) -> tuple[Role, ...]:
    """Those of the roles that a model plays, and not a program."""
    calls_model = {
        "actor": True,
        "judge": JUDGES.spec(config.judge).uses_model,
        "refiner": REFINERS.spec(config.refiner or "model").uses_model,
    }
    return tuple(role for role in ROLES if role in roles and calls_model[role])


def deployments(config: DecodeConfig) -> dict[Role, Deployment]:
    """Role to what serves it. Roles with the same model and servers have the same deployment."""
    names, servers = models(config), urls(config)
    served: dict[Role, Deployment] = {}
    for role in ROLES:
        alike = [r for r in ROLES if (names[r], servers[r]) == (names[role], servers[role])]
        adapters = {config.adapter[r]: None for r in alike if config.adapter.get(r)}
        model = names[role] or ("" if servers[role] else str(CHECKPOINT))
        engine = _remote_engine(config) if servers[role] else config.engine
        served[role] = Deployment(model, servers[role], tuple(adapters), engine=engine)
    return served


def _remote_engine(config: DecodeConfig) -> str:
    """The engine of roles with URLs: the configured one, or `openai` beside one that takes none."""
    local = config.engine == "auto" or ENGINES.spec(config.engine).urls == "refused"
    return "openai" if local else config.engine


def models(config: DecodeConfig) -> dict[Role, str]:
    """Role to the model that plays it; "" for the embedded one, or for a server's only one.

    A role on a server does not take over the model of one that runs here.
    """
    servers = urls(config)

    def inherited(role: Role, model: str, whose: tuple[str, ...]) -> str:
        return "" if servers[role] and not whose else model

    refiner = config.refiner_model or inherited("refiner", config.model, config.base_url)
    return {
        "actor": config.actor_model or inherited("actor", config.model, config.base_url),
        "judge": config.judge_model or inherited("judge", refiner, servers["refiner"]),
        "refiner": refiner,
    }


def urls(config: DecodeConfig) -> dict[Role, tuple[str, ...]]:
    """Role to its servers; none for an engine in this process."""
    refiner = config.refiner_url or config.base_url
    return {
        "actor": config.actor_url or config.base_url,
        "judge": config.judge_url or refiner,
        "refiner": refiner,
    }


def pick_engine(config: DecodeConfig, roles: Sequence[Role] = ()) -> tuple[str, str]:
    """The engine's name, and why `auto` resolves to it ("" where it was named).

    Where only some roles have servers, it is the engine of the others.

    Parameters
    ----------
    roles:
        Roles that call a model, () for those that the strategy and the judge require.
    """
    if config.engine != "auto":
        return config.engine, ""
    roles = roles or required_roles(config)
    served = [role for role in roles if urls(config)[role]]
    if len(served) == len(roles):
        return "openai", "a server's URL was given"
    name, why = _pick_local(config)
    return name, why + f" (a server is the {' and the '.join(served)})" * bool(served)


def _pick_local(config: DecodeConfig) -> tuple[str, str]:
    if config.ray_address or config.replicas > 1:
        return "ray", "a Ray cluster or several replicas are configured"
    if not has_gpu():
        return "hf", "no GPU is seen"
    if has_package("vllm"):
        return "vllm", "vLLM is installed and there is a GPU"
    return "hf", "vLLM is not installed"


def resolve_config(
    config: C,
    note: NoteCallback,
    *,
    interactive: bool = False,
    roles: Sequence[Role] = (),
    offline: bool = False,
) -> C:
    """The configuration with every open choice resolved: engine, servers' models, speculation.

    Parameters
    ----------
    interactive:
        Whether this is a single prompt that a user waits for.
    roles:
        Roles that call a model, () for those that the strategy and the judge require.
    offline:
        Whether nothing may be downloaded.

    Raises
    ------
    UsageError
        Settings that cannot go together, a folder without a model, a server without the model.
    RunStopped
        A known model (`spar.models`) cannot be downloaded.
    """
    roles = roles or required_roles(config)
    name, why = pick_engine(config, roles)
    if why:
        note(f"engine: {name}, since {why}")
    spec = ENGINES.spec(name)
    config = config.model_copy(update={"engine": name, **_checked_urls(config)})
    check_combination(config, roles)
    if spec.validate is not None:
        spec.validate(config)
    for model in loaded_models(config):
        prepare_model(model, note, offline=offline)
    config = _with_served_models(config, roles, note)
    if spec.use_all_gpus is not None and not interactive:
        arguments = spec.use_all_gpus(config, note).engine_args
        config = config.model_copy(update={"engine_args": arguments})
    if config.speculative_decoding == "auto":
        single = "speculative_decoding" in spec.accepts and interactive and has_gpu()
        config = config.model_copy(update={"speculative_decoding": "on" if single else "off"})
    return config


def check_combination(config: DecodeConfig, roles: Sequence[Role] = ()) -> None:
    """Raise `UsageError` for settings that a named engine does not have, wherever the run will be; none for `auto`."""
    if config.engine == "auto":
        return
    name, spec, servers = config.engine, ENGINES.spec(config.engine), urls(config)
    missing = [role for role in roles or required_roles(config) if not servers[role]]
    if not missing and spec.urls == "refused":
        raise UsageError(
            f"--engine {name} runs models in this process and takes no URL; for servers, use "
            "--engine openai"
        )
    if missing and spec.urls == "required":
        raise UsageError(
            f"--engine {name}: no server for the {missing[0]}; give --base-url URL, or leave "
            "--engine out to run that role here"
        )
    secrets = [name for name in config.engine_args if "token" in name.split("_")]
    if secrets:
        raise UsageError(
            f"--engine-arg {secrets[0]}: would be written into run.json; set HF_TOKEN instead"
        )
    remote = any(servers.values())
    check_sampling(
        config, spec.accepts | (ENGINES.spec(_remote_engine(config)).accepts if remote else set())
    )
    flags: dict[str, tuple[Accepts, bool]] = {
        "--replicas and --ray-address need": (
            "replicas",
            config.replicas > 1 or bool(config.ray_address),
        ),
        "--adapter needs": ("adapter", bool(config.adapter)),
        "--speculative-decoding on needs": (
            "speculative_decoding",
            config.speculative_decoding == "on",
        ),
    }
    if spec.options is None:
        flags["--engine-arg needs"] = ("engine_args", bool(config.engine_args))
    else:
        parse_options(spec.options, config.engine_args, flag="--engine-arg", name=name)
    for flag, (group, is_set) in flags.items():
        if is_set and group not in spec.accepts:
            raise UsageError(f"{flag} --engine {first_accepting(group)}, not {name}")


def _checked_urls(config: DecodeConfig) -> dict[str, tuple[str, ...]]:
    """All URLs in one form; none may carry a key, whether its role is used or not."""
    parse = ENGINES.spec(_remote_engine(config)).parse_url
    names = ("base_url", "actor_url", "judge_url", "refiner_url")
    if parse is None or not any(getattr(config, name) for name in names):
        return {}
    return {name: tuple(map(parse, getattr(config, name))) for name in names}


def check_folders(config: DecodeConfig) -> None:
    """Raise `UsageError` where the folder of a model that the engine would load has none."""
    for model in loaded_models(config):
        check_model_folder(model)


def loaded_models(config: DecodeConfig) -> tuple[str, ...]:
    """Models that the engine loads from files, for roles without a URL; each once."""
    served = deployments(config).values() if loads_models(config) else ()
    return tuple(dict.fromkeys(each.model for each in served if not each.urls))


def loads_models(config: DecodeConfig) -> bool:
    """Whether the engine loads models from folders, for roles without a URL."""
    return config.engine == "auto" or ENGINES.spec(config.engine).loads_models


def _with_served_models(config: C, roles: Sequence[Role], note: NoteCallback) -> C:
    served: dict[Deployment, str] = {}
    names: dict[str, str] = {}
    for role in roles:
        deployment = deployments(config)[role]
        find = ENGINES.spec(deployment.engine).served_model
        if not deployment.urls or find is None:
            continue
        if deployment not in served:
            served[deployment] = find(deployment, config, note)
        names[f"{role}_model"] = served[deployment]
    return config.model_copy(update=names)


def engine_label(deployment: Deployment) -> str:
    """A deployment's name for people: its model, and its servers where it has any."""
    return " ".join([shown_model(deployment.model), *deployment.urls])


def shown_model(model: str) -> str:
    """A model's name for people; the embedded model's own folder is not of interest."""
    return "embedded" if is_embedded(model) else model
