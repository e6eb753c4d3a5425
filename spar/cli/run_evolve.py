"""What `spar evolve` does once its settings are known.

Seed prompts and benchmarks are read and checked before a model is loaded; the replies are a run like any
other, judged by nobody; what is kept of them is worked out anew at the end of each command.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from spar.cli import evolve_report, report
from spar.cli.begun import PromptSource, is_finished
from spar.cli.course import Course
from spar.cli.display import Display, open_display
from spar.errors import SparError, UsageMistake
from spar.eval.benchmark import Stage
from spar.evolve.finish import finish, read_outcomes
from spar.evolve.material import Material, open_material
from spar.evolve.record import FILES
from spar.evolve.report import absent_note
from spar.evolve.settings import EvolveConfig
from spar.evolve.teacher import ATTEMPTS, FIELDS, TEMPLATE, conversation, taught
from spar.infer.deploy import settle
from spar.infer.setup import make_manifest
from spar.manifest import Manifest
from spar.store import RunStore, read_manifest
from spar.templates import read_template


@dataclass(frozen=True, slots=True)
class Invocation:
    """The flags that are not settings of the run."""

    out: Path | None = None
    fresh: bool = False
    dry_run: bool = False
    json_report: bool = False
    display: str = "auto"


@dataclass(frozen=True, slots=True)
class Settled:
    """A run about to be opened."""

    config: EvolveConfig
    directory: Path
    manifest: Manifest


def run(config: EvolveConfig, invocation: Invocation) -> None:
    """Evolve as asked, write what is kept, and print the report."""
    display = open_display(invocation.display)
    config, template = with_template(config)
    material = open_material(config)
    if invocation.dry_run:
        print(report.visible(dry_run_text(material, template)))
        return
    for note in notes(material):
        display.note(note)
    source = PromptSource(material.requests, material.num_requests)
    settled = _settle(config, invocation, source, display)
    stage = Stage("", (), speakers=("actor",), change=lambda roles: taught(roles, template))
    with RunStore.open(settled.directory, settled.manifest, fresh=invocation.fresh) as store:
        for name in FILES if invocation.fresh else ():
            (store.directory / name).unlink(missing_ok=True)
        deque(read_outcomes(store.directory, material), maxlen=0)  # other seeds are told at once
        course = Course(settled.config, source, store, display, fresh=invocation.fresh, stage=stage)
        summary = asyncio.run(course.run())
        found = finish(store.directory, material, store.manifest.models["actor"])
    if invocation.json_report:
        print(evolve_report.as_json(found, settled.directory))
    else:
        evolve_report.print_report(found, summary)
        report.print_run(settled.directory)


def with_template(config: EvolveConfig) -> tuple[EvolveConfig, str]:
    """The instruction text, and the settings with its digest in place of its folder.

    Raises
    ------
    UsageMistake
        The folder has no such text, or it lacks a field.
    """
    folder = Path(config.templates) if config.templates else None
    if folder is not None and not (folder / f"{TEMPLATE}.txt").is_file():
        raise UsageMistake(f"--templates {folder}: no {TEMPLATE}.txt there; give a folder with one")
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


def _settle(
    config: EvolveConfig, invocation: Invocation, source: PromptSource, display: Display
) -> Settled:
    try:
        settled = settle(config, display.note, asked=("actor",))
    except SparError as error:  # a finished run needs no teacher to be gone through again
        done = invocation.out
        if done is None or invocation.fresh or not is_finished(done, config, source):
            raise
        display.note(f"{error}; the run is finished: {source.count} replies are there already")
        return Settled(config, done, read_manifest(done))
    manifest = make_manifest(settled)
    directory = invocation.out or Path("runs") / f"evolve-{manifest.digest[:8]}"
    return Settled(settled, directory, manifest)
