"""Whether several local models fit side by side, from the size of their weights and the free memory.

An estimate before anything is loaded: weights as they are stored, scaled to the dtype that they run
in, plus room for each model's cache of keys and values. A model whose files are not on this machine
yet has an unknown size.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.hardware import free_memory
from spar.infer.engine import Deployment, NoteCallback, Placement
from spar.models.folders import local_files
from spar.plugins import ENGINES
from spar.run.resolve import deployments
from spar.types import Role

CACHE_SHARE = 0.25
"""Memory for keys and values and activations, at least, as a share of the weights."""
LEAST_CACHE = 1 << 30
"""Bytes of it that even the smallest model gets."""
USABLE = 0.9
"""Share of the free memory that is planned with."""

_WEIGHTS = (".safetensors", ".bin")
_GIB = 1 << 30


def place_roles(
    config: DecodeConfig, roles: Collection[Role], opened: Collection[Deployment] = ()
) -> Placement:
    """How the models of these roles that need no server are best arranged.

    Parameters
    ----------
    roles:
        Roles that call a model.
    opened:
        Deployments that are open already, and stay so.
    """
    served = deployments(config)
    needed = dict.fromkeys(served[role] for role in roles if not served[role].urls)
    spec = ENGINES.spec(config.engine)
    if len(needed) < 2:
        return Placement("one", "all roles are played by one model")
    missing = [each for each in needed if not any(o.serves(each) for o in opened)]
    if spec.place is not None and missing:
        return spec.place(missing, config)
    if not spec.in_process or not missing:
        return Placement("side by side", "there is room for each")
    names = [deployment.model for deployment in needed]
    return placement(names, device=config.device, dtype=config.dtype)


def needs_two_phases(
    config: DecodeConfig,
    roles: Collection[Role],
    opened: Collection[Deployment],
    note: NoteCallback,
) -> bool:
    """Whether the actor's model must be freed before the others are loaded; notes the reason.

    Raises
    ------
    UsageError
        The replicas of two models find no room at the same time, and phases are not possible.
    """
    placed = place_roles(config, roles, opened)
    if placed.arrangement == "one":
        return False
    served = deployments(config)
    local = [role for role in roles if not served[role].urls]
    others = {served[role] for role in local if role != "actor"}
    too_large = placed.arrangement == "in turn"
    two_phases = too_large and "actor" in local and served["actor"] not in others
    if too_large and not two_phases:
        _check_replicas(config, placed)
    how = "drafts first, then the search, since" if two_phases else "loaded side by side:"
    warning = "; loading may fail, since the actor's model judges or refines too"
    num_models = len({served[role].model for role in local})
    note(f"{num_models} models: {how} {placed.why}" + warning * (too_large and not two_phases))
    return two_phases


def check_second_phase(config: DecodeConfig, roles: Collection[Role]) -> None:
    """Raise `UsageError` where the models of the search find no room at the same time."""
    placed = place_roles(config, roles)
    if placed.arrangement == "in turn":
        _check_replicas(config, placed)


def _check_replicas(config: DecodeConfig, placed: Placement) -> None:
    """Raise `UsageError` where models that must be open at the same time certainly do not fit.

    The memory of this machine is an estimate, by which a run may still be tried.
    """
    if ENGINES.spec(config.engine).place is not None:
        raise UsageError(
            f"{placed.why}; models whose roles work at the same time must fit together: use fewer "
            "--replicas, or one model for these roles"
        )


def placement(models: Sequence[str], *, device: str = "auto", dtype: str = "auto") -> Placement:
    """How the distinct models among `models` are best arranged on this machine.

    Parameters
    ----------
    device, dtype:
        As in the settings: auto, cpu or a torch device; auto, bf16 or fp32.
    """
    distinct = list(dict.fromkeys(models))
    free, on_gpu = free_memory(device)
    width = 4 if dtype == "fp32" or (dtype == "auto" and not on_gpu) else 2
    return arrange({model: weight_bytes(model, width) for model in distinct}, free)


def arrange(sizes: dict[str, int | None], free: int) -> Placement:
    """The arrangement for models of these sizes in `free` bytes; None is an unknown size."""
    if len(sizes) < 2:
        return Placement("one", "all roles are played by one model")
    unknown = [model for model, size in sizes.items() if size is None]
    if unknown:
        return Placement("in turn", f"the size of {unknown[0]} is unknown until it is downloaded")
    needed = sum(
        size + max(LEAST_CACHE, int(size * CACHE_SHARE)) for size in sizes.values() if size
    )
    room = int(free * USABLE)
    sums = f"{needed / _GIB:.1f} GiB with their caches, {room / _GIB:.1f} GiB can be used"
    if needed <= room:
        return Placement("side by side", f"{len(sizes)} models need {sums}")
    return Placement("in turn", f"{len(sizes)} models side by side would need {sums}")


def memory_shares(config: DecodeConfig, roles: Collection[Role]) -> dict[str, float]:
    """Model to its share of the memory, where several are loaded in this process.

    Parameters
    ----------
    roles:
        Roles that call a model.
    """
    served = deployments(config)
    names = list(dict.fromkeys(served[role].model for role in roles if not served[role].urls))
    if len(names) < 2 or not ENGINES.spec(config.engine).shares_memory:
        return {}
    return shares({name: weight_bytes(name, 2) for name in names})


def check_fit(
    config: DecodeConfig, roles: Collection[Role], opened: Collection[Deployment] = ()
) -> None:
    """Raise `UsageError` where the models of these roles do not fit at the same time.

    Parameters
    ----------
    opened:
        Deployments that are open already, and stay so.
    """
    placed = place_roles(config, roles, opened)
    if placed.arrangement == "in turn":
        raise UsageError(
            f"{placed.why}; use one model for all roles, or put one of them on a server"
        )


def shares(sizes: dict[str, int | None]) -> dict[str, float]:
    """Each model's share of the memory when all are loaded: half of it in equal parts, half
    by weight, so that a small model keeps room for its cache."""
    total = sum(size or 0 for size in sizes.values())
    even = 1 / len(sizes)
    return {
        model: round(0.5 * even + 0.5 * ((size or 0) / total if total else even), 4)
        for model, size in sizes.items()
    }


def weight_bytes(model: str, width: int) -> int | None:
    """Bytes of a model's weights at `width` bytes a number; None where its files are not here."""
    folder = local_files(model)
    if folder is None:
        return None
    for kind in _WEIGHTS:
        files = sorted(path for path in folder.glob(f"*{kind}") if path.is_file())
        if files:
            stored = sum(path.stat().st_size for path in files)
            return int(stored * width / _stored_width(folder))
    return None


def _stored_width(folder: Path) -> float:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 2
    name = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    return {"float32": 4, "float64": 8}.get(name, 2)
