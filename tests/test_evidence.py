import math

import numpy as np
import pytest
from scipy import stats

from randprune_core import evidence

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("low", "high", "threshold", "verdict"),
    [
        (math.nan, math.nan, 0.0, "undecided"),
        (0.1, 0.2, 0.0, "supported"),
        (-0.2, -0.1, 0.0, "contradicted"),
        (-0.1, 0.1, 0.0, "undecided"),
        (0.0, 0.1, 0.0, "undecided"),
        (-0.2, 0.1, -0.3, "supported"),
        (-0.4, 0.1, -0.3, "undecided"),
        (-0.6, -0.4, -0.3, "contradicted"),
    ],
)
def test_verdict_follows_the_interval_and_the_threshold(low, high, threshold, verdict):
    assert evidence.decide(low, high, threshold) == verdict


def test_rank_correlation_agrees_with_scipy_and_lies_in_its_interval():
    x = DRAW.normal(size=30)
    y = x + DRAW.normal(size=30)
    found = evidence.rank_correlation(x, y)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert -1 < found.low < found.value < found.high < 1
    narrow = evidence.rank_correlation(x, y, groups=10)
    assert narrow.low < found.low and narrow.value == found.value


def test_rank_correlation_of_too_few_or_constant_values_has_no_interval():
    assert math.isnan(evidence.rank_correlation(range(9), range(9)).low)
    assert math.isnan(evidence.rank_correlation(range(12), range(12), groups=4).low)
    assert math.isnan(evidence.rank_correlation(range(20), [1] * 20).value)
    assert math.isnan(evidence.rank_correlation([], []).value)


def test_perfect_rank_correlation_still_has_an_interval():
    found = evidence.rank_correlation(range(20), range(20))
    assert found.value == found.high == pytest.approx(1) and 0.9 < found.low < 1
    other = evidence.rank_correlation(range(20), range(20)[::-1])
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_unexplained_share_is_bounded_and_widest_about_no_correlation():
    x = np.arange(40)
    none = evidence.unexplained(x, np.tile([0, 1], 20))
    assert none.value > 0.99 and none.high == pytest.approx(1)
    strong = evidence.unexplained(x, -x)
    assert strong.value == pytest.approx(0) and 0 <= strong.low <= strong.high < 0.2
    assert math.isnan(evidence.unexplained(x[:5], x[:5]).low)


def test_better_predictor_is_antisymmetric_and_blind_to_signs():
    outcome = DRAW.normal(size=60)
    good, poor = outcome + 0.2 * DRAW.normal(size=60), outcome + 3 * DRAW.normal(size=60)
    found = evidence.better_predictor(good, poor, outcome)
    assert found.low > 0 and found.low < found.value < found.high
    turned = evidence.better_predictor(poor, good, outcome)
    assert (turned.value, turned.low) == pytest.approx((-found.value, -found.high))
    for a, b, c in ((-good, poor, outcome), (good, -poor, outcome), (good, poor, -outcome)):
        assert evidence.better_predictor(a, b, c) == pytest.approx(found)


def test_better_predictor_covers_the_truth_about_as_often_as_it_says():
    """Two predictors of equal worth that share half of their noise."""
    hits, trials, draw = 0, 400, np.random.default_rng(1)
    for _ in range(trials):
        outcome, shared = draw.normal(size=(2, 40))
        first, second = outcome + shared + draw.normal(size=(2, 40))
        found = evidence.better_predictor(first, second, outcome)
        hits += found.low <= 0 <= found.high
    assert 0.91 < hits / trials < 0.99


def test_predictor_against_itself_is_no_better():
    x = DRAW.normal(size=30)
    found = evidence.better_predictor(x, x, x + DRAW.normal(size=30))
    assert found.value == 0 and found.low <= 0 <= found.high
