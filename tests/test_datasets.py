"""Data sets of one's own: what is known of them, what of their tensors is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from randprune_core import datasets, registry
from randprune_core.config import RunConfig, run_id
from randprune_core.data.copies import available_variant
from randprune_core.data.files import DataError
from randprune_core.data.loading import load_dataset, load_ood_images
from randprune_core.models import with_normalization

pytestmark = pytest.mark.usefixtures("registering")
GIVEN = {}


def given():
    return GIVEN["parts"]


def pictures(n, side=12, seed=0):
    return torch.randint(0, 256, (n, 3, side, side), generator=torch.Generator().manual_seed(seed))


def parts(train=60, test=20, classes=4, side=12, seed=0):
    images = pictures(train + test, side, seed).byte()
    labels = torch.arange(train + test) % classes
    return images[:train], labels[:train], images[train:], labels[train:]


def register(content, name="own", **options):
    GIVEN["parts"] = content
    datasets.register(name, given, **options)


def test_all_that_is_known_follows_from_the_tensors():
    content = parts()
    register(content, mirrored=True)
    facts = datasets.DATASETS["own"]
    pixels = content[0].double().transpose(0, 1).flatten(1) / 255
    assert facts.mean == pytest.approx(pixels.mean(1).tolist(), abs=1e-4)
    assert facts.std == pytest.approx(pixels.std(1, correction=0).tolist(), abs=1e-4)
    assert (facts.classes, facts.side, facts.train_images, facts.label) == (4, 12, 54, "own")
    assert (facts.padding, facts.mirrored, facts.ood_sets) == (1, True, ())
    dataset = load_dataset("own", facts.fingerprint[:8])
    assert torch.equal(dataset.train_images, content[0]) and dataset.num_classes == 4
    assert torch.equal(dataset.test_labels, content[3]) and dataset.source == "registered"
    wrapped = with_normalization(torch.nn.Conv2d(3, 2, 1), "own")
    assert wrapped.mean.flatten().tolist() == pytest.approx(list(facts.mean))


def test_a_config_takes_copy_size_and_number_of_images_from_the_data():
    register(parts())
    config = RunConfig(dataset="own", model="resnet-8")
    assert config.variant == available_variant("own") == datasets.DATASETS["own"].fingerprint[:8]
    assert (config.image_size, config.train_images) == (12, 54)
    assert run_id(config) == run_id(dataclasses.replace(config))
    assert RunConfig(dataset="own", train_images=20).train_images == 20
    for wrong in ({"image_size": 16}, {"variant": "0" * 8}):
        with pytest.raises(ValueError, match="own"):
            RunConfig(dataset="own", **wrong)


def test_other_data_is_another_run_and_is_not_found_under_the_old_one():
    register(parts())
    config = RunConfig(dataset="own", model="resnet-8")
    datasets.unregister("own")
    register(parts(seed=1))
    other = RunConfig(dataset="own", model="resnet-8")
    assert other.code == config.code and other.variant != config.variant
    assert run_id(other) != run_id(config)
    with pytest.raises(DataError, match="make the RunConfig anew"):
        load_dataset("own", config.variant)


def test_the_options_of_a_data_set_are_part_of_its_code():
    codes = set()
    for options in ({}, {"mirrored": True}, {"padding": 3}, {"padding": 2}):
        register(parts(), **options)
        codes.add(RunConfig(dataset="own").code)
        datasets.unregister("own")
    assert len(codes) == 4


def test_a_registered_set_is_out_of_distribution_for_another_one_of_its_size():
    register(parts(seed=1), "far")
    assert registry.names("dataset") == ("far",)
    far = load_dataset("far").test_images
    GIVEN["parts"] = parts()
    datasets.register("own", lambda: parts(), ood_sets=["far"])
    config = RunConfig(dataset="own")
    images = load_ood_images("own", config.image_size)
    assert list(images) == ["far"] and torch.equal(images["far"], far)
    datasets.register("large", lambda: parts(side=16), ood_sets=["far"])
    with pytest.raises(DataError, match="ood_sets: far has 12 pixels a side"):
        load_ood_images("large", 16)


def test_arrays_of_numpy_do_as_well():
    content = parts()
    register(tuple(np.asarray(part) for part in content))
    first = datasets.DATASETS["own"]
    datasets.unregister("own")
    register(content)
    assert datasets.DATASETS["own"] == first


TRAIN, TRAIN_LABELS, TEST, TEST_LABELS = parts()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no four tensors"),
        ((TRAIN, TRAIN_LABELS), "no four tensors"),
        ((TRAIN, TRAIN_LABELS, TEST, "labels"), "no four tensors"),
        ((TRAIN.float(), TRAIN_LABELS, TEST, TEST_LABELS), "train: images are torch.float32"),
        ((TRAIN[:, :1], TRAIN_LABELS, TEST, TEST_LABELS), "expand"),
        ((TRAIN[0], TRAIN_LABELS, TEST, TEST_LABELS), "train: images"),
        ((TRAIN[:, :, :5], TRAIN_LABELS, TEST, TEST_LABELS), "squares"),
        ((TRAIN, TRAIN_LABELS, TEST[..., :8, :8], TEST_LABELS), "test: .* one size"),
        ((TRAIN, TRAIN_LABELS[:9], TEST, TEST_LABELS), "train: labels"),
        ((TRAIN, TRAIN_LABELS.float(), TEST, TEST_LABELS), "train: labels"),
        ((TRAIN, TRAIN_LABELS - 1, TEST, TEST_LABELS), "train: labels"),
        ((TRAIN, TRAIN_LABELS, TEST[:0], TEST_LABELS[:0]), "test: labels"),
        ((TRAIN, TRAIN_LABELS, TEST, TEST_LABELS + 9), "a test label is 12"),
    ],
)
def test_tensors_that_cannot_be_trained_on_are_refused_in_one_line(content, words):
    register(content)
    with pytest.raises(ValueError, match=words) as caught:
        RunConfig(dataset="own")
    assert "'own'" in str(caught.value) and "\n" not in str(caught.value)
