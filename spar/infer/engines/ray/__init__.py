"""The `ray` engine: replicas on a Ray cluster. `engine.py` is its front."""
