"""The embedded model: a Hugging Face folder in the package."""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "nano" / "checkpoint"
"""The folder; used if no `--model` is passed."""


def is_embedded(model: str) -> bool:
    """Whether a setting's model is the embedded one: none is named, or its folder."""
    return model in ("", str(CHECKPOINT))
