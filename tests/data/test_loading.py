"""Data sets as tensors: pixel for pixel, split 9 to 1, reduced by whole blocks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cifar_copies import refusal
from conftest import write_parquet, write_torchvision

from randprune_core.data import loading
from randprune_core.data.copies import available_variant
from randprune_core.data.files import DataError
from randprune_core.data.loading import Dataset, downsample, load_dataset, load_ood_images
from randprune_core.datasets import DATASETS, padding


def rewritten(made, images=None, labels=None) -> None:
    key = ("cifar10", "train")
    made.encoded[key] = made.encoded[key] if images is None else images
    made.labels[key] = made.labels[key] if labels is None else labels
    write_parquet(made.path[key], made.encoded[key], made.labels[key], "label")


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
@pytest.mark.parametrize("label", [10, -1])
def test_a_label_outside_the_classes_is_refused(cifar_folder, label):
    labels = cifar_folder.labels["cifar10", "train"].copy()
    labels[3] = label
    rewritten(cifar_folder, labels=labels)
    message = refusal()
    assert "cifar10 train" in message and "[0, 10)" in message


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
def test_a_split_without_images_is_refused(cifar_folder):
    rewritten(cifar_folder, images=[], labels=[])
    assert "cifar10 train" in refusal()


def test_another_copy_than_the_one_asked_for_is_refused(known_copy):
    message = refusal(variant="original")
    assert "'jpeg75'" in message and "'original'" in message and str(known_copy.root) in message


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_parquet_files_are_read_pixel_for_pixel(known_copy, name):
    dataset = load_dataset(name, "jpeg75")
    assert (dataset.name, dataset.source, dataset.variant) == (name, "parquet", "jpeg75")
    assert dataset.num_classes == DATASETS[name].classes
    for split in ("train", "test"):
        images = getattr(dataset, f"{split}_images")
        assert images.dtype == torch.uint8
        assert images.is_contiguous(memory_format=torch.channels_last)
        expected = known_copy.pixels[name, split].transpose(0, 3, 1, 2)
        assert np.array_equal(images.numpy(), expected)
        labels = getattr(dataset, f"{split}_labels")
        assert labels.dtype == torch.int64
        assert labels.tolist() == known_copy.labels[name, split].tolist()


def test_a_split_may_come_in_several_files(known_copy):
    key = ("cifar10", "train")
    images, labels = known_copy.encoded[key], known_copy.labels[key]
    known_copy.path[key].unlink()
    for part, place in enumerate((slice(0, 120), slice(120, 200))):
        path = known_copy.path[key].with_name(f"train-0000{part}-of-00002.parquet")
        write_parquet(path, images[place], labels[place], "label")
    assert load_dataset("cifar10").variant == "jpeg75"


def test_a_second_load_answers_from_memory(known_copy):
    first = load_dataset("cifar10")
    shutil.rmtree(known_copy.root)
    assert load_dataset("cifar10") is first


@pytest.fixture
def trusting(monkeypatch):
    """torchvision checks that its files are there, but not their MD5 sums."""
    from torchvision.datasets import cifar

    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())


def same_pixels(dataset, made) -> bool:
    expected = made.pixels["cifar10", "train"].transpose(0, 3, 1, 2)
    return np.array_equal(dataset.train_images.numpy(), expected)


def test_torchvisions_files_are_the_original_and_come_before_parquet(cifar_folder, trusting):
    write_torchvision(cifar_folder, cifar_folder.root)
    dataset = load_dataset("cifar10")
    assert (dataset.source, dataset.variant) == ("torchvision", "original")
    assert same_pixels(dataset, cifar_folder)
    assert dataset.test_labels.tolist() == cifar_folder.labels["cifar10", "test"].tolist()
    assert available_variant("cifar10") == "original"


def dataset_of(total: int) -> Dataset:
    nothing = torch.zeros(total)
    return Dataset("cifar10", "original", "", "", 10, nothing, nothing, nothing, nothing)


@pytest.mark.parametrize(
    ("total", "train_images", "validation"),
    [
        (50_000, 45_000, 5_000),
        (50_000, 10_000, 1_111),
        (50_000, 44_999, 4_999),
        (50_000, 9, 1),
        (50_000, 1, 1),
        (1_437, 1_294, 143),
        (1_437, 1_000, 111),
    ],
)
def test_validation_is_the_end_of_the_file_in_the_proportion_9_to_1(
    total, train_images, validation
):
    train, held_out = dataset_of(total).split(train_images)
    assert (train.start, train.stop) == (0, train_images)
    assert (held_out.start, held_out.stop) == (total - validation, total)
    assert train.stop <= held_out.start


@pytest.mark.parametrize("train_images", [45_001, 50_000, 0, -1])
def test_more_training_images_than_the_file_leaves_are_refused(train_images):
    with pytest.raises(DataError, match=rf"train_images {train_images}: .*45000.*give 1 to 45000"):
        dataset_of(50_000).split(train_images)


def test_digits_are_scikit_learns_doubled_in_size():
    from sklearn.datasets import load_digits

    dataset = load_dataset("digits", "original")
    assert dataset.train_images.shape == (1_437, 3, 16, 16)
    assert dataset.test_images.shape == (360, 3, 16, 16)
    assert dataset.num_classes == 10 and dataset.source == "scikit-learn"
    raw = load_digits()
    images = torch.cat([dataset.train_images, dataset.test_images])
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])
    for row in (0, 1):
        for column in (0, 1):
            corner = images[:, 0, row::2, column::2].double().numpy()
            assert np.abs(corner * 16 / 255 - raw.images).max() < 0.04
    labels = torch.cat([dataset.train_labels, dataset.test_labels])
    assert labels.tolist() == raw.target.tolist()


def test_photo_patches_are_400_distinct_pictures_of_the_size_of_digits():
    (name, patches), *others = load_ood_images("digits").items()
    assert (name, others) == ("photos", [])
    assert patches.shape == (400, 3, 16, 16) and patches.dtype == torch.uint8
    assert len(patches.flatten(1).unique(dim=0)) == 400


def test_photo_patches_begin_and_end_in_the_corners_of_scikit_learns_photographs():
    from sklearn.datasets import load_sample_images

    patches = load_ood_images("digits")["photos"].permute(0, 2, 3, 1).numpy()
    for number, photo in enumerate(load_sample_images().images):
        first, last = patches[200 * number], patches[200 * number + 199]
        assert np.array_equal(first, photo[:16, :16]) and np.array_equal(last, photo[-16:, -16:])


def test_cifar_sets_are_each_others_ood_set(known_copy):
    for name, other in (("cifar10", "cifar100"), ("cifar100", "cifar10")):
        images = load_ood_images(name)
        assert list(images) == [other]
        assert torch.equal(images[other], load_dataset(other).test_images)


def test_of_an_ood_set_the_training_images_are_not_decoded(known_copy, monkeypatch):
    decoded = []
    read = loading._read_split
    monkeypatch.setattr(
        loading,
        "_read_split",
        lambda name, encoded, split, side: (
            decoded.append(split) or read(name, encoded, split, side)
        ),
    )
    load_ood_images("cifar10")
    assert decoded == ["test"]


def test_a_missing_ood_set_is_named(known_copy):
    shutil.rmtree(known_copy.root / "cifar100")
    with pytest.raises(DataError, match="cifar100 was not found"):
        load_ood_images("cifar10")


@pytest.mark.parametrize("side", [8, 16, 32])
def test_a_smaller_image_is_the_mean_of_its_blocks_rounded_half_up(side):
    images, factor = noise(5, 32), 32 // side
    small = downsample(images, side)
    assert small.shape == (5, 3, side, side) and small.dtype == torch.uint8
    assert small.is_contiguous(memory_format=torch.channels_last)
    means = torch.nn.functional.avg_pool2d(images.double(), factor)
    assert torch.equal(small, (means + 0.5).floor().to(torch.uint8))


def test_a_half_is_rounded_up_and_white_stays_white():
    block = torch.tensor([[0, 0], [1, 1]], dtype=torch.uint8).expand(1, 3, 2, 2)
    assert downsample(block, 1).flatten().tolist() == [1, 1, 1]
    assert downsample(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8), 8).unique().item() == 255


def test_a_side_that_does_not_divide_has_no_blocks():
    with pytest.raises(ValueError, match="32 pixels a side have no blocks for 12"):
        downsample(noise(1, 32), 12)


@pytest.mark.parametrize("side", [8, 16])
def test_training_test_and_ood_images_are_reduced_alike(known_copy, side):
    whole, small = load_dataset("cifar10"), load_dataset("cifar10", image_size=side)
    for part in ("train_images", "test_images"):
        assert torch.equal(getattr(small, part), downsample(getattr(whole, part), side))
    ood, out = load_ood_images("cifar10", side), load_ood_images("cifar10")
    assert torch.equal(ood["cifar100"], downsample(out["cifar100"], side))
    assert small.fingerprint == whole.fingerprint
    assert torch.equal(small.train_labels, whole.train_labels)
    assert load_dataset("cifar10", image_size=32) is whole


@pytest.mark.parametrize("size", [0, 7, 12, 33, 64, -1, float("nan")])
def test_a_size_that_data_cannot_have_is_a_data_error(known_copy, size):
    assert f"image_size {size!r}" in refusal(image_size=size)
    with pytest.raises(DataError, match="image_size"):
        load_ood_images("cifar10", size)
    with pytest.raises(DataError, match="give 16 pixels"):
        load_dataset("digits", image_size=8)


def test_the_padding_shrinks_with_the_images():
    assert [padding("cifar10", side) for side in (None, 32, 16, 8)] == [4, 4, 2, 1]
    assert padding("digits") == padding("digits", 16) == 2


def noise(count: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def test_a_data_set_moves_to_a_device_with_all_its_tensors():
    moved = load_dataset("digits").to("meta")
    assert {moved.train_images.device.type, moved.test_labels.device.type} == {"meta"}
    assert moved.fingerprint == load_dataset("digits").fingerprint


def test_the_real_ood_images_are_recognised(real_data):
    assert available_variant("cifar100", download=False) in {"jpeg75", "original"}
    images = load_ood_images("cifar10")["cifar100"]
    assert len(images) >= 900 and images.shape[1:] == (3, 32, 32)
