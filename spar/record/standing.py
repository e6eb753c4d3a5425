"""How runs on the same prompts stand: each one's share that passes, and its change against the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_Z = 1.959963984540054
"""Standard deviations on each side of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class PairedChange:
    """The change of the share that passes from one run to another, over the prompts that both have."""

    value: float
    low: float | None
    """Lower end of the 95 % interval; None where there are too few prompts."""
    high: float | None
    gained: int
    """Prompts that fail in the first run and pass in this one."""
    lost: int
    p: float
    """Of McNemar's exact test on the prompts that flipped."""
    adjusted_p: float | None = None
    """By Holm's method over all runs that are compared with the first; None if there is one."""

    @property
    def reported_p(self) -> float:
        """p, adjusted where several runs are compared with the first."""
        return self.p if self.adjusted_p is None else self.adjusted_p

    @property
    def interval_text(self) -> str:
        """The 95 % interval in percentage points, `+1.2 to +8.0`; "" where there are too few prompts."""
        if self.low is None or self.high is None:
            return ""
        return f"{100 * self.low:+.1f} to {100 * self.high:+.1f}"


@dataclass(frozen=True, slots=True)
class Standing:
    """One of several runs on the same prompts."""

    passed: int
    n: int
    change: PairedChange | None = None
    """Against the first run; None for the first one."""

    @property
    def share(self) -> float:
        """The share that passes; 0 without prompts."""
        return self.passed / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share: of many prompts like these."""
        n, share = self.n, self.share
        if not n:
            return 0.0, 1.0
        middle = share + _Z**2 / (2 * n)
        half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
        low, high = ((middle + sign * half) / (1 + _Z**2 / n) for sign in (-1, 1))
        return max(low, 0.0), min(high, 1.0)


Standings = Callable[[Sequence[Sequence[bool]]], Sequence[Standing]]
"""Takes, for each run, whether it passes each of the same prompts; the first run is what others are held against."""


def agreed_passes(
    truths: Sequence[bool | None], judges: Sequence[bool | None]
) -> tuple[tuple[bool, ...] | None, bool]:
    """Whether each run passes a prompt, None where that is not known of all; and whether that is by ground truth.

    It is by ground truth if that is known for all runs, else by whether the judge passed it.
    """
    by_truth = None not in truths
    verdicts = tuple(bool(each) for each in (truths if by_truth else judges))
    return (verdicts if by_truth or None not in judges else None), by_truth
