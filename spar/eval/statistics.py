"""From examples to metrics: ratios of sums, plain means of them, standard errors, paired comparisons.

Examples of a group are not independent (the two orders of a pair, the five levels of a FollowBench
group), so every error here is computed over groups: the linearised variance of a ratio, which for a
share of independent examples is the familiar sqrt(p (1 - p) / (n - 1)).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spar.eval.record import Example, Metric, Scored

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 10_000
"""Bootstrap samples of a comparison."""


def metrics(scored: Scored) -> dict[str, Metric]:
    """Every metric, then every mean, in order of first appearance."""
    sums = _sums(scored.examples)
    found = {name: _ratio(groups, _count(scored.examples, name)) for name, groups in sums.items()}
    moves = {name: _influence(groups) for name, groups in sums.items()}
    for name, parts in scored.means.items():
        known = [part for part in parts if part in found]
        if not known:
            continue
        moves[name] = _mean_influence([moves[part] for part in known])
        value = sum(found[part].value for part in known) / len(known)
        n = max(found[part].n for part in known)
        found[name] = Metric(value=value, stderr=_stderr(moves[name]), n=n)
    return found


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two runs over the same groups."""

    first: float
    second: float
    low: float
    """Lower end of the 95 % interval of second - first."""
    high: float

    @property
    def value(self) -> float:
        """Second minus first."""
        return self.second - self.first


def differences(
    first: Scored, second: Scored, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Difference]:
    """Paired bootstrap over the groups that both have: each metric, and the 95 % interval of its change.

    Both must hold the same examples; a metric that only one of them has is left out.
    """
    import numpy as np

    sums = (_sums(first.examples), _sums(second.examples))
    names = [name for name in sums[0] if name in sums[1]]
    groups = sorted({group for name in names for group in sums[0][name]})
    weights = _weights(len(groups), resamples, seed)
    point, spread = {}, {}
    for name in names:
        ends = [_resampled(side[name], groups, weights) for side in sums]
        point[name] = (ends[0][0], ends[1][0])
        spread[name] = ends[1][1] - ends[0][1]
    for name, parts in first.means.items():
        known = [part for part in parts if part in point]
        if known and name in second.means:
            point[name] = tuple(np.mean([point[part] for part in known], axis=0))
            spread[name] = np.mean([spread[part] for part in known], axis=0)
    return {
        name: Difference(
            float(a), float(b), *map(float, np.nanpercentile(spread[name], [2.5, 97.5]))
        )
        for name, (a, b) in point.items()
    }


Groups = Mapping[str, tuple[float, float]]
"""Group to its numerator and denominator."""


def _sums(examples: Sequence[Example]) -> dict[str, Groups]:
    found: dict[str, dict[str, list[float]]] = {}
    for example in examples:
        for name, (above, below) in example.scores.items():
            by_group = found.setdefault(name, defaultdict(lambda: [0.0, 0.0]))
            entry = by_group[example.group or example.id]
            entry[0] += above
            entry[1] += below
    return {
        name: {group: (entry[0], entry[1]) for group, entry in by_group.items()}
        for name, by_group in found.items()
    }


def _count(examples: Sequence[Example], name: str) -> int:
    return sum(name in example.scores for example in examples)


def _ratio(groups: Groups, n: int) -> Metric:
    below = sum(share[1] for share in groups.values())
    value = sum(share[0] for share in groups.values()) / below if below else 0.0
    return Metric(value=value, stderr=_stderr(_influence(groups)), n=n)


def _influence(groups: Groups) -> dict[str, float]:
    """How far each group moves the ratio, scaled so that the squares sum up to its variance."""
    below = sum(share[1] for share in groups.values())
    if not below or len(groups) < 2:
        return {}
    value = sum(share[0] for share in groups.values()) / below
    scale = math.sqrt(len(groups) / (len(groups) - 1)) / below
    return {group: scale * (a - value * b) for group, (a, b) in groups.items()}


def _mean_influence(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    if not all(parts):
        return {}
    total: dict[str, float] = defaultdict(float)
    for part in parts:
        for group, move in part.items():
            total[group] += move / len(parts)
    return total


def _stderr(influence: Mapping[str, float]) -> float | None:
    return math.sqrt(sum(move * move for move in influence.values())) if influence else None


def _weights(num_groups: int, resamples: int, seed: int) -> np.ndarray[Any, Any]:
    import numpy as np

    generator = np.random.default_rng(seed)
    shares = np.full(num_groups, 1 / num_groups) if num_groups else np.zeros(0)
    return generator.multinomial(num_groups, shares, size=resamples).astype(np.float64)


def _resampled(
    groups: Groups, order: Sequence[str], weights: np.ndarray[Any, Any]
) -> tuple[float, np.ndarray[Any, Any]]:
    import numpy as np

    table = np.array([groups.get(group, (0.0, 0.0)) for group in order])
    above, below = weights @ table[:, 0], weights @ table[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(table[:, 0].sum() / table[:, 1].sum()), above / below
