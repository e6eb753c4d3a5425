"""The order of a run's prompts: trees are stored in the order in which their searches ended."""

from __future__ import annotations

from pathlib import Path

from spar.errors import SparError
from spar.prompts import read_prompts
from spar.record.evaluation import EXAMPLES, read_examples
from spar.rows.read import is_repeatable
from spar.store import read_manifest


def prompt_ids(directory: Path) -> list[str]:
    """The ids of a run's prompts in their order, empty where neither an evaluation's examples nor a file of prompts on this machine has it.

    The file may have changed since the run: it may have others than the run, and lack some.
    """
    try:
        if (directory / EXAMPLES).is_file():
            return [example.id for example in read_examples(directory)]
        config = read_manifest(directory).config
        prompts, field = config.get("prompts"), config.get("prompt_field", "")
        if not isinstance(prompts, str) or not is_repeatable(prompts):
            return []
        return [prompt.id for prompt in read_prompts(prompts, prompt_field=field)]
    except SparError:
        return []
