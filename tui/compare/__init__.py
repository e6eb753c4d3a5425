"""Two runs compared, prompt by prompt."""
