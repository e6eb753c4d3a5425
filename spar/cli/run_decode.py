"""What `spar decode` does once its settings are known: decode, then print a summary.

Apart from `decode.py`, so that `spar --help` imports none of it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from spar.cli import report
from spar.cli.interrupts import interruptible
from spar.config import DecodeConfig
from spar.estimate.calls import dry_run_text
from spar.infer.summary import Summary
from spar.progress import open_progress
from spar.prompts import prompt_from_text
from spar.run.decoding import prompt_source, run_decode, source_of
from spar.store import read_trees


@dataclass(frozen=True, slots=True)
class Invocation:
    """The flags that are not settings of the run."""

    prompt: str | None = None
    out: Path | None = None
    overwrite: bool = False
    dry_run: bool = False
    json_summary: bool = False
    show_tree: bool = False
    display: str = "auto"


def run(config: DecodeConfig, invocation: Invocation) -> None:
    """Decode, and print a summary, or the answer to one prompt."""
    listener = open_progress(invocation.display)
    if invocation.prompt is None:
        source = prompt_source(config)
    else:
        source = source_of([prompt_from_text(invocation.prompt)])
        config = config.model_copy(update={"prompts": f"--prompt {invocation.prompt}"})
    if invocation.dry_run:
        print(report.visible(dry_run_text(config, next(source.read()), source.count)))
        return
    work = run_decode(
        config,
        source,
        out=invocation.out,
        overwrite=invocation.overwrite,
        listener=listener,
        interactive=invocation.prompt is not None,
    )
    with interruptible():
        decoded = asyncio.run(work)
    _print_results(decoded.config, invocation, decoded.directory, decoded.summary)


def _print_results(
    config: DecodeConfig, invocation: Invocation, directory: Path, summary: Summary
) -> None:
    if invocation.json_summary:
        facts = {"run": str(directory), "strategy": config.strategy, "budget": config.budget}
        print(json.dumps({**facts, **summary.as_dict()}))
    elif invocation.prompt is not None:
        report.print_answer(next(read_trees(directory)))
    else:
        report.print_summary(config, summary)
        if invocation.show_tree:
            report.print_solved_tree(read_trees(directory))
        report.print_run(directory)
