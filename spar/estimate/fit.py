"""Whether the models of a training loop fit into memory: for inference, on an engine, and for training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.estimate.memory import (
    Machine,
    Processes,
    gpus_per_copy,
    inference_need,
    num_copies,
    training_need,
)
from spar.estimate.model_size import ModelSize, model_size
from spar.run.placement import USABLE
from spar.run.resolve import deployments, loads_models, model_roles, shown_model
from spar.train.settings import LaunchSettings, TrainerSettings
from spar.train.specs import GenerationSpec, TrainingSpec
from spar.train.stage import Stage

GIB = 1 << 30
ADVICE_SMALLER = "take a smaller model"
ADVICE_SPREAD = f"spread a copy over more GPUs (tensor_parallel_size), or {ADVICE_SMALLER}"
ADVICE_TRAINING = (
    "partition it over more GPUs (deepspeed: zero3), offload (zero3-offload), or train adapters"
)
UNKNOWN = "the model is not on this machine yet, or its architecture is not known here"


@dataclass(frozen=True, slots=True)
class Resources:
    """What a loop runs on."""

    machine: Machine
    processes: Processes
    """Of a training."""


Sizes = Mapping[str, ModelSize | None]
"""Name of a training stage, or folder of a model, to a model's size."""


def fit_lines(stages: Sequence[Stage], sizes: Sizes, resources: Resources) -> Iterator[str]:
    """A line on inference, and one on each training, by its name."""
    specs = [stage.spec for stage in stages if isinstance(stage.spec, GenerationSpec)]
    trainings = [(s.name, s.spec) for s in stages if isinstance(s.spec, TrainingSpec)]
    if specs:
        # A later iteration's model does not exist yet; it will be as large as the one that it is trained from.
        trained = {str(spec.folder / "model"): sizes[name] for name, spec in trainings}
        yield from _inference_lines(specs, trained, resources.machine)
    first = dict(trainings) | dict(reversed(trainings))  # in the order of the stages
    for name, spec in first.items():
        yield _training_line(name, spec.settings, sizes[name], resources)


def training_processes(
    stages: Sequence[Stage], launch: LaunchSettings, machine: Machine
) -> Processes:
    """`processes_of` where one of the stages trains, else one process."""
    trains = any(isinstance(stage.spec, TrainingSpec) for stage in stages)
    return processes_of(launch, machine) if trains else Processes(1)


def processes_of(launch: LaunchSettings, machine: Machine) -> Processes:
    """The number of training processes that `spar.train.launch` starts.

    Raises
    ------
    UsageError
        There is no such hostfile, or it names no machine.
    """
    if not launch.hostfile:
        return Processes(launch.processes or max(1, len(machine.gpus)))
    path, advice = Path(launch.hostfile), "write one line `NAME slots=GPUS` for each machine"
    if not path.is_file():
        raise UsageError(f"hostfile {launch.hostfile!r}: no such file; {advice}")
    slots = [
        int(part.removeprefix("slots="))
        for line in path.read_text(encoding="utf-8").splitlines()
        for part in line.split("#")[0].split()[1:]
        if part.startswith("slots=") and part.removeprefix("slots=").isdecimal()
    ]
    if not slots:
        raise UsageError(f"hostfile {launch.hostfile!r} names no machine; {advice}")
    return Processes(sum(slots), len(slots))


def format_bytes(num_bytes: float) -> str:
    """Bytes in MiB or GiB."""
    if num_bytes < GIB / 10:
        return f"{max(1, round(num_bytes / (1 << 20)))} MiB"
    return f"{num_bytes / GIB:,.{0 if num_bytes >= 100 * GIB else 1}f} GiB"


def format_parameters(number: int) -> str:
    """A number of parameters in millions or billions."""
    return f"{number / 1e9:.2f} B" if number >= 1e8 else f"{number / 1e6:.1f} M"


def _inference_lines(
    specs: Sequence[GenerationSpec], trained: Sizes, machine: Machine
) -> Iterator[str]:
    config = specs[0].config
    if not loads_models(config):
        return
    if config.ray_address:
        yield "inference: whether the models fit the Ray cluster is not known here"
        return
    largest = max((_loaded_sizes(spec, trained) for spec in specs), key=_total_parameters)
    unknown = next((model for model, size in largest.items() if size is None), None)
    if unknown is not None:
        yield f"inference: whether {shown_model(unknown)} fits is unknown: {UNKNOWN}"
        return
    loaded = [size for size in largest.values() if size is not None]
    if loaded:  # else all models are behind URLs
        counts = " and ".join(format_parameters(size.parameters) for size in loaded)
        yield f"inference: {counts} parameters, {_inference_verdict(config, loaded, machine)}"


def _inference_verdict(config: DecodeConfig, sizes: Sequence[ModelSize], machine: Machine) -> str:
    on_gpu = machine.on_gpu and config.device != "cpu"
    need = sum(inference_need(config, size, on_gpu=on_gpu).process for size in sizes)
    if not on_gpu:
        need *= num_copies(config)
        what = f"with a KV cache {format_bytes(need)} of memory"
        return _verdict(what, [(need, machine.memory)], ADVICE_SMALLER)
    gpus = gpus_per_copy(config) * num_copies(config)
    what = f"with a KV cache {format_bytes(need)} of each GPU"
    if gpus > len(machine.gpus):
        return f"{what}: the engine needs {gpus}, there are {len(machine.gpus)}"
    return _verdict(what, [(need, min(machine.gpus))], ADVICE_SPREAD)


def _loaded_sizes(spec: GenerationSpec, trained: Sizes) -> dict[str, ModelSize | None]:
    """The models that a stage loads at the same time, and their sizes.

    Parameters
    ----------
    trained:
        Folder of a model that the loop will train to its size.
    """
    served = deployments(spec.config)
    loaded: dict[str, ModelSize | None] = {}
    for role in model_roles(spec.config, spec.roles):
        if not served[role].urls:
            name = served[role].model
            loaded[name] = model_size(name) or trained.get(name)
    return loaded


def _total_parameters(sizes: Mapping[str, ModelSize | None]) -> float:
    """Parameters of all models; infinite where a size is unknown."""
    return sum(size.parameters if size else float("inf") for size in sizes.values())


def _training_line(
    name: str, settings: TrainerSettings, size: ModelSize | None, resources: Resources
) -> str:
    processes = resources.processes
    words = [name, settings.method, settings.deepspeed]
    words += [f"{processes.total} processes"] * (processes.total > 1)
    what = f"training ({', '.join(word for word in words if word)})"
    if size is None:
        return f"{what}: whether it fits is unknown: {UNKNOWN}"
    return f"{what}: {_training_verdict(settings, size, resources)}"


def _training_verdict(settings: TrainerSettings, size: ModelSize, resources: Resources) -> str:
    machine, processes = resources.machine, resources.processes
    on_gpu = machine.on_gpu and settings.device != "cpu"
    need = training_need(settings, size, processes, on_gpu=on_gpu)
    if not on_gpu:
        total = round(need.process * processes.per_machine) + need.machine
        what = f"without activations {format_bytes(total)} of memory"
        return _verdict(what, [(total, machine.memory)], ADVICE_TRAINING)
    what = f"without activations {format_bytes(need.process)} of each GPU"
    rooms = [(need.process, min(machine.gpus))]
    if need.machine:
        what += f" and {format_bytes(need.machine)} of memory"
        rooms.append((need.machine, machine.memory))
    if processes.per_machine > len(machine.gpus):
        return f"{what}: {processes.per_machine:.0f} processes need as many, there are {len(machine.gpus)}"
    return _verdict(what, rooms, ADVICE_TRAINING)


def _verdict(what: str, rooms: Sequence[tuple[int, int]], advice: str) -> str:
    """Whether each need fits its free memory, with a small margin."""
    free = " and ".join(format_bytes(room) for _, room in rooms)
    fits = all(need <= room * USABLE for need, room in rooms)
    return f"{what}, {free} free: {'fits' if fits else f'does not fit; {advice}'}"
