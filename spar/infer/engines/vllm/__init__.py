"""The `vllm` engine: vLLM in this process. Start with `engine.py`."""
