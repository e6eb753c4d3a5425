"""The table of strategies: who wins at a price, chosen on half of the prompts and measured on the other half."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spar.eval.sweep_table import Row
from spar.experiments.experiment import Plan
from spar.experiments.registry import EXPERIMENTS
from spar.experiments.searches.shapes import shares_at
from spar.experiments.searches.strategies import (
    BETTER,
    claim_at,
    panel_with_envelope,
    points_table,
    winners,
)
from spar.experiments.searches.sweeps import PointOverSeeds
from spar.record.experiments import Number

PROMPTS = tuple(f"{number:02}" for number in range(40))
CHOSEN_ON, MEASURED_ON = PROMPTS[0::2], PROMPTS[1::2]


def point(
    strategy: str, budget: int, tokens: float, passes: Callable[[str], bool]
) -> PointOverSeeds:
    """A strategy at a budget, in two seeds that agree."""
    row = Row(
        *(strategy, budget, 3, len(PROMPTS), "pass", 0.5, None),
        nodes=3.0,
        calls=9.0,
        tokens=tokens,
        seconds=1.0,
        solved=0.5,
        prompts=len(PROMPTS),
        replayed=0,
        steps=4.0,
    )
    shares = {prompt: (float(passes(prompt)), 1.0) for prompt in PROMPTS}
    every = dict.fromkeys(PROMPTS, (1.0, 1.0))
    metrics = {"pass": shares, "judged": every, "ceiling": every}
    return PointOverSeeds(
        strategy, budget, [row, row], {name: [a, a] for name, a in metrics.items()}
    )


def table_of(*points: PointOverSeeds) -> dict[tuple[str, int], PointOverSeeds]:
    """Points by strategy and budget."""
    return {(one.strategy, one.budget): one for one in points}


BFS = point("bfs", 15, 100, lambda prompt: int(prompt) % 4 < 2)
LUCKY = point("lucky", 7, 50, lambda prompt: prompt in CHOSEN_ON)
GOOD = point("good", 15, 100, lambda prompt: int(prompt) % 8 < 5)
DEAR = point("dear", 63, 101, lambda _: True)


def test_a_winner_is_measured_on_other_prompts_than_it_was_chosen_on() -> None:
    """A point that is best only where it was chosen does not keep its lead."""
    claim = claim_at(BETTER, table_of(BFS, LUCKY), BFS, "pass", 1.0)
    assert claim.difference.value == pytest.approx(-0.5)
    assert claim.verdict == "does not hold"
    assert "lucky at 7 with 0.50 of the tokens" in claim.text
    assert "BFS at 15 responses" in claim.paper


def test_the_price_decides_who_may_win() -> None:
    """What costs more than the price is out, however good; a cheaper equal wins."""
    equal = point("equal", 31, 90, lambda prompt: int(prompt) % 8 < 5)
    rows = {row[0]: row[1] for row in winners(table_of(BFS, GOOD, equal, DEAR), BFS, "pass").rows}
    assert (rows[100], rows[150]) == ("equal", "dear")


def test_optimism_is_the_judges_view_less_the_truth() -> None:
    """A judge that accepts every answer where half meet their constraints is 50 points too optimistic."""
    table = points_table("t", table_of(BFS, DEAR), "pass", BFS)
    first, second = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    optimism, against = first["optimism, points"], second["truth against bfs at 15, points"]
    assert isinstance(optimism, Number) and optimism.value == pytest.approx(0.5)
    assert isinstance(against, Number) and against.value == pytest.approx(0.5)
    assert first["truth against bfs at 15, points"] is None
    assert first["steps"] == 4.0


def test_the_envelope_rises_with_the_price() -> None:
    """It keeps only points that no cheaper one reaches."""
    worse = point("worse", 3, 95, lambda _: False)
    panel = panel_with_envelope({"a": [worse, BFS], "b": [GOOD, DEAR]}, "pass", "tokens")
    envelope = panel.series[-1]
    assert (envelope.x, envelope.y) == ((95.0, 100.0, 101.0), (0.0, 62.5, 100.0))


@pytest.mark.parametrize(
    ("tokens", "passing"),
    [(80, {"0": 0.0, "4": 1.0, "2": 0.0}), (90, {"0": 0.5, "2": 0.0, "4": 1.0}), (102, {"0": 1.0})],
)
def test_a_strategy_is_interpolated_between_its_budgets(
    tokens: float, passing: dict[str, float]
) -> None:
    """For each prompt, by a straight line; a price that is a little outside is that of the end."""
    cheap = point("bfs", 7, 80, lambda prompt: int(prompt) % 8 == 4)
    dear = point("bfs", 15, 100, lambda prompt: int(prompt) % 4 == 0)
    for shares in shares_at([cheap, dear], tokens, "pass"):
        assert {name: shares[f"{int(name):02}"] for name in passing} == {
            name: (value, 1.0) for name, value in passing.items()
        }


@pytest.mark.parametrize("tokens", [60, 110])
def test_a_price_that_was_not_measured_is_not_extrapolated(tokens: float) -> None:
    """On either side."""
    assert shares_at([point("bfs", 7, 80, bool), BFS], tokens, "pass") == []


@pytest.mark.parametrize("name", ["strategies", "failing", "shapes", "sharing"])
def test_a_quick_report_is_a_small_part_of_the_full_one(name: str) -> None:
    """By calls, which are what takes the time."""
    quick, full = (EXPERIMENTS[name].cost(Plan(quick=small)).calls for small in (True, False))
    assert quick < full / 40
