"""Models by name: those that spar knows, GGUF files, and the cache that both lie in once they were used.

    from spar.models.folders import model_folder
    folder = model_folder("smollm2-135m")

`registry.py` lists the known models, `sources.py` fetches them, `gguf.py` and `splitting.py` convert GGUF files,
`cache.py` stores both, `folders.py` resolves what `--model` names, and `loading.py` loads folders with transformers.
"""
