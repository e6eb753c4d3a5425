"""Metrics of examples: ratios of sums, unweighted means of them, standard errors, paired comparisons, training seeds.

Examples of a group (the two orders of a pair, the five levels of a FollowBench group) are not independent, so
standard errors are computed over groups, from the linearised variance of a ratio. For a share of independent
examples that is sqrt(p (1 - p) / (n - 1)).

Where models were trained with several seeds, the seeds are a sample as well as the prompts (`over_seeds`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from spar.record.evaluation import Example, Metric, Scored, Share

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RESAMPLES = 10_000
"""Bootstrap samples of a comparison."""
_CELLS = 2_000_000
"""Counts of a resample and a group that are in memory at once."""


def metrics(scored: Scored) -> dict[str, Metric]:
    """Every metric, then every mean, in order of first appearance. A mean may be of earlier means."""
    sums = _sums(scored.examples)
    computed = {
        name: _ratio(groups, _count(scored.examples, {name})) for name, groups in sums.items()
    }
    influences = {name: _influence(groups) for name, groups in sums.items()}
    bases = {name: {name} for name in sums}
    for name, parts in scored.means.items():
        present = [part for part in parts if part in computed]
        if not present:
            continue
        influences[name] = _mean_influence([influences[part] for part in present])
        value = sum(computed[part].value for part in present) / len(present)
        bases[name] = set().union(*(bases[part] for part in present))
        n = _count(scored.examples, bases[name])
        computed[name] = Metric(value=value, stderr=_stderr(influences[name]), n=n)
    return computed


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two runs over the same groups."""

    first: float
    second: float
    low: float | None
    """Lower end of the 95 % interval of second - first; None if resampling gives none: a part has fewer than
    two groups, or no resample has a denominator."""
    high: float | None
    n: int
    """Number of groups in it."""

    @property
    def value(self) -> float:
        """Second minus first."""
        return self.second - self.first


def differences(
    first: Scored, second: Scored, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Difference]:
    """Paired bootstrap over groups: the change of each metric that both have, with its 95 % interval.

    Both must have the same examples. A resample without a denominator for a metric is ignored.
    """
    import numpy as np

    sums = (_sums(first.examples), _sums(second.examples))
    names = [name for name in sums[0] if name in sums[1]]
    members = [sums[0][name].keys() | sums[1][name].keys() for name in names]
    groups = sorted(set().union(*members))
    table = np.array(
        [[[side[n].get(g, (0.0, 0.0)) for n in names] for side in sums] for g in groups]
    ).reshape(len(groups), 2, len(names), 2)
    points = np.nan_to_num(_ratios(table.sum(axis=0)))
    spread = _changes(table, resamples, seed)
    changes = {}
    for name, weights in _mixtures(names, first.means, second.means).items():
        chosen = list(weights)
        parts = [members[index] for index in chosen]
        shares = list(weights.values())
        before, after = points[:, chosen] @ shares
        resampled = min(map(len, parts)) > 1
        low, high = _interval(spread[:, chosen] @ shares) if resampled else (None, None)
        n = len(set().union(*parts))
        changes[name] = Difference(float(before), float(after), low, high, n)
    return changes


@dataclass(frozen=True, slots=True)
class SeedMean:
    """The mean of a metric over training seeds, or of its change against a baseline."""

    value: float
    by_seed: tuple[float, ...]
    """The metric of each seed."""
    stderr: float | None
    """Standard error over prompts and seeds; over prompts alone if there is one seed; None with fewer than two
    prompts."""
    low: float | None
    """Lower end of the 95 % interval, by Student's t."""
    high: float | None
    n: int
    """Prompts in it."""

    @property
    def covers_seeds(self) -> bool:
        """Whether the error says what other training seeds would give."""
        return len(self.by_seed) > 1


def over_seeds(
    runs: Sequence[Mapping[str, Share]], baseline: Sequence[Mapping[str, Share]] = ()
) -> SeedMean:
    """The mean over training seeds, with an error for other prompts and other seeds.

    Prompts and seeds are crossed: every seed answers the same prompts, so answers of two seeds to one prompt are not
    independent, and neither are the answers of one seed. With y the contribution of a prompt in a seed, the
    variance of the mean is that of a balanced two-way layout with both factors random (Searle, Casella and McCulloch,
    "Variance Components", ch. 4): V = V_prompts + V_seeds - V_rest, where V_prompts comes from the spread of the
    prompts' means over seeds, V_seeds from that of the seeds' means over prompts, and V_rest, the residual that
    both contain, is subtracted once. V is never below V_prompts or V_seeds. The interval is Student's with Satterthwaite's
    degrees of freedom: near seeds - 1 where the seeds decide, near prompts - 1 where the prompts do.

    Parameters
    ----------
    runs:
        One mapping a seed: prompt's id to its share of the metric. A prompt that a seed lacks has no weight in it.
    baseline:
        The same of what is compared, one mapping a seed, paired with `runs`: only prompts that both have count.
    """
    import numpy as np
    from scipy.special import stdtrit

    sides = [runs, baseline] if baseline else [runs]
    both = [set.intersection(*map(set, arms)) for arms in zip(*sides, strict=True)]
    ids = sorted(set().union(*both))
    y = _contributions(sides, both, ids)  # (prompt, seed)
    num_prompts, num_seeds = y.shape
    by_seed = y.mean(axis=0) if num_prompts else np.zeros(num_seeds)
    value = float(by_seed.mean())
    point = SeedMean(value, tuple(map(float, by_seed)), None, None, None, num_prompts)
    if num_prompts < 2:
        return point
    by_prompt = y.mean(axis=1)
    parts = [(float(by_prompt.var(ddof=1)) / num_prompts, num_prompts - 1)]
    if num_seeds > 1:
        rest = y - by_prompt[:, None] - by_seed[None, :] + value
        freedom = (num_prompts - 1) * (num_seeds - 1)
        parts.append((float(by_seed.var(ddof=1)) / num_seeds, num_seeds - 1))
        parts.append((-float((rest**2).sum()) / freedom / y.size, freedom))
    largest = max(parts[:2])
    variance = sum(part for part, _ in parts)
    if variance <= largest[0]:
        parts, variance = [largest], largest[0]
    squares = sum(part**2 / freedom for part, freedom in parts)
    reach = float(stdtrit(variance**2 / squares, 0.975)) if squares else 0.0
    stderr = math.sqrt(variance)
    return replace(point, stderr=stderr, low=value - reach * stderr, high=value + reach * stderr)


def _contributions(
    sides: Sequence[Sequence[Mapping[str, Share]]], both: Sequence[set[str]], ids: Sequence[str]
) -> Array:
    """Prompt by seed: values whose mean over prompts is the seed's metric, and whose spread is that of a ratio."""
    import numpy as np

    total = np.zeros((len(ids), len(both)))
    for sign, runs in zip((1.0, -1.0), sides, strict=False):
        for seed, (shares, known) in enumerate(zip(runs, both, strict=True)):
            table = np.array([shares[i] if i in known else (0.0, 0.0) for i in ids]).reshape(-1, 2)
            above, below = table.sum(axis=0)
            if below:
                ratio = above / below
                linear = (table[:, 0] - ratio * table[:, 1]) * len(ids) / below
                total[:, seed] += sign * (ratio + linear)
    return total


def _mixtures(
    names: Sequence[str], *means: Mapping[str, Sequence[str]]
) -> dict[str, dict[int, float]]:
    """Each metric, then each mean that both runs have, as weights of the metrics by index."""
    mixtures = {name: {index: 1.0} for index, name in enumerate(names)}
    for name, parts in means[0].items():
        present = [part for part in parts if part in mixtures]
        if not present or name not in means[1]:
            continue
        weights: dict[int, float] = defaultdict(float)
        for part in present:
            for index, weight in mixtures[part].items():
                weights[index] += weight / len(present)
        mixtures[name] = weights
    return mixtures


Group = tuple[str, str]
"""A group's name, or the id of an example that is a group of its own."""
Groups = Mapping[Group, tuple[float, float]]
"""Group to its numerator and denominator."""


def _sums(examples: Sequence[Example]) -> dict[str, Groups]:
    sums: dict[str, dict[Group, list[float]]] = {}
    for example in examples:
        group = (example.group, "" if example.group else example.id)
        for name, (above, below) in example.scores.items():
            entry = sums.setdefault(name, {}).setdefault(group, [0.0, 0.0])
            entry[0] += above
            entry[1] += below
    return {
        name: {group: (entry[0], entry[1]) for group, entry in by_group.items()}
        for name, by_group in sums.items()
    }


def _count(examples: Sequence[Example], names: set[str]) -> int:
    return sum(not names.isdisjoint(example.scores) for example in examples)


def _ratio(groups: Groups, n: int) -> Metric:
    below = sum(share[1] for share in groups.values())
    value = sum(share[0] for share in groups.values()) / below if below else 0.0
    return Metric(value=value, stderr=_stderr(_influence(groups)), n=n)


def _influence(groups: Groups) -> dict[Group, float]:
    """Each group's influence on the ratio, scaled so that the sum of squares is its variance."""
    below = sum(share[1] for share in groups.values())
    if not below or len(groups) < 2:
        return {}
    value = sum(share[0] for share in groups.values()) / below
    scale = math.sqrt(len(groups) / (len(groups) - 1)) / below
    return {group: scale * (a - value * b) for group, (a, b) in groups.items()}


def _mean_influence(parts: Sequence[Mapping[Group, float]]) -> dict[Group, float]:
    if not all(parts):
        return {}
    total: dict[Group, float] = defaultdict(float)
    for part in parts:
        for group, value in part.items():
            total[group] += value / len(parts)
    return total


def _stderr(influence: Mapping[Group, float]) -> float | None:
    return math.sqrt(sum(value * value for value in influence.values())) if influence else None


def _changes(table: Array, resamples: int, seed: int) -> Array:
    """Second minus first of every metric in every resample; NaN without a denominator.

    Parameters
    ----------
    table:
        (group, run, metric, numerator and denominator).
    """
    import numpy as np

    num_groups, num_metrics = table.shape[0], table.shape[2]
    changes = np.full((resamples, num_metrics), np.nan)
    if num_groups < 2 or not num_metrics:
        return changes
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS // num_groups)
    for start in range(0, resamples, rows):
        weights = _weights(generator, min(rows, resamples - start), num_groups)
        sums = (weights @ table.reshape(num_groups, -1)).reshape(-1, *table.shape[1:])
        ratios = _ratios(sums)
        changes[start : start + rows] = ratios[:, 1] - ratios[:, 0]
    return changes


def _weights(generator: np.random.Generator, rows: int, num_groups: int) -> Array:
    """How often each group is drawn, in each of `rows` resamples."""
    import numpy as np

    drawn = generator.integers(num_groups, size=(rows, num_groups))
    drawn += num_groups * np.arange(rows)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=rows * num_groups)
    return counts.reshape(rows, num_groups).astype(np.float64)


def _ratios(sums: Array) -> Array:
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        ratios: Array = np.where(sums[..., 1] == 0, np.nan, sums[..., 0] / sums[..., 1])
    return ratios


def _interval(changes: Array) -> tuple[float, float] | tuple[None, None]:
    import numpy as np

    defined = changes[~np.isnan(changes)]
    if not defined.size:
        return None, None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)
