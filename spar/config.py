"""Run settings: typed, with the paper's values, out of YAML recipes and command-line overrides.

A recipe is a YAML file with a section a command (`decode:`), every key of which is a field below.
`load_decode` takes the recipe, then the flags that were given; what neither names keeps its default.
`load_eval` takes the recipe's `decode` section, greedy decoding in place of its search, then its `eval`
section and the flags.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spar.errors import UsageError
from spar.plugins import ENGINES, JUDGES, REFINERS, STRATEGIES
from spar.types import Role

RECIPES = Path(__file__).parent / "recipes"

PLACEMENT = (
    "block_size",
    "cpu_offload_gb",
    "data_parallel_size",
    "distributed_executor_backend",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "max_num_batched_tokens",
    "max_num_seqs",
    "num_gpu_blocks_override",
    "pipeline_parallel_size",
    "tensor_parallel_size",
)
"""Engine arguments that say where and how large a model runs, not what it answers."""

FREE = (
    *("limit", "concurrency", "rows", "device", "out", "fresh"),
    *("base_url", "actor_url", "judge_url", "refiner_url", "api_key_env"),
    *("request_seconds", "retry_seconds", "replicas", "ray_address"),
    *(f"engine_args.{name}" for name in PLACEMENT),
    *("data", "grader_url", "per_prompt"),
)
"""Settings that may differ when a run is resumed: they change its course, not its trees."""


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown fields, documented by docstrings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _plugin_field(default: Any) -> Any:
    """A field that the stored form leaves out while it is empty, so that older digests stay valid."""
    return Field(default=default, exclude_if=operator.not_)


class SamplingConfig(Settings):
    """How one role samples."""

    temperature: float = Field(ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus."""
    max_tokens: int = Field(default=2048, ge=1)
    """Most tokens a reply."""


class DecodeConfig(Settings):
    """Settings of `spar decode`."""

    prompts: str = ""
    """A .jsonl or .txt file, `-` for standard input; "" for the built-in nano-if prompts."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many prompts."""
    strategy: str = "bfs"
    """Name in the strategies table."""
    budget: int = Field(default=15, ge=1)
    """Most responses a tree, drafts and refinements (paper: 15)."""
    branch: int = Field(default=3, ge=1)
    """Refinements of an expanded node (paper: 3)."""
    keep: int = Field(default=2, ge=1)
    """Nodes of a level that are expanded further (paper: 2)."""
    depth: int = Field(default=3, ge=1)
    """Levels of refinement (paper: 3)."""
    votes: int = Field(default=5, ge=1)
    """Votes a judgement (paper: 5)."""
    vote_rule: Literal["full", "majority", "race"] = "full"
    """Cast every vote (paper), the rest only where the first ones split, or all at once with the
    rest cut off when a majority agrees."""
    strategy_args: dict[str, Any] = _plugin_field({})
    """Options of the strategy by name, as it declares them."""
    judge: str = "votes"
    """Name in the judges table."""
    judge_args: dict[str, Any] = _plugin_field({})
    """Options of the judge by name, as it declares them."""
    refiner: str = _plugin_field("")
    """Name in the refiners table; "" for spar's own."""
    gate: float = Field(default=0.5, ge=0, lt=1)
    """A node passes when its score is strictly above this (paper: 0.5)."""
    stop: Literal["wave", "first"] = "wave"
    """Judge each wave whole (paper), or cancel the rest once a child passes."""
    max_calls: int | None = Field(default=None, ge=1)
    """Most requests a tree, tested before each wave."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most generated tokens a tree, tested before each wave."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Most seconds a tree, tested before each wave."""
    model: str = ""
    """A Hugging Face folder or hub name; "" for the embedded model."""
    actor_model: str = ""
    """The actor's own model; "" for `model`."""
    judge_model: str = ""
    """The judge's own model; "" for the refiner's."""
    refiner_model: str = ""
    """The refiner's own model; "" for `model`."""
    engine: str = "auto"
    """Name in the engines table, or auto."""
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """auto is bf16 on a GPU and fp32 on a CPU."""
    device: str = "auto"
    """auto, cpu or a torch device."""
    rows: int = Field(default=0, ge=0)
    """Most sequences that an engine in process runs at once; 0 leaves it to the engine."""
    engine_args: dict[str, Any] = {}
    """Passed on to vLLM's engine as they are."""
    adapter: dict[Role, str] = {}
    """Role to the folder of its LoRA adapter (vllm)."""
    speculate: Literal["auto", "on", "off"] = "auto"
    """n-gram speculation where the engine has it (vllm): replies come sooner, throughput falls, and a
    seed gives another text than without.
    auto is on for `--prompt` on a GPU."""
    base_url: tuple[str, ...] = ()
    """Servers that speak OpenAI's protocol, replicas of one another, such as http://host:8000/v1."""
    actor_url: tuple[str, ...] = ()
    """The actor's own servers; () for `base_url`."""
    judge_url: tuple[str, ...] = ()
    """The judge's own servers; () for the refiner's."""
    refiner_url: tuple[str, ...] = ()
    """The refiner's own servers; () for `base_url`."""
    api_key_env: str = ""
    """Name of the environment variable that holds the servers' key; "" sends no key."""
    request_seconds: float = Field(default=600.0, gt=0)
    """A request to a server that takes longer is given up and sent again."""
    retry_seconds: float = Field(default=300.0, ge=0)
    """How long a request is tried again while its server fails, and at least four times, before the
    run stops."""
    replicas: int = Field(default=1, ge=1)
    """Copies of the model on a Ray cluster."""
    replica_engine: Literal["auto", "hf", "vllm"] = "auto"
    """What each copy on a Ray cluster runs."""
    ray_address: str = ""
    """The Ray cluster: auto, host:port, or "" for one of this machine's own."""
    concurrency: int = Field(default=0, ge=0)
    """Most trees in flight; 0 admits as many as keep the engine full."""
    seed: int | None = 0
    """Run seed; null leaves the engine unseeded."""
    greedy_first: bool = True
    """Whether a tree's first draft is greedy, so that every strategy starts from the same answer."""
    draft: SamplingConfig = SamplingConfig(temperature=0.9, top_p=0.9, max_tokens=2048)
    """Drafts (paper, code: 0.9, 0.9, 2048)."""
    vote: SamplingConfig = SamplingConfig(temperature=0.7, top_p=1.0, max_tokens=2048)
    """Votes (paper, code: 0.7, 1.0, 2048)."""
    refine: SamplingConfig = SamplingConfig(temperature=0.7, top_p=1.0, max_tokens=3072)
    """Refinements (paper, code: 0.7, 1.0, 3072)."""
    templates: str = ""
    """A folder with judge.txt and refine.txt to use in place of spar's."""


class EvalConfig(DecodeConfig):
    """Settings of `spar eval`: one benchmark, and the search that answers it."""

    strategy: str = "greedy"
    """Name in the strategies table."""
    benchmark: str = ""
    """Name in the benchmarks table, or a task of lm-eval."""
    benchmark_args: dict[str, Any] = _plugin_field({})
    """Options of the benchmark by name, as it declares them."""
    data: str = ""
    """Folder with the benchmarks' data; "" for `SPAR_DATA`, else the cache."""
    data_digest: str = ""
    """Digest of the benchmark's data files, so that a run is not resumed on other examples."""
    responses: str = ""
    """A file or run directory with answers to use in place of generating them."""
    grader_model: str = ""
    """The model that grades where programs cannot; "" for the judge's."""
    grader_url: tuple[str, ...] = ()
    """The grader's own servers; () for the judge's."""
    grader_engine: str = "auto"
    """The grader's engine, where it has a model or servers of its own."""
    grade: SamplingConfig = SamplingConfig(temperature=0.0, max_tokens=1024)
    """A grader's replies, and greedy judgements of LLMBar."""
    judge_votes: int = Field(default=0, ge=0)
    """Votes on each judgement of LLMBar, and of a grader who says Yes or No, sampled like any votes; 0
    is one greedy judgement in place of them."""
    chat_template: bool = True
    """Whether lm-eval's tasks are asked through the model's chat template."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Worked examples before a question of lm-eval's tasks; none given: the task's own number."""
    max_gen_toks: int | None = Field(default=None, ge=1)
    """Most tokens of a reply to lm-eval's tasks; none given: the task's own number."""
    prompt_seed: int = 0
    """Which draw of nano-if's test prompts."""


C = TypeVar("C", bound=DecodeConfig)


def load_decode(recipe: str | None, overrides: Mapping[str, Any]) -> DecodeConfig:
    """Settings of a decode run.

    Parameters
    ----------
    recipe:
        A YAML file, or the name of one in `spar/recipes`.
    overrides:
        Field name to value, the flags that were given; None values are left out.

    Raises
    ------
    UsageError
        An unknown recipe, field or name, or a value out of range.
    """
    values = dict(section(recipe, "decode")) if recipe else {}
    return _build(DecodeConfig, recipe, values, overrides)


def load_eval(recipe: str | None, overrides: Mapping[str, Any]) -> EvalConfig:
    """Settings of an evaluation; parameters and errors as `load_decode`'s."""
    values = dict(section(recipe, "decode")) if recipe else {}
    values["strategy"] = "greedy"
    values.update(section(recipe, "eval", optional=True) if recipe else {})
    return _build(EvalConfig, recipe, values, overrides)


def _build(
    kind: type[C], recipe: str | None, values: dict[str, Any], overrides: Mapping[str, Any]
) -> C:
    values.update({name: value for name, value in overrides.items() if value is not None})
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        config = kind(**values)
    except ValidationError as error:
        raise UsageError(explain(error, recipe, kind)) from error
    check_plugins(config)
    return config


def check_plugins(config: DecodeConfig) -> None:
    """Raise `UsageError` unless every plug-in that the settings name can be found; imports none."""
    STRATEGIES.check(config.strategy)
    JUDGES.check(config.judge)
    if config.refiner:
        REFINERS.check(config.refiner)
    if config.engine != "auto":
        ENGINES.check(config.engine)


def section(recipe: str, name: str, *, optional: bool = False) -> Mapping[str, Any]:
    """One section of a recipe, a YAML file or the name of one in `spar/recipes`.

    Raises
    ------
    UsageError
        There is no such recipe, it is not YAML, or it lacks the section and needs it.
    """
    import yaml

    path = _recipe_path(recipe)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path}: not YAML ({' '.join(str(error).split())})") from error
    found = content.get(name) if isinstance(content, dict) else None
    if found is None and optional:
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"recipe {path}: lacks a section {name!r} with settings")
    return found


def _recipe_path(recipe: str) -> Path:
    for path in (Path(recipe), RECIPES / f"{recipe}.yaml"):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
    raise UsageError(f"recipe {recipe!r}: no such file, nor a shipped recipe ({shipped})")


def explain(error: ValidationError, recipe: str | None, kind: type[BaseModel]) -> str:
    """A wrong setting in one line: the flag or the recipe's key, what was found, what is accepted."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, kind.model_fields, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"recipe {recipe}: unknown setting {name!r}{hint}"
    flag = f"--{name.replace('_', '-')}"
    message = first["msg"][:1].lower() + first["msg"][1:]
    return f"{flag} {first['input']!r}: {message}"
