"""Resolution of settings: which models run where, and which engine serves each.

Roles that share a model and its servers share an engine. The engine behind `auto` and the model of a server
are resolved before the run directory is made, so that the manifest records what ran.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from spar.config import DecodeConfig, names_credential
from spar.embedded import CHECKPOINT, is_embedded
from spar.errors import UsageError
from spar.hardware import has_gpu, has_package
from spar.infer.engine import Accepts, Deployment, NoteCallback
from spar.plugins import ENGINES, JUDGES, REFINERS, STRATEGIES, parse_options
from spar.pretrained import check_model_folder, prepare_model
from spar.run.cached_engine import check_cache
from spar.run.sampling import check_sampling, first_accepting
from spar.types import ROLES, Role

C = TypeVar("C", bound=DecodeConfig)


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
    check_cache(config)
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
    secrets = [name for name in config.engine_args if names_credential(name)]
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
