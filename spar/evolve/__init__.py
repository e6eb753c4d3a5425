"""Prompt evolution: plain prompts made complex by a teacher, after the paper's taxonomy of constraints."""
