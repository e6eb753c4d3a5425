"""What `spar bootstrap` does once its flags are read: say what will run, run it, say what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.cli.interrupts import interruptible
from spar.cli.report import open_console, visible
from spar.cli.train_view import PlainView, View
from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import UsageError
from spar.estimate.calls import most_responses
from spar.infer.engines.hf import check_model_folder
from spar.manifest import config_digest
from spar.run.resolve import deployments, engine_label, shown_model
from spar.train.bootstrap.build import read_report, summary_lines
from spar.train.bootstrap.pipeline import (
    Part,
    actor_prompts,
    planned,
    refiner_prompts,
    run_bootstrap,
)
from spar.train.bootstrap.recipe import FREE, BootstrapConfig, load_bootstrap
from spar.train.bootstrap.stages import BootstrapStage, all_stages
from spar.train.status import is_done, steps_of

DISPLAYS = ("auto", "plain", "none")


@dataclass(frozen=True, slots=True)
class Invocation:
    """The flags that are not settings of the bootstrap."""

    out: Path | None = None
    part: Part = Part()
    fresh: bool = False
    dry_run: bool = False
    display: str = "auto"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many prompts there are, counted before anything runs."""

    actor: int
    refiner: int


def settings(
    recipe: str | None, given: Mapping[str, Any], flags: Mapping[str, Any], changes: Sequence[str]
) -> BootstrapConfig:
    """The bootstrap's settings; flags of the student and the teacher go to either's section.

    Raises
    ------
    UsageError
        An unknown recipe or setting, or a value out of range.
    """
    teacher = {
        "model": flags["teacher_model"],
        "base_url": tuple(flags["teacher_url"]) if flags["teacher_url"] else None,
        "engine": flags["teacher_engine"],
        "api_key_env": flags["api_key_env"],
        "device": flags["device"],
    }
    student = {name: flags[name] for name in ("model", "engine", "device")}
    name = recipe or ("paper" if flags["model"] else "nano")
    return load_bootstrap(name, given, changes, student=student, teacher=teacher)


def run(config: BootstrapConfig, invocation: Invocation) -> None:
    """Run the bootstrap as asked.

    Raises
    ------
    UsageError, RunStopped
        As `spar.train.bootstrap.pipeline.run_bootstrap`; and before anything runs for prompts and models
        that are wrong.
    """
    directory = invocation.out or default_directory(config)
    view = open_view(invocation.display, directory)
    stages = all_stages(config, directory)
    _, left = planned(stages, invocation.part, fresh=invocation.fresh)
    counts = _count_prompts(config)
    if left:
        _check_teacher(config)
        _check_student(config)
        for line in _plan(config, directory, left, counts):
            view.note(line)
    if invocation.dry_run:
        return
    with interruptible(directory), view:
        run_bootstrap(directory, config, invocation.part, view, fresh=invocation.fresh)
    if not left:
        view.note(f"{directory}: every stage that was asked for is done")
    _print_end(directory, stages)


def open_view(kind: str, directory: Path) -> View:
    """The view that `--display` names.

    Raises
    ------
    UsageError
        There is no such view.
    """
    if kind not in DISPLAYS:
        raise UsageError(f"unknown display {kind!r} (accepted: {', '.join(DISPLAYS)})")
    return (View if kind == "none" else PlainView)(directory)


def default_directory(config: BootstrapConfig) -> Path:
    """`runs/bootstrap-DIGEST`: the same command finds its bootstrap again."""
    digest = config_digest(config.stored(), free=FREE)
    return Path("runs") / f"bootstrap-{digest[:8]}"


def plan_lines(
    config: BootstrapConfig, stages: Iterable[BootstrapStage], counts: Counts
) -> Iterator[str]:
    """What each stage will do: generations at the most where every reply parses, and optimizer steps."""
    known = {
        "answers": _answers,
        "drafts": _drafts,
        "judge": _votes,
        "refine": _refinements,
        "build": _build,
    }
    for stage in stages:
        trains = stage.name.startswith("sft-")
        line = _training(config, stage, counts) if trains else known[stage.name](config, counts)
        yield f"{stage.title}: {line}"


def _answers(config: BootstrapConfig, counts: Counts) -> str:
    return f"{counts.actor:,} answers of the teacher"


def _drafts(config: BootstrapConfig, counts: Counts) -> str:
    drafts = counts.refiner * config.samples
    return (
        f"{drafts:,} drafts of the student, {config.samples} for each of {counts.refiner:,} prompts"
    )


def _votes(config: BootstrapConfig, counts: Counts) -> str:
    drafts = counts.refiner * config.samples
    votes = _votes_each(config.teacher)
    return (
        f"{drafts * votes:,} votes of the teacher at the most, {votes} on each of {drafts:,} drafts"
    )


def _refinements(config: BootstrapConfig, counts: Counts) -> str:
    search = config.searching
    # The root is given: what `most_responses` counts for a draft is not written.
    each = min(search.budget, most_responses(search.model_copy(update={"budget": 1 << 30})) - 1)
    written = counts.refiner * each
    return (
        f"{written:,} refinements and {written * _votes_each(search):,} votes of the teacher at the most, "
        f"by {search.strategy} from one failing draft of each prompt that has one"
    )


def _votes_each(config: DecodeConfig) -> int:
    return {"verifier": 0, "logprob": 1}.get(config.judge, config.votes)


def _build(config: BootstrapConfig, counts: Counts) -> str:
    refiner = config.max_refinements + config.max_judgements // 2 * 2
    answers = min(counts.actor, config.max_answers)
    return f"at most {answers:,} examples for the actor and {refiner:,} for the refiner"


def _training(config: BootstrapConfig, stage: BootstrapStage, counts: Counts) -> str:
    judged = counts.refiner * (config.samples + 2)  # two judgements of its search, at most
    most = {
        "sft-actor": min(counts.actor, config.max_answers),
        "sft-refiner": min(config.max_refinements, counts.refiner)
        + min(config.max_judgements // 2 * 2, judged),
    }[stage.name]
    limit = int(stage.order["max_steps"])
    steps = limit or steps_of(most, int(stage.order["batch"]), float(stage.order["epochs"]))
    return f"at most {steps:,} steps of {stage.order['batch']} examples, from {_shown(config)}"


def _shown(config: BootstrapConfig) -> str:
    base = shown_model(config.base)
    return "the embedded model" if base == "embedded" else base


def _plan(
    config: BootstrapConfig, directory: Path, left: Sequence[BootstrapStage], counts: Counts
) -> list[str]:
    teacher = engine_label(deployments(config.teacher)["actor"])
    return [f"bootstrap: {directory}", f"teacher: {teacher}", *plan_lines(config, left, counts)]


def _print_end(directory: Path, stages: Sequence[BootstrapStage]) -> None:
    done = {stage.name for stage in stages if is_done(stage)}
    lines = summary_lines(read_report(directory / "build")) if "build" in done else []
    if len(done) == len(stages):
        trained = [f"--{role}-model {directory / role / 'model'}" for role in ("actor", "refiner")]
        lines.append(f"begin the loop with: spar train {' '.join(trained)}")
    console = open_console(100)
    for line in (*lines, f"bootstrap: {directory}"):
        console.print(visible(line), markup=False, highlight=False, soft_wrap=True)


def _count_prompts(config: BootstrapConfig) -> Counts:
    """Read every prompt once, so that a bad row is told before a model loads."""
    if "-" in (config.prompts, config.refiner_prompts):
        raise UsageError("spar bootstrap reads its prompts more than once; give a file, not -")
    if not config.prompts:
        own = config.refiner_prompts
        refiner = sum(1 for _ in refiner_prompts(config)) if own else config.num_refiner_prompts
        return Counts(config.num_actor_prompts, refiner)
    return Counts(sum(1 for _ in actor_prompts(config)), sum(1 for _ in refiner_prompts(config)))


def _check_student(config: BootstrapConfig) -> None:
    student = config.student
    if student.base_url or student.actor_url or student.engine == "openai":
        raise UsageError(
            "spar bootstrap trains the student, and cannot train the model of a server; give --model "
            "FOLDER_OR_NAME (the teacher may be a server: --teacher-url)"
        )
    model = config.base or str(CHECKPOINT)
    check_model_folder(model)
    if not has_template(Path(model)):
        from spar.train.weights import load_tokenizer

        load_tokenizer(model)  # tells before the teacher is paid that there is none


def has_template(folder: Path) -> bool:
    """Whether a model's folder shows a chat template, which takes no loading to see."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and bool(settings.get("chat_template"))


def _check_teacher(config: BootstrapConfig) -> None:
    teacher, student = config.teacher, config.student
    served = deployments(teacher)
    named = teacher.model or teacher.actor_model or any(one.urls for one in served.values())
    if config.base and not named and teacher.engine != "fake":
        raise UsageError(
            f"{config.base!r} needs a teacher; give --teacher-model FOLDER_OR_NAME or --teacher-url URL"
        )
    for name, asked in (("--teacher-model", teacher), ("--model", student)):
        for one in deployments(asked).values() if asked.engine != "fake" else ():
            if not one.urls:
                _check_folder(name, one.model)


def _check_folder(flag: str, model: str) -> None:
    try:
        check_model_folder(model)
    except UsageError as error:
        raise UsageError(str(error).replace("--model", flag, 1)) from error
