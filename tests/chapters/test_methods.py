"""What a criterion costs."""

import pytest

from randprune_core import build_model
from randprune_core.chapters import methods
from randprune_core.config import RunConfig
from randprune_core.metrics.cost import layer_macs


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
    config = RunConfig(model="resnet-8-4", epochs=2, train_images=225, batch_size=50)
    found = methods.costs(config)
    assert found.steps[0] == 1 and found.share[0] == pytest.approx(1 / 9)
    assert found.criterion.tolist() == ["snip", "grasp"]
    assert found.share[1] == pytest.approx(found.steps[1] / 9)
