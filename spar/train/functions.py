"""Verification functions that a model writes, and the settings of it (AutoIF, arXiv 2406.13542; code: QwenLM/AutoIF).

    functions: {instructions: instructions.txt, samples: 8, min_accuracy: 0.8}

For each instruction a writer writes functions with test cases. Functions and cases are checked against each other in the sandbox,
those that remain are described in words again, and an instruction stays whose description asks for the same. Each query of the
loop's prompts with an instruction is a prompt of the loop, and its functions are the judge's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from spar.config import Settings, setting
from spar.train.stage_spec import FolderSpec


class FunctionSettings(Settings):
    """How verification functions are written and checked."""

    writer: Literal["model", "program"] = "model"
    """Who writes functions and describes them again: the first model, or a program that stands in for a strong one and knows nano-if's
    instructions alone."""
    instructions: str = setting("", is_path=True)
    """A file of instructions, each of which asks for one thing that a program can check (.txt with one a line, or rows with a field
    `instruction`); "" for spar's own, of nano-if where a program writes."""
    num_instructions: int = Field(default=36, ge=1)
    """Instructions (source: 36 of people, and 100 rewritings of each)."""
    samples: int = Field(default=8, ge=1)
    """Replies for each instruction, each a function with three test cases (source: K)."""
    min_accuracy: float = Field(default=0.8, ge=0, le=1)
    """A function stays that is right on this share of the cases (code: 0.8; paper: more than 0.5)."""
    min_functions: int = Field(default=3, ge=1)
    """Fewer functions drop the instruction (code: 3; paper: 1)."""
    min_cases: int = Field(default=10, ge=1)
    """Fewer test cases drop it too (code: 10; paper: 1)."""
    back_translations: int = Field(default=3, ge=1)
    """Functions of an instruction that are described in words again (code: the first 3)."""
    queries: int = Field(default=16, ge=1)
    """Queries that are joined with each instruction (source: 16)."""


class CheckSpec(FolderSpec):
    """Check functions and test cases against each other in the sandbox."""

    kind: Literal["check"] = "check"
    source: str
    """Run directory of the replies."""
    min_accuracy: float
    min_functions: int
    min_cases: int
    back_translations: int
    """These as in `FunctionSettings`."""
    permitted: bool = setting(False, omit_default=True)
    """Whether the functions are a program's of spar, which need no permission to run."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        return (Path(self.source) / "trees.jsonl",)

    @property
    def functions(self) -> Path:
        """The instructions that stay, each with its functions."""
        return self.folder / "functions.jsonl"

    @property
    def output(self) -> Path:
        """What became of all replies; written last."""
        return self.folder / "check.json"


class JoinSpec(FolderSpec):
    """Join queries with the instructions whose functions were described as what they ask for."""

    kind: Literal["join"] = "join"
    functions: str
    """File of the instructions with their functions."""
    compare: str
    """Run directory of the comparisons."""
    queries_file: str
    """A file of prompts to use as queries; "" for nano-if's openings."""
    prompt_field: str = ""
    """Field of its rows that holds the prompt; "" for the usual names."""
    queries: int
    """As in `FunctionSettings`."""
    seed: int

    @property
    def inputs(self) -> tuple[Path, ...]:
        return (Path(self.functions), Path(self.compare) / "trees.jsonl")

    @property
    def prompts(self) -> Path:
        """The loop's prompts."""
        return self.folder / "prompts.jsonl"

    @property
    def output(self) -> Path:
        """How many instructions and prompts there are; written last."""
        return self.folder / "join.json"
