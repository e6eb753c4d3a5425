"""Evolve prompts: from settings to a run directory with replies, evolved prompts and a report.

Seed prompts and benchmarks are read and checked before a model is loaded; the replies are a run like any
other, judged by nobody; what is kept of them is worked out anew at the end of each command.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from spar.errors import SparError, UsageError
from spar.evolve.finalize import finish, read_outcomes
from spar.evolve.inputs import Material, open_material
from spar.evolve.report import absent_note
from spar.evolve.settings import EvolveConfig
from spar.evolve.teacher import ATTEMPTS, FIELDS, TEMPLATE, conversation, taught
from spar.infer.summary import Summary
from spar.listener import Listener
from spar.manifest import Manifest
from spar.record.evolution import FILES, EvolveReport
from spar.run.build import make_manifest
from spar.run.job import Job
from spar.run.resolve import resolve_config
from spar.run.resume import PromptSource, is_complete
from spar.run.session import Run
from spar.store import RunStore, read_manifest
from spar.templates import read_template


@dataclass(frozen=True, slots=True)
class ResolvedRun:
    """A run about to be opened."""

    config: EvolveConfig
    directory: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Evolved:
    """What a run of `evolve` gave."""

    report: EvolveReport
    summary: Summary
    directory: Path


async def evolve(
    config: EvolveConfig, listener: Listener, *, out: Path | None = None, overwrite: bool = False
) -> Evolved:
    """Have a teacher evolve every seed prompt, and write those that are kept.

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
    material = open_material(config)
    for note in notes(material):
        listener.note(note)
    source = PromptSource(material.requests, material.num_requests)
    resolved = _resolve(config, source, listener, out=None if overwrite else out)
    directory = out or resolved.directory
    job = Job("", (), roles=("actor",), change=lambda roles: taught(roles, template))
    with RunStore.open(directory, resolved.manifest, fresh=overwrite) as store:
        for name in FILES if overwrite else ():
            (store.directory / name).unlink(missing_ok=True)
        deque(
            read_outcomes(store.directory, material), maxlen=0
        )  # other seeds are an error at once
        run = Run(resolved.config, source, store, listener, overwrite=overwrite, job=job)
        summary = await run.execute()
        report = finish(store.directory, material, store.manifest.models["actor"])
    return Evolved(report, summary, directory)


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


def dry_run_text(material: Material, template: str) -> str:
    """The first request as it will be sent, and the cost of the run."""
    asked = material.num_requests
    cost = (
        f"{len(material.seeds):,} seed prompts x {material.config.per_prompt}: {asked:,} calls where every "
        f"reply parses, {asked * ATTEMPTS:,} at the most"
    )
    first = next(material.requests(), None)
    sent = (
        [f"== request {first.id} ==\n{conversation(template, first)[0].content}"] if first else []
    )
    return "\n\n".join([*sent, *notes(material), cost])


def notes(material: Material) -> list[str]:
    """What a person should know before the teacher is asked."""
    checked = ", ".join(one.name for one in material.prompts)
    lines = [f"kept out of: {checked}", absent_note(material)]
    if material.bad_seeds:
        count, first = len(material.bad_seeds), material.bad_seeds[0]
        lines.append(
            f"{count} of {count + len(material.seeds)} seed prompts are in a benchmark and not sent, the first "
            f"is {first.id} ({first.why})"
        )
    return [line for line in lines if line]


def _resolve(
    config: EvolveConfig, source: PromptSource, listener: Listener, *, out: Path | None
) -> ResolvedRun:
    try:
        resolved = resolve_config(config, listener.note, asked=("actor",))
    except SparError as error:  # a finished run is reported again without its teacher
        if out is None or not is_complete(out, config, source):
            raise
        listener.note(f"{error}; the run is complete: all {source.count} replies are stored")
        return ResolvedRun(config, out, read_manifest(out))
    manifest = make_manifest(resolved)
    return ResolvedRun(resolved, Path("runs") / f"evolve-{manifest.digest[:8]}", manifest)
