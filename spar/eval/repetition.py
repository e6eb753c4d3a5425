"""Answers that repeat themselves: a model whose text collapses can still meet constraints that programs check.

`seq_rep_4` of an answer is the share of its word 4-grams that occurred before in it; it is repetitive if that is above one
half (`spar.repetition`).
"""

from __future__ import annotations

from collections.abc import Sequence

from spar.record.evaluation import Example
from spar.repetition import MOST, seq_rep_4

SEQ_REP = "seq_rep_4"
"""The metric of how much of an answer repeats an earlier part of it."""
REPETITIVE = "repetitive"
"""The metric of the share of answers of which more than half does."""
WITHOUT = "without_repetition"
"""Suffix of a metric of passing answers, of those that are not repetitive."""
_NOTED = 0.1
"""The share of repetitive answers from which on the results say so."""


def with_repetition(example: Example, metric: str) -> Example:
    """The example with both metrics, and with `metric` of an answer that is not repetitive.

    Parameters
    ----------
    metric:
        One of its scores, a share of one that says whether it passes; the new one is `{metric}_without_repetition`.
    """
    share = seq_rep_4(example.response or "")
    repetitive = share > MOST
    scores = {**example.scores, SEQ_REP: (share, 1.0), REPETITIVE: (float(repetitive), 1.0)}
    if metric in example.scores:
        met, of = example.scores[metric]
        scores[f"{metric}_{WITHOUT}"] = (0.0 if repetitive else met, of)
    return example.model_copy(update={"scores": scores})


def repetition_notes(examples: Sequence[Example], metric: str) -> tuple[str, ...]:
    """A line for the results where many answers are repetitive: how many, and how many of those that pass.

    Parameters
    ----------
    metric:
        As in `with_repetition`, whose examples these are.
    """
    repetitive = [example for example in examples if example.scores[REPETITIVE][0]]
    if len(repetitive) < max(1.0, _NOTED * len(examples)):
        return ()
    passing = [
        sum(e.scores.get(metric, (0.0, 1.0))[0] for e in of) for of in (repetitive, examples)
    ]
    return (
        f"{len(repetitive)} of {len(examples)} answers repeat themselves: more than half of their word 4-grams occurred "
        f"before in them; so do {passing[0]:.0f} of the {passing[1]:.0f} that pass ({metric})",
    )
