"""What the stages of a training pipeline do: one model for each kind of stage.

    {"kind": "judge", "prompts": "prompts.jsonl", "source": "draft", "out": "judge", "config": {...}}

The specification of a stage is written to `STAGE.order.json` and read by the process that executes the stage:
`spar.worker`, or for a training the trainer itself, whose file holds nothing but its settings. A model also
says what a stage needs, what it leaves behind and how its progress is measured, so that a new kind of stage is
a model here and a function in `spar.worker`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, TypeAdapter, ValidationError

from spar.config import DecodeConfig, EvalConfig, Settings, reason_of, setting
from spar.errors import UsageError
from spar.files import count_lines
from spar.plugins import strategy_with
from spar.record.training import BUILD_REPORT, SCORES_FILE, TRAIN_REPORT, read_metrics
from spar.record.training_data import JudgementFilter, Pairing
from spar.store import TREES
from spar.train.backtranslation import TextsSpec
from spar.train.functions import CheckSpec, JoinSpec
from spar.train.harder import HarderSpec
from spar.train.methods import DEFAULT_METHODS, METHODS, TrainingMethod
from spar.train.prompts_spec import PromptsSpec
from spar.train.settings import LaunchSettings, TrainerSettings
from spar.train.stage_spec import FolderSpec, Progress, StageSpec
from spar.types import ROLES, Role


class GenerationSpec(FolderSpec):
    """A run of searches, like that of `spar decode`."""

    prompts: str
    """File of prompts."""
    source: str = ""
    """Run directory of the stage before, "" where it needs none."""
    config: DecodeConfig
    permitted: bool = setting(False, omit_default=True)
    """Whether functions that judge are a program's of spar, which need no permission to run."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        return (Path(self.source) / TREES,) if self.source else ()

    @property
    def output(self) -> Path:
        return self.folder / TREES

    def progress(self) -> Progress | None:
        return Progress(count_lines(self.output), count_lines(Path(self.prompts)), "prompts")


class DraftSpec(GenerationSpec):
    """Sample `config.budget` drafts of every prompt; only the actor is called."""

    kind: Literal["draft"] = "draft"
    program: bool = setting(False, omit_default=True)
    """Whether a program writes them in place of the actor (`spar.nano.function_teacher`)."""
    roles = ("actor",)


class GivenSpec(GenerationSpec):
    """Take the reply that each prompt has of its own as its draft; no model is called."""

    kind: Literal["given"] = "given"


class VoteSpec(GenerationSpec):
    """Judge every draft in the run `source`."""

    kind: Literal["judge"] = "judge"
    roles = ("judge",)


class DerivedSpec(GenerationSpec):
    """A run whose prompts come from the run `source`, so that their number is known once the stage runs."""

    @property
    def count_file(self) -> Path:
        """Where the stage writes how many prompts it has."""
        return Path(f"{self.out}.count.json")

    def progress(self) -> Progress | None:
        try:
            total = int(json.loads(self.count_file.read_bytes())["prompts"])
        except FileNotFoundError:
            return Progress(count_lines(self.output), None, "prompts")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise damaged(self.count_file) from error
        return Progress(count_lines(self.output), total, "prompts")


class SearchSpec(DerivedSpec):
    """Search from one failing draft of each prompt in the judged run `source`."""

    kind: Literal["search"] = "search"
    cut_drafts: bool = setting(True, omit_default=True)
    """As in `spar.train.recipe.TrainConfig`."""

    @property
    def roles(self) -> tuple[Role, ...]:  # type: ignore[override]
        """The actor as well where the strategy may draft again."""
        strategy = strategy_with(self.config.strategy, self.config.strategy_args)
        return (*(("actor",) if strategy.drafts_again else ()), "judge", "refiner")


class JudgementsSpec(DerivedSpec):
    """Judge one response of each prompt in the judged run `source` again, `config.budget` times, storing every judgement."""

    kind: Literal["judgements"] = "judgements"
    roles = ("judge",)


class ComparisonSpec(DerivedSpec):
    """Let the judge's model compare each two judgements of each tree of the run `source`, in both orders."""

    kind: Literal["meta"] = "meta"
    roles = ("judge",)


class AnswerSpec(GenerationSpec):
    """Answer every prompt by the strategy of `config`."""

    kind: Literal["answer"] = "answer"
    roles = ROLES


class BuildSpec(FolderSpec):
    """Build the training data of a loop's iteration (`spar.train.build`)."""

    kind: Literal["build"] = "build"
    search: str
    """Run directory of the searches; "" where the loop does not search."""
    drafts: str
    """Run directory of the drafts, judged where the loop judges."""
    judgement_run: str = setting("", omit_default=True)
    """Run directory of judgements to make pairs of; "" for none."""
    comparison_run: str = setting("", omit_default=True)
    """Run directory of their comparisons; "" where programs rank them."""
    max_judgement_characters: int | None = setting(None, omit_default=True)
    own_answers: bool = setting(False, omit_default=True)
    answer_score: float | None = setting(None, omit_default=True)
    seeds: str = setting("", omit_default=True)
    """File of answers to learn beside those that passed; "" for none."""
    seed: int
    methods: tuple[str, ...] = setting(DEFAULT_METHODS, omit_default=True)
    pairs: Pairing
    length_control: float | None = setting(None, omit_default=True)
    max_chosen_characters: int | None = setting(None, omit_default=True)
    cut_drafts: bool = setting(True, omit_default=True)
    shuffle_labels: bool
    quotas: str
    min_pairs: int
    max_pairs: int | None
    embedding_model: str
    """These as in `spar.train.recipe.TrainConfig`."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        runs = tuple(Path(run) / TREES for run in self._runs if run)
        return (*runs, *(Path(file) for file in (self.seeds,) if file))

    @property
    def _runs(self) -> tuple[str, ...]:
        return self.drafts, self.search, self.judgement_run, self.comparison_run

    @property
    def output(self) -> Path:
        return self.folder / BUILD_REPORT


class BootstrapBuildSpec(FolderSpec):
    """Build the training data of a bootstrap (`spar.train.bootstrap.build`)."""

    kind: Literal["bootstrap"] = "bootstrap"
    answers: str
    """Run directory of the teacher's answers."""
    judge: str
    """Run directory of the student's drafts, judged by the teacher."""
    refine: str
    """Run directory of the teacher's refinements of failing drafts."""
    seed: int
    judgements: JudgementFilter
    max_answers: int
    max_refinements: int
    max_judgements: int
    min_answers: int
    min_examples: int
    """These as in `spar.train.bootstrap.recipe.BootstrapConfig`."""
    max_answer_tokens: int = Field(ge=1)
    """The token limit of the teacher's answers."""
    llamafactory: bool = False

    @property
    def inputs(self) -> tuple[Path, ...]:
        return tuple(Path(run) / TREES for run in (self.answers, self.judge, self.refine))

    @property
    def output(self) -> Path:
        return self.folder / BUILD_REPORT


class EvalItem(Settings):
    """One evaluation of a stage."""

    name: str
    """Its name in the loop, and its folder's."""
    benchmark: str
    config: EvalConfig
    show: tuple[str, ...] = setting((), omit_default=True)
    """Metrics that it must have; () in all evaluations of a loop but the first one."""


class EvalStageSpec(FolderSpec):
    """Evaluate the models of an iteration."""

    kind: Literal["eval"] = "eval"
    roles = ROLES
    items: tuple[EvalItem, ...]
    models: tuple[str, ...] = Field(default=(), exclude=True)
    """Folders of the models that the loop has trained, which must exist; not part of the file."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        return tuple(Path(model) / "config.json" for model in self.models)

    @property
    def output(self) -> Path:
        return self.folder / SCORES_FILE

    def done_file(self, item: EvalItem) -> Path:
        """The file that exists once an item is evaluated."""
        return self.folder / item.name / "done.json"

    def progress(self) -> Progress | None:
        done = sum(self.done_file(item).exists() for item in self.items)
        return Progress(done, len(self.items), "evaluations")


class TrainingSpec(StageSpec):
    """Train a model by one of `spar.train.methods.METHODS`; the file holds `settings` alone."""

    method_name: str
    role: Role
    """The role that the model is trained for."""
    settings: SerializeAsAny[TrainerSettings]
    launch: LaunchSettings = LaunchSettings()

    @property
    def method(self) -> TrainingMethod:
        """How it is trained."""
        return METHODS[self.method_name]

    @property
    def folder(self) -> Path:
        return Path(self.settings.out)

    @property
    def inputs(self) -> tuple[Path, ...]:
        return (Path(self.settings.data),)

    @property
    def output(self) -> Path:
        return self.folder / TRAIN_REPORT

    @property
    def num_steps(self) -> int | None:
        """Optimizer steps; None before the data are built."""
        examples = count_lines(Path(self.settings.data))
        if not examples:
            return self.settings.max_steps or None
        return self.settings.num_steps(examples)

    def progress(self) -> Progress | None:
        rows = read_metrics(self.folder)
        return Progress(rows[-1].step if rows else 0, self.num_steps, "steps")

    def stored(self) -> dict[str, Any]:
        return self.settings.stored()


WorkerSpec = (
    PromptsSpec
    | TextsSpec
    | CheckSpec
    | HarderSpec
    | JoinSpec
    | DraftSpec
    | GivenSpec
    | VoteSpec
    | SearchSpec
    | JudgementsSpec
    | ComparisonSpec
    | AnswerSpec
    | BuildSpec
    | BootstrapBuildSpec
    | EvalStageSpec
)
"""What `spar.worker` executes."""
_WORKER_SPEC: TypeAdapter[WorkerSpec] = TypeAdapter(
    Annotated[WorkerSpec, Field(discriminator="kind")]
)


def read_spec(path: Path) -> WorkerSpec:
    """The specification in a file.

    Raises
    ------
    UsageError
        The file cannot be read, or holds no specification.
    """
    try:
        return _WORKER_SPEC.validate_python(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:  # a ValidationError is a ValueError
        raise UsageError(f"{path} is not the specification of a stage: {error}") from error


def training_seed(settings: Mapping[str, Any], seed: int) -> int:
    """The seed of a training: its own where the settings have one that is not 0, which recipes store unasked; else the run's."""
    return int(settings.get("seed") or seed)


def validated(kind: type[Any], values: Mapping[str, Any], what: str) -> Any:
    """Settings of a stage.

    Parameters
    ----------
    what:
        What they are, in the message: "the settings of stage 1/search".

    Raises
    ------
    UsageError
        An unknown setting, or a value out of range.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{what}: there is no setting {name!r}") from error
        raise UsageError(f"{what}: {name} is {first['input']!r}: {reason_of(first)}") from error


def damaged(path: Path) -> UsageError:
    """The error for a file of a stage that cannot be read."""
    return UsageError(f"{path} is damaged; delete it and rerun its stage with --rerun-from")
