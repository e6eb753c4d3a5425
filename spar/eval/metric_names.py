"""Whether a benchmark has a metric of a name, which is known once it has scored examples."""

from __future__ import annotations

from collections.abc import Sequence

from spar.errors import UsageError
from spar.eval.benchmark import declared_spec
from spar.record.evaluation import Results


def has_metric(results: Results, name: str) -> bool:
    """Whether a benchmark has a metric, also where these examples gave none: of one of its groups, or of some examples alone."""
    spec = declared_spec(results.benchmark)
    occasional = spec.occasional_metrics if spec else ()
    overall, slash, _ = name.partition("/")
    return (
        name in results.metrics
        or name in occasional
        or (bool(slash) and overall in results.metrics)
    )


def without_metric(results: Results, name: str) -> str:
    """The message for a metric that a benchmark does not have, with those that it has."""
    names = list(results.metrics)
    accepted = ", ".join(each for each in names if "/" not in each) or ", ".join(names)
    return f"{results.benchmark} has no metric {name!r} (accepted: {accepted})"


def unknown_metrics(results: Results, names: Sequence[str], title: str) -> list[UsageError]:
    """An error for each metric that an evaluation of a loop is to show and the benchmark does not have.

    Parameters
    ----------
    title:
        The evaluation's name in the loop.
    """
    return [
        UsageError(
            f"show of {title!r} in benchmarks: {without_metric(results, name)}; with another name the loop goes on"
        )
        for name in names
        if results.metrics and not has_metric(results, name)
    ]
