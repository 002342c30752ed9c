import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from randprune_core.analysis import intervals
from randprune_core.analysis.intervals import Spread, contrast, mean_interval, pooled_spread

FEW = [0.912, 0.905, 0.921]
MORE = [0.893, 0.899, 0.881, 0.902]
DRAW = np.random.default_rng(0)


def test_one_run_has_a_value_and_no_interval():
    found = mean_interval([0.5])
    assert (found.value, found.n) == (0.5, 1)
    assert math.isnan(found.low) and math.isnan(found.high)


def test_a_difference_with_one_run_on_either_side_has_no_interval():
    for first, second in ((FEW, [0.9]), ([0.9], FEW)):
        found = contrast([first, second], [1, -1])
        assert found.value == pytest.approx(np.mean(first) - np.mean(second))
        assert found.n == 1 and math.isnan(found.low) and math.isnan(found.high)


def test_equal_runs_give_an_interval_of_no_width():
    assert mean_interval([0.7, 0.7]) == (0.7, 0.7, 0.7, 2)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf]])
def test_values_that_are_missing_or_not_finite_raise(values):
    with pytest.raises(ValueError, match="finite"):
        mean_interval(values)


@pytest.mark.parametrize("confidence", [0, 1, 95, math.nan])
def test_a_confidence_outside_0_and_1_raises(confidence):
    with pytest.raises(ValueError, match="confidence"):
        mean_interval(FEW, confidence)


def test_a_spread_for_each_group_is_welch_s_and_a_shared_one_the_pooled():
    own = [pooled_spread([group]) for group in (FEW, MORE)]
    assert contrast([FEW, MORE], [1, -1], own) == pytest.approx(contrast([FEW, MORE], [1, -1]))
    pooled = pooled_spread([FEW, MORE])
    shared = contrast([FEW, MORE], [1, -1], [pooled, pooled])
    assert shared == pytest.approx(contrast([FEW, MORE], [1, -1], pooled))
    with pytest.raises(ValueError, match="1 spreads for 2 groups"):
        contrast([FEW, MORE], [1, -1], [pooled])


def test_weights_must_be_one_a_group():
    with pytest.raises(ValueError, match="2 weights for 1 groups"):
        contrast([FEW], [1, -1])


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_mean_interval_equals_scipys_one_sample_t(confidence):
    low, high = stats.ttest_1samp(MORE, 0).confidence_interval(confidence)
    found = mean_interval(MORE, confidence)
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(MORE), low, high))
    assert found.n == 4


def test_difference_of_two_groups_equals_scipys_welch_t():
    low, high = stats.ttest_ind(FEW, MORE, equal_var=False).confidence_interval(0.95)
    found = contrast([FEW, MORE], [1, -1])
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.n == 3


def test_contrast_of_four_groups_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    scales, truth, covered, repeats = (1.0, 3.0, 0.5, 2.0), 4.0, 0, 500
    for _ in range(repeats):
        groups = [rng.normal(mean, s, 5) for mean, s in zip((1, 2, 6, 3), scales, strict=True)]
        found = contrast(groups, [-1, 1, 1, -1])
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / repeats <= 0.98


def test_pooled_spread_is_that_of_an_analysis_of_variance():
    spread = pooled_spread([FEW, MORE, [0.5]])
    squares = sum(((np.array(x) - np.mean(x)) ** 2).sum() for x in (FEW, MORE))
    assert spread == pytest.approx((squares / 5, 5))
    assert spread.freedom == len(FEW) + len(MORE) - 2
    low, high = stats.ttest_ind(FEW, MORE, equal_var=True).confidence_interval(0.95)
    found = contrast([FEW, MORE], [1, -1], spread)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_pooled_spread_of_single_runs_is_unknown():
    spread = pooled_spread([[0.1], [0.2]])
    assert math.isnan(spread.variance) and spread.freedom == 0
    assert pooled_spread([]).freedom == 0


def test_a_group_of_one_run_has_no_interval_whatever_the_pooled_spread():
    found = contrast([FEW, [0.9]], [1, -1], Spread(0.01, 30))
    assert found.n == 1 and math.isnan(found.low)


def test_difference_in_differences_equals_its_closed_form():
    """Two gaps of three runs each: sd s, standard error s sqrt(4 / 3), 12 - 4 degrees."""
    groups = [[1, 2, 3], [4, 4, 7], [0, 2, 1], [5, 6, 7]]
    spread = pooled_spread(groups)
    assert spread == pytest.approx(((2 + 6 + 2 + 2) / 8, 8))
    found = contrast(groups, [-1, 1, 1, -1], spread)
    reach = stats.t.ppf(0.975, 8) * math.sqrt(12 / 8 * 4 / 3)
    assert found == pytest.approx((-2 + 5 + 1 - 6, -2 - reach, -2 + reach, 3))
    welch = contrast(groups, [-1, 1, 1, -1])
    parts = np.array([1, 3, 1, 1]) / 3
    freedom = parts.sum() ** 2 / (parts**2 / 2).sum()
    reach = stats.t.ppf(0.975, freedom) * math.sqrt(parts.sum())
    assert welch == pytest.approx((-2, -2 - reach, -2 + reach, 3))


def test_contrast_with_the_pooled_spread_is_that_of_a_linear_model():
    from statsmodels.formula.api import ols

    rng, cells = np.random.default_rng(4), []
    for place, n in enumerate((3, 5, 3, 4, 3)):
        cells += [{"cell": f"c{place}", "y": y} for y in rng.normal(place**2, 1.5, n)]
    table = pd.DataFrame(cells)
    weights = [0.5, 0.5, -0.25, -0.75, 0.0]
    model = ols("y ~ C(cell) - 1", table).fit()
    oracle = model.t_test([weights])
    groups = [part.tolist() for _, part in table.groupby("cell").y]
    found = contrast(groups, weights, pooled_spread(groups), 0.975)
    assert found.value == pytest.approx(oracle.effect[0])
    assert (found.low, found.high) == pytest.approx(oracle.conf_int(alpha=0.025)[0])


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
    assert intervals.decide(low, high, threshold) == verdict


def test_rank_correlation_agrees_with_scipy_and_lies_in_its_interval():
    x = DRAW.normal(size=30)
    y = x + DRAW.normal(size=30)
    found = intervals.rank_correlation(x, y)
    assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert -1 < found.low < found.value < found.high < 1
    narrow = intervals.rank_correlation(x, y, groups=10)
    assert narrow.low < found.low and narrow.value == found.value


def test_rank_correlation_of_too_few_or_constant_values_has_no_interval():
    assert math.isnan(intervals.rank_correlation(range(9), range(9)).low)
    assert math.isnan(intervals.rank_correlation(range(12), range(12), groups=4).low)
    assert math.isnan(intervals.rank_correlation(range(20), [1] * 20).value)
    assert math.isnan(intervals.rank_correlation([], []).value)


def test_perfect_rank_correlation_still_has_an_interval():
    found = intervals.rank_correlation(range(20), range(20))
    assert found.value == found.high == pytest.approx(1) and 0.9 < found.low < 1
    other = intervals.rank_correlation(range(20), range(20)[::-1])
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_unexplained_share_is_bounded_and_widest_about_no_correlation():
    x = np.arange(40)
    none = intervals.unexplained(x, np.tile([0, 1], 20))
    assert none.value > 0.99 and none.high == pytest.approx(1)
    strong = intervals.unexplained(x, -x)
    assert strong.value == pytest.approx(0) and 0 <= strong.low <= strong.high < 0.2
    assert math.isnan(intervals.unexplained(x[:5], x[:5]).low)


def test_better_predictor_is_antisymmetric_and_blind_to_signs():
    outcome = DRAW.normal(size=60)
    good, poor = outcome + 0.2 * DRAW.normal(size=60), outcome + 3 * DRAW.normal(size=60)
    found = intervals.better_predictor(good, poor, outcome)
    assert found.low > 0 and found.low < found.value < found.high
    turned = intervals.better_predictor(poor, good, outcome)
    assert (turned.value, turned.low) == pytest.approx((-found.value, -found.high))
    for a, b, c in ((-good, poor, outcome), (good, -poor, outcome), (good, poor, -outcome)):
        assert intervals.better_predictor(a, b, c) == pytest.approx(found)


def test_better_predictor_covers_the_truth_about_as_often_as_it_says():
    """Two predictors of equal worth that share half of their noise."""
    hits, trials, draw = 0, 400, np.random.default_rng(1)
    for _ in range(trials):
        outcome, shared = draw.normal(size=(2, 40))
        first, second = outcome + shared + draw.normal(size=(2, 40))
        found = intervals.better_predictor(first, second, outcome)
        hits += found.low <= 0 <= found.high
    assert 0.91 < hits / trials < 0.99


def test_predictor_against_itself_is_no_better():
    x = DRAW.normal(size=30)
    found = intervals.better_predictor(x, x, x + DRAW.normal(size=30))
    assert found.value == 0 and found.low <= 0 <= found.high
