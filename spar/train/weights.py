"""Loads models for training, and writes trained models as ordinary folders.

The final folder holds the trained weights and, unchanged, the starting model's tokenizer, chat template and
generation settings. Adapters are merged into the base model in the dtype in which it was stored.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from spar.errors import MissingExtra, RunStopped, UsageError
from spar.models.folders import local_model
from spar.models.loading import is_finite
from spar.pretrained import (
    load_pretrained_config,
    load_pretrained_model,
    load_pretrained_tokenizer,
)
from spar.train.owned import remove_owned
from spar.train.settings import TrainerSettings

_GENERATION = "generation_config.json"
_ROUTER = ("output_router_logits", "router_aux_loss_coef")
_ENOUGH = 0.5
"""Share of what an adapter learned below which it is said that the format loses it."""
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def load_tokenizer(model: str) -> Any:
    """The model's tokenizer.

    Raises
    ------
    UsageError
        There is none, or it has no chat template or end token.
    """
    tokenizer = load_pretrained_tokenizer(model)
    if tokenizer.chat_template is None:
        raise UsageError(
            f"the model {model!r} has no chat template, so conversations cannot be rendered; "
            "choose an instruct model, or put a chat_template.jinja into its folder"
        )
    if tokenizer.eos_token_id is None:
        raise UsageError(f"the tokenizer of {model!r} has no end token; set its eos_token")
    return tokenizer


def load_model(settings: TrainerSettings, *, bf16: bool, on_gpu: bool) -> Any:
    """The model to train, in the dtype that its method requires.

    Without DeepSpeed, trained weights are stored in fp32 and computed with in bf16; DeepSpeed keeps its own fp32
    copy. Below adapters, the frozen base may be bf16.
    """
    import torch

    low = bf16 and (settings.method != "full" or settings.deepspeed)
    options: dict[str, Any] = {"dtype": torch.bfloat16 if low else torch.float32}
    if settings.attention != "auto":
        options["attn_implementation"] = settings.attention
    if settings.method == "qlora":
        options["quantization_config"] = _four_bits(bf16)
        options["device_map"] = {"": torch.cuda.current_device() if on_gpu else "cpu"}
    model = load_pretrained_model(settings.model, **options)
    model.config.use_cache = False
    return model


def to_fp32(model: Any) -> None:
    """Store the weights that are trained in fp32, in place.

    TRL makes the adapters of a quantised model bf16, in which most of them would not change at all: a step of the size of
    the learning rate is less than half a step of bf16's 8 bits.
    """
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def set_dropout(model: Any, share: float) -> None:
    """Set the dropout of a model's adapters: TRL's DPO switches off theirs with that of the weights below them."""
    for name, module in model.named_modules():
        if ".lora_dropout." in name and hasattr(module, "p"):
            module.p = share


def adapter_config(settings: TrainerSettings) -> Any:
    """peft's settings of the adapters; None where all weights are trained."""
    if settings.method == "full":
        return None
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise MissingExtra("peft", "train", f"method {settings.method!r}") from error
    targets = settings.lora.targets
    return LoraConfig(
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )


def save_final(trainer: Any, settings: TrainerSettings, folder: Path) -> None:
    """Write the trained model to a folder, which appears complete; every process must call it.

    Raises
    ------
    RunStopped
        A weight is not finite.
    """
    part = folder.with_name(f"{folder.name}.part")
    adapter = folder.with_name("adapter")
    trainer.save_model(str(part if settings.method == "full" else adapter))
    if trainer.args.process_index == 0:
        if settings.method != "full":
            _merge(settings, adapter, part)
        # Some stages of DeepSpeed store a tied weight under each of its names.
        tied = getattr(trainer.accelerator.unwrap_model(trainer.model), "all_tied_weights_keys", {})
        _check_finite(part, folder.with_name(f"checkpoint-{trainer.state.global_step}"))
        cast(part, _stored_dtype(settings), frozenset(tied))
        _copy_settings(settings.model, part)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    trainer.accelerator.wait_for_everyone()


def cast(folder: Path, dtype: str, left_out: Collection[str] = ()) -> None:
    """Store the floating-point weights of a folder in `dtype`, a name of torch's, and drop those `left_out`."""
    import torch
    from safetensors.torch import load_file, save_file

    target = getattr(torch, dtype)
    for path in sorted(folder.glob("*.safetensors")):
        stored = {
            name: tensor.to(target) if tensor.is_floating_point() else tensor
            for name, tensor in load_file(path).items()
            if name not in left_out
        }
        save_file(stored, path, metadata={"format": "pt"})
        path.chmod((folder / "config.json").stat().st_mode)  # save_file creates a private file
    _edit(folder / "config.json", lambda config: {**config, "dtype": dtype})
    _edit(folder / "model.safetensors.index.json", lambda index: _indexed(index, folder, left_out))


def _check_finite(folder: Path, checkpoint: Path) -> None:
    """Check the weights of the last step, for which no loss was computed."""
    from safetensors.torch import load_file

    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            if not is_finite(tensor):
                remove_owned(checkpoint)
                raise RunStopped(
                    f"the last step left weights that are not finite ({name}); no model is written, "
                    "and the checkpoints before it stay; lower learning_rate and train in another folder"
                )


def _indexed(index: dict[str, Any], folder: Path, left_out: Collection[str]) -> dict[str, Any]:
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    weight_map = {name: file for name, file in index["weight_map"].items() if name not in left_out}
    return {"metadata": {**index.get("metadata", {}), "total_size": size}, "weight_map": weight_map}


def _edit(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    if path.exists():
        path.write_text(
            json.dumps(change(json.loads(path.read_text(encoding="utf-8"))), indent=2) + "\n",
            encoding="utf-8",
        )


def _stored_dtype(settings: TrainerSettings) -> str:
    names = {"bf16": "bfloat16", "fp32": "float32"}
    if settings.save_dtype != "auto":
        return names[settings.save_dtype]
    dtype = load_pretrained_config(settings.model).dtype
    return str(dtype or "float32").removeprefix("torch.")


def _copy_settings(model: str, folder: Path) -> None:
    """Copy the starting model's tokenizer, and the settings that a trainer changes."""
    from transformers.utils import cached_file

    load_pretrained_tokenizer(model).save_pretrained(folder)
    source = cached_file(
        local_model(model), _GENERATION, _raise_exceptions_for_missing_entries=False
    )
    if source is not None:
        shutil.copyfile(source, folder / _GENERATION)
    config = load_pretrained_config(model)
    restored = {name: getattr(config, name, None) for name in _TOKENS}
    restored |= {name: getattr(config, name) for name in _ROUTER if hasattr(config, name)}
    _edit(folder / "config.json", lambda now: {**now, **restored, "use_cache": config.use_cache})
    for name in ("training_args.bin", "README.md"):
        (folder / name).unlink(missing_ok=True)


def _merge(settings: TrainerSettings, adapter: Path, folder: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()  # otherwise only this process's partition would be loaded
    dtype = getattr(torch, _stored_dtype(settings))
    base = load_pretrained_model(settings.model, dtype=dtype)
    model = PeftModel.from_pretrained(base, str(adapter))
    if dtype != torch.float32 and (share := _share_after_rounding(model, dtype)) < _ENOUGH:
        print(
            f"stored in {_stored_dtype(settings)}, {share:.0%} of what the adapter learned is left of it: its changes are less than "
            "a step of the format; set save_dtype to fp32",
            flush=True,
        )
    model.merge_and_unload().save_pretrained(folder)


def _share_after_rounding(model: Any, dtype: Any) -> float:
    """The share of an adapter's change that is left where it is added to weights in a format and rounded.

    The change that is left, projected on the adapter's: what rounds away is lost, what rounds up counts as much more.
    """
    from peft.tuners.lora import LoraLayer

    left = whole = 0.0
    for layer in model.modules():
        if not isinstance(layer, LoraLayer) or not hasattr(layer, "get_delta_weight"):
            continue
        base = layer.get_base_layer().weight.float()
        for adapter in layer.active_adapters:
            change = layer.get_delta_weight(adapter).float()
            left += float((((base + change).to(dtype).float() - base) * change).sum())
            whole += float(change.square().sum())
    return left / whole if whole else 1.0


def _four_bits(bf16: bool) -> Any:
    import importlib.util

    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtra("bitsandbytes", "train", "method 'qlora'")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if bf16 else torch.float32,
    )
