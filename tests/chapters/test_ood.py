import math

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
        assert ood.auroc_gaps(frame).se.tolist() == pytest.approx([0.01 * math.sqrt(2)])


def test_fpr_has_the_binomial_error_of_its_ood_images():
    frame = ood.measures(records_to_frame(runs({"resnet-8": 0.1})))
    points = ood.measure_points(frame, "fpr95")
    assert points["mean"].tolist() == [0.8, 0.8]
    assert points.se.tolist() == pytest.approx([math.sqrt(0.8 * 0.2 / 900)] * 2)


def test_nothing_recorded_gives_empty_tables_and_no_figure():
    frame = ood.measures(records_to_frame([]))
    assert ood.measure_points(frame, "auroc").empty and ood.auroc_gaps(frame).empty
    assert ood.figure_table(frame).empty
    assert plots.is_empty(ood_curves.curve_figure(ood_curves.curve_table([])))


def test_gaps_are_dense_minus_sparse_smallest_network_first():
    made = runs({"resnet-20": 0.1, "resnet-8": 0.2})
    for one in made:
        one["cost"]["dense_weights"] = {"resnet-20": 2, "resnet-8": 1}[one["config"]["model"]]
    gaps = ood.auroc_gaps(ood.measures(records_to_frame(made)))
    assert gaps.model.tolist() == ["resnet-8", "resnet-20"]
    assert gaps.gap.tolist() == pytest.approx([0.2, 0.1])


def test_figure_table_holds_a_row_a_cell_with_all_measures():
    frame = ood.measures(records_to_frame(runs({"resnet-8": 0.1}, (-0.01, 0.01))))
    table = ood.figure_table(frame)
    assert table[["model", "ratio", "n"]].values.tolist() == [
        ["resnet-8", "dense", 2],
        ["resnet-8", "erk", 2],
    ]
    assert table.energy_minus_msp.tolist() == pytest.approx([0.02, 0.02])
    assert table.difference.isna().tolist() == [True, False]
    assert table.difference[1] == pytest.approx(-0.1)
    assert not table.columns.duplicated().any()


# ---------------------------------------------------------------- ROC curves


def test_smallest_and_largest_model_are_shown_at_the_highest_sparsity_first_seed(store):
    weights = {"resnet-20": 3, "resnet-14": 2, "resnet-8": 1}
    found = runs(dict.fromkeys(weights, 0.1), spread=(0.0, 0.01))
    found += [record("resnet-8", 0.8), record("resnet-32", 0.0)]
    for made in found:
        made["cost"]["dense_weights"] = weights.get(made["config"]["model"], 4)
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
    assert plots.is_empty(ood_curves.curve_figure(curves))


def test_recorded_curves_and_histograms_are_drawn_as_shares():
    curves = ood_curves.curve_table(runs({"resnet-8": 0.1}, **curve()))
    assert curves.kind.value_counts().to_dict() == {"roc": 202, "in": 40, "out": 40, "point": 2}
    assert curves[curves.kind == "out"].groupby("ratio").y.sum().tolist() == pytest.approx([1, 1])
    figure = ood_curves.curve_figure(curves)
    (axis,) = figure.get_axes()
    assert [len(line.get_xdata()) for line in axis.lines].count(101) == 2
    ends = [line for line in axis.lines if line.get_xydata().tolist() == [[0.8, 0.95]]]
    assert {line.get_markerfacecolor() for line in ends} == {"none"} and len(ends) == 2
    (key,) = figure.legends
    assert [text.get_text() for text in key.get_texts()][:2] == ["dense", "ERK 0.9"]
    shown = [handle.get_marker() for handle in key.legend_handles[:2]]
    assert shown == [line.get_marker() for line in ends]


def test_a_network_without_a_curve_has_no_panel():
    found = [record("resnet-8", 0.0), record("resnet-8", 0.9, **curve()), record("resnet-20", 0.0)]
    figure = ood_curves.curve_figure(ood_curves.curve_table(found))
    assert [axis.get_title() for axis in figure.get_axes()] == ["ResNet-8"]
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries[-2:] == ["95 % of the known images", "guessing"]


def test_curve_with_lists_of_unequal_length_is_an_error():
    broken = curve()
    broken["roc"]["tpr"].pop()
    with pytest.raises(ValueError, match="shorter"):
        ood_curves.curve_table(runs({"resnet-8": 0.1}, **broken))
