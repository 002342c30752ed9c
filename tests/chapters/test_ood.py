import math

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from conftest import made_up_record, store_record

from randprune_core.analysis.cells import sparse_minus_dense
from randprune_core.chapters import ood, ood_curves
from randprune_core.chapters.shared.records import Records
from randprune_core.config import RunConfig, run_id
from randprune_core.presentation import plots
from randprune_core.records.table import records_to_frame


def record(model: str, sparsity: float, seed=0, auroc=0.7, se=0.01, ratio="erk", **entry) -> dict:
    ratio = ratio if sparsity else "dense"
    config = RunConfig(
        variant="jpeg75", model=model, ratio=ratio, sparsity=sparsity, seed_init=seed
    )
    made = made_up_record(config)
    scores = {"auroc": auroc, "auroc_se": se, "fpr95": 0.8, "auroc_energy": auroc + 0.02}
    made["test"]["ood"] = {"cifar100": scores | {"n": 900, "n_in": 10_000} | entry}
    return made


def curve(steps: int = 101) -> dict:
    grid = np.linspace(0, 1, steps).tolist()
    lower = [place / 20 for place in range(20)]
    histogram = {"lower": lower, "in": [0] * 19 + [50], "out": [3] * 20}
    return {"roc": {"fpr": grid, "tpr": [x**0.5 for x in grid]}, "histogram": histogram}


def runs(losses: dict[str, float], spread=(0.0,), **entry) -> list[dict]:
    """Dense at an AUROC of 0.8 and ERK 0.9 that much below it; `spread` moves the seeds."""
    return [
        record(model, sparsity, seed, 0.8 - loss * (sparsity > 0) + shift, **entry)
        for model, loss in losses.items()
        for sparsity in (0.0, 0.9)
        for seed, shift in enumerate(spread)
    ]


def records_of(found: list[dict]) -> Records:
    configs = [RunConfig(**made["config"]) for made in found]
    return Records("ood", "cpu", configs, records_to_frame(found), True)


# ---------------------------------------------------------------- no worse


def test_sparse_minus_dense_has_the_sign_of_sparse_and_ordered_limits():
    frame = ood.measures(records_to_frame(runs({"resnet-8": 0.1}, spread=(-0.01, 0.0, 0.01))))
    (row,) = sparse_minus_dense(frame, "auroc").itertuples()
    assert row.difference == pytest.approx(-0.1)
    assert row.low < row.difference < row.high
    assert row.difference - row.low == pytest.approx(row.high - row.difference)


def test_sparse_minus_dense_of_an_unknown_column_is_empty():
    frame = records_to_frame(runs({"resnet-8": 0.1}))
    assert sparse_minus_dense(frame, "pgd.77.accuracy").empty


# ---------------------------------------------------------------- errors and figures


def test_two_ood_sets_are_refused_and_none_is_named():
    frame = records_to_frame(runs({"resnet-8": 0.1}))
    assert ood.ood_set(frame) == "cifar100"
    assert ood.ood_set(frame[["model"]]) == "none"
    with pytest.raises(ValueError, match="several OoD sets, cifar100 and photos"):
        ood.ood_set(frame.assign(**{"ood.photos.auroc": 0.5}))


def test_sampling_error_does_not_become_smaller_with_seeds():
    for spread in ((0.0,), (-0.01, 0.0, 0.01)):
        frame = ood.measures(records_to_frame(runs({"resnet-8": 0.1}, spread)))
        assert ood.measure_points(frame, "auroc").se.tolist() == pytest.approx([0.01, 0.01])
        assert ood.auroc_differences(frame).se.tolist() == pytest.approx([0.01 * math.sqrt(2)])


def test_fpr_has_the_binomial_error_of_its_ood_images():
    frame = ood.measures(records_to_frame(runs({"resnet-8": 0.1})))
    points = ood.measure_points(frame, "fpr95", 100.0)
    assert points["mean"].tolist() == [80.0, 80.0]
    assert points.se.tolist() == pytest.approx([100 * math.sqrt(0.8 * 0.2 / 900)] * 2)


def test_thin_bars_reach_196_errors_and_leave_the_axes_as_they_were():
    frame = ood.measures(records_to_frame(runs({"resnet-8": 0.1})))
    points = ood.measure_points(frame, "auroc")
    (axis,) = ood.points_figure(points, "AUROC").get_axes()
    (plain,) = plots.plot_by_sparsity(points).get_axes()
    assert axis.get_xlim() == plain.get_xlim()
    bars = [bar.get_segments()[0] for bar in axis.collections]
    assert [bar[1, 1] - bar[0, 1] for bar in bars] == pytest.approx([2 * 1.96 * 0.01] * 2)
    assert 0 < bars[1][0, 0] - 0.9 < 0.01  # beside the interval over seeds, not on it


def test_difference_figure_puts_the_sampling_error_about_zero():
    frame = ood.measures(records_to_frame(runs({"resnet-8": 0.1, "resnet-20": 0.0})))
    figure = ood.difference_figure(ood.auroc_differences(frame), [0.9])
    (axis,) = figure.get_axes()
    reach = 1.96 * 0.01 * math.sqrt(2)
    assert [bar.get_y() for bar in axis.patches] == pytest.approx([-reach] * 2)
    assert [bar.get_height() for bar in axis.patches] == pytest.approx([2 * reach] * 2)


def test_nothing_recorded_gives_figures_and_tables_that_say_so():
    frame = ood.measures(records_to_frame([]))
    figures = [
        ood.points_figure(ood.measure_points(frame, "auroc"), "AUROC"),
        ood.difference_figure(ood.auroc_differences(frame), [0.5, 0.9]),
        ood_curves.curve_figure(ood_curves.curve_table([])),
    ]
    for figure in figures:
        assert figure.get_axes()[0].get_title() == "no run is recorded"
    assert ood.figure_table(frame).empty
    assert "No model" in ood_curves.curve_note(ood_curves.curve_table([]))


def test_figure_table_holds_a_row_a_cell_with_all_measures():
    frame = ood.measures(records_to_frame(runs({"resnet-8": 0.1}, (-0.01, 0.01))))
    table = ood.figure_table(frame)
    assert table[["model", "ratio", "n"]].values.tolist() == [
        ["resnet-8", "dense", 2],
        ["resnet-8", "erk", 2],
    ]
    assert table.energy_minus_msp.tolist() == pytest.approx([0.02, 0.02])
    assert table.difference.isna().tolist() == [True, False]
    assert not table.columns.duplicated().any()


# ---------------------------------------------------------------- ROC curves


def test_smallest_and_largest_model_are_shown_at_the_highest_sparsity_first_seed(store):
    models = ("resnet-8", "resnet-14", "resnet-20")
    found = runs(dict.fromkeys(models, 0.1), spread=(0.0, 0.01))
    found += [record("resnet-8", 0.8), record("resnet-32", 0.0)]
    for made in found:
        store_record(made)
    shown = ood_curves.curve_records(records_of(found))
    cells = [[made["config"][key] for key in ("model", "sparsity", "seed_init")] for made in shown]
    assert cells == [
        ["resnet-8", 0.0, 0],
        ["resnet-8", 0.9, 0],
        ["resnet-20", 0.0, 0],
        ["resnet-20", 0.9, 0],
    ]


def test_curves_of_other_ratios_are_shown_where_there_is_no_erk(store):
    found = [record("resnet-8", 0.0), record("resnet-8", 0.9, ratio="snip")]
    for made in found:
        store_record(made)
    assert [made["run_id"] for made in ood_curves.curve_records(records_of(found))] == [
        run_id(RunConfig(**made["config"])) for made in found
    ]


def test_record_without_curves_has_its_point_alone():
    curves = ood_curves.curve_table(runs({"resnet-8": 0.1}))
    assert curves.kind.tolist() == ["point", "point"]
    assert curves[["x", "y"]].values.tolist() == [[0.8, 0.95]] * 2
    assert ood_curves.curve_note(curves).startswith("None of these 2 runs has a recorded curve")
    (axis,) = ood_curves.curve_figure(curves).get_axes()
    assert axis.get_xlim() == (0.7, 1.0)  # the corner, not an empty square


def test_recorded_curves_and_histograms_are_drawn_as_shares():
    curves = ood_curves.curve_table(runs({"resnet-8": 0.1}, **curve()))
    assert curves.kind.value_counts().to_dict() == {"roc": 202, "in": 40, "out": 40, "point": 2}
    assert curves[curves.kind == "out"].groupby("ratio").y.sum().tolist() == pytest.approx([1, 1])
    assert "Each of the 2 runs" in ood_curves.curve_note(curves)
    figure = ood_curves.curve_figure(curves)
    axes = figure.get_axes()
    assert [axis.get_title("left") for axis in axes[1:]] == ["dense", "ERK 0.9"]
    assert axes[0].get_xlim() == (0, 1)
    assert max(len(line.get_xdata()) for line in axes[0].lines) == 101


def test_curve_missing_from_one_run_is_named_and_its_panel_says_so():
    found = [record("resnet-8", 0.0), record("resnet-8", 0.9, **curve())]
    curves = ood_curves.curve_table(found)
    note = ood_curves.curve_note(curves)
    assert note.startswith("1 of the 2 runs shown") and "of ResNet-8 dense only the point" in note
    titles = [axis.get_title("left") for axis in ood_curves.curve_figure(curves).get_axes()]
    assert titles == ["", "dense: not recorded", "ERK 0.9"]


def test_curve_with_lists_of_unequal_length_is_an_error():
    broken = curve()
    broken["roc"]["tpr"].pop()
    with pytest.raises(ValueError, match="shorter"):
        ood_curves.curve_table(runs({"resnet-8": 0.1}, **broken))
