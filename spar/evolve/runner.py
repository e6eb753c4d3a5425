"""Evolve prompts: from settings to a run directory with replies, evolved prompts and a report.

Seed prompts and benchmarks are read and checked before a model is loaded; the replies are a run like any
other, without a judge; the selection is computed anew at the end of each command.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from spar.embedded import embedded_note, is_embedded
from spar.errors import SparError, UsageError
from spar.evolve.benchmarks import absent_note
from spar.evolve.finalize import finalize
from spar.evolve.inputs import EvolveInputs, read_inputs
from spar.evolve.settings import EvolveConfig
from spar.evolve.teacher import ATTEMPTS, FIELDS, TEMPLATE, conversation, with_teacher
from spar.infer.summary import Summary
from spar.listener import Listener
from spar.manifest import Manifest
from spar.record.evolution import FILES, EvolveReport
from spar.run.build import make_manifest
from spar.run.job import Job
from spar.run.resolve import deployments, loads_models, resolve_config
from spar.run.resume import PromptSource, is_complete
from spar.run.session import Run
from spar.store import RunStore, read_manifest
from spar.templates import read_template


@dataclass(frozen=True, slots=True)
class ResolvedRun:
    """A run that is ready to be opened."""

    config: EvolveConfig
    directory: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class EvolveResult:
    """The result of `evolve`."""

    report: EvolveReport
    summary: Summary
    directory: Path


async def evolve(
    config: EvolveConfig, listener: Listener, *, out: Path | None = None, overwrite: bool = False
) -> EvolveResult:
    """Have a teacher evolve every seed prompt, and write the prompts that are selected.

    Parameters
    ----------
    out:
        The run directory; None for `runs/evolve-DIGEST`.
    overwrite:
        Delete an earlier run in the directory first.

    Raises
    ------
    UsageError
        Seed prompts, benchmark data or settings that are missing or wrong.
    RunStopped
        A request could not be served; the run can be resumed.
    """
    config, template = with_template(config)
    inputs = read_inputs(config, out)
    for note in notes(inputs):
        listener.note(note)
    source = PromptSource(inputs.requests, inputs.num_requests)
    resolved = _resolve(config, source, listener, out=None if overwrite else out)
    directory = out or resolved.directory
    if out is None and directory.is_dir():
        inputs = read_inputs(config, directory)
        source = PromptSource(inputs.requests, inputs.num_requests)
    job = Job("", (), roles=("actor",), change=lambda roles: with_teacher(roles, template))
    with RunStore.open(directory, resolved.manifest, fresh=overwrite) as store:
        for name in FILES if overwrite else ():
            (store.directory / name).unlink(missing_ok=True)
        run = Run(resolved.config, source, store, listener, job=job)
        summary = await run.execute()
        report = finalize(store.directory, inputs, store.manifest.models["actor"])
    return EvolveResult(report, summary, directory)


def with_template(config: EvolveConfig) -> tuple[EvolveConfig, str]:
    """The instruction text, and the settings with its digest in place of its folder.

    Raises
    ------
    UsageError
        The folder has no such text, or it lacks a field.
    """
    folder = Path(config.templates) if config.templates else None
    if folder is not None and not (folder / f"{TEMPLATE}.txt").is_file():
        raise UsageError(f"--templates {folder}: no {TEMPLATE}.txt there; give a folder with one")
    text = read_template(TEMPLATE, FIELDS, folder)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return config.model_copy(update={"templates": "", "template_digest": digest}), text


def dry_run_text(inputs: EvolveInputs, template: str) -> str:
    """The first request as it will be sent, and the cost of the run."""
    num_requests = inputs.num_requests
    cost = (
        f"{len(inputs.seeds):,} seed prompts x {inputs.config.per_prompt}: {num_requests:,} calls where "
        f"every reply parses, {num_requests * ATTEMPTS:,} at most"
    )
    first = next(inputs.requests(), None)
    parts = [*notes(inputs), cost]
    if first is not None:
        parts.insert(0, f"== request {first.id} ==\n{conversation(template, first)[0].content}")
    return "\n\n".join(parts)


def notes(inputs: EvolveInputs) -> list[str]:
    """Human-readable hints before the teacher is called."""
    names = ", ".join(benchmark.name for benchmark in inputs.benchmarks)
    lines = [f"compared with: {names}", absent_note(inputs.absent)]
    teacher = deployments(inputs.config)["actor"]
    if loads_models(inputs.config) and not teacher.urls and is_embedded(teacher.model):
        lines.append(embedded_note())
    if inputs.contaminated_seeds:
        count, first = len(inputs.contaminated_seeds), inputs.contaminated_seeds[0]
        lines.append(
            f"{count} of {count + len(inputs.seeds)} seed prompts are in a benchmark and are not sent; the "
            f"first is {first.id} ({first.why})"
        )
    return [line for line in lines if line]


def _resolve(
    config: EvolveConfig, source: PromptSource, listener: Listener, *, out: Path | None
) -> ResolvedRun:
    try:
        resolved = resolve_config(config, listener.note, roles=("actor",))
    except SparError as error:  # a finished run is reported again without its teacher
        if out is None or not is_complete(out, config, source):
            raise
        listener.note(f"{error}; the run is complete: all {source.count} replies are stored")
        return ResolvedRun(config, out, read_manifest(out))
    manifest = make_manifest(resolved)
    return ResolvedRun(resolved, Path("runs") / f"evolve-{manifest.digest[:8]}", manifest)
