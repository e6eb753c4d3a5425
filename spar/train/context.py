"""The context of a training: its folder, and the processes that share it.

    out/
      run.json        what is trained: settings, digest of the data, versions (`spar.manifest`)
      metrics.jsonl   one row for each optimizer step (`spar.record.training`)
      checkpoint-40/  for resuming after a kill; the last one that is marked complete counts
      model/          the trained model, an ordinary Hugging Face folder; it appears complete
      adapter/        the adapters alone, where `method` is lora or qlora
      report.json     the result; it is written last
      loss.png  tensorboard/  failure.json (only where it failed)

Running the same settings again resumes from the last checkpoint, and does nothing once the training is done.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from spar import __version__
from spar.cores import import_torch
from spar.errors import ConfigChanged, MissingExtra, UsageError
from spar.files import locked, replace_json
from spar.hardware import has_package
from spar.manifest import Manifest, refuse_changes, with_sources
from spar.models.folders import local_model
from spar.record.training import FAILURE, TRAIN_REPORT
from spar.store import MANIFEST
from spar.train.owned import LOCK, refuse_foreign, refuse_foreign_checkpoints, remove_leftovers
from spar.train.progress import last_checkpoint, remove_incomplete
from spar.train.settings import FREE, TrainerSettings

GROUP_SECONDS = 180_000_000
"""How long a process waits for the others (code: `ddp_timeout`). The main process checks and stores the weights while
the others wait, hundreds of gigabytes of a large model; torch gives up after ten minutes. A process that dies does not
keep the others waiting: the launcher ends them."""
_RANKS = {"RANK": "0", "WORLD_SIZE": "1"}
_PACKAGES = ("torch", "transformers", "trl", "accelerate", "deepspeed", "peft")


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """One process of a training."""

    out: Path
    """The training's folder."""
    rank: int
    """Number of the process, 0 for the main one."""
    processes: int
    """Number of all processes."""
    on_gpu: bool
    """Whether it trains on a GPU."""
    bf16: bool
    """Whether it computes in bf16."""
    started: float = field(default_factory=time.monotonic)
    """When it started, by the monotonic clock."""

    @property
    def main(self) -> bool:
        """Whether this process writes the folder's files."""
        return self.rank == 0


@contextmanager
def open_training(settings: TrainerSettings) -> Iterator[TrainingContext | None]:
    """Join the processes of a training and lock its folder; None where the training is done already.

    Raises
    ------
    ConfigChanged
        The folder holds a training with other settings or data.
    RunLocked
        Another process is writing to it.
    UsageError
        The folder holds files of others; nothing in it is changed.
    """
    context = _context(settings)
    out = context.out
    if context.main:
        refuse_foreign(out)
    out.mkdir(parents=True, exist_ok=True)
    if not context.main:
        yield None if (out / TRAIN_REPORT).exists() else context
        return
    with locked(out / LOCK):
        _write_manifest(_manifest(settings, context), out)
        if (
            context.processes == 1
        ):  # of several, another may have failed already; their launcher has removed it
            (out / FAILURE).unlink(missing_ok=True)
        done = (out / TRAIN_REPORT).exists()
        if not done:
            refuse_foreign_checkpoints(out)
            remove_incomplete(out)
        else:
            remove_leftovers(out, keep_checkpoints=settings.keep_checkpoints)
        checkpoint = last_checkpoint(out)
        start = f"resuming from {checkpoint.name}" if checkpoint else "training"
        print(f"{out}: {'trained already' if done else start}", flush=True)
        yield None if done else context


def _context(settings: TrainerSettings) -> TrainingContext:
    try:
        torch = import_torch()
    except ImportError as error:
        raise MissingExtra("torch", "train", "training") from error
    has_gpu = torch.cuda.is_available()
    if settings.device == "gpu" and not has_gpu:
        raise UsageError("device is 'gpu', and torch sees no GPU; set it to 'cpu' or 'auto'")
    on_gpu = has_gpu and settings.device != "cpu"
    if not on_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"  # importing DeepSpeed looks for a device
    if settings.deepspeed:
        init_process_group(on_gpu=on_gpu)
    auto = "bf16" if on_gpu else "fp32"
    precision = auto if settings.precision == "auto" else settings.precision
    rank, processes = (int(os.environ.get(name, default)) for name, default in _RANKS.items())
    return TrainingContext(Path(settings.out), rank, processes, on_gpu, precision == "bf16")


def init_process_group(*, on_gpu: bool) -> None:
    """Initialize the process group of a DeepSpeed training.

    Under ZeRO-3, transformers reads the number of processes while it parses its settings, which is 1 without a
    process group.
    """
    for name, value in {**_RANKS, "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        os.environ.setdefault(name, value)
    if "MASTER_PORT" not in os.environ:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            os.environ["MASTER_PORT"] = str(probe.getsockname()[1])
    try:
        import deepspeed
    except ImportError as error:
        raise MissingExtra(error.name or "deepspeed", "train", "DeepSpeed training") from error
    # DeepSpeed calls collectives by names that this version of torch deprecates.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    # On a CPU it would compile its own kernels first, which takes a minute and a compiler; gloo suffices.
    backend: Any = importlib.import_module("deepspeed.comm.torch")
    backend.build_shm_op = lambda: None
    deepspeed.init_distributed(
        dist_backend="nccl" if on_gpu else "gloo", timeout=timedelta(seconds=GROUP_SECONDS)
    )


def _write_manifest(manifest: Manifest, out: Path) -> None:
    """Write the manifest, or check that the training in the folder has the same."""
    started = (out / TRAIN_REPORT).exists() or last_checkpoint(out)
    if (
        not started
    ):  # settings that were rejected, or changed before the first checkpoint, do not count
        replace_json(out / MANIFEST, manifest.model_dump())
        return
    try:
        stored = Manifest.model_validate_json((out / MANIFEST).read_text(encoding="utf-8"))
        # Otherwise a training could not be resumed with the share that a later one needs.
        refuse_changes(stored, manifest.model_copy(update={"free": (*FREE, "max_truncated")}), out)
    except ConfigChanged as error:
        diff, _, _ = str(error).rpartition("\n")
        raise ConfigChanged(
            f"{diff}\nremove the folder to start over (in a loop: --rerun-from this stage), or choose another out"
        ) from None


def _manifest(settings: TrainerSettings, context: TrainingContext) -> Manifest:
    try:
        digest = hashlib.sha256(Path(settings.data).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise UsageError(f"cannot read the data {settings.data}: {error.strerror}") from error
    # Before DeepSpeed would divide the weights of whatever is loaded.
    local_model(settings.model, partial(print, flush=True))
    manifest = Manifest(
        spar_version=__version__,
        config={**settings.stored(), "data_digest": digest, "processes": context.processes},
        free=FREE,
        packages={name: metadata.version(name) for name in _PACKAGES if has_package(name)},
        models={"trained": settings.model},
        seed=settings.seed,
    )
    return with_sources(manifest, [settings.model])
