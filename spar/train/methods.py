"""The training methods: which module trains, with which settings, and which role a loop trains with it.

A new method is a module beside this one (`python -m spar.train.NAME settings.json`), a model of its settings and
an entry in `METHODS`. The stage that runs it in a loop has the method's name, takes its settings from the field of
that name in `TrainConfig`, and its data from `build/NAME.jsonl`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spar.train.settings import DpoSettings, SftSettings, TrainerSettings
from spar.types import Role


@dataclass(frozen=True, slots=True)
class TrainingMethod:
    """One way to train a model."""

    module: str
    """Run as `python -m MODULE settings.json`, in one process or several."""
    settings: type[TrainerSettings]
    role: Role | None = None
    """The role that a loop trains with it; None where no loop does."""


METHODS: Mapping[str, TrainingMethod] = {
    "dpo": TrainingMethod("spar.train.dpo", DpoSettings, "actor"),
    "rft": TrainingMethod("spar.train.sft", SftSettings, "refiner"),
    "sft": TrainingMethod("spar.train.sft", SftSettings, "actor"),
}
"""Method by name. RFT is SFT on filtered conversations of the judge and the refiner, `sft` of a loop on filtered answers."""

LOOP_METHODS: Mapping[str, TrainingMethod] = {
    name: method for name, method in METHODS.items() if method.role is not None
}
"""The methods of a loop's iteration, in the order of its stages."""
DEFAULT_METHODS = ("dpo", "rft")
"""Those of the paper's loop."""
