"""Settings side by side: differences, spreads, the dot plot, and the chapters 08 and 09 on them."""

import math

import pandas as pd
import pytest

from randprune_core import build_model, paths, statistics
from randprune_core.chapters import common, granularity, methods, settings
from randprune_core.chapters.common import Records
from randprune_core.config import RATIOS, RunConfig, run_id
from randprune_core.config import setting as setting_of
from randprune_core.metrics.cost import layer_macs
from randprune_core.presentation.theme import LABELS
from randprune_core.presentation.words import listing
from randprune_core.pruning.ratios import SHAPE_RATIOS

FIELDS = {
    "snip:own": {"ratio": "snip", "mask_source": "own"},
    "grasp:own": {"ratio": "grasp", "mask_source": "own"},
    "uniform:filter": {"ratio": "uniform", "granularity": "filter"},
    "uniform:2:4": {"ratio": "uniform", "granularity": "2:4"},
    "uniform:4:8": {"ratio": "uniform", "granularity": "4:8"},
}
CPU = {"variant": "jpeg75", "epochs": 16, "train_images": 10_000}


def records(
    accuracies: dict[tuple[str, str], float], seeds=(0.0,), sparsity=0.5, profile="cpu"
) -> Records:
    """Made-up runs by (model, setting), in percent; `seeds` is added, one number a seed.

    None is a cell of the grid that is not recorded.
    """
    configs, rows = [], []
    for (model, name), accuracy in accuracies.items():
        level = 0.0 if name == "dense" else sparsity
        for seed, shift in enumerate(seeds):
            fields = FIELDS.get(name, {"ratio": name})
            config = RunConfig(**CPU, model=model, sparsity=level, seed_init=seed, **fields)
            assert setting_of(config) == name
            configs.append(config)
            if accuracy is not None:
                row = {"run_id": run_id(config), "model": model, "ratio": config.ratio}
                row |= {"setting": name, "sparsity": level, "accuracy": (accuracy + shift) / 100}
                rows.append(row)
    columns = ["run_id", "model", "ratio", "sparsity", "accuracy"]
    return Records("x", profile, configs, pd.DataFrame(rows) if rows else _empty(columns), True)


def _empty(columns) -> pd.DataFrame:
    return pd.DataFrame(columns=columns)


def small(erk=70.0, snip=69.0, own=68.5, **options) -> Records:
    cells = {("resnet-8", "dense"): 75.0, ("resnet-8", "erk"): erk, ("resnet-8", "snip"): snip}
    return records(cells | {("resnet-8", "snip:own"): own}, **options)


# --- nothing recorded ------------------------------------------------------------------------


def test_nothing_recorded_gives_empty_tables_and_sentences_that_say_so():
    empty = records({("resnet-8", "dense"): None, ("resnet-8", "erk"): None})
    runs = common.by_setting(empty.runs)
    others, own = methods.erk_minus_others(empty, runs), methods.own_minus_redrawn(runs)
    assert others.empty and own.empty
    assert "allow no statement yet" in methods.finding(empty, others, own)
    assert "allow no statement yet" in granularity.finding(empty, others)
    points = statistics.summarise(runs)
    assert "No two settings" in settings.spread_text(settings.spreads(points))
    for table in (methods.figure_table(empty, points, others, own), granularity.renamed(points)):
        assert table.empty
    figure = settings.plot_settings(points, "mean", ["erk"], title="t", label="l")
    assert figure.get_axes()[0].get_title() == "nothing to compare is recorded"


def test_dense_runs_alone_draw_no_panel():
    points = statistics.summarise(common.by_setting(records({("resnet-8", "dense"): 75.0}).runs))
    figure = settings.plot_settings(points, "mean", ["erk"], title="t", label="l")
    assert [axis.get_title() for axis in figure.get_axes()] == ["nothing to compare is recorded"]


# --- differences -----------------------------------------------------------------------------


def test_own_masks_and_ratios_are_told_apart_and_subtracted_the_right_way_round():
    found = small()
    runs = common.by_setting(found.runs)
    others = methods.erk_minus_others(found, runs)
    assert others.ratio.tolist() == ["snip", "snip:own"]
    assert others.difference.tolist() == pytest.approx([1.0, 1.5])
    own = methods.own_minus_redrawn(runs)
    assert own.ratio.tolist() == ["snip:own"]
    assert own.difference.tolist() == pytest.approx([-0.5])


def test_one_seed_decides_nothing_and_of_three_the_intervals_are_counted():
    found = small()
    runs = common.by_setting(found.runs)
    text = methods.finding(
        found, methods.erk_minus_others(found, runs), methods.own_minus_redrawn(runs)
    )
    assert text == (
        "ERK is more accurate than SNIP or GraSP, ratio or own mask, in 2 of 2 comparisons. One "
        "seed decides none of them. The comparisons are those with SNIP ratio and SNIP mask. The "
        "criterion's own mask minus a random one of its ratio is −0.5 in ResNet-8 (SNIP mask, "
        "0.5). One seed decides nothing."
    )
    several = small(erk=68.9, own=75.0, seeds=(-0.02, 0.0, 0.02))
    runs = common.by_setting(several.runs)
    text = methods.finding(several, methods.erk_minus_others(several, runs), runs[:0])
    assert "in 0 of 2 comparisons" in text  # 0.1 below SNIP ratio, 6.1 below its mask
    assert "lies above zero in 0 and below zero in 2 of them" in text
    assert "No own mask is recorded" in text


def test_a_criterion_that_is_not_recorded_is_not_counted():
    found = records(
        {("resnet-8", "erk"): 70.0, ("resnet-8", "uniform"): 60.0, ("resnet-8", "snip"): None}
    )
    runs = common.by_setting(found.runs)
    others = methods.erk_minus_others(found, runs)
    assert others.ratio.tolist() == ["uniform"]
    assert "allow no statement yet" in methods.finding(found, others, runs[:0])


def test_patterns_are_subtracted_from_unstructured():
    names = ["uniform", "uniform:filter", "uniform:2:4", "uniform:4:8"]
    values = [70.0, 65.0, 69.0, None]
    cells = {("resnet-8", name): value for name, value in zip(names, values, strict=True)}
    found = records(cells)
    others = granularity.unstructured_minus_others(found, common.by_setting(found.runs))
    assert others.ratio.tolist() == names[1:3]
    assert others.difference.tolist() == pytest.approx([5.0, 1.0])
    text = granularity.finding(found, others)
    assert "Unstructured minus filters, in points, is 5.0 in ResNet-8." in text
    assert "in 2 of 2 comparisons. One seed decides none" in text


# --- spread over settings --------------------------------------------------------------------


def test_the_spread_counts_only_settings_that_every_network_has():
    cells = {("resnet-8", "erk"): 70.0, ("resnet-8", "snip"): 66.0, ("resnet-8", "grasp"): 10.0}
    cells |= {("resnet-20", "erk"): 72.0, ("resnet-20", "snip"): 71.0}
    table = settings.spreads(statistics.summarise(common.by_setting(records(cells).runs)))
    assert table.spread.tolist() == pytest.approx([4.0, 1.0])
    assert table.settings.tolist() == [("erk", "snip")] * 2
    assert settings.spread_text(table) == (
        "At sparsity 0.5 the best and the worst of ERK and SNIP ratio are 4.0 and 1.0 points of "
        "test accuracy apart in ResNet-8 and ResNet-20: they are closer together in ResNet-20 than "
        "in ResNet-8, by one seed."
    )
    assert "not closer" in settings.spread_text(table.assign(spread=[1.0, 4.0]))


# --- the dot plot ----------------------------------------------------------------------------


def test_the_dot_plot_has_a_panel_a_network_and_sparsity_and_marks_dense_and_intervals():
    seeds = (-1.0, 0.0, 1.0)
    found = small(seeds=seeds)
    points = statistics.summarise(common.by_setting(found.runs))
    names = settings.settings_of(found)
    assert names == ["erk", "snip", "snip:own"]
    axis = settings.plot_settings(points, "mean", names, title="t", label="l").get_axes()[0]
    assert axis.get_title() == "ResNet-8, 0.5"
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "ERK",
        "SNIP ratio",
        "SNIP mask",
    ]
    dense, *drawn = axis.lines
    assert set(dense.get_xdata()) == {75.0}
    assert [line.get_xdata()[0] for line in drawn[::2]] == pytest.approx([70.0, 69.0, 68.5])
    spread = statistics.pooled_spread([seeds] * 4)  # dense is a cell too
    half = statistics.contrast([seeds], [1], spread).high
    assert drawn[1].get_xdata() == pytest.approx([70 - half, 70 + half])
    bare = statistics.summarise(common.by_setting(small().runs))
    lone = settings.plot_settings(bare, "mean", names, title="t", label="l").get_axes()[0]
    assert len(lone.lines) == 1 + 3 and not lone.patches


def test_the_margin_is_a_strip_about_zero_and_its_panels_share_a_scale():
    table = pd.DataFrame(
        {"model": ["a-1", "a-2"], "ratio": "snip", "sparsity": 0.5, "difference": [5.0, -1.0]}
    ).assign(low=math.nan, high=math.nan)
    figure = settings.plot_settings(table, "difference", ["snip"], title="t", label="l", margin=0.3)
    first, second = figure.get_axes()
    assert first.get_xlim() == second.get_xlim()
    strip = first.patches[0].get_window_extent().transformed(first.transData.inverted())
    assert (strip.x0, strip.x1) == pytest.approx((-0.3, 0.3))


# --- what a criterion costs ------------------------------------------------------------------


def test_passes_are_counted_and_grasp_costs_several_times_snip():
    config = RunConfig(model="resnet-8-4", ratio="dense", batch_size=50, dataset="digits")
    snip = methods.count_passes(config, "snip", side=8)
    grasp = methods.count_passes(config, "grasp", side=8)
    assert (snip["images"], snip["forward"], snip["backward"]) == (50, 1, 1)
    layers = layer_macs(build_model("resnet-8-4"), (3, 8, 8))
    del layers["linear.weight"]  # no convolution; and nobody asks for the gradient of the image
    assert snip["macs"] == 50 * (3 * sum(layers.values()) - layers["conv1.weight"])
    assert (grasp["images"], grasp["forward"], grasp["backward"]) == (250, 2, 3)
    assert grasp["macs"] / 5 > 2 * snip["macs"]
    assert (
        snip["macs"] * 5
        == methods.count_passes(RunConfig(model="resnet-8-4", batch_size=250), "snip", side=8)[
            "macs"
        ]
    )


def test_costs_are_told_in_steps_and_as_a_share_of_the_training():
    config = RunConfig(model="resnet-8-4", epochs=2, train_images=250, batch_size=50)
    found = methods.costs(config)
    assert found.steps[0] == 1 and found.share[0] == pytest.approx(1 / 10)
    table = methods.cost_table(found)
    shapes_only = [LABELS[ratio] for ratio in SHAPE_RATIOS if ratio != "dense"]
    assert table.masks.tolist() == [
        listing(shapes_only),
        "SNIP ratio and SNIP mask",
        "GraSP ratio and GraSP mask",
    ]
    assert table["of the training"][1] == "10.00 %"
    text = methods.cost_text(small(), found)
    assert text.startswith(
        f"No criterion costs more than {100 * found.share[1]:.2f} % of the operations"
    )


def test_seconds_are_measured_for_every_ratio():
    table = methods.seconds_table(RunConfig(model="resnet-8-4", dataset="digits", batch_size=10))
    assert len(table) == len(RATIOS) - 1
    assert (table.seconds.astype(float) >= 0).all()


# --- sizes and times -------------------------------------------------------------------------


def test_sizes_are_counted_and_outputs_agree():
    row = granularity.size_table(["resnet-8"], side=16).iloc[0]
    shares = [float(row[name].rstrip("%")) for name in ("kept by the masks", "left when compact")]
    assert shares[0] == pytest.approx(50, abs=0.1) and shares[1] < shares[0]
    assert granularity.largest_difference("resnet-8") < 1e-9


def test_without_a_benchmark_the_chapter_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "BENCHMARKS", tmp_path)
    measured = granularity.times()
    assert measured.empty and granularity.times_table(measured).empty
    assert "No time is measured yet" in granularity.times_text(measured)
    assert granularity.machine_text() == ""
    assert "nothing is measured" in granularity.times_caption(measured)
    assert granularity.plot_times(measured).get_axes()[0].get_title() == "nothing is measured"


def test_times_are_told_and_drawn_relative_to_dense():
    rows = []
    for case, time in {"dense": 1.0, **dict.fromkeys(granularity.CASES, 1.1)}.items():
        time = 0.5 if case == "compact" else time
        row = {"device": "cpu", "model": "vgg-11", "case": case}
        row |= {"macs": 25 if case == "compact" else 100}
        for mode in granularity.MODES:
            row |= {f"{mode}_to_dense": time, f"{mode}_low": time, f"{mode}_high": 2 * time}
        rows.append(row)
    measured = pd.DataFrame(rows)
    assert granularity.times_table(measured)["computed MACs"].tolist()[-1] == "25%"
    text = granularity.times_text(measured)
    assert "1.10 to 1.10 times as long with masks" in text
    assert "0.50 to 0.50 times as long in compact networks" in text
    table = granularity.times_table(measured)
    assert "device" not in table and "dense" not in table.pattern.tolist()
    assert table["training step"].tolist()[-1] == "0.50 (0.50 to 1.00)"
    assert "compute 0.25 of the dense MACs (VGG-11)" in text
    training = granularity.plot_times(measured).get_axes()[0]
    stroke, reach, marker = training.lines[-3:]
    assert stroke.get_xdata() == [0.25] and marker.get_xdata() == [0.5]
    assert list(reach.get_xdata()) == [0.5, 1.0]
