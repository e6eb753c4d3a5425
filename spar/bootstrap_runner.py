"""The bootstrap for callers: check the settings, say what will run, run it, return what came of it.

    from spar.bootstrap_runner import bootstrap
    from spar.train.bootstrap.recipe import load_bootstrap

    config = load_bootstrap("paper", {}, student={"model": BASE}, teacher={"model": TEACHER})
    result = bootstrap(config, out="runs/first")
    print(result.actor, result.refiner)

Every stage runs in a process of its own (`spar.stage_processes`), so a script needs no `__main__` guard.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spar.embedded import CHECKPOINT, embedded_note, is_embedded
from spar.errors import UsageError
from spar.estimate.bootstrap import PromptCounts, plan_lines
from spar.estimate.fit import training_processes
from spar.estimate.memory import read_machine
from spar.estimate.possible import check_examples_possible
from spar.estimate.preflight import check_stages, is_remote
from spar.estimate.requirements import check_requirements, missing_requirements
from spar.files import expand_home
from spar.listener import Listener, checked_listener
from spar.models.folders import is_known, local_files
from spar.models.gguf import is_gguf
from spar.pretrained import check_model_folder
from spar.record.training_data import BootstrapReport
from spar.rows.read import is_stream
from spar.run.resolve import deployments, engine_label, loaded_models, loads_models
from spar.stage_processes import stage_processes
from spar.train.bootstrap.build import read_report
from spar.train.bootstrap.conversations import check_conversations
from spar.train.bootstrap.pipeline import (
    actor_prompts,
    bootstrap_pipeline,
    default_directory,
    refiner_prompts,
)
from spar.train.bootstrap.recipe import BootstrapConfig
from spar.train.pipeline import (
    Pipeline,
    StageSelection,
    run_pipeline,
    select_runnable,
    with_models,
)
from spar.train.settings import SftSettings
from spar.train.specs import TrainingSpec
from spar.train.stage import Stage, is_done


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """What a call of `bootstrap` will do."""

    pipeline: Pipeline
    stages: tuple[Stage, ...]
    """The stages that will run."""
    notes: tuple[str, ...]
    """The plan in human-readable lines."""
    missing: tuple[str, ...] = ()
    """What this machine lacks for these stages (`spar.estimate.requirements`)."""


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """A bootstrap after a call of `bootstrap`."""

    directory: Path
    report: BootstrapReport | None
    """The report of its training data; None before they are built."""
    actor: Path | None
    """Folder of the trained actor; None before the bootstrap is complete."""
    refiner: Path | None
    """The same of the refiner."""


def bootstrap(
    config: BootstrapConfig,
    *,
    out: str | Path | None = None,
    listener: Listener | None = None,
    selection: StageSelection = StageSelection(),
    overwrite: bool = False,
) -> BootstrapResult:
    """Run a bootstrap, or resume it: stages that are done are left alone.

    Parameters
    ----------
    config:
        The recipe (`spar.train.bootstrap.recipe.load_bootstrap`).
    out:
        The bootstrap's folder; None for `runs/bootstrap-DIGEST`, which is the same for the same settings.
    listener:
        Receives the stages as they start, progress and end, and notes; by default these are logged.
    selection:
        Which stages to run.
    overwrite:
        Delete an earlier bootstrap in the folder first.

    Raises
    ------
    ConfigChanged
        The folder holds a bootstrap with other settings.
    UsageError
        Something is wrong with the settings, prompts or models; mostly before anything runs.
    RunStopped
        A stage stopped; calling it again resumes.
    """
    listener = checked_listener(listener)
    plan = plan_bootstrap(config, out=out, selection=selection, overwrite=overwrite)
    check_requirements(plan.missing)
    for note in plan.notes:
        listener.note(note)
    is_checked = not _is_to_come(_student(config))
    loaded = (*loaded_models(config.teacher), *loaded_models(config.student))
    pipeline = with_models(plan.pipeline, (_student(config), *loaded), listener.note)
    if not is_checked:
        _check_conversations(config, plan.stages, pipeline)
    with stage_processes() as execute:
        run_pipeline(pipeline, execute, listener=listener, selection=selection, overwrite=overwrite)
    return _result(plan.pipeline)


def plan_bootstrap(
    config: BootstrapConfig,
    *,
    out: str | Path | None = None,
    selection: StageSelection = StageSelection(),
    overwrite: bool = False,
) -> BootstrapPlan:
    """Check the settings, prompts and models, and say what `bootstrap` would do; writes nothing.

    Raises
    ------
    UsageError
        As `bootstrap`; what a training would refuse too (`spar.estimate.preflight`).
    """
    folder = expand_home(Path(out)) if out is not None else default_directory(config)
    pipeline = bootstrap_pipeline(config, folder)
    _, stages = select_runnable(pipeline, selection, overwrite=overwrite)
    counts = _count_prompts(config)
    if not stages:
        return BootstrapPlan(pipeline, (), (f"{folder}: every selected stage is done",))
    check_examples_possible(config, stages, counts)
    _check_teacher(config)
    _check_student(config)
    if not _is_to_come(_student(config)):
        _check_conversations(config, stages, pipeline)
    check_stages(stages, training_processes(stages, config.launch, read_machine()))
    teacher = engine_label(deployments(config.teacher)["actor"])
    missing = missing_requirements(folder, stages)
    notes = (
        *(f"bootstrap: {folder}", f"teacher: {teacher}", *_embedded_notes(config)),
        *plan_lines(config, stages, counts),
        *(f"missing here: {line}" for line in missing),
    )
    return BootstrapPlan(pipeline, tuple(stages), notes, missing)


def _embedded_notes(config: BootstrapConfig) -> Iterator[str]:
    """A line for the student and the teacher where the embedded model is to learn from prompts that are not nano-if's."""
    if not (config.prompts or config.refiner_prompts):
        return
    if is_embedded(config.base):
        yield embedded_note("student")
    if any(map(is_embedded, loaded_models(config.teacher))):
        yield embedded_note("teacher", "--teacher-model")


def has_chat_template(folder: Path) -> bool:
    """Whether a model's folder has a chat template, without loading the tokenizer."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and bool(settings.get("chat_template"))


def _result(pipeline: Pipeline) -> BootstrapResult:
    folder = pipeline.folder
    done = {stage.name for stage in pipeline.stages if is_done(stage)}
    report = read_report(folder / "build") if "build" in done else None
    if len(done) < len(pipeline.stages):
        return BootstrapResult(folder, report, None, None)
    actor, refiner = (folder / role / "model" for role in ("actor", "refiner"))
    return BootstrapResult(folder, report, actor, refiner)


def _count_prompts(config: BootstrapConfig) -> PromptCounts:
    """Read every prompt once, so that a malformed row is an error before a model is loaded."""
    for source in (config.prompts, config.refiner_prompts):
        if source and is_stream(source):
            raise UsageError(
                f"spar bootstrap reads its prompts more than once; give a file, not {source}"
            )
    actor, refiner = config.num_actor_prompts, config.num_refiner_prompts
    if config.prompts:
        actor = sum(1 for _ in actor_prompts(config))
    if config.prompts or config.refiner_prompts:
        refiner = sum(1 for _ in refiner_prompts(config))
    return PromptCounts(actor, refiner)


def _check_conversations(
    config: BootstrapConfig, stages: Sequence[Stage], pipeline: Pipeline
) -> None:
    """Refuse prompts that the student's chat template cannot render, unless the teacher has answered them already."""
    training = next(stage.spec for stage in pipeline.stages if stage.name == "sft-actor")
    assert isinstance(training, TrainingSpec)
    if any(stage.name == "answers" for stage in stages):
        check_conversations(config, SftSettings.model_validate(training.stored()))


def _check_student(config: BootstrapConfig) -> None:
    """Refuse a student that cannot be trained."""
    student = config.student
    if student.base_url or student.actor_url or is_remote(student):
        raise UsageError(
            "spar bootstrap trains the student, and cannot train the model of a server; give --model "
            "FOLDER_OR_NAME (the teacher may be a server: --teacher-url)"
        )
    model = _student(config)
    check_model_folder(model)
    if _is_to_come(model):
        return
    folder = local_files(model)
    if folder is None or not has_chat_template(folder):
        from spar.train.weights import load_tokenizer

        load_tokenizer(model)  # raises where there is none, before the teacher is paid


def _is_to_come(model: str) -> bool:
    """Whether a model is fetched or converted once the plan stands, before the teacher is paid."""
    return local_files(model) is None and (is_known(model) or is_gguf(model))


def _student(config: BootstrapConfig) -> str:
    """The model that is trained."""
    return config.base or str(CHECKPOINT)


def _check_teacher(config: BootstrapConfig) -> None:
    teacher, student = config.teacher, config.student
    remote = any(deployment.urls for deployment in deployments(teacher).values())
    chosen = teacher.model or teacher.actor_model or remote
    if config.base and not chosen and loads_models(teacher):
        raise UsageError(
            f"{config.base!r} needs a teacher; give --teacher-model FOLDER_OR_NAME or --teacher-url URL"
        )
    for flag, decode in (("--teacher-model", teacher), ("--model", student)):
        for deployment in deployments(decode).values() if loads_models(decode) else ():
            if not deployment.urls:
                _check_folder(flag, deployment.model)


def _check_folder(flag: str, model: str) -> None:
    try:
        check_model_folder(model)
    except UsageError as error:
        raise UsageError(str(error).replace("--model", flag, 1)) from error
