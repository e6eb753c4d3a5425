"""Whether the models of a training loop fit: to answer, on an engine, and to be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.estimate.memory import (
    Machine,
    Processes,
    answering_need,
    copies,
    gpus_of_copy,
    training_need,
)
from spar.estimate.model_size import ModelSize, model_size
from spar.estimate.preflight import TRAINERS, searched, trained
from spar.run.placement import USABLE
from spar.run.resolve import deployments, shown_model
from spar.train.settings import LaunchSettings, TrainerSettings
from spar.train.stages import Stage
from spar.types import Role

ASKED: Mapping[str, tuple[Role, ...]] = {
    "draft": ("actor",),
    "judge": ("judge",),
    "search": ("judge", "refiner"),
}
"""Stage to the roles whose models it has loaded."""
TRAINED_AS: Mapping[Role, str] = {"actor": "dpo", "refiner": "rft", "judge": "rft"}
"""Role to the training that makes its next model, which is as large. The judge follows the refiner."""
GIB = 1 << 30
SMALLER = "take a smaller model"
SPREAD = f"spread a copy over more GPUs (tensor_parallel_size), or {SMALLER}"
SHARED = (
    "share it out over more GPUs (deepspeed: zero3), offload (zero3-offload), or train adapters"
)
UNKNOWN = "the model is not on this machine yet, or is built in a way that is not known here"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a loop runs."""

    machine: Machine
    processes: Processes
    """Of a training."""


Sizes = Mapping[str, ModelSize | None]
"""Training stage's name to the size of its model."""


def fit_lines(stages: Sequence[Stage], sizes: Sizes, place: Place) -> Iterator[str]:
    """A line on answering, and one on each kind of training."""
    asking = [stage for stage in stages if stage.name in ASKED]
    if asking:
        yield from _answering(asking, sizes, place.machine)
    for name in TRAINERS:
        settings = next((trained(stage) for stage in stages if stage.name == name), None)
        if settings is not None:
            yield _training(name, settings, sizes[name], place)


def processes_of(launch: LaunchSettings, machine: Machine) -> Processes:
    """How many processes train, as `spar.train.launch` starts them.

    Raises
    ------
    UsageError
        There is no such hostfile, or it names no machine.
    """
    if not launch.hostfile:
        return Processes(launch.processes or max(1, len(machine.gpus)))
    path, form = Path(launch.hostfile), "write a line `NAME slots=GPUS` a machine"
    if not path.is_file():
        raise UsageError(f"hostfile {launch.hostfile!r}: no such file; {form}")
    slots = [
        int(part.removeprefix("slots="))
        for line in path.read_text(encoding="utf-8").splitlines()
        for part in line.split("#")[0].split()[1:]
        if part.startswith("slots=") and part.removeprefix("slots=").isdigit()
    ]
    if not slots:
        raise UsageError(f"hostfile {launch.hostfile!r} names no machine; {form}")
    return Processes(sum(slots), len(slots))


def shown(num_bytes: float) -> str:
    """Bytes for a person."""
    if num_bytes < GIB / 10:
        return f"{max(1, round(num_bytes / (1 << 20)))} MiB"
    return f"{num_bytes / GIB:,.{0 if num_bytes >= 100 * GIB else 1}f} GiB"


def _answering(stages: Sequence[Stage], sizes: Sizes, machine: Machine) -> Iterator[str]:
    config = searched(stages[0])
    if config.engine == "fake":
        return
    if config.ray_address:
        yield "to answer: whether the models fit the Ray cluster is not known from here"
        return
    asked = max((_sizes_asked(stage, sizes) for stage in stages), key=_total)
    unknown = next((model for model, size in asked.items() if size is None), None)
    if unknown is not None:
        yield f"to answer: whether {shown_model(unknown)} fits is unknown: {UNKNOWN}"
        return
    known = [size for size in asked.values() if size is not None]
    if not known:  # servers answer
        return
    names = " and ".join(shown_count(size.parameters) for size in known)
    yield f"to answer: {names} parameters, {_answered(config, known, machine)}"


def _answered(config: DecodeConfig, sizes: Sequence[ModelSize], machine: Machine) -> str:
    on_gpu = machine.on_gpu and config.device != "cpu"
    need = sum(answering_need(config, size, on_gpu=on_gpu).process for size in sizes)
    if not on_gpu:
        need *= copies(config)
        what = f"with room for keys and values {shown(need)} of memory"
        return _verdict(what, [(need, machine.memory)], SMALLER)
    gpus = gpus_of_copy(config) * copies(config)
    what = f"with room for keys and values {shown(need)} of each GPU"
    if gpus > len(machine.gpus):
        return f"{what}: the engine wants {gpus}, there are {len(machine.gpus)}"
    return _verdict(what, [(need, min(machine.gpus))], SPREAD)


def _sizes_asked(stage: Stage, sizes: Sizes) -> dict[str, ModelSize | None]:
    """Model to its size, of the local ones that a stage loads at the same time."""
    config = searched(stage)
    served = deployments(config)
    found: dict[str, ModelSize | None] = {}
    for role in ASKED[stage.name]:
        if served[role].urls:
            continue
        # A later iteration's model is not there yet; it will be as large as the one it is made of.
        own = role == "judge" and config.judge_model
        found[served[role].model] = model_size(served[role].model) or (
            None if own else sizes.get(TRAINED_AS[role])
        )
    return found


def _total(asked: Mapping[str, ModelSize | None]) -> float:
    """Parameters in all; a model of unknown size is the largest."""
    return sum(size.parameters if size else float("inf") for size in asked.values())


def _training(name: str, settings: TrainerSettings, size: ModelSize | None, place: Place) -> str:
    processes = place.processes
    words = [name, settings.method, settings.deepspeed]
    words += [f"{processes.total} processes"] * (processes.total > 1)
    what = f"to train ({', '.join(word for word in words if word)})"
    if size is None:
        return f"{what}: whether it fits is unknown: {UNKNOWN}"
    return f"{what}: {_trained(settings, size, place)}"


def _trained(settings: TrainerSettings, size: ModelSize, place: Place) -> str:
    machine, processes = place.machine, place.processes
    on_gpu = machine.on_gpu and settings.device != "cpu"
    need = training_need(settings, size, processes, on_gpu=on_gpu)
    if not on_gpu:
        whole = round(need.process * processes.each) + need.machine
        what = f"without activations {shown(whole)} of memory"
        return _verdict(what, [(whole, machine.memory)], SHARED)
    what = f"without activations {shown(need.process)} of each GPU"
    rooms = [(need.process, min(machine.gpus))]
    if need.machine:
        what += f" and {shown(need.machine)} of memory"
        rooms.append((need.machine, machine.memory))
    if processes.each > len(machine.gpus):
        return f"{what}: {processes.each:.0f} processes want as many, there are {len(machine.gpus)}"
    return _verdict(what, rooms, SHARED)


def _verdict(what: str, rooms: Sequence[tuple[int, int]], advice: str) -> str:
    """Whether each need finds its room, a little of which is left free."""
    free = " and ".join(shown(room) for _, room in rooms)
    fits = all(need <= room * USABLE for need, room in rooms)
    return f"{what}, {free} free: {'fits' if fits else f'does not fit; {advice}'}"


def shown_count(number: int) -> str:
    """A count of parameters for a person."""
    return f"{number / 1e9:.2f} B" if number >= 1e8 else f"{number / 1e6:.1f} M"
