"""Models by name: those that spar knows, GGUF files, and the cache that both lie in once they were used.

    from spar.models import model_folder
    folder = model_folder("smollm2-135m")

`registry.py` lists the known models, `sources.py` fetches them, `gguf.py` and `splitting.py` convert GGUF files,
`cache.py` stores both, `folders.py` resolves what `--model` names, and `loading.py` loads folders with transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spar.models.cache import CachedModel as CachedModel
    from spar.models.cache import ModelSource as ModelSource
    from spar.models.folders import local_model as local_model
    from spar.models.folders import model_folder as model_folder

_MODULES = {
    "CachedModel": "cache",
    "ModelSource": "cache",
    "local_model": "folders",
    "model_folder": "folders",
}
"""Name to its module, imported when it is used: `spar.store` needs neither GGUF files nor the hardware."""
__all__ = ["CachedModel", "ModelSource", "local_model", "model_folder"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
