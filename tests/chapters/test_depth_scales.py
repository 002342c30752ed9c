import math

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_record, store_record
from matplotlib import pyplot as plt

from randprune_core.analysis import scales
from randprune_core.analysis.claim_runs import together
from randprune_core.analysis.layers import weight_counts
from randprune_core.chapters import depth_scales_figures
from randprune_core.presentation import plots
from randprune_core.sweeps.coverage import missing
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


def fall(slopes: pd.DataFrame, scale: str, sparsity: float = 0.9):
    return slopes.set_index(["scale", "sparsity"]).loc[(scale, sparsity)]


def test_without_records_the_paper_stands_alone(store):
    runs = scales.collect()
    points = scales.gaps(runs)
    assert set(points.scale) == set(scales.ratio_differences(runs).scale) == {"paper"}
    assert math.isnan(fall(scales.falls(runs), "mini").value)
    assert scales.control_contrasts(runs).value.isna().all()
    assert len(missing(scales.control())) == 24
    figure = depth_scales_figures.plot(points)
    assert len(figure.get_axes()) == 2
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == [depth_scales_figures.LOOKS["paper"].label]


def test_the_best_epoch_s_gain_is_in_points_and_its_column_is_there_without_runs(store):
    assert scales.collect("mini")["mini"][["fitted", "best_adds"]].shape == (0, 2)
    config = next(iter(grid("depth", "mini", seeds=[0], variant="jpeg75")))
    made = made_up_record(config, 0.8)
    made["test"]["best_validation"] = {"epoch": 5, "accuracy": 0.803}
    made["history"] |= {"train_accuracy": [0.9] * config.epochs}
    store_record(made)
    assert scales.collect("mini")["mini"].best_adds.tolist() == pytest.approx([0.3])


def test_weights_for_each_image_are_those_of_the_networks_and_images(store):
    record("depth", "mini", seeds=[0])
    record("control", "mini", seeds=[0])
    points = scales.gaps(scales.collect())
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
    runs = scales.collect()
    slopes = scales.falls(runs)
    mini = fall(slopes, "mini")
    assert mini.value == pytest.approx(1.5) and mini.n == 3 and mini.low < 1.5 < mini.high
    cpu = fall(slopes, "cpu")
    assert cpu.value == pytest.approx(1.5) and cpu.n == 1 and math.isnan(cpu.low)
    assert math.isnan(fall(slopes, "mini", 0.5).value)
    points = scales.gaps(runs)
    paper = points[(points.scale == "paper") & (points.ratio == "erk") & (points.sparsity == 0.9)]
    slope = np.polyfit(np.log2(paper.weights), paper.value, 1)[0]
    found = fall(slopes, "paper")
    assert found.value == pytest.approx(-slope) and found.low < found.value < found.high
    for none_or_one in (["resnet-8", "resnet-14"], ["resnet-8", "resnet-20"]):
        assert math.isnan(fall(scales.falls(runs, none_or_one), "paper").value)


def test_other_ratios_are_held_against_erk_in_the_same_network(store):
    ratios = ("dense", "erk", "snip", "uniform")
    record("depth", "mini", lambda c: 5.0 + (c.ratio == "uniform"), ratios=ratios)
    table = scales.ratio_differences(scales.collect())
    means = table.groupby(["scale", "ratio"]).value.mean()
    assert means["mini", "uniform"] == pytest.approx(-1, abs=0.2)
    assert ("mini", "uniform_plus") not in means
    assert means["paper", "snip"] == pytest.approx(-0.304)
    assert table[table.scale == "mini"].low.notna().all()
    assert scales.collect()["mini"].fitted.unique() == pytest.approx([90])


def contrasts(gap) -> pd.DataFrame:
    record("depth", "mini", gap, sparsities=[0.9])
    record("control", "mini", gap)
    return scales.control_contrasts(scales.collect())


def test_the_control_finds_one_curve_where_weights_for_each_image_decide(store):
    found = contrasts(law)
    apart = 1.5 * math.log2((77_360 / 2_500) / (270_896 / 10_000))  # 31 and 27 are not equal
    assert found.value[0] == pytest.approx(-apart) and found.low[0] < -apart < found.high[0]
    assert found.value[1:].tolist() == pytest.approx([1.5] * 3)
    assert (found.n == 3).all() and found.low.notna().all()
    assert missing(scales.control()) == []


def test_the_control_contradicts_the_design_where_only_the_network_decides(store):
    gaps = {"resnet-8": 6.0, "resnet-20": 3.0}
    found = contrasts(lambda config: gaps.get(config.model, 2.0))
    assert found.value[0] == pytest.approx(3) and found.low[0] > 0
    assert found.value[1] > 1.5 and found.low[1] > 0
    assert found.value[2:].tolist() == pytest.approx([0, 0])


def test_the_control_s_spread_is_pooled_within_each_number_of_images(store):
    def noisy(config):  # on 2,500 images seeds move the gap by two points, elsewhere not
        return law(config) + 2 * (config.seed_init - 1) * (config.train_images == 2_500)

    found = contrasts(noisy).set_index("compared")
    reach = (found.high - found.low) / 2
    between, within = "from ResNet-8 to ResNet-20, both on 5,000 images", "2,500 images"
    assert 5 * reach[between] < reach[[name for name in found.index if within in name]].min()
    points = scales.gaps(scales.collect())
    drawn = points[points.scale == "control"].set_index("images").eval("(high - low) / 2")
    equal = "ResNet-8 on 2,500 images minus ResNet-20 on 10,000"
    (few,), (many,) = drawn[2_500].unique().round(9), drawn[10_000].unique().round(9)
    assert reach[equal] == pytest.approx(math.hypot(few, many), rel=0.02)


def test_one_seed_of_the_control_has_no_interval_and_half_of_it_gives_no_contrast(store):
    record("depth", "mini", sparsities=[0.9])
    record("control", "mini", seeds=[0])
    found = scales.control_contrasts(scales.collect())
    assert found.value.notna().all() and found.n.tolist() == [1, 3, 1, 1]
    assert found.low.isna().tolist() == [True, False, True, True]
    for path in store.glob("runs/cifar10/*.json"):
        if '"train_images": 2500' in path.read_text():
            path.unlink()
    found = scales.control_contrasts(scales.collect()).dropna(subset="value")
    assert found.compared.tolist() == ["from ResNet-8 to ResNet-20, both on 5,000 images"]


def test_the_figure_has_a_panel_for_the_control_once_it_is_recorded(store):
    record("depth", "mini")
    before = depth_scales_figures.plot(scales.gaps(scales.collect()))
    record("control", "mini")
    points = scales.gaps(scales.collect())
    figure = depth_scales_figures.plot(points)
    assert [len(before.get_axes()), len(figure.get_axes())] == [2, 3]
    assert plots.digest(before) != plots.digest(figure)
    filled, hollow = (
        [
            line.get_markerfacecolor()
            for line in drawn.get_axes()[0].lines
            if line.get_marker() == "o"
        ]
        for drawn in (figure, depth_scales_figures.plot(points.assign(low=math.nan)))
    )
    assert "white" not in filled and "white" in hollow
    narrow = depth_scales_figures.plot(points, phone=True)
    texts, few = (
        sorted(text.get_text() for text in drawn.get_axes()[-1].texts) for drawn in (figure, narrow)
    )
    assert few == ["20 on 2,500", "8 on 10,000"]
    assert texts == sorted([*few, "2,500", "5,000", "5,000", "10,000"])
    plt.close("all")


def test_the_key_names_one_seed_by_the_scale_that_has_it(store):
    record("depth", "mini", sparsities=[0.9])
    record("width", "cpu", seeds=[0], sparsities=[0.9])
    (key,) = depth_scales_figures.plot(scales.gaps(scales.collect())).legends
    names = [text.get_text() for text in key.get_texts()]
    entries = dict(zip(names, key.legend_handles, strict=True))
    look = depth_scales_figures.LOOKS["cpu"]
    single = entries.pop(f"{look.label}, one seed")
    assert (single.get_marker(), single.get_markerfacecolor()) == (look.marker, "white")
    assert not any("one seed" in entry for entry in entries)
    plt.close("all")


def test_the_runs_of_chapter_and_scales_count_once(store):
    runs = scales.collect()
    assert together(*runs.values()).empty
    record("depth", "mini", seeds=[0])
    record("control", "mini", seeds=[0])
    runs = scales.collect()
    whole = together(runs["mini"], *runs.values())
    assert len(whole) == len(runs["mini"]) + 8 and whole.run_id.is_unique


def test_no_point_is_there_twice(store):
    record("depth", "mini", seeds=[0])
    runs = scales.collect()
    for table in (scales.gaps(runs), scales.ratio_differences(runs)):
        keys = ["scale", "model", "ratio", "sparsity", "images"]
        assert not table.duplicated(keys).any() and table.weights.notna().all()


def test_the_section_reads_the_grids_that_its_chapter_is_said_to_read():
    named = {*CHAPTERS["01_depth"], *JUDGED, *BESIDE["01_depth"]}
    assert named == {*scales.FIGURES, "control"}
