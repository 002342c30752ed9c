import math

import pandas as pd
import pytest
from scipy import stats

from randprune_core.analysis.cells import (
    cells_of,
    differences,
    gap_change,
    gap_to_dense,
    mean_difference,
    pairs_of_settings,
    recorded,
    summarise,
    turned,
)
from randprune_core.analysis.intervals import pooled_spread

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


def test_spread_is_pooled_over_static_networks_only():
    runs = runs_of({("resnet-8", "erk", 0.9): FEW, ("resnet-8", "erk:set", 0.9): MORE})
    moving = runs.assign(method=["static"] * 3 + ["set"] * 4)
    assert cells_of(moving).spread == pytest.approx(pooled_spread([[100 * x for x in FEW]]))
    assert cells_of(runs).spread.freedom == 5
    assert set(cells_of(moving).values) == {("resnet-8", name, 0.9) for name in ("erk", "erk:set")}


def test_an_interval_takes_the_pool_and_the_cells_of_the_contrast():
    """A cell of both counts once, and another cell of the frame does not count."""
    dense, erk, other = ("resnet-8", "dense", 0.0), ("resnet-8", "erk", 0.9), ("a", "erk", 0.9)
    runs = runs_of({dense: FEW, erk: MORE, ("resnet-8", "uniform", 0.9): [0.1, 0.9]})
    pool = runs_of({dense: FEW, other: MORE[:2]})
    cells = cells_of(runs, pool=pool)
    percent = [[100 * x for x in group] for group in (FEW, MORE[:2], MORE)]
    assert cells.spread_of([dense]) == cells.spread == pytest.approx(pooled_spread(percent[:2]))
    assert cells.spread_of([dense, erk]) == pytest.approx(pooled_spread(percent))
    found = cells.difference(dense, erk)
    reach = stats.t.ppf(0.975, 6) * math.sqrt(pooled_spread(percent).variance * (1 / 3 + 1 / 4))
    assert found.high - found.value == pytest.approx(reach)
    (gap, _) = gap_to_dense(runs, pool=pool).to_dict("records")
    assert (gap["gap"], gap["low"], gap["high"]) == found[:3]


def test_of_a_cell_that_the_pool_has_too_the_more_runs_count():
    cell = ("resnet-8", "erk", 0.9)
    for own, pooled in ((FEW, FEW[:2]), (FEW[:2], FEW)):
        cells = cells_of(runs_of({cell: own}), pool=runs_of({cell: pooled}))
        assert cells.spread_of([cell]) == pytest.approx(pooled_spread([[100 * x for x in FEW]]))


def test_a_pool_without_the_column_leaves_the_spread_to_the_cells_themselves():
    runs = runs_of({("resnet-8", "erk", 0.9): FEW}).assign(ece=[0.1, 0.2, 0.4])
    for pool in (runs.drop(columns="ece"), runs.assign(ece=math.nan), runs[:0]):
        assert summarise(runs, "ece", 1.0, pool).equals(summarise(runs, "ece", 1.0))


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


def test_the_mean_of_differences_counts_a_shared_cell_as_often_as_it_stands_in_a_pair():
    base, first, second = (("resnet-8", name, 0.9) for name in ("erk", "snip", "grasp"))
    runs = runs_of({base: FEW, first: MORE, second: FEW[::-1]})
    pairs = [(first, base), (second, base)]
    found = mean_difference(runs, pairs)
    single = differences(runs, pairs)
    assert found.value == pytest.approx(single.difference.mean())
    variance = pooled_spread([[100 * x for x in group] for group in (FEW, MORE, FEW)]).variance
    error = math.sqrt(variance * (1 / 3 + 1 / 4 / 4 + 1 / 3 / 4))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 7) * error)
    assert math.isnan(mean_difference(runs, [*pairs, (base, ("a", "erk", 0.9))]).value)
    assert math.isnan(mean_difference(runs, []).value)


def test_differences_take_the_pairs_that_are_recorded_and_are_named_by_the_second_cell():
    runs = runs_of({("a", "dense", 0.0): FEW, ("a", "erk", 0.9): MORE, ("b", "erk", 0.9): FEW})
    pairs = [((name, "dense", 0.0), (name, "erk", 0.9)) for name in ("a", "b")]
    (row,) = differences(runs, pairs).to_dict("records")
    whole = cells_of(runs).difference(*pairs[0])
    assert (row["model"], row["ratio"], row["sparsity"]) == ("a", "erk", 0.9)
    assert (row["difference"], row["low"], row["high"], row["n"]) == whole
    back = turned(differences(runs, pairs)).iloc[0]
    assert (back.difference, back.low, back.high) == (-whole.value, -whole.high, -whole.low)
    assert list(differences(runs[:0], pairs)) == list(back.index)


def test_settings_are_paired_at_every_network_and_sparsity():
    runs = runs_of({("a", "erk", 0.9): FEW, ("a", "snip", 0.5): FEW, ("b", "erk", 0.9): FEW})
    assert recorded(runs) == [("a", "erk", 0.9), ("a", "snip", 0.5), ("b", "erk", 0.9)]
    assert pairs_of_settings(runs, [("erk", "snip")]) == [
        ((model, "erk", level), (model, "snip", level))
        for model, level in (("a", 0.9), ("a", 0.5), ("b", 0.9))
    ]


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
