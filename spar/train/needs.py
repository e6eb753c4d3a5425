"""What a training needs of its machine for some of its settings, looked up without importing anything heavy.

`spar.estimate.requirements` lists it before the first stage of a pipeline; a trainer that is started alone refuses to
start without it. The packages that every training needs are reported where they are imported (`MissingExtra`).
"""

from __future__ import annotations

from collections.abc import Iterator

from spar.errors import UsageError
from spar.hardware import has_package
from spar.train.settings import TrainerSettings

_FLASH = ("flash_attn", "kernels")
"""Packages of which transformers takes the first that is installed for flash attention."""


def unmet_needs(settings: TrainerSettings) -> Iterator[str]:
    """Each thing that is missing, with what to do."""
    if settings.wandb and not has_package("wandb"):
        yield (
            f"the package 'wandb', for wandb {settings.wandb!r}: pip install wandb, or remove the setting"
        )
    if settings.attention == "flash_attention_2" and not any(map(has_package, _FLASH)):
        yield (
            f"the package {_FLASH[0]!r}, for attention 'flash_attention_2': pip install flash-attn "
            "--no-build-isolation (it needs a GPU), or set attention to 'sdpa'"
        )


def check_needs(settings: TrainerSettings) -> None:
    """Raise `UsageError` for what is missing."""
    missing = list(unmet_needs(settings))
    if missing:
        raise UsageError(f"this training lacks {'; and '.join(missing)}")
