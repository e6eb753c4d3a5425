"""The `ray` engine: replicas on a Ray cluster. Start with `engine.py`."""
