"""The embedded model: a Hugging Face folder in the package."""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "nano" / "checkpoint"
"""The folder; used if no `--model` is passed."""
