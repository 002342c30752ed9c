"""Own and redrawn masks of the criteria, and what a criterion costs."""

import pytest
from made_up_runs import runs_of_settings, small

from randprune_core import build_model
from randprune_core.chapters import methods
from randprune_core.chapters.shared.records import by_setting
from randprune_core.config import RATIOS, RunConfig
from randprune_core.metrics.cost import layer_macs
from randprune_core.presentation.theme import LABELS
from randprune_core.presentation.words import listing
from randprune_core.pruning.ratios import SHAPE_RATIOS


def test_own_masks_and_ratios_are_told_apart_and_subtracted_the_right_way_round():
    found = small()
    runs = by_setting(found.runs)
    others = methods.erk_minus_others(found, runs)
    assert others.ratio.tolist() == ["snip", "snip:own"]
    assert others.difference.tolist() == pytest.approx([1.0, 1.5])
    own = methods.own_minus_redrawn(runs)
    assert own.ratio.tolist() == ["snip:own"]
    assert own.difference.tolist() == pytest.approx([-0.5])


def test_a_criterion_that_is_not_recorded_is_not_counted():
    found = runs_of_settings(
        {("resnet-8", "erk"): 70.0, ("resnet-8", "uniform"): 60.0, ("resnet-8", "snip"): None}
    )
    runs = by_setting(found.runs)
    others = methods.erk_minus_others(found, runs)
    assert others.ratio.tolist() == ["uniform"]


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


def test_costs_are_given_in_steps_and_as_a_share_of_the_training():
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


def test_seconds_are_measured_for_every_ratio():
    table = methods.seconds_table(RunConfig(model="resnet-8-4", dataset="digits", batch_size=10))
    assert len(table) == len(RATIOS) - 1
    assert (table.seconds.astype(float) >= 0).all()
