"""What a training pipeline needs and this machine lacks: packages, programs, data, models, a GPU, a folder to write to.

All of it is looked up before the first stage runs, since a stage that fails for it may come after hours of others.
Nothing is imported or loaded; the hub is asked for models that are not in its cache, and where it cannot be reached it
is not a requirement.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

from spar.config import DecodeConfig, EvalConfig
from spar.embedded import CHECKPOINT
from spar.errors import SparError, UsageError, install_command
from spar.estimate.memory import Zero
from spar.eval.benchmark import PYTHON, declared_spec
from spar.eval.datasets import seed_prompts
from spar.eval.datasets.local import open_data
from spar.eval.needed_data import data_of
from spar.hardware import has_package, is_installed, may_see_gpu
from spar.models.folders import is_known, local_model
from spar.offline import is_offline
from spar.plugins import ENGINES
from spar.pretrained import check_model_folder
from spar.run.resolve import deployments, loads_models, model_roles
from spar.train.needs import unmet_needs
from spar.train.prompts_spec import PromptsSpec
from spar.train.settings import TrainerSettings
from spar.train.specs import (
    BootstrapBuildSpec,
    BuildSpec,
    EvalStageSpec,
    GenerationSpec,
    TrainingSpec,
)
from spar.train.stage import Stage
from spar.types import Role
from spar.verification_functions import is_code_allowed

_HUB_SECONDS = 5.0
_TRAINING = ("torch", "transformers", "trl", "datasets")
_BUILDING = ("rapidfuzz",)


def check_requirements(missing: Sequence[str]) -> None:
    """Raise `UsageError` with everything that is missing, one a line."""
    if missing:
        raise UsageError("\n  ".join(["this machine lacks what the stages need:", *missing]))


def missing_requirements(folder: Path, stages: Sequence[Stage]) -> tuple[str, ...]:
    """What the stages need and this machine lacks, each with what to do.

    Parameters
    ----------
    folder:
        The pipeline's folder, which need not exist.
    stages:
        Those that will run.
    """
    lines = [line for stage in stages for line in _lacks(stage)]
    models = dict.fromkeys(model for stage in stages for model in _models(stage))
    own = folder.absolute()
    given = (model for model in models if model and own not in Path(model).absolute().parents)
    return tuple(dict.fromkeys([*_folder(folder), *lines, *filter(None, map(_model, given))]))


def _lacks(stage: Stage) -> Iterator[str]:
    match stage.spec:
        case TrainingSpec(settings=settings, launch=how):
            yield from _trainer(settings)
            if settings.device == "gpu" and not how.hostfile and not may_see_gpu():
                yield "a GPU, for device 'gpu': no driver shows one here; set it to 'cpu' or 'auto'"
            if how.hostfile:
                yield from _packages(("deepspeed",), "train", "training on several machines")
                yield from _programs(("pdsh", "ssh"), "to reach the machines of the hostfile")
        case PromptsSpec(settings=settings, data=data):
            yield from _packages(("lm_eval", "langdetect", "nltk"), "eval", "making prompts")
            if not settings.get("prompts"):
                yield from _data((seed_prompts.NAME,), data, "the loop's prompts")
        case BuildSpec() | BootstrapBuildSpec():
            yield from _packages(_BUILDING, "train", "building training data")
            if getattr(stage.spec, "embedding_model", ""):
                yield from _packages(("sentence_transformers",), "embeddings", "embedding_model")
        case EvalStageSpec(items=items):
            for item in items:
                yield from _engine(item.config)
                yield from _benchmark(item.benchmark, item.config)
        case GenerationSpec(config=config):
            yield from _engine(config)


def _trainer(settings: TrainerSettings) -> Iterator[str]:
    yield from _packages(_TRAINING, "train", "training")
    if settings.method != "full":
        yield from _packages(("peft",), "train", f"method {settings.method!r}")
    if settings.method == "qlora":
        yield from _packages(("bitsandbytes",), "train", "method 'qlora'")
    if settings.deepspeed:
        yield from _packages(("deepspeed",), "train", f"deepspeed {settings.deepspeed!r}")
        if Zero.from_config(settings.deepspeed).offloads_optimizer and not _compiler():
            yield "a C++ compiler, with which DeepSpeed builds its CPU Adam: install g++, or set CXX"
    yield from unmet_needs(settings)


def _engine(config: DecodeConfig) -> Iterator[str]:
    if config.engine == "auto":
        return  # it is chosen among those that are installed
    names = [config.engine]
    if "replicas" in ENGINES.spec(config.engine).accepts and config.replica_engine != "auto":
        names.append(config.replica_engine)
    for name in names:
        yield from _packages(ENGINES.spec(name).packages, name, f"engine {name!r}")


def _benchmark(name: str, config: EvalConfig) -> Iterator[str]:
    spec = declared_spec(name)
    if spec is None:
        return
    for package in spec.packages:
        if package != PYTHON and not is_installed(package):
            yield f"the package {package!r}, for benchmark {name!r}: {install_command('eval')}"
    if spec.runs_code and not is_code_allowed():
        yield f"permission to run the code that a model writes, for benchmark {name!r}: --allow-code-execution"
    yield from _data(data_of(spec, config), config.data, f"benchmark {name!r}")


def _data(names: Sequence[str], folder: str, what: str) -> Iterator[str]:
    for name in names:
        try:
            open_data(name, folder)
        except UsageError as error:
            yield f"the data {name!r} of {what}: {error}"


def _packages(names: Sequence[str], extra: str, what: str) -> Iterator[str]:
    for name in names:
        if not has_package(name):
            yield f"the package {name!r}, for {what}: {install_command(extra)}"


def _programs(names: Sequence[str], what: str) -> Iterator[str]:
    for name in names:
        if shutil.which(name) is None:
            yield f"the program {name}, {what}: install it on every machine, such as apt install {name}"


def _compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "c++", "g++") if name)


def _folder(folder: Path) -> Iterator[str]:
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        yield f"a folder {folder}: {place} is a file; choose another --out"
    elif not os.access(place, os.W_OK | os.X_OK):
        yield f"a folder {folder} that can be written: {place} cannot; choose another --out"


def _models(stage: Stage) -> Iterator[str]:
    match stage.spec:
        case TrainingSpec(settings=settings):
            yield settings.model
        case EvalStageSpec(items=items):
            for item in items:
                yield from _loaded(item.config, stage.spec.roles)
        case GenerationSpec(config=config):
            yield from _loaded(config, stage.spec.roles)


def _loaded(config: DecodeConfig, roles: Sequence[Role]) -> Iterator[str]:
    """Models that the engine loads for the roles, from folders or the hub."""
    if not loads_models(config):
        return
    served = deployments(config)
    for role in model_roles(config, roles):
        if not served[role].urls:
            yield served[role].model


def _model(model: str) -> str:
    """Why a model cannot be loaded; "" where it can, or where that is not known."""
    if model == str(CHECKPOINT):
        return ""
    try:
        check_model_folder(model)
    except UsageError as error:
        return f"a model: {error}"
    if is_known(model):
        return _unfetched(model)
    return "" if Path(model).exists() else _hub_model(model)


def _unfetched(model: str) -> str:
    """Why a known model cannot be fetched; one that may be downloaded is not downloaded yet."""
    try:
        if is_offline():
            local_model(model)
    except SparError as error:
        return f"a model: {error}"
    return ""


def _hub_model(model: str) -> str:
    try:
        from huggingface_hub import constants, get_token, try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return ""  # the packages that load models are missing, which is said already
    try:
        if isinstance(try_to_load_from_cache(model, "config.json"), str):
            return ""
    except HFValidationError:
        return f"the model {model!r}: there is no such folder, and the hub has no such names"
    if constants.HF_HUB_OFFLINE:
        return f"the model {model!r}: it is not in the hub's cache, and HF_HUB_OFFLINE is set"
    return _refusal(model, f"{constants.ENDPOINT}/api/models/{model}/auth-check", get_token())


def _refusal(model: str, url: str, token: str | None) -> str:
    """Why the hub refuses a model; "" where it does not, or cannot be asked."""
    import httpx

    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        response = httpx.get(url, headers=headers, timeout=_HUB_SECONDS)
    except (OSError, httpx.HTTPError):
        return ""
    code = response.headers.get("x-error-code", "")
    if code == "GatedRepo":
        return (
            f"access to the model {model!r}: accept its licence at https://huggingface.co/{model}, then run hf auth "
            "login or set HF_TOKEN"
        )
    if code == "RepoNotFound" or response.status_code == HTTPStatus.NOT_FOUND:
        return f"the model {model!r}: there is neither such a folder nor such a model of the hub that you may see"
    return ""
