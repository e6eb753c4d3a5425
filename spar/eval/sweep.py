"""The points of a sweep over strategies and budgets, and the reuse of larger searches for smaller ones.

    bfs at 31 is searched; bfs at 15, 7, 3 and 1 are replayed from its trees where these contain them

Every point is an evaluation in a directory of its own. Before a job of a point is run, its directory is
filled with the trees that those of earlier points contain (`spar.infer.replay`); the other prompts are searched.
Every tree is checked: a shallower depth-first search, for example, is not part of a deeper one once it
backtracks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spar.config import FREE, MAX_BUDGET
from spar.config.yaml_text import load_yaml
from spar.errors import UsageError
from spar.infer.replay import replay
from spar.infer.search import SearchSettings
from spar.infer.strategy import SearchConfig, StrategySpec
from spar.manifest import Manifest, config_digest
from spar.plugins import STRATEGIES, safe_name, strategy_with
from spar.run.job import Job
from spar.store import MANIFEST, TREES, RunStore, read_manifest, read_trees
from spar.types import Prompt

BUDGETS = (1, 3, 7, 15, 31)
"""Responses per prompt: powers of two minus one."""

SEARCH = (
    *("strategy", "strategy_args", "budget", "branch", "keep", "depth", "gate", "stop"),
    *("max_calls", "max_tree_tokens", "max_seconds"),
)
"""Settings that decide which requests a search makes, not the reply to a request."""
_OF_ROLES = ("actor_model", "judge_model", "refiner_model")
"""Settings that a run fills in for the roles that it uses, so one run may have them and another not."""


@dataclass(frozen=True, slots=True)
class Point:
    """One run of a sweep."""

    strategy: str
    """A strategy, and options of its own where it has some: `best-of-n:waves=growing`."""
    budget: int
    depth: int
    """Levels of refinement; more than in the settings if these cannot spend the budget."""
    label: str = ""
    """The strategy in tables and directories (`strategy_labels`); "" for `strategy`."""

    @property
    def shown_strategy(self) -> str:
        """The label, or the strategy itself."""
        return self.label or self.strategy

    @property
    def name(self) -> str:
        """The name of its directory."""
        return f"{safe_name(self.shown_strategy)}-{self.budget}"

    def changes(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        """The settings in which this point differs from others.

        Parameters
        ----------
        shared:
            Options of all strategies of the sweep; the point's own come before them.
        """
        name, options = parse_strategy(self.strategy)
        changed = {"strategy": name, "budget": self.budget, "depth": self.depth}
        return {**changed, "strategy_args": {**shared, **options}}


def parse_strategy(text: str) -> tuple[str, dict[str, Any]]:
    """A strategy's name and its options out of `name:option=value:option=value`; values are YAML.

    Raises
    ------
    UsageError
        A value that is not YAML.
    """
    name, *parts = re.split(r":(?=[\w-]+=)", text)
    options = {}
    for part in parts:
        option, _, value = part.partition("=")
        try:
            options[option.replace("-", "_")] = load_yaml(value)
        except ValueError as error:
            raise UsageError(f"strategy {text!r}: {value!r} is not YAML ({error})") from error
    return name, options


def strategy_spec(text: str) -> StrategySpec:
    """The strategy that such a text names, with its options checked.

    Raises
    ------
    UsageError
        There is no such strategy, or it has no such option.
    """
    return strategy_with(*parse_strategy(text))


def strategy_labels(strategies: Sequence[str]) -> dict[str, str]:
    """Strategy to what tables and directories call it: an object of this process as another one would call it again.

    Objects of one class are numbered in the order of the sweep.
    """
    labels: dict[str, str] = {}
    for strategy in strategies:
        label = STRATEGIES.recorded_name(strategy)
        number = 1 + sum(each.partition("#")[0] == label for each in labels.values())
        labels[strategy] = label if number == 1 else f"{label}#{number}"
    return labels


def check_strategies(strategies: Sequence[str], flag: str = "--strategies") -> None:
    """Check that strategies can be measured side by side.

    Parameters
    ----------
    flag:
        Where they come from, for the message.

    Raises
    ------
    UsageError
        An unknown strategy or option, one that is given twice, or two whose runs would have one folder.
    """
    _refuse_twice(flag, strategies)
    folders: dict[str, str] = {}
    for name, label in strategy_labels(strategies).items():
        strategy_spec(name)
        if (other := folders.setdefault(safe_name(label), name)) != name:
            raise UsageError(
                f"{flag}: {other} and {name} would have one folder, {safe_name(label)}; write one of them otherwise, such "
                "as 0.5 in place of .5"
            )


def plan(
    strategies: Sequence[str],
    budgets: Sequence[int],
    shape: SearchConfig,
    *,
    deepen: bool = True,
) -> list[Point]:
    """The points in the order in which they are run: large budgets first, greedy last.

    Greedy has one point, since it makes one response whatever the budget.

    Parameters
    ----------
    deepen:
        Double the depth until a tree search can spend its budget; the paper's shape ends after 16
        responses breadth-first and 22 depth-first.

    Raises
    ------
    UsageError
        An unknown strategy or option, a budget below 1, none at all, or one that is given twice.
    """
    _check(strategies, budgets)
    labels = strategy_labels(strategies)
    return [
        replace(point, label="" if labels[name] == name else labels[name])
        for name in sorted(strategies, key=lambda name: _fixed(name, shape) is not None)
        for point in _points(name, budgets, shape, deepen=deepen)
    ]


def _points(
    strategy: str, budgets: Sequence[int], shape: SearchConfig, *, deepen: bool
) -> list[Point]:
    fixed = _fixed(strategy, shape)
    if fixed is not None:
        return [Point(strategy, fixed, shape.depth)]
    return [
        Point(strategy, budget, _deepened(strategy, budget, shape) if deepen else shape.depth)
        for budget in sorted(budgets, reverse=True)
    ]


def _fixed(strategy: str, shape: SearchConfig) -> int | None:
    """The number of responses of a strategy whose depth does not change it, such as greedy; else None."""
    most = strategy_spec(strategy).max_responses
    deeper = replace(shape, depth=2 * shape.depth)
    return most(shape) if most and most(shape) == most(deeper) else None


def sources(points: Sequence[Point], point: Point) -> list[Point]:
    """The earlier points to replay from: those of the same strategy first, then by budget."""
    earlier = points[: points.index(point)]

    def distance(source: Point) -> tuple[bool, bool, int]:
        alike = parse_strategy(source.strategy)[0] == parse_strategy(point.strategy)[0]
        return source.strategy != point.strategy, not alike, source.budget

    return sorted(earlier, key=distance)


async def fill(store: RunStore, job: Job, settings: SearchSettings, folders: Sequence[Path]) -> int:
    """Write every tree of a job that the trees of earlier points contain; returns their number.

    Parameters
    ----------
    store:
        The job's run directory.
    settings:
        The search of the job.
    folders:
        Run directories of the same job, tried in order; those with other settings or prompts are skipped.
    """
    missing = {prompt.id: prompt for prompt in job.prompts if prompt.id not in store.done}
    num_replayed = 0
    for folder in folders:
        if not missing or not _is_comparable(folder, store.manifest):
            continue
        for tree in read_trees(folder):
            prompt = missing.get(tree.prompt.id)
            if prompt is None or not _same(prompt, tree.prompt):
                continue
            replayed = await replay(tree, settings, roots=job.roots)
            if replayed is not None:
                store.append(replayed)
                del missing[prompt.id]
                num_replayed += 1
    return num_replayed


def _check(strategies: Sequence[str], budgets: Sequence[int]) -> None:
    for what, values in (("strategies", strategies), ("budgets", budgets)):
        if not values:
            raise UsageError(f"--{what}: none is given; give each once, separated by commas")
    check_strategies(strategies)
    _refuse_twice("--budgets", budgets)
    if max(budgets) > MAX_BUDGET:
        raise UsageError(
            f"--budgets: {max(budgets):,} is too large a budget; give integers up to {MAX_BUDGET:,}"
        )
    if min(budgets) < 1:
        raise UsageError(f"--budgets: {min(budgets)} is not a budget; give integers of at least 1")


def _refuse_twice(flag: str, values: Sequence[object]) -> None:
    twice = [value for index, value in enumerate(values) if value in values[:index]]
    if twice:
        raise UsageError(f"{flag}: {twice[0]} is given twice; give each once")


def _deepened(strategy: str, budget: int, shape: SearchConfig) -> int:
    spec = strategy_spec(strategy)
    while spec.num_responses(shape, budget) < budget:
        shape = replace(shape, depth=2 * shape.depth)
    return shape.depth


def _is_comparable(folder: Path, manifest: Manifest) -> bool:
    """Whether a folder has a run whose models answer the same requests with the same replies."""
    if not (folder / MANIFEST).is_file() or not (folder / TREES).is_file():
        return False
    stored = read_manifest(folder)
    blank = [
        name for name in _OF_ROLES if not stored.config.get(name) or not manifest.config.get(name)
    ]
    # A template that only one of them uses decides no reply of the other.
    blank += [f"templates.{name}" for name in stored.templates.keys() ^ manifest.templates.keys()]
    free = (*FREE, *SEARCH, *blank)
    return _digest(manifest, free) == _digest(stored, free)


def _digest(manifest: Manifest, free: Sequence[str]) -> str:
    objects = {name: values for name, values in manifest.objects.items() if name not in SEARCH}
    settings = {**manifest.config, "templates": manifest.templates, "objects": objects}
    return config_digest(settings, free=free)


def _same(prompt: Prompt, other: Prompt) -> bool:
    # As JSON, since a tuple in a prompt's meta is a list once it was written.
    return json.dumps(prompt.model_dump()) == json.dumps(other.model_dump())
