"""Models by name: those that spar knows, GGUF files, and the cache that both lie in once they were used.

    from spar.models import model_folder
    folder = model_folder("smollm2-135m")

`registry.py` lists the known models, `sources.py` fetches them, `gguf.py` and `splitting.py` convert GGUF files,
`cache.py` stores both, `folders.py` resolves what `--model` names, and `loading.py` loads folders with transformers.
"""

from spar.models.cache import CachedModel, ModelSource
from spar.models.folders import local_model, model_folder

__all__ = ["CachedModel", "ModelSource", "local_model", "model_folder"]
