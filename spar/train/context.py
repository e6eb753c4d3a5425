"""Where a training stands: its folder, and the processes that meet in it.

    out/
      run.json        what is trained: settings, digest of the data, versions (`spar.manifest`)
      metrics.jsonl   a row an optimizer step (`spar.train.progress`)
      checkpoint-40/  for going on after a kill; the last one that is marked complete counts
      model/          the trained model, an ordinary Hugging Face folder; it appears whole
      adapter/        the adapters alone, where `method` is lora or qlora
      report.json     what came of it; it is written last
      loss.png  tensorboard/  failure.json (only where it failed)

Running the same settings again goes on from the last checkpoint, and does nothing once it is done.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from spar import __version__
from spar.errors import ConfigChanged, MissingExtra, UsageError
from spar.files import locked, replace_json
from spar.manifest import Manifest, refuse_changes
from spar.train.progress import clear_torn, last_checkpoint
from spar.train.settings import FREE, TrainerSettings

_RANKS = {"RANK": "0", "WORLD_SIZE": "1"}
_PACKAGES = ("torch", "transformers", "trl", "accelerate", "deepspeed", "peft")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one process of a training stands."""

    out: Path
    """The training's folder."""
    rank: int
    """Number of the process, 0 for the one that writes."""
    processes: int
    """All of them."""
    on_gpu: bool
    """Whether it trains on a GPU."""
    bf16: bool
    """Whether it computes in bf16."""
    started: float = field(default_factory=time.monotonic)
    """When it began."""

    @property
    def main(self) -> bool:
        """Whether this process writes the folder's files."""
        return self.rank == 0


@contextmanager
def opened(settings: TrainerSettings) -> Iterator[Place | None]:
    """The training's folder, held by this run; None where the training is done already.

    Raises
    ------
    ConfigChanged
        The folder holds a training with other settings or data.
    RunLocked
        Another process is writing to it.
    """
    place = _place(settings)
    place.out.mkdir(parents=True, exist_ok=True)
    if not place.main:
        yield None if (place.out / "report.json").exists() else place
        return
    with locked(place.out / "lock"):
        _settle(_manifest(settings, place), place.out)
        (place.out / "failure.json").unlink(missing_ok=True)
        done = (place.out / "report.json").exists()
        print(f"{place.out}: {'trained already' if done else _beginning(place)}", flush=True)
        yield None if done else place


def installed(package: str) -> bool:
    """Whether a package could be imported."""
    return importlib.util.find_spec(package) is not None


def _place(settings: TrainerSettings) -> Place:
    """Meet the other processes, and see what there is to train on."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "train", "training") from error
    found = torch.cuda.is_available()
    if settings.device == "gpu" and not found:
        raise UsageError("device is 'gpu' and torch finds none; set it to 'cpu' or 'auto'")
    on_gpu = found and settings.device != "cpu"
    if not on_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"  # DeepSpeed looks for a device whoever imports it
    if settings.deepspeed:
        _meet(on_gpu)
    auto = "bf16" if on_gpu else "fp32"
    wanted = auto if settings.precision == "auto" else settings.precision
    rank, processes = (int(os.environ.get(name, at)) for name, at in _RANKS.items())
    return Place(Path(settings.out), rank, processes, on_gpu, wanted == "bf16")


def _meet(on_gpu: bool) -> None:
    """Open the process group of a DeepSpeed training.

    Under ZeRO-3 transformers asks for the number of processes while it reads its settings; without a
    group it would hear 1.
    """
    for name, value in {**_RANKS, "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        os.environ.setdefault(name, value)
    if "MASTER_PORT" not in os.environ:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            os.environ["MASTER_PORT"] = str(free.getsockname()[1])
    try:
        import deepspeed
    except ImportError as error:
        raise MissingExtra(error.name or "deepspeed", "train", "DeepSpeed training") from error
    # DeepSpeed and torch are of different ages: each call of a renamed collective warns.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    # On a CPU it would compile kernels of its own first, for a minute and with a compiler; gloo will do.
    backend: Any = importlib.import_module("deepspeed.comm.torch")
    backend.build_shm_op = lambda: None
    deepspeed.init_distributed(dist_backend="nccl" if on_gpu else "gloo")


def _settle(wanted: Manifest, out: Path) -> None:
    """Write the manifest, or see that what is trained in the folder is the same."""
    begun = (out / "report.json").exists() or last_checkpoint(out)
    if not begun:  # a setting that was refused, or changed before the first checkpoint
        replace_json(out / "run.json", wanted.model_dump())
        return
    try:
        stored = Manifest.model_validate_json((out / "run.json").read_text())
        refuse_changes(stored, wanted, out)
    except ConfigChanged as error:
        found, _, _ = str(error).rpartition("\n")
        raise ConfigChanged(
            f"{found}\nremove the folder to start over, or give another out"
        ) from None


def _manifest(settings: TrainerSettings, place: Place) -> Manifest:
    try:
        data = hashlib.sha256(Path(settings.data).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise UsageError(f"cannot read the data {settings.data}: {error.strerror}") from error
    config = settings.stored()
    return Manifest(
        spar_version=__version__,
        config={**config, "data_digest": data, "processes": place.processes},
        free=FREE,
        packages={name: metadata.version(name) for name in _PACKAGES if installed(name)},
        models={"trained": settings.model},
        seed=settings.seed,
    )


def _beginning(place: Place) -> str:
    clear_torn(place.out)
    good = last_checkpoint(place.out)
    return f"going on from {good.name}" if good else "training"
