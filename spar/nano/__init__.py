"""The embedded model: its instruction language nano-if, verifiers, trainer and checkpoint."""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""The Hugging Face folder that ships with the package and serves where no `--model` is given."""
