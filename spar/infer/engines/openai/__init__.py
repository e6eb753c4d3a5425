"""The `openai` engine: any server that speaks OpenAI's chat completions. `engine.py` is its front."""
