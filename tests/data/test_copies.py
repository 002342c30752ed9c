"""Which copy of CIFAR is at hand: known by its fingerprint, remembered until its files change."""

import hashlib

import pytest
import torch
from cifar_copies import fingerprint, refusal, rewritten
from conftest import write_parquet

from randprune_core import paths
from randprune_core.data import copies, files, loading
from randprune_core.data.copies import available_variant
from randprune_core.data.loading import load_dataset


@pytest.mark.parametrize("damaged", ["train", "test"])
def test_a_known_copy_with_one_damaged_file_is_refused(known_copy, damaged):
    key = ("cifar10", damaged)
    labels = known_copy.labels[key].copy()
    labels[0] = 5
    write_parquet(known_copy.path[key], known_copy.encoded[key], labels, "label")
    message = refusal()
    assert f"its {damaged} file is damaged" in message and "'jpeg75'" in message


def test_the_fingerprint_is_over_the_encoded_bytes_and_not_over_pixels(cifar_folder):
    with pytest.warns(UserWarning, match="no known copy"):
        first = load_dataset("cifar10")
    loading._load.cache_clear()
    prints = [fingerprint(cifar_folder, "cifar10", split) for split in ("train", "test")]
    assert first.fingerprint == hashlib.sha256("".join(prints).encode()).hexdigest()
    images = list(cifar_folder.encoded["cifar10", "train"])
    images[0] += b"trailing bytes change no pixel"
    rewritten(cifar_folder, images=images)
    with pytest.warns(UserWarning, match="no known copy"):
        second = load_dataset("cifar10")
    assert torch.equal(first.train_images, second.train_images)
    assert first.fingerprint != second.fingerprint and first.variant != second.variant


def test_an_unknown_copy_is_used_with_a_warning_and_named_by_its_fingerprint(cifar_folder):
    with pytest.warns(UserWarning, match="no known copy") as caught:
        dataset = load_dataset("cifar10")
    assert dataset.variant == dataset.fingerprint[:8] and len(dataset.fingerprint) == 64
    assert dataset.variant in str(caught[0].message) and str(cifar_folder.root) in str(
        caught[0].message
    )
    with pytest.warns(UserWarning, match="no known copy"):
        assert available_variant("cifar10") == dataset.variant


def test_available_variant_decodes_nothing(known_copy, monkeypatch):
    monkeypatch.setattr(files, "_decode_pictures", None)
    assert available_variant("cifar10") == available_variant("cifar100") == "jpeg75"
    assert available_variant("digits") == "original"


def test_files_that_were_identified_are_not_read_again_until_they_change(known_copy, monkeypatch):
    identify = copies.identify
    monkeypatch.setattr(copies, "identify", None)
    with pytest.raises(TypeError):  # nothing is remembered yet
        available_variant("cifar10")
    monkeypatch.setattr(copies, "identify", identify)
    assert available_variant("cifar10") == "jpeg75"
    monkeypatch.setattr(copies, "identify", None)
    assert available_variant("cifar10") == "jpeg75"
    known_copy.path["cifar10", "test"].touch()
    with pytest.raises(TypeError):
        available_variant("cifar10")


@pytest.mark.parametrize("content", ["", "[1, 2]", "{"])
def test_a_damaged_memory_of_identified_files_is_made_anew(known_copy, content):
    paths.identified_path().write_text(content)
    assert available_variant("cifar10") == "jpeg75"
    assert "jpeg75" in paths.identified_path().read_text()


def test_files_are_identified_where_the_memory_cannot_be_written(known_copy, monkeypatch, tmp_path):
    (tmp_path / "a file").touch()
    monkeypatch.setattr(paths, "identified_path", lambda: tmp_path / "a file" / "data.json")
    assert available_variant("cifar10") == "jpeg75"


def test_the_real_copy_is_recognised(real_data):
    dataset = load_dataset("cifar10", available_variant("cifar10"))
    assert dataset.train_images.shape == (50_000, 3, 32, 32)
    assert dataset.train_labels.bincount().tolist() == [5_000] * 10
    assert dataset.test_labels.bincount().tolist() == [1_000] * 10
    assert (dataset.source, dataset.variant) in {("parquet", "jpeg75"), ("torchvision", "original")}
