"""The evaluations of a loop's iterations: entries of `benchmarks` in a recipe.

{name: held-out, benchmark: checkable, held_out: true, show: [pass]}
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from spar.config import EvalConfig, Settings, setting


class EvalSpec(Settings):
    """One evaluation of an iteration's models."""

    benchmark: str
    """Name in the benchmarks table, or a task of lm-eval."""
    name: str = ""
    """Its name in this loop; "" for the benchmark's own name."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Fields of `spar.config.EvalConfig` that differ from the recipe's `eval` section."""
    actor: Literal["current", "first"] = "current"
    """The actor: that of the iteration, or the first one, so that the judges of all iterations judge the same
    drafts."""
    held_out: bool = setting(False, omit_default=True)
    """Whether its examples are the prompts that the loop has made and held out (`checkable.holdout`); where there are
    none, the evaluation is left out."""
    show: tuple[str, ...] = ()
    """Metrics in the live view and the table of scores; () shows the first one. They may change whenever a loop is resumed."""

    @property
    def title(self) -> str:
        """Its name in this loop, and its folder's."""
        return self.name or self.benchmark

    @field_validator("settings")
    @classmethod
    def _stored_names(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return EvalConfig.stored_names(settings)

    @model_validator(mode="after")
    def _names_a_folder(self) -> Self:
        if not self.title or self.title in (".", "..") or set(self.title) & set("/\\\0"):
            raise ValueError(f"its name is {self.title!r}, which is not a valid folder name")
        return self
