"""The `vllm` engine: vLLM in process. `engine.py` is its front."""
