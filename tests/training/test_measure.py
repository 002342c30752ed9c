"""What a record says of the trained network."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from randprune_core.config import RunConfig
from randprune_core.data import loading
from randprune_core.models import build_model
from randprune_core.pruning.layers import maskable_weights
from randprune_core.training.measure import folded


@pytest.fixture(scope="module")
def digits():
    return loading.load_dataset("digits")


def test_a_record_says_what_was_kept_and_on_how_many_images_it_was_measured(trained):
    record = trained.record
    counts = {layer["name"]: (layer["kept"], layer["total"]) for layer in record["layers"]}
    names = list(maskable_weights(build_model("resnet-8")))
    assert list(counts) == names
    kept, total = (sum(column) for column in zip(*counts.values(), strict=True))
    assert total == record["cost"]["dense_weights"] and kept == record["cost"]["kept_weights"]
    assert abs(kept - 0.1 * total) <= len(names)
    test = record["test"]
    assert test["n"] == 360 == sum(row["count"] for row in test["bins"])
    assert set(test["fgsm"]) == {"1", "2", "4", "8"}
    assert set(test["pgd"]) == {"0.5", "1", "2", "8"}
    assert set(test["noise"]) == {"0.04", "0.08", "0.12"}
    attacks = [*test["fgsm"].values(), *test["pgd"].values(), *test["noise"].values()]
    assert {entry["n"] for entry in attacks} == {100}
    assert test["ood"]["photos"]["n"] == 400
    assert 1 <= test["best_validation"]["epoch"] <= 2
    assert record["provenance"]["data"] == {
        "source": "scikit-learn",
        "variant": "original",
        "fingerprint": loading.load_dataset("digits").fingerprint,
        "train": 200,
        "validation": 22,
        "test": 360,
        "ood": {"photos": 400},
    }


@pytest.mark.parametrize("name", ["resnet-8", "resnet-14-4", "vgg-11"])
def test_what_is_attacked_is_the_network_but_for_rounding(name):
    draw = torch.Generator().manual_seed(0)
    network = build_model(name, 10, seed=0).double()
    images = torch.rand(16, 3, 32, 32, generator=draw, dtype=torch.float64)
    network(images)  # so that the batch norms have seen something
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    found = folded(SimpleNamespace(model=network, config=RunConfig(model=name)))
    images = images[:4].requires_grad_(True)
    gradients = [
        torch.autograd.grad(each(images).logsumexp(1).sum(), images)[0]
        for each in (network.eval(), found)
    ]
    torch.testing.assert_close(found(images), network(images))
    torch.testing.assert_close(*gradients)
    assert not [each for each in found.modules() if isinstance(each, nn.BatchNorm2d)]
    assert all(torch.equal(kept[key], value) for key, value in network.state_dict().items())


def test_a_registered_network_is_attacked_as_it_is():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert folded(SimpleNamespace(model=network, config=SimpleNamespace(model="mine"))) is network
    assert not network.training
