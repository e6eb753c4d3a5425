"""The embedded model: a Hugging Face folder in the package."""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "nano" / "checkpoint"
"""The folder; used if no `--model` is passed."""


def is_embedded(model: str) -> bool:
    """Whether a setting's model is the embedded one: none is named, or its folder."""
    return model in ("", str(CHECKPOINT))


def embedded_note(what: str = "model", flag: str = "--model") -> str:
    """A line for prompts of the caller's own that the embedded model is to answer, judge or learn.

    Parameters
    ----------
    what:
        What the model is here, such as "teacher".
    flag:
        Names another.
    """
    return f"{what}: the embedded one, which knows only the small language of nano-if; name another with {flag}"
