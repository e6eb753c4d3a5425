"""Whether the packages of an engine are installed, before a run begins; imports none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spar.errors import MissingExtra
from spar.hardware import has_gpu, has_package
from spar.plugins import ENGINES

if TYPE_CHECKING:
    from spar.config import DecodeConfig


def check_installed(engine: str, cpu_extra: str, config: DecodeConfig) -> None:
    """Raise `MissingExtra` if a package of one of spar's own engines is not installed.

    Parameters
    ----------
    cpu_extra:
        The extra that installs it on a machine without a GPU; elsewhere that has the engine's name.
    """
    missing = [name for name in ENGINES.spec(engine).packages if not has_package(name)]
    if missing:
        extra = engine if has_gpu() else cpu_extra
        raise MissingExtra(missing[0], extra, f"the {engine} engine")
