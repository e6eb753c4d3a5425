"""What the trainers share: their start, TRL's settings, the end with its report, and readable errors."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from spar.chat_template import ChatTemplate
from spar.errors import MissingExtra, RunStopped, SparError, UsageError
from spar.files import replace_json
from spar.hardware import has_package
from spar.record.training import FAILURE, TRAIN_REPORT, TrainReport, read_metrics
from spar.subprocesses import exit_with_parent, print_error, write_failure
from spar.train.context import GROUP_SECONDS, TrainingContext, open_training
from spar.train.deepspeed_files import deepspeed_config
from spar.train.encode import Encoder
from spar.train.needs import check_needs
from spar.train.owned import is_foreign, remove_leftovers
from spar.train.progress import callbacks, end_with, last_checkpoint, plot
from spar.train.rows import without_thinking
from spar.train.settings import TrainerSettings, load_settings
from spar.train.usable import Usable, select_usable
from spar.train.weights import load_model, load_tokenizer, save_final, to_fp32

_ROUTER_LOSS = "router_aux_loss_coef"
"""TRL's name for the weight of a mixture of experts' load-balancing loss."""
S = TypeVar("S", bound=TrainerSettings)


def run_main(kind: type[S], train: Callable[[S], None], arguments: Sequence[str] | None) -> int:
    """The command line of a trainer; returns its exit code.

    An error is printed in one line on standard error and written to `failure.json`, for a launcher that
    only sees exit codes.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {train.__module__}")
    parser.add_argument("settings", help="a JSON file (spar.train.settings)")
    path = parser.parse_args(arguments).settings
    settings: S | None = None
    try:
        exit_with_parent()
        settings = load_settings(kind, path)
        train(settings)
        return 0
    except Exception as error:
        readable = readable_error(error, settings)
        if readable is None:
            raise
        print_error(readable)  # by every process: the main one may not be the one that failed
        out = Path(settings.out) if settings else None
        if out is not None and out.is_dir() and not is_foreign(out):
            # Whoever fails first: the launcher ends the others, and the main one may not come to it.
            main = int(os.environ.get("RANK", "0")) == 0
            if main or not (out / FAILURE).exists():
                write_failure(out / FAILURE, readable)
        return readable.exit_code


def readable_error(error: Exception, settings: TrainerSettings | None = None) -> SparError | None:
    """An error as a one-line error of spar; None where only a traceback helps.

    Parameters
    ----------
    settings:
        Those of the training; None where they could not be read.
    """
    if isinstance(error, SparError):
        return error
    text = str(error)
    if "out of memory" in text.lower():
        return RunStopped(
            "out of memory: lower micro_batch, set gradient_checkpointing to 'on', choose a DeepSpeed "
            "preset that offloads, or train adapters (method 'lora'), and rerun",
            change=_smaller(settings) if settings else "",
        )
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left" in text or "PytorchStreamWriter failed writing" in text:
        return RunStopped(
            "the disk is full; the last complete checkpoint is safe: free some space and rerun"
        )
    return None


@dataclass(frozen=True, slots=True)
class Training:
    """A training that is ready to start, but for TRL's trainer."""

    context: TrainingContext
    trl: Any
    """The module."""
    arguments: Any
    """TRL's configuration."""
    examples: Any
    """The rows of the data file."""
    tokenizer: Any
    model: Any
    encoder: Encoder
    """Turns conversations into the model's tokens."""

    data: str
    """The data file."""

    def usable(self, problems: Sequence[str]) -> Usable:
        """The examples without a problem, `spar.train.usable`; the main process says which are left out."""
        usable = select_usable(problems, self.data)
        if usable.dropped and self.context.main:
            print(usable, flush=True)
        return usable

    @property
    def max_length(self) -> int | None:
        """Tokens that the model's context holds; None where its configuration does not say."""
        return getattr(self.model.config, "max_position_embeddings", None)


@contextmanager
def start_training(
    settings: TrainerSettings, read: Callable[[str], Any], config: str, **arguments: Any
) -> Iterator[Training | None]:
    """Open the training's folder, read the data, load the model; None where the training is done already.

    Parameters
    ----------
    read:
        Reads the examples of a data file.
    config:
        Name of TRL's class of settings.
    arguments:
        Its settings beside those of `trainer_arguments`.

    Raises
    ------
    UsageError
        A row, a setting or the model is wrong, or a package for a setting is missing.
    """
    with open_training(settings) as context:
        if context is None:
            yield None
            return
        check_needs(settings)
        examples, num_thinking = without_thinking(read(settings.data))
        if num_thinking and context.main:
            say(f"{settings.data}: thinking is removed from the replies of {num_thinking} examples")
        trl = import_trl()
        trl_config = getattr(trl, config)
        if _ROUTER_LOSS in signature(trl_config).parameters:
            arguments[_ROUTER_LOSS] = (
                0.0  # the loss is the documented one, of a mixture of experts too
            )
        trl_arguments = trl_config(**trainer_arguments(settings, context), **arguments)
        tokenizer = load_tokenizer(settings.model)
        ChatTemplate(tokenizer).check(settings.model, [settings.chat_template_args])
        model = load_model(settings, bf16=context.bf16, on_gpu=context.on_gpu)
        ends = model.generation_config.eos_token_id
        encoder = Encoder(
            tokenizer,
            [ends] if isinstance(ends, int) else list(ends or ()),
            settings.chat_template_args,
            say if context.main else lambda _: None,
        )
        yield Training(
            context, trl, trl_arguments, examples, tokenizer, model, encoder, settings.data
        )


def say(line: str) -> None:
    """Print a line for the user."""
    print(line, flush=True)


def trainer_arguments(settings: TrainerSettings, context: TrainingContext) -> dict[str, Any]:
    """The settings that all of TRL's configurations share.

    Raises
    ------
    UsageError
        `batch` cannot be divided evenly, or there is no such DeepSpeed file.
    """
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(context.out / "tensorboard")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    checkpointing = settings.gradient_checkpointing
    return {
        "output_dir": str(context.out),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "per_device_train_batch_size": settings.micro_batch,
        "gradient_accumulation_steps": accumulation(settings, context.processes),
        "warmup_steps": settings.warmup_ratio,
        "lr_scheduler_type": settings.schedule,
        "max_length": settings.cutoff,
        "optim": "adamw_torch",
        "adam_beta1": settings.beta1,
        "adam_beta2": settings.beta2,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "bf16": context.bf16,
        "use_cpu": not context.on_gpu,
        "gradient_checkpointing": (
            context.on_gpu if checkpointing == "auto" else checkpointing == "on"
        ),
        "seed": settings.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # the filter would report a finite loss where there is none
        "save_strategy": "steps" if settings.checkpoint_steps else "no",
        "save_steps": settings.checkpoint_steps or 1,
        "save_total_limit": None,  # `progress` deletes old checkpoints: transformers would delete any
        "report_to": _reporters(settings),
        "disable_tqdm": True,
        "deepspeed": str(deepspeed_config(settings)) if settings.deepspeed else None,
        "ddp_backend": "gloo" if context.processes > 1 and not context.on_gpu else None,
        "ddp_find_unused_parameters": False,
        "ddp_timeout": GROUP_SECONDS,
    }


def dataset(rows: list[dict[str, Any]]) -> Any:
    """Rows in TRL's format."""
    from datasets import Dataset

    return Dataset.from_list(rows)


def accumulation(settings: TrainerSettings, processes: int) -> int:
    """Micro-batches that each process accumulates for an optimizer step."""
    step = settings.micro_batch * processes
    if settings.batch % step:
        raise UsageError(
            f"batch {settings.batch} cannot be divided: {processes} processes with micro_batch "
            f"{settings.micro_batch} take {step} examples at once; give a multiple of that"
        )
    return settings.batch // step


def check_lengths(lengths: Sequence[int], settings: TrainerSettings, context: int | None) -> int:
    """The number of examples that will be truncated.

    Raises
    ------
    UsageError
        More than `max_truncated` allows, or an example is longer than the model's context.
    """
    longest, truncated = max(lengths), num_truncated(lengths, settings)
    if context is not None and min(longest, settings.cutoff) > context:
        raise UsageError(
            f"an example has {longest} tokens, and the model's context holds {context}; "
            f"lower cutoff, now {settings.cutoff}, or remove such examples"
        )
    if truncated > settings.max_truncated * len(lengths):
        raise UsageError(
            f"{truncated} of {len(lengths)} examples are longer than cutoff {settings.cutoff} (the longest has "
            f"{longest} tokens), and at most {settings.max_truncated:.0%} may be truncated; "
            "raise cutoff, or set max_truncated to 1 to cut them and go on, as LLaMA-Factory does",
            change="max_truncated=1",
        )
    return truncated


def num_truncated(lengths: Sequence[int], settings: TrainerSettings) -> int:
    """How many lengths are above the cutoff."""
    return sum(length > settings.cutoff for length in lengths)


def fit(
    trainer: Any,
    settings: TrainerSettings,
    context: TrainingContext,
    lengths: Sequence[int],
    usable: Usable,
) -> None:
    """Train from the last checkpoint, and write model and report. Every process must call it.

    Parameters
    ----------
    lengths:
        Tokens of each example of the data file.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.create_model_card = lambda **_: None  # a README.md of TRL's would replace the user's
    for callback in callbacks(context.out, main=context.main):
        trainer.add_callback(callback)
    if settings.method == "qlora":
        to_fp32(trainer.model)
    checkpoint = last_checkpoint(context.out)
    if checkpoint:
        end_with(trainer.args, checkpoint)
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    save_final(trainer, settings, context.out / "model")
    if not context.main:
        return
    plot(context.out)
    rows = read_metrics(context.out)
    report = TrainReport(
        model="model",
        examples=len(lengths),
        truncated=num_truncated([lengths[i] for i in usable.indexes], settings),
        dropped=usable.dropped,
        steps=result.global_step,
        loss=rows[-1].values.get("loss") if rows else None,
        processes=context.processes,
        seconds=round(time.monotonic() - context.started, 1),
    )
    replace_json(context.out / TRAIN_REPORT, report.model_dump(exclude_defaults=True))
    remove_leftovers(context.out, keep_checkpoints=settings.keep_checkpoints)


def import_trl() -> Any:
    """Import TRL; raises `MissingExtra` where it is not installed."""
    # peft imports it whether it is used or not, and on some CPUs it warns of kernels that it would download.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import trl
    except ImportError as error:
        raise MissingExtra(error.name or "trl", "train", "training") from error
    import datasets
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    return trl


def _smaller(settings: TrainerSettings) -> str:
    """The first setting to try where the memory does not suffice, what changes the result least before what changes it."""
    if settings.micro_batch > 1:
        return "micro_batch=1"
    if settings.gradient_checkpointing == "off":
        return "gradient_checkpointing=auto"
    return "method=lora" if settings.method == "full" else ""


def _reporters(settings: TrainerSettings) -> list[str]:
    if settings.wandb:
        os.environ["WANDB_PROJECT"] = settings.wandb
    names = ["tensorboard", "wandb"] if settings.wandb else ["tensorboard"]
    return [name for name in names if has_package(name)]
