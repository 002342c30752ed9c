import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from randprune_core.statistics import (
    Spread,
    cells_of,
    contrast,
    gap_change,
    gap_to_dense,
    mean_interval,
    pooled_spread,
    summarise,
)

FEW = [0.912, 0.905, 0.921]
MORE = [0.893, 0.899, 0.881, 0.902]


def runs_of(cells):
    """A frame of runs from {(model, ratio, sparsity): accuracies}."""
    rows = [
        {"model": model, "ratio": ratio, "sparsity": sparsity, "accuracy": accuracy}
        for (model, ratio, sparsity), accuracies in cells.items()
        for accuracy in accuracies
    ]
    return pd.DataFrame(rows)


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


def test_spread_is_pooled_over_static_networks_only():
    runs = runs_of({("resnet-8", "erk", 0.9): FEW, ("resnet-8", "erk:set", 0.9): MORE})
    moving = runs.assign(method=["static"] * 3 + ["set"] * 4)
    assert cells_of(moving).spread == pytest.approx(pooled_spread([[100 * x for x in FEW]]))
    assert cells_of(runs).spread.freedom == 5
    assert set(cells_of(moving).values) == {("resnet-8", name, 0.9) for name in ("erk", "erk:set")}


def test_summarise_keeps_the_order_of_the_runs_and_gives_percent():
    runs = runs_of({("resnet-20", "erk", 0.9): [0.6, 0.7], ("resnet-8", "dense", 0.0): [0.5]})
    summary = summarise(runs)
    assert summary.model.tolist() == ["resnet-20", "resnet-8"]
    assert summary["mean"].tolist() == pytest.approx([65, 50])
    assert summary["n"].tolist() == [2, 1]
    assert summary["std"][0] == pytest.approx(math.sqrt(50)) and math.isnan(summary["std"][1])


def test_no_runs_give_empty_frames_with_their_columns():
    empty = pd.DataFrame(columns=["run_id", "model", "ratio", "sparsity"])
    for function in (summarise, gap_to_dense, gap_change):
        found = function(empty)
        assert len(found) == 0 and "low" in found


def test_an_unknown_column_is_named():
    with pytest.raises(ValueError, match="'acuracy'"):
        summarise(runs_of({("resnet-8", "dense", 0.0): [0.5]}), "acuracy")


def test_the_gap_is_dense_minus_sparse_and_needs_the_dense_network_of_the_same_model():
    runs = runs_of(
        {
            ("resnet-8", "dense", 0.0): [0.70],
            ("resnet-8", "erk", 0.9): [0.62],
            ("resnet-14", "erk", 0.9): [0.65],
        }
    )
    gaps = gap_to_dense(runs)
    assert gaps.model.tolist() == ["resnet-8"]
    assert gaps.gap[0] == pytest.approx(8.0)


def test_gap_change_compares_the_first_model_with_the_last_and_is_negative_when_it_shrinks():
    cells = {}
    gaps = {"resnet-8": 0.09, "resnet-14": 0.2, "resnet-20": 0.05}
    for model, gap in gaps.items():
        cells[model, "dense", 0.0] = [0.80, 0.81, 0.82]
        cells[model, "erk", 0.9] = [0.80 - gap, 0.81 - gap, 0.82 - gap]
    (change,) = gap_change(runs_of(cells)).to_dict("records")
    assert (change["first"], change["last"]) == ("resnet-8", "resnet-20")
    assert change["change"] == pytest.approx(-4.0)
    assert change["last_gap"] - change["first_gap"] == pytest.approx(change["change"])
    # All six cells have variance 1: the degrees of freedom are 6 * (3 - 1).
    reach = stats.t.ppf(0.975, 12) * math.sqrt(4 * 1.0 / 3)
    assert change["high"] - change["change"] == pytest.approx(reach)


def test_gap_change_needs_two_models():
    runs = runs_of({("resnet-8", "dense", 0.0): [0.7], ("resnet-8", "erk", 0.9): [0.6]})
    assert gap_change(runs).empty
