import math

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_record, store_record
from matplotlib import pyplot as plt

from randprune_core.chapters import depth_scales, depth_scales_figures
from randprune_core.chapters.shared.layers import weight_counts
from randprune_core.presentation import plots
from randprune_core.sweeps.grids import BESIDE, CHAPTERS, JUDGED, grid


def law(config) -> float:
    """A gap that falls by 1.5 points for each doubling of the weights for each training image."""
    weights = weight_counts([config.model])[config.model]
    return 12 - 1.5 * math.log2(weights / config.train_images)


def record(figure, profile, gap=law, seeds=(0, 1, 2), ratios=("dense", "erk"), sparsities=None):
    """Made-up records; dense is at 80 % in each network, and seeds move both sides alike."""
    for config in grid(figure, profile, seeds=seeds, ratios=ratios, variant="jpeg75"):
        if sparsities is None or config.sparsity in (0.0, *sparsities):
            lost = gap(config) * (config.ratio != "dense") * config.sparsity / 0.9
            shift = 0.1 * (config.seed_init - 1) * (-1) ** (config.ratio == "erk")
            made = made_up_record(config, 0.8 - (lost + shift) / 100)
            made["history"] |= {"train_accuracy": [0.9] * config.epochs}
            store_record(made)


def test_without_records_the_paper_stands_alone(store):
    runs = depth_scales.collect()
    points = depth_scales.gaps(runs)
    assert set(points.scale) == set(depth_scales.ratio_differences(runs).scale) == {"paper"}
    assert math.isnan(depth_scales.fall_of(depth_scales.falls(runs), "mini").value)
    assert depth_scales.control_rows(depth_scales.control_contrasts(runs)).empty
    assert depth_scales.missing_control() == 24
    assert all(map(math.isnan, depth_scales.gap_of(points, "mini", "resnet-8")))
    rows = depth_scales.scale_rows(runs).set_index("scale")
    assert (rows.loc["mini"] == "–").all()
    assert rows.loc["paper", "gap at 0.9"] == "4.6\u00a0to\u00a01.4"
    assert len(depth_scales_figures.plot(points).get_axes()) == 2


def test_weights_for_each_image_are_those_of_the_networks_and_images(store):
    record("depth", "mini", seeds=[0])
    record("control", "mini", seeds=[0])
    points = depth_scales.gaps(depth_scales.collect())
    found = (
        points[points.ratio == "erk"]
        .groupby("scale")[["model", "weights"]]
        .apply(lambda part: [(m, round(w)) for m, w in zip(part.model, part.weights, strict=True)])
    )
    assert {("resnet-8", 15), ("resnet-20", 54), ("resnet-32", 93)} <= set(found["mini"])
    control = [("resnet-8", 8), ("resnet-20", 27), ("resnet-8", 31), ("resnet-20", 108)]
    assert found["control"] == control
    paper = [("resnet-20", 6), ("resnet-32", 10), ("resnet-44", 15), ("resnet-56", 19)]
    assert set(found["paper"]) == {*paper, ("resnet-110", 38)}


def test_the_fall_of_a_scale_is_its_least_squares_slope_with_an_interval_over_seeds(store):
    record("depth", "mini", sparsities=[0.9])
    record("width", "cpu", seeds=[0], sparsities=[0.9])
    runs = depth_scales.collect()
    slopes = depth_scales.falls(runs)
    mini = depth_scales.fall_of(slopes, "mini")
    assert mini.value == pytest.approx(1.5) and mini.n == 3 and mini.low < 1.5 < mini.high
    cpu = depth_scales.fall_of(slopes, "cpu")
    assert cpu.value == pytest.approx(1.5) and cpu.n == 1 and math.isnan(cpu.low)
    assert depth_scales.written(cpu, 2) == "1.50\u00a0○"
    assert math.isnan(depth_scales.fall_of(slopes, "mini", 0.5).value)
    points = depth_scales.gaps(runs)
    paper = points[(points.scale == "paper") & (points.ratio == "erk") & (points.sparsity == 0.9)]
    slope = np.polyfit(np.log2(paper.weights), paper.value, 1)[0]
    found = depth_scales.fall_of(slopes, "paper")
    assert found.value == pytest.approx(-slope) and found.low < found.value < found.high


def test_a_gap_is_given_in_points_and_in_errors_of_the_dense_network(store):
    record("depth", "mini", gap=lambda config: 4.0)
    points = depth_scales.gaps(depth_scales.collect())
    assert depth_scales.gap_of(points, "mini", "resnet-8") == pytest.approx((4.0, 20.0))
    assert depth_scales.largest_gap(points, "mini", 0.5) == pytest.approx(4 * 5 / 9)
    assert depth_scales.fitted(depth_scales.collect()["mini"]) == pytest.approx((90, 90))


def test_other_ratios_are_held_against_erk_in_the_same_network(store):
    ratios = ("dense", "erk", "snip", "uniform")
    record("depth", "mini", lambda c: 5.0 + (c.ratio == "uniform"), ratios=ratios)
    table = depth_scales.ratio_differences(depth_scales.collect())
    assert depth_scales.mean_difference(table, "mini", "uniform") == pytest.approx(-1, abs=0.2)
    assert math.isnan(depth_scales.mean_difference(table, "mini", "uniform_plus"))
    assert depth_scales.mean_difference(table, "paper", "snip") == pytest.approx(-0.304)
    rows = depth_scales.ratio_rows(table).set_index(["scale", "network"])
    assert rows.loc[("mini", "ResNet-8"), "Uniform+ − ERK"] == "–"
    assert "±" in rows.loc[("mini", "ResNet-8"), "Uniform − ERK"]


def contrasts(gap) -> pd.DataFrame:
    record("depth", "mini", gap, sparsities=[0.9])
    record("control", "mini", gap)
    return depth_scales.control_contrasts(depth_scales.collect())


def test_the_control_finds_one_curve_where_weights_for_each_image_decide(store):
    found = contrasts(law)
    apart = 1.5 * math.log2((77_360 / 2_500) / (270_896 / 10_000))  # 31 and 27 are not equal
    assert found.value[0] == pytest.approx(-apart) and found.low[0] < -apart < found.high[0]
    assert found.value[1:].tolist() == pytest.approx([1.5] * 3)
    assert (found.n == 3).all() and found.low.notna().all()
    assert depth_scales.missing_control() == 0


def test_the_control_contradicts_the_design_where_only_the_network_decides(store):
    gaps = {"resnet-8": 6.0, "resnet-20": 3.0}
    found = contrasts(lambda config: gaps.get(config.model, 2.0))
    assert found.value[0] == pytest.approx(3) and found.low[0] > 0
    assert found.value[1] > 1.5 and found.low[1] > 0
    assert found.value[2:].tolist() == pytest.approx([0, 0])


def test_one_seed_of_the_control_is_marked_and_half_of_it_gives_no_contrast(store):
    record("depth", "mini", sparsities=[0.9])
    record("control", "mini", seeds=[0])
    rows = depth_scales.control_rows(depth_scales.control_contrasts(depth_scales.collect()))
    assert len(rows) == 4 and rows.points.str.endswith("○").sum() == 3
    for path in store.glob("runs/cifar10/*.json"):
        if '"train_images": 2500' in path.read_text():
            path.unlink()
    rows = depth_scales.control_rows(depth_scales.control_contrasts(depth_scales.collect()))
    assert rows["where"].tolist() == ["from ResNet-8 to ResNet-20, both on 5,000 images"]


def test_the_figure_has_a_panel_for_the_control_once_it_is_recorded(store):
    record("depth", "mini")
    before = depth_scales_figures.plot(depth_scales.gaps(depth_scales.collect()))
    record("control", "mini")
    points = depth_scales.gaps(depth_scales.collect())
    figure = depth_scales_figures.plot(points)
    assert [len(before.get_axes()), len(figure.get_axes())] == [2, 3]
    assert plots.digest(before) != plots.digest(figure)
    texts = {text.get_text() for text in figure.get_axes()[-1].texts}
    assert texts == {f"{n} on {m}" for n in (8, 20) for m in ("2,500", "5,000", "10,000")}
    plt.close("all")


def test_the_runs_of_chapter_and_scales_count_once(store):
    runs = depth_scales.collect()
    assert depth_scales.together(runs["mini"], runs).empty
    record("depth", "mini", seeds=[0])
    record("control", "mini", seeds=[0])
    runs = depth_scales.collect()
    whole = depth_scales.together(runs["mini"], runs)
    assert len(whole) == len(runs["mini"]) + 8 and whole.run_id.is_unique


def test_the_csv_has_every_gap_and_difference_once(store):
    record("depth", "mini", seeds=[0])
    runs = depth_scales.collect()
    points, ratios = depth_scales.gaps(runs), depth_scales.ratio_differences(runs)
    table = depth_scales.figure_table(points, ratios)
    assert len(table) == len(points) + len(ratios)
    keys = ["source", "quantity", "model", "ratio", "sparsity", "train_images"]
    assert not table.duplicated(keys).any() and table.weights_per_image.notna().all()


def test_the_section_reads_the_grids_that_its_chapter_is_said_to_read():
    named = {*CHAPTERS["02_depth"], *JUDGED, *BESIDE["02_depth"]}
    assert named == {*depth_scales.FIGURES, "control"}
