"""DeepSpeed configurations of trainings: the shipped presets and files, read and checked before anything trains.

{"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": true}}

Only what spar itself depends on is checked; DeepSpeed checks the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.train.settings import TrainerSettings

PRESETS = Path(__file__).parents[1] / "recipes" / "deepspeed"
_GATHER = (
    "stage3_gather_16bit_weights_on_model_save",
    "gather_16bit_weights_on_model_save",
)
"""DeepSpeed's names, the present one first, of what collects the weights that ZeRO-3 has divided."""
_STAGES = range(4)


def deepspeed_file(name: str) -> Path:
    """A DeepSpeed configuration: one of the presets, or a file."""
    for path in (PRESETS / f"{name}.json", Path(name)):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in PRESETS.glob("*.json")))
    raise UsageError(f"deepspeed {name!r}: no such file, nor a preset ({shipped})")


def zero_settings(name: str) -> Mapping[str, Any]:
    """The section `zero_optimization` of a preset or file, `{}` for none; its `stage` is a number where there is one.

    Raises
    ------
    UsageError
        There is no such preset or file, it is not a JSON object, or the section is not one that DeepSpeed accepts.
    """
    path = deepspeed_file(name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no UTF-8 is a ValueError
        raise UsageError(f"the DeepSpeed file {path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(
            f"the DeepSpeed file {path} is a JSON {type(content).__name__}; expected an object"
        )
    zero = _section(content, "zero_optimization", path)
    stage = zero.get("stage") or 0
    if isinstance(stage, bool) or stage not in _STAGES:
        raise UsageError(
            f"{path}: zero_optimization.stage is {stage!r} (accepted: {', '.join(map(str, _STAGES))})"
        )
    parts = {part: _section(zero, part, path) for part in ("offload_optimizer", "offload_param")}
    return {**zero, **parts, "stage": stage}


def deepspeed_config(settings: TrainerSettings) -> Path:
    """The DeepSpeed configuration of a training, which must have its weights collected where they are divided.

    Raises
    ------
    UsageError
        As `zero_settings`, or ZeRO-3 would write no weights.
    """
    path, zero = deepspeed_file(settings.deepspeed), zero_settings(settings.deepspeed)
    if settings.method == "full" and zero["stage"] == 3 and not any(map(zero.get, _GATHER)):
        raise UsageError(
            f"{path}: set zero_optimization.{_GATHER[0]} to true; without it ZeRO-3 would write no weights"
        )
    return path


def _section(values: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    """An object in the file; null is none, as for DeepSpeed."""
    section = values.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise UsageError(f"{path}: {name} is {json.dumps(section)}; expected a JSON object")
    return section
