"""The stages of a bootstrap, as data: what each reads, what it writes, what it is told.

    answers                       the teacher answers the actor's prompts
    drafts judge refine           the student drafts, the teacher judges and refines what fails
    build                         the two sets of examples
    sft-actor sft-refiner         both models, in `actor/model` and `refiner/model`

They are stages like those of the loop (`spar.train.stages`), in one folder. Nothing here runs or reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig
from spar.embedded import CHECKPOINT
from spar.errors import UsageError
from spar.train.bootstrap.recipe import BootstrapConfig
from spar.train.stages import Stage

STAGES = ("answers", "drafts", "judge", "refine", "build", "sft-actor", "sft-refiner")
"""Every stage, in order."""
ACTOR_PROMPTS, REFINER_PROMPTS = "actor.prompts.jsonl", "refiner.prompts.jsonl"
"""The prompts of either model, in the bootstrap's folder."""


@dataclass(frozen=True, slots=True)
class BootstrapStage(Stage):
    """One stage of a bootstrap."""

    @property
    def folder(self) -> Path:
        """What it writes lies in here; a training's is named for what it trains."""
        return self.home / self.name.removeprefix("sft-")

    @property
    def title(self) -> str:
        """Its name."""
        return self.name


def all_stages(config: BootstrapConfig, run: Path) -> tuple[BootstrapStage, ...]:
    """Every stage of a bootstrap, in the order in which they run.

    Parameters
    ----------
    run:
        The bootstrap's folder.
    """
    sampled = {"strategy": "best-of-n", "budget": config.samples, "greedy_first": False}
    answering = {"strategy": "greedy", "budget": 1, "greedy_first": config.greedy_answers}
    teacher, drafted = config.teacher, REFINER_PROMPTS
    return (
        _generation(run, "answers", "answer", ACTOR_PROMPTS, _asked(config, teacher, answering)),
        _generation(run, "drafts", "draft", drafted, _asked(config, config.student, sampled)),
        _generation(run, "judge", "judge", drafted, _asked(config, teacher, sampled), "drafts"),
        _generation(
            run, "refine", "search", drafted, _asked(config, config.searching, {}), "judge"
        ),
        _build(config, run),
        _training(config, run, "actor", config.actor),
        _training(config, run, "refiner", config.refiner),
    )


def find(stages: Sequence[BootstrapStage], name: str) -> int:
    """Where the stage stands that a person names.

    Raises
    ------
    UsageError
        There is no such stage.
    """
    names = [stage.name for stage in stages]
    if name not in names:
        raise UsageError(f"there is no stage {name!r} (accepted: {', '.join(names)})")
    return names.index(name)


def _asked(
    config: BootstrapConfig, asked: DecodeConfig, changed: Mapping[str, Any]
) -> dict[str, Any]:
    return {**asked.stored(), "seed": config.seed, "limit": None, **changed}


def _generation(
    run: Path, name: str, kind: str, prompts: str, config: dict[str, Any], source: str = ""
) -> BootstrapStage:
    order = {
        "kind": kind,
        "prompts": str(run / prompts),
        "source": str(run / source) if source else "",
        "out": str(run / name),
        # The file itself says which prompts; its place on the disk is of no interest to a record.
        "config": {**config, "prompts": prompts},
    }
    needs = (run / source / "trees.jsonl",) if source else ()
    return BootstrapStage(0, name, run, order, needs, run / name / "trees.jsonl")


def _build(config: BootstrapConfig, run: Path) -> BootstrapStage:
    named = (
        *("judgements", "max_answers", "max_refinements", "max_judgements"),
        *("min_answers", "min_examples", "llamafactory", "seed"),
    )
    runs = {name: str(run / name) for name in ("answers", "judge", "refine")}
    order = {
        "kind": "bootstrap",
        "out": str(run / "build"),
        **runs,
        "max_answer_tokens": config.teacher.draft.max_tokens,
        **{name: getattr(config, name) for name in named},
    }
    needs = tuple(Path(path) / "trees.jsonl" for path in runs.values())
    return BootstrapStage(0, "build", run, order, needs, run / "build" / "build.json")


def _training(
    config: BootstrapConfig, run: Path, trained: str, settings: Mapping[str, Any]
) -> BootstrapStage:
    data, out = run / "build" / f"{trained}.jsonl", run / trained
    order = {**settings, "seed": config.seed, "data": str(data), "out": str(out)}
    order["model"] = config.base or str(CHECKPOINT)
    return BootstrapStage(0, f"sft-{trained}", run, order, (data,), out / "report.json")
