"""The `openai` engine: any server that implements OpenAI's API. Start with `engine.py`."""
