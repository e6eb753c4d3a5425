"""Metrics and their errors against hand-computed values, and against slow ways to the same numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.eval.statistics import Difference, differences, metrics, over_seeds
from spar.record.evaluation import Example, Metric, Scored, Share


def example(name: str, scores: Mapping[str, Share], group: str = "") -> Example:
    """An example of which only the shares count."""
    return Example(id=name, group=group, response="", passed=None, scores=dict(scores))


def scored(
    shares: Sequence[Share], groups: Sequence[str] = (), means: Sequence[str] = ()
) -> Scored:
    """Examples with one metric `m`, and a mean of as many times `m` as `means` says."""
    marks = groups or [""] * len(shares)
    examples = [
        example(f"e{index}", {"m": share}, group)
        for index, (share, group) in enumerate(zip(shares, marks, strict=True))
    ]
    return Scored(examples=tuple(examples), means={"mean": tuple(means)} if means else {})


def hits(*passed: int) -> list[Share]:
    """One yes or no an example."""
    return [(float(one), 1.0) for one in passed]


def test_a_share_of_independent_examples() -> None:
    """3 of 4: 0.75, with sqrt(0.75 x 0.25 / 3) = 0.25."""
    found = metrics(scored(hits(1, 1, 1, 0)))["m"]
    assert (found.value, found.n) == (0.75, 4)
    assert found.stderr == pytest.approx(0.25)


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_a_share_has_the_familiar_error(passed: list[bool]) -> None:
    """sqrt(p (1 - p) / (n - 1)), whatever the share."""
    share, n = sum(passed) / len(passed), len(passed)
    found = metrics(scored(hits(*passed)))["m"]
    assert found.value == pytest.approx(share)
    assert found.stderr == pytest.approx(math.sqrt(share * (1 - share) / (n - 1)), abs=1e-12)


def test_examples_of_a_group_count_as_one_draw() -> None:
    """Four twins are four draws, not eight: the error is that of the four."""
    twins = metrics(scored(hits(1, 1, 1, 1, 1, 1, 0, 0), list("aabbccdd")))["m"]
    assert (twins.value, twins.n) == (0.75, 8)
    assert twins.stderr == pytest.approx(0.25)


def test_groups_of_different_sizes() -> None:
    """a: 2 of 3, b: 0 of 1. Value 2/4; moves sqrt(2) (2 - 1.5) / 4 and sqrt(2) (0 - 0.5) / 4; so 1/4."""
    found = metrics(scored(hits(1, 1, 0, 0), list("aaab")))["m"]
    assert found.value == 0.5
    assert found.stderr == pytest.approx(0.25)


def test_a_group_may_be_called_as_an_example() -> None:
    """The group `e1` and the lone example `e1` are two groups: moves 1/2 and -1/2 of sqrt(2) / 2."""
    found = metrics(scored(hits(1, 0), ["e1", ""]))["m"]
    assert found.stderr == pytest.approx(0.5)


def test_constraints_of_an_example_are_no_draws_of_their_own() -> None:
    """2 of 3 constraints and 1 of 1: 3/4 as a ratio of sums, with sqrt(2 x 2 x 0.25^2) / 4."""
    found = metrics(scored([(2.0, 3.0), (1.0, 1.0)]))["m"]
    assert found.value == 0.75
    assert found.stderr == pytest.approx(math.sqrt(2 * (0.25**2 + 0.25**2)) / 4)


def test_f1_is_a_ratio() -> None:
    """2 TP over 2 TP + FP + FN: a hit adds (2, 2), a miss or a false alarm (0, 1), else (0, 0).

    Two hits, one miss, one false alarm, one true no: 4/6. The moves, times 6 / sqrt(5/4): twice
    2 - 4/3, twice -2/3, and 0.
    """
    found = metrics(scored([(2, 2), (2, 2), (0, 1), (0, 1), (0, 0)]))["m"]
    assert found.value == pytest.approx(2 / 3)
    assert found.stderr == pytest.approx(math.sqrt(5 / 4 * 4 * (2 / 3) ** 2) / 6)
    assert found.n == 5


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=2, max_size=20),
    st.data(),
)
def test_the_error_is_that_of_deleting_one_group_at_a_time(
    shares: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Where every group has the same denominator, the jackknife gives the same error exactly."""
    below = data.draw(st.sampled_from([1.0, 2.0, 5.0]))
    rows = [(float(above), below) for above, _ in shares]
    left_out = [
        sum(a for j, (a, _) in enumerate(rows) if j != i) / (below * (len(rows) - 1))
        for i in range(len(rows))
    ]
    mean = sum(left_out) / len(left_out)
    jackknife = math.sqrt(
        (len(rows) - 1) / len(rows) * sum((value - mean) ** 2 for value in left_out)
    )
    assert metrics(scored(rows))["m"].stderr == pytest.approx(jackknife, abs=1e-12)


def test_a_mean_of_a_metric_with_itself_is_that_metric() -> None:
    """Its parts move together, so the error does not shrink."""
    found = metrics(scored(hits(1, 1, 1, 0), means=("m", "m")))
    assert found["mean"] == found["m"]


def test_a_mean_of_independent_parts() -> None:
    """Two subsets, errors 0.25 each: the mean's is sqrt(2) x 0.25 / 2, and it counts them all."""
    rows = [example(f"a{i}", {"a": share}) for i, share in enumerate(hits(1, 1, 1, 0))]
    rows += [example(f"b{i}", {"b": share}) for i, share in enumerate(hits(0, 0, 0, 1))]
    found = metrics(Scored(examples=tuple(rows), means={"mean": ("a", "b")}))["mean"]
    assert (found.value, found.n) == (0.5, 8)
    assert found.stderr == pytest.approx(0.25 / math.sqrt(2))


def test_opposite_parts_cancel() -> None:
    """One passes exactly where the other fails: their mean is 1/2 without an error."""
    rows = [
        example(f"e{i}", {"a": (float(i % 2), 1.0), "b": (float(1 - i % 2), 1.0)}) for i in range(5)
    ]
    found = metrics(Scored(examples=tuple(rows), means={"mean": ("a", "b")}))["mean"]
    assert found.value == pytest.approx(0.5)
    assert found.stderr == pytest.approx(0, abs=1e-12)


def test_a_mean_of_means() -> None:
    """0.75 and 0.25 make 0.5; with 1.0 that makes 0.75, of ten examples."""
    rows = [example(f"a{i}", {"a": share}) for i, share in enumerate(hits(1, 1, 1, 0))]
    rows += [example(f"b{i}", {"b": share}) for i, share in enumerate(hits(0, 0, 0, 1))]
    rows += [example(f"c{i}", {"c": share}) for i, share in enumerate(hits(1, 1))]
    means = {"hard": ("a", "b"), "all": ("hard", "c"), "absent": ("d",)}
    run = Scored(examples=tuple(rows), means=means)
    found = metrics(run)
    assert (found["all"].value, found["all"].n) == (0.75, 10)
    assert found["all"].stderr == pytest.approx(0.25 / math.sqrt(2) / 2)
    assert list(found) == ["a", "b", "c", "hard", "all"]
    change = differences(run, run, resamples=50)
    assert list(change) == list(found)
    assert (change["all"].first, change["all"].low, change["all"].n) == (0.75, 0.0, 10)


@pytest.mark.parametrize(
    ("shares", "groups", "wanted"),
    [
        ([(1.0, 1.0)], [], Metric(value=1.0, stderr=None, n=1)),
        (hits(1, 0), ["a", "a"], Metric(value=0.5, stderr=None, n=2)),
        ([(0.0, 0.0), (0.0, 0.0)], [], Metric(value=0.0, stderr=None, n=2)),
    ],
    ids=["one example", "one group", "no denominator"],
)
def test_too_little_for_an_error(shares: list[Share], groups: list[str], wanted: Metric) -> None:
    """One group tells nothing about others, and nothing over nothing is 0 without an error."""
    run = scored(shares, groups, means=("m",))
    assert metrics(run) == {"m": wanted, "mean": wanted}
    change = differences(run, run, resamples=20)["mean"]
    assert (change.value, change.low, change.high) == (0.0, None, None)


def test_no_examples() -> None:
    """No example, no metric."""
    assert metrics(Scored(examples=())) == {}
    assert differences(Scored(examples=()), Scored(examples=())) == {}


def test_identical_runs_do_not_differ() -> None:
    """Every resample gives both the same value."""
    run = scored(hits(1, 0, 1, 1, 0), means=("m",))
    same = Difference(first=0.6, second=0.6, low=0.0, high=0.0, n=5)
    assert differences(run, run) == {"m": same, "mean": same}


outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30)


@given(outcomes)
def test_the_other_way_round_is_the_negative(pairs: list[tuple[bool, bool]]) -> None:
    """Comparing B with A gives the interval of A with B, mirrored."""
    one, two = (scored(hits(*side)) for side in zip(*pairs, strict=True))
    there = differences(one, two, resamples=200)["m"]
    back = differences(two, one, resamples=200)["m"]
    assert there.low is not None
    assert there.high is not None
    assert back.low == pytest.approx(-there.high)
    assert back.high == pytest.approx(-there.low)
    assert there.low <= there.high
    assert there.value == pytest.approx(-back.value)
    assert there.n == len(pairs)


def test_the_interval_is_that_of_a_plain_bootstrap() -> None:
    """Drawing the groups one by one with another generator gives the same ends within their noise."""
    import numpy as np

    before, after = [1, 0, 0, 1, 0, 0, 1, 0] * 8, [1, 1, 0, 1, 0, 1, 0, 1] * 8
    found = differences(scored(hits(*before)), scored(hits(*after)), resamples=4000)["m"]
    dice = np.random.default_rng(123)
    changes = np.array(after) - np.array(before)
    plain = [changes[dice.integers(64, size=64)].mean() for _ in range(4000)]
    low, high = np.percentile(plain, [2.5, 97.5])
    assert found.value == 0.25
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)
    # The normal interval: 0.25 plus or minus 1.96 standard errors of 64 paired differences.
    error = 1.96 * changes.std(ddof=1) / 8
    assert found.low == pytest.approx(0.25 - error, abs=0.04)


def test_groups_are_resampled_whole() -> None:
    """Twins in one group leave the interval of one of each, though there are twice as many."""
    lone_before, lone_after = hits(*[1, 0] * 12), hits(*[1, 1, 0] * 8)
    twice = [f"g{index // 2}" for index in range(48)]
    lone = differences(scored(lone_before), scored(lone_after))["m"]
    twin = differences(
        scored([s for s in lone_before for _ in "ab"], twice),
        scored([s for s in lone_after for _ in "ab"], twice),
    )["m"]
    assert twin.n == 24
    # Their names sort differently, hence the same draws fall on other groups.
    assert twin.low == pytest.approx(lone.low, abs=0.03)
    assert twin.high == pytest.approx(lone.high, abs=0.03)


def test_metrics_of_one_run_only_are_left_out() -> None:
    """What the other run lacks cannot be compared, nor a mean that only one has."""
    one = scored(hits(1, 0), means=("m",))
    other = Scored(examples=tuple(example(f"e{i}", {"m": (0, 1), "x": (1, 1)}) for i in range(2)))
    assert list(differences(one, other, resamples=10)) == ["m"]


def test_a_metric_of_few_examples_is_not_lost_in_many() -> None:
    """A resample without any of its two examples does not count."""
    rows = [example(f"e{i}", {"m": (1, 1)}) for i in range(40)]
    rare = [*rows, example("a", {"rare": (1, 1)}), example("b", {"rare": (0, 1)})]
    other = [*rows, example("a", {"rare": (0, 1)}), example("b", {"rare": (0, 1)})]
    found = differences(Scored(examples=tuple(rare)), Scored(examples=tuple(other)))["rare"]
    assert (found.first, found.second, found.low, found.high, found.n) == (0.5, 0.0, -1.0, 0.0, 2)


def test_a_large_run_is_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result does not hang on how many resamples are made at once."""
    one, two = scored(hits(*[1, 0, 0] * 20)), scored(hits(*[1, 1, 0] * 20))
    whole = differences(one, two, resamples=1000)
    monkeypatch.setattr("spar.eval.statistics._CELLS", 700)
    assert differences(one, two, resamples=1000) == whole


def test_541_examples_with_60_metrics_take_seconds() -> None:
    """10,000 resamples of IFEval's size are done well within ten seconds."""
    rows = [
        example(f"e{i}", {f"m{k}": (float((i * k) % 7 > 2), 1.0) for k in range(60)})
        for i in range(541)
    ]
    run = Scored(examples=tuple(rows))
    start = time.monotonic()
    assert len(differences(run, run)) == 60
    assert time.monotonic() - start < 10


def passes(*runs: Sequence[float]) -> list[dict[str, Share]]:
    """The prompts of each seed that pass."""
    return [{str(i): (float(one), 1.0) for i, one in enumerate(run)} for run in runs]


def test_the_same_answers_of_three_seeds_are_one_answer() -> None:
    """850 of 1,500 in every seed: 1.3 points, not the 0.7 of 4,500 independent answers."""
    once = [1.0] * 850 + [0.0] * 650
    found = over_seeds(passes(once, once, once))
    assert found.stderr == pytest.approx(math.sqrt(850 / 1500 * 650 / 1500 / 1499))
    assert found.stderr == over_seeds(passes(once)).stderr
    assert found.covers_seeds


def test_an_error_of_nothing_is_zero() -> None:
    """Not minus zero, where every answer of every seed passes."""
    assert str(over_seeds(passes([1, 1, 1], [1, 1, 1])).stderr) == "0.0"


def test_seeds_that_differ_widen_the_interval_to_that_of_their_t_test() -> None:
    """Where prompts do not vary, what is left is the t interval over three seeds with two degrees of freedom."""
    found = over_seeds(passes([0.9] * 50, [1.3] * 50, [0.5] * 50))
    assert found.value == pytest.approx(0.9)
    assert found.stderr == pytest.approx(0.4 / math.sqrt(3))
    assert found.high == pytest.approx(0.9 + 4.3027 * 0.4 / math.sqrt(3), abs=1e-3)


def test_a_change_is_paired_by_prompt_and_seed() -> None:
    """One prompt more in every seed: only the changes count, and a prompt that one side lacks does not."""
    before, after = passes([0, 1, 0, 1], [0, 1, 0, 1]), passes([1, 1, 0, 1], [1, 1, 0, 1])
    after[0]["new"] = (1.0, 1.0)
    found = over_seeds(after, before)
    assert (found.value, found.n) == (0.25, 4)
    assert found.stderr == pytest.approx(0.25)


def test_a_ratio_over_seeds_has_the_error_of_the_ratio() -> None:
    """Votes of five, of three, of none: as `metrics` computes it."""
    shares = [(4.0, 5.0), (1.0, 3.0), (0.0, 0.0), (5.0, 5.0)]
    found = over_seeds([{str(i): share for i, share in enumerate(shares)}])
    expected = metrics(scored(shares))["m"]
    assert (found.value, found.stderr) == pytest.approx((expected.value, expected.stderr))


def test_an_interval_over_seeds_covers_the_truth() -> None:
    """95 % of intervals of simulated experiments hold the truth; those over prompts alone miss it often."""
    import numpy as np

    dice, held, too_narrow = np.random.default_rng(0), 0, 0
    for _ in range(300):
        y = dice.normal(0, 0.4, (100, 1)) + dice.normal(0, 0.05, 3) + dice.normal(0, 0.3, (100, 3))
        found = over_seeds(passes(*y.T.tolist()))
        assert found.low is not None and found.high is not None
        held += found.low <= 0 <= found.high
        too_narrow += abs(found.value) > 1.96 * y.mean(axis=1).std(ddof=1) / 10
    assert held >= 279
    assert too_narrow > 24


@pytest.mark.parametrize("runs", [[{}], [{"a": (1.0, 1.0)}], [{"a": (1.0, 1.0)}, {}]])
def test_too_few_prompts_have_a_mean_without_an_error(runs: list[dict[str, Share]]) -> None:
    """One prompt, or none."""
    assert over_seeds(runs).stderr is None
