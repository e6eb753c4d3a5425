"""What both trainers share: TRL's settings, the way to the end and its report, and clear words on the way."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from spar.errors import MissingExtra, RunStopped, SparError, UsageError
from spar.files import replace_json
from spar.record.training import TRAIN_REPORT, TrainReport, read_metrics
from spar.subprocesses import exit_with_parent, print_error, write_failure
from spar.train.context import Place, installed
from spar.train.encode import Encoder
from spar.train.progress import callbacks, last_checkpoint, plot
from spar.train.settings import TrainerSettings, load_settings
from spar.train.weights import load_model, load_tokenizer, save_final

PRESETS = Path(__file__).parents[1] / "recipes" / "deepspeed"


S = TypeVar("S", bound=TrainerSettings)


def run_main(kind: type[S], train: Callable[[S], None], arguments: Sequence[str] | None) -> int:
    """The command line of a trainer; returns its exit code.

    A mistake or a stop is one line on standard error and stands in `failure.json`, for a launcher
    that only sees exit codes.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {train.__module__}")
    parser.add_argument("settings", help="a JSON file (spar.train.settings)")
    path = parser.parse_args(arguments).settings
    out: Path | None = None
    try:
        exit_with_parent()
        settings = load_settings(kind, path)
        out = Path(settings.out)
        train(settings)
        return 0
    except Exception as error:
        told = explained(error)
        if told is None:
            raise
        print_error(told)  # of every process: the first one may not be the one that has trouble
        main = int(os.environ.get("RANK", "0")) == 0
        if main and out is not None and out.is_dir():
            write_failure(out / "failure.json", told)
        return told.exit_code


def explained(error: Exception) -> SparError | None:
    """An error as a person should read it; None where only a traceback can help."""
    if isinstance(error, SparError):
        return error
    text = str(error)
    if "out of memory" in text.lower():
        return RunStopped(
            "the memory ran out; lower micro_batch, set gradient_checkpointing to 'on', take a DeepSpeed "
            "preset that offloads, or train adapters (method 'lora'), and start again"
        )
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left" in text or "PytorchStreamWriter failed writing" in text:
        return RunStopped(
            "the disk is full; the last complete checkpoint is whole: make room and start again"
        )
    return None


def trainer_arguments(settings: TrainerSettings, place: Place) -> dict[str, Any]:
    """What both of TRL's configurations are given.

    Raises
    ------
    UsageError
        `batch` cannot be shared out evenly, or the DeepSpeed file is not known.
    """
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(place.out / "tensorboard")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    again = settings.gradient_checkpointing
    return {
        "output_dir": str(place.out),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": settings.micro_batch,
        "gradient_accumulation_steps": accumulation(settings, place.processes),
        "warmup_steps": settings.warmup_ratio,
        "lr_scheduler_type": settings.schedule,
        "max_length": settings.cutoff,
        "optim": "adamw_torch",
        "adam_beta1": settings.beta1,
        "adam_beta2": settings.beta2,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "bf16": place.bf16,
        "use_cpu": not place.on_gpu,
        "gradient_checkpointing": place.on_gpu if again == "auto" else again == "on",
        "seed": settings.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would report a good loss where there is none
        "save_strategy": "steps" if settings.checkpoint_steps else "no",
        "save_steps": settings.checkpoint_steps or 1,
        "save_total_limit": 2,  # the older one goes before the newer one is marked as whole
        "report_to": _reporters(settings),
        "disable_tqdm": True,
        "deepspeed": str(deepspeed_file(settings.deepspeed)) if settings.deepspeed else None,
        "ddp_backend": "gloo" if place.processes > 1 and not place.on_gpu else None,
        "ddp_find_unused_parameters": False,
    }


def load(settings: TrainerSettings, place: Place) -> tuple[Any, Any, Encoder]:
    """The tokenizer, the model to train, and what turns conversations into its tokens.

    Raises
    ------
    UsageError
        The model cannot be loaded, or has no chat template or end token.
    """
    tokenizer = load_tokenizer(settings.model)
    model = load_model(settings, bf16=place.bf16, on_gpu=place.on_gpu)
    ends = model.generation_config.eos_token_id
    ids = [ends] if isinstance(ends, int) else list(ends or ())
    return tokenizer, model, Encoder(tokenizer, ids)


def context_of(model: Any) -> int | None:
    """Tokens that a model holds; None where it does not say."""
    return getattr(model.config, "max_position_embeddings", None)


def dataset(rows: list[dict[str, Any]]) -> Any:
    """Rows as TRL takes them."""
    from datasets import Dataset

    return Dataset.from_list(rows)


def accumulation(settings: TrainerSettings, processes: int) -> int:
    """Micro-batches that each process adds up to an optimizer step."""
    at_once = settings.micro_batch * processes
    if settings.batch % at_once:
        raise UsageError(
            f"batch {settings.batch} cannot be shared out: {processes} processes with micro_batch "
            f"{settings.micro_batch} take {at_once} examples at once; give a multiple of that"
        )
    return settings.batch // at_once


def deepspeed_file(name: str) -> Path:
    """A DeepSpeed configuration: one of the presets, or a file."""
    for path in (PRESETS / f"{name}.json", Path(name)):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in PRESETS.glob("*.json")))
    raise UsageError(f"deepspeed {name!r}: no such file, nor a preset ({shipped})")


def check_lengths(lengths: Sequence[int], settings: TrainerSettings, context: int | None) -> int:
    """How many examples lose their end.

    Raises
    ------
    UsageError
        More than the share that `max_truncated` allows, or examples that the model cannot hold.
    """
    longest, cut = max(lengths), sum(length > settings.cutoff for length in lengths)
    if context is not None and min(longest, settings.cutoff) > context:
        raise UsageError(
            f"an example has {longest} tokens, the model holds {context}; "
            f"lower cutoff, now {settings.cutoff}, or leave such examples out"
        )
    if cut > settings.max_truncated * len(lengths):
        raise UsageError(
            f"{cut} of {len(lengths)} examples are longer than cutoff {settings.cutoff} (the longest has "
            f"{longest} tokens), and at most {settings.max_truncated:.0%} may lose their end; "
            "raise cutoff or max_truncated"
        )
    return cut


def fit(trainer: Any, settings: TrainerSettings, place: Place, lengths: Sequence[int]) -> None:
    """Train from the last checkpoint on, and write what came of it. Every process calls it."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    for callback in callbacks(place.out, main=place.main):
        trainer.add_callback(callback)
    good = last_checkpoint(place.out)
    result = trainer.train(resume_from_checkpoint=str(good) if good else None)
    save_final(trainer, settings, place.out / "model")
    if not place.main:
        return
    plot(place.out)
    rows = read_metrics(place.out)
    report = TrainReport(
        model="model",
        examples=len(lengths),
        truncated=sum(length > settings.cutoff for length in lengths),
        steps=result.global_step,
        loss=rows[-1].values.get("loss") if rows else None,
        processes=place.processes,
        seconds=round(time.monotonic() - place.started, 1),
    )
    replace_json(place.out / TRAIN_REPORT, report.model_dump())
    (place.out / "README.md").unlink(missing_ok=True)  # a card of TRL's about its checkpoints
    if not settings.keep_checkpoints:
        for path in place.out.glob("checkpoint-*"):
            shutil.rmtree(path)


def import_trl() -> Any:
    """TRL, or a word on how to install it."""
    try:
        import trl
    except ImportError as error:
        raise MissingExtra(error.name or "trl", "train", "training") from error
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    return trl


def _reporters(settings: TrainerSettings) -> list[str]:
    if settings.wandb and not installed("wandb"):
        raise UsageError(
            f"wandb {settings.wandb!r} is set and the package wandb is not installed; "
            "run: pip install wandb, or leave the setting out"
        )
    if settings.wandb:
        os.environ["WANDB_PROJECT"] = settings.wandb
    wanted: Mapping[str, bool] = {"tensorboard": True, "wandb": bool(settings.wandb)}
    return [name for name, on in wanted.items() if on and installed(name)]
