"""The embedded model: a Hugging Face folder that ships with the package."""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "nano" / "checkpoint"
"""The folder; used where no `--model` is given."""
