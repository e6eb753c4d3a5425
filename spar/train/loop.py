"""The self-play loop as a pipeline: its manifest, where it starts, and the prompts of its iterations.

Source: section 2 of the paper, and its released scripts for the order of the stages and the quotas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from spar import __version__
from spar.config import DecodeConfig
from spar.errors import UsageError
from spar.manifest import Manifest, leaves
from spar.nano.tasks import prompts as nano_prompts
from spar.prompts import read_prompts
from spar.record.training import ORIGIN, iteration_folder, iteration_number
from spar.store import MANIFEST, read_manifest
from spar.train.backtranslation import BacktranslationSettings
from spar.train.changeable import (
    CHANGEABLE,
    FREE_OF_EARLIER_VERSIONS,
    STAGE_SETTINGS,
    WHAT_IS_EVALUATED,
    free_settings,
)
from spar.train.data.backtranslation import labelled_prompts
from spar.train.data.functions import back_prompts, comparison_prompts, instruction_prompts
from spar.train.evaluations import EvalSpec
from spar.train.functions import FunctionSettings
from spar.train.harder import HarderSettings
from spar.train.loop_stages import STAGES, Origin, harder_spec, loop_stages
from spar.train.methods import LOOP_METHODS
from spar.train.pipeline import Pipeline, default_folder
from spar.train.recipe import TrainConfig
from spar.train.references import reply_of, with_references
from spar.train.set_by_pipeline import OF_LOOP, without_set
from spar.train.settings import SftSettings, trainer_fields
from spar.train.stage import Stage, is_done
from spar.train.stage_runner import write_prompts
from spar.train.start_stages import check_spec, join_spec, label_run, prompts_spec, start_stages
from spar.train.status import read_config, read_origin
from spar.types import Prompt


def loop_pipeline(config: TrainConfig, run: Path, *, overwrite: bool = False) -> Pipeline:
    """The training loop of a recipe in a folder.

    Parameters
    ----------
    overwrite:
        Whether a loop in the folder will be deleted.

    Raises
    ------
    UsageError
        Wrong settings of a search or an evaluation, or a loop to continue that cannot be continued.
    """
    origin = origin_of(config, run, overwrite=overwrite)

    def prepare(stage: Stage) -> None:
        if stage.prompts is not None and not stage.prompts.exists():
            prompts = _own_prompts(stage, config, run, origin)
            if prompts is None:
                prompts = _prompts_of_iteration(config, stage.iteration, run, origin)
            write_prompts(stage.prompts, prompts)

    return Pipeline(
        title="training loop",
        folder=run,
        stages=loop_stages(config, run, origin),
        manifest=_manifest(config, origin),
        stage_settings=STAGE_SETTINGS,
        stage_order=STAGES[: STAGES.index("build") + 1],
        changeable=CHANGEABLE,
        check=partial(_check_replies, config),
        complete=partial(_comparable, origin),
        resume="spar train",
        key=partial(setting_key, config),
        prepare=prepare,
        past_stages=lambda: _past_stages(config, run, origin),
    )


def default_directory(config: TrainConfig) -> Path:
    """`runs/train-DIGEST`: the same for the same settings, also with more iterations and with other `CHANGEABLE` ones.

    The digest of earlier versions has these in it, and leaves out what is evaluated, and the iterations of a loop without any.
    """
    earlier = default_folder("train", config.stored(), FREE_OF_EARLIER_VERSIONS)
    names = WHAT_IS_EVALUATED if config.iterative else (*WHAT_IS_EVALUATED, "iterations")
    is_same = _has_stored(earlier, names, config)
    free = (*free_settings(iterative=config.iterative), *CHANGEABLE)
    complete = with_trainings(config.stored())
    return default_folder("train", complete, free, earlier=earlier if is_same else None)


def with_trainings(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored recipe with all fields of the trainings that it leaves at their defaults, as after a change of one of them."""
    defaults = trainer_fields(SftSettings, {})
    complete = {**stored, "sft": {**defaults, **stored.get("sft", {})}}
    backtranslation = stored.get("backtranslation")
    if isinstance(backtranslation, Mapping):
        backward = {**defaults, **backtranslation.get("backward", {})}
        complete["backtranslation"] = {**backtranslation, "backward": backward}
    return complete


def setting_key(config: TrainConfig, stage: Stage, name: str) -> str:
    """What the recipe calls a setting of a stage; "" where an entry of `by_iteration` sets it, which `--set` does not reach."""
    sections = {"build": (), "backward": ("backtranslation", "backward")}
    keys = (*sections.get(stage.name, (stage.name,)), name)
    changes: Any = config.changes_of(stage.iteration)
    for key in keys:
        changes = changes.get(key) if isinstance(changes, Mapping) else None
    return ".".join(keys) if changes is None else ""


def origin_of(config: TrainConfig, run: Path, *, overwrite: bool = False) -> Origin:
    """Where a loop starts. A stored loop keeps its origin, even if the loop that it continues has changed.

    Raises
    ------
    UsageError
        The loop to continue is not a loop, or this loop itself, or has no iteration to continue from.
    """
    if not config.start:
        return Origin.of_config(config)
    if Path(config.start).resolve() == run.resolve():
        raise UsageError(
            f"--continue-from {config.start} is the loop's own folder; choose another --out"
        )
    if not overwrite and (run / MANIFEST).is_file():
        stored, origin = read_config(run)
        if stored.start == config.start:
            return origin
    origin = read_origin(Path(config.start))
    if config.last_iteration <= origin.iteration:
        raise UsageError(
            f"{config.start} has {origin.iteration} iteration{'s' * (origin.iteration != 1)}, and this loop would end with "
            f"{config.last_iteration}; give --iterations {origin.iteration + 1} or more, with iterative=true"
        )
    return origin


def prompts_of(config: TrainConfig, iteration: int, made: str = "") -> Iterator[Prompt]:
    """The prompts of an iteration: the next ones of the file, which is repeated where it is too short.

    Parameters
    ----------
    made:
        The file of the prompts that the loop has made, "" where it makes none.
    """
    count = config.prompts_at_once
    start = (iteration - 1) * count
    source = made or config.prompts
    if not source:
        yield from islice(nano_prompts("train", 0, start + count), start, None)
        return
    read = partial(read_prompts, source, prompt_field="" if made else config.prompt_field)
    total = sum(1 for _ in read())
    if count >= total:
        yield from read()
        return
    first, last = start % total, (start + count - 1) % total
    for number, prompt in enumerate(read()):
        wraps = first > last
        if (number >= first or number <= last) if wraps else first <= number <= last:
            yield prompt


def _prompts_of_iteration(
    config: TrainConfig, iteration: int, run: Path, origin: Origin
) -> Iterable[Prompt]:
    """The prompts that an iteration drafts answers to, with what its settings add to those of the file."""
    file, witnesses = "", ""
    if config.functions is not None:
        file = str(join_spec(config, run, origin).prompts)
    elif config.makes_prompts:
        spec = prompts_spec(config, run, origin)
        file, witnesses = str(spec.prompts), str(spec.witnesses)
    prompts = prompts_of(config, iteration, file)
    if config.harder is not None and iteration > origin.iteration + 1:
        harder = harder_spec(config, run, iteration).prompts
        prompts = with_harder(prompts, harder, config.harder.share)
    if config.of_iteration(iteration).pairs == "reference":
        written = witnesses if config.checkable.get("witnesses") else ""
        return with_references(prompts, config.references or written)
    return prompts


def with_harder(prompts: Iterable[Prompt], file: Path, share: float) -> Iterator[Prompt]:
    """As many prompts as there were, the first of them, at most that share, from a file of harder ones, which may be empty."""
    new = list(prompts)
    is_empty = file.is_file() and not file.stat().st_size
    harder = [] if is_empty else list(read_prompts(file))[: int(share * len(new))]
    yield from (*harder, *new[: len(new) - len(harder)])


def _own_prompts(
    stage: Stage, config: TrainConfig, run: Path, origin: Origin
) -> Iterable[Prompt] | None:
    """The prompts of a stage that follow from another stage; None where they are the loop's."""
    if config.functions is not None:
        match stage.name:
            case "functions":
                return instruction_prompts(config.functions)
            case "back":
                return back_prompts(check_spec(config, run, origin))
            case "compare":
                return comparison_prompts(iteration_folder(run, origin.iteration) / "back")
    if config.backtranslation is not None:
        return labelled_prompts(label_run(run, origin))
    return None


def _check_replies(config: TrainConfig, stages: Sequence[Stage]) -> None:
    """Reject pairs with the prompts' own replies where the prompts of drafts that stay were written without."""
    done = {stage.title for stage in stages if is_done(stage)}
    for stage in stages:
        number = stage.iteration
        own = config.of_iteration(number) if stage.name == "draft" else None
        if own is None or own.pairs != "reference" or "dpo" not in own.methods:
            continue
        if stage.prompts is None or not stage.prompts.exists() or f"{number}/build" in done:
            continue
        if not all(map(reply_of, read_prompts(stage.prompts))):
            raise UsageError(
                f"pairs=reference prefers a reply that each prompt has, and {stage.prompts}, to which {stage.title} drafted, "
                f"was written without; replies are added before the drafts: --rerun-from {stage.title}"
            )


def _comparable(origin: Origin, stored: dict[str, Any]) -> dict[str, Any]:
    """A stored recipe with all fields of its trainings, and without what has no effect: settings of earlier versions, and
    which metrics are shown.

    A model of evaluations has one where the loop starts from the embedded model, which has no name to put in its place.
    """
    effective = () if origin.actor and origin.refiner else ("model",)
    complete = without_set(OF_LOOP, with_trainings(stored), effective=effective)
    shown = complete.get("benchmarks", ())
    benchmarks = [{k: value for k, value in item.items() if k != "show"} for item in shown]
    return {**complete, "benchmarks": benchmarks}


def _past_stages(config: TrainConfig, run: Path, origin: Origin) -> Sequence[Stage]:
    """Every stage that any loop may have left in the folder: of all iterations, with evaluations."""
    numbers = [iteration_number(path) or 0 for path in run.glob("iteration-*")]
    last = max(config.iterations, *numbers, 1)
    benchmarks = config.benchmarks or (EvalSpec(benchmark="any"),)
    changes = {
        "iterations": last,
        "methods": tuple(LOOP_METHODS),
        "one_model": False,
        "own_answers": False,
        "judge_pairs": True,
        "meta_judge": "model",
        "by_iteration": (),
        "prompts": "",
        "checkable": config.checkable or {"n": 1},
        "backtranslation": config.backtranslation or BacktranslationSettings(),
        "harder": config.harder or HarderSettings(),
        "functions": config.functions or FunctionSettings(),
        "benchmarks": benchmarks,
        "iterative": True,
        "measure_start": True,
        # Settings of which no path depends, and which contradict the methods above in some recipes.
        "decode": _without_template_arguments(config.decode),
        "search": {},
    }
    widest = config.model_copy(update=changes)
    stages = [*loop_stages(widest, run, replace(origin, iteration=0))]
    # A loop that continues another makes its prompts in the iteration that it starts from.
    for number in numbers:
        stages += start_stages(widest, run, replace(origin, iteration=number))
    by_title = {stage.title: stage for stage in stages}
    return sorted(by_title.values(), key=lambda each: (each.iteration, STAGES.index(each.name)))


def _without_template_arguments(config: DecodeConfig) -> DecodeConfig:
    roles = {
        name: getattr(config, name).model_copy(
            update={"chat_template_args": {}, "reasoning_effort": "auto"}
        )
        for name in ("draft", "vote", "refine")
    }
    return config.model_copy(update=roles)


def _has_stored(folder: Path, names: Iterable[str], config: TrainConfig) -> bool:
    """Whether the folder holds a loop with the same values of some settings, by their dotted names."""
    if not (folder / MANIFEST).is_file():
        return False
    stored, own = leaves(read_manifest(folder).config), leaves(config.stored())
    return all(stored.get(name) == own.get(name) for name in names)


def _manifest(config: TrainConfig, origin: Origin) -> Manifest:
    first = {"actor": origin.actor, "refiner": origin.refiner, "iteration": origin.iteration}
    free = free_settings(iterative=config.iterative)
    return Manifest(
        spar_version=__version__,
        config={**config.stored(), ORIGIN: first},
        free=free,
        models={"actor": origin.actor or "embedded", "refiner": origin.refiner or "embedded"},
        seed=config.seed,
    )
