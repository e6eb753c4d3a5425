"""What `spar decode` does once its settings are known.

Reads and checks every prompt before a model is loaded, opens the run directory, runs, reports. Kept
apart from `decode.py` so that `spar --help` imports none of it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from spar.cli import report
from spar.cli.interrupts import interruptible
from spar.config import DecodeConfig
from spar.errors import SparError
from spar.estimate.calls import dry_run_text
from spar.infer.summary import Summary
from spar.manifest import Manifest
from spar.nano.tasks import prompts as nano_prompts
from spar.plugins import safe_name
from spar.progress import open_progress
from spar.prompts import prompt_from_text, read_prompts
from spar.run.build import make_manifest
from spar.run.resolve import resolve_config
from spar.run.resume import PromptSource, is_complete, load_summary
from spar.run.session import Run
from spar.store import RunStore, read_trees

BUILT_IN_PROMPTS = 100
"""Prompts of the built-in set where no `--limit` is given: the first of nano-if's test split."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """The flags that are not settings of the run."""

    prompt: str | None = None
    out: Path | None = None
    fresh: bool = False
    dry_run: bool = False
    json_summary: bool = False
    show_tree: bool = False
    display: str = "auto"


def run(config: DecodeConfig, invocation: Invocation) -> None:
    """Decode as asked, and print what was found."""
    listener = open_progress(invocation.display)
    source = open_prompts(config, invocation.prompt)
    if invocation.prompt is not None:
        config = config.model_copy(update={"prompts": f"--prompt {invocation.prompt}"})
    if invocation.dry_run:
        print(report.visible(dry_run_text(config, next(source.read()), source.count)))
        return
    try:
        config = resolve_config(config, listener.note, interactive=invocation.prompt is not None)
    except SparError as error:  # a finished run needs no server, and is shown without it
        done = invocation.out
        if done is None or invocation.fresh or not is_complete(done, config, source):
            raise
        listener.note(f"{error}; the run is finished: {source.count} trees are there already")
        _print_results(config, invocation, done, load_summary(done))
        return
    manifest = make_manifest(config)
    directory = invocation.out or default_directory(config, manifest)
    with RunStore.open(directory, manifest, fresh=invocation.fresh) as store:
        run = Run(config, source, store, listener, overwrite=invocation.fresh)
        with interruptible(directory):
            summary = asyncio.run(run.execute())
    _print_results(config, invocation, directory, summary)


def open_prompts(config: DecodeConfig, text: str | None) -> PromptSource:
    """Find the prompts and read them once through, so that a bad row is told before a model loads."""
    if text is not None:
        prompt = prompt_from_text(text)
        return PromptSource(lambda: iter([prompt]), 1)
    if not config.prompts:
        count = config.limit or BUILT_IN_PROMPTS
        return PromptSource(lambda: nano_prompts("test", limit=count), count)
    if config.prompts == "-":
        rows = list(read_prompts("-", config.limit))
        return PromptSource(lambda: iter(rows), len(rows))
    count = sum(1 for _ in read_prompts(config.prompts, config.limit))
    return PromptSource(lambda: read_prompts(config.prompts, config.limit), count)


def default_directory(config: DecodeConfig, manifest: Manifest) -> Path:
    """`runs/STRATEGY-BUDGET-DIGEST`: the same command finds its run again."""
    return Path("runs") / f"{safe_name(config.strategy)}-{config.budget}-{manifest.digest[:8]}"


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
