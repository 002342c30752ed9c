"""CIFAR on disk: what is missing or damaged is named, and a download arrives whole."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
from cifar_copies import refusal, rewritten
from conftest import files_under, picture, write_parquet, write_torchvision

from randprune_core.data import loading, torchvision_files
from randprune_core.data.copies import available_variant
from randprune_core.data.files import DataError
from randprune_core.data.loading import load_dataset


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_data_says_where_it_looked_and_what_to_do(tmp_path, monkeypatch, name):
    for folder in ("empty", "not there"):
        root = tmp_path / folder
        monkeypatch.setenv("RANDPRUNE_DATA", str(root))
        if folder == "empty":
            root.mkdir()
        message = refusal(name)
        assert str(root) in message and "RANDPRUNE_DATA" in message
        assert f"{name}/**/train-*.parquet" in message
        with pytest.raises(DataError, match="was not found"):
            available_variant(name, download=False)
        assert files_under(tmp_path) == []


@pytest.mark.parametrize("name", ["imagenet", "mnist"])
def test_an_unknown_data_set_is_named_with_the_known_ones(name):
    with pytest.raises(DataError, match=f"'{name}'.*digits, cifar10, cifar100"):
        load_dataset(name)


def test_a_data_error_is_a_value_error():
    assert issubclass(DataError, ValueError)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.999])
def test_a_truncated_parquet_file_is_named(cifar_folder, split, left):
    path = cifar_folder.path["cifar10", split]
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    message = refusal()
    assert str(path) in message and "fetch it again" in message


@pytest.mark.parametrize(("there", "lacking"), [("train", "test"), ("test", "train")])
def test_a_missing_split_is_named(cifar_folder, there, lacking):
    cifar_folder.path["cifar10", lacking].unlink()
    message = refusal()
    assert f"a {there} file but no {lacking}-*.parquet" in message


def test_a_parquet_file_with_other_columns_is_named(cifar_folder):
    path = cifar_folder.path["cifar10", "train"]
    write_parquet(path, cifar_folder.encoded["cifar10", "train"], [0] * 200, "fine_label")
    message = refusal()
    assert str(path) in message and "img and label" in message


def test_a_parquet_file_whose_pictures_are_no_structs_is_named(cifar_folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = cifar_folder.path["cifar10", "test"]
    pq.write_table(pa.table({"img": [b"x", b"y"], "label": [0, 1]}), path)
    assert str(path) in refusal()
    pq.write_table(pa.table({"img": [{"bytes": b"x"}], "label": ["cat"]}), path)
    assert str(path) in refusal()


def test_a_picture_without_bytes_is_refused(cifar_folder):
    path = cifar_folder.path["cifar10", "test"]
    write_parquet(path, [*cifar_folder.encoded["cifar10", "test"][:-1], None], [0] * 50, "label")
    message = refusal()
    assert str(path) in message and "no bytes" in message


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_damaged_picture_is_named_by_its_position(cifar_folder, form):
    images = cifar_folder.encoded["cifar10", "train"]
    whole = picture(cifar_folder.pixels["cifar10", "train"][7], form)
    rewritten(cifar_folder, images=[*images[:7], whole[: len(whole) // 2], *images[8:]])
    assert "cifar10 train: image 7 is damaged" in refusal()


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
@pytest.mark.parametrize("encoded", [b"", b"not a picture", b"GIF89a" + b"\0" * 20])
def test_bytes_that_are_no_png_or_jpeg_are_refused(cifar_folder, encoded):
    images = cifar_folder.encoded["cifar10", "train"]
    rewritten(cifar_folder, images=[encoded, *images[1:]])
    assert "cifar10 train: image 0 is damaged" in refusal()


@pytest.mark.filterwarnings("ignore:cifar10 in .* is no known copy")
def test_a_picture_of_another_size_is_refused(cifar_folder):
    images = cifar_folder.encoded["cifar10", "train"]
    small = picture(np.zeros((16, 32, 3), np.uint8))
    rewritten(cifar_folder, images=[*images[:-1], small])
    assert "image 199 is damaged (its size is (32, 16), not (32, 32))" in refusal()


@pytest.fixture
def trusting(monkeypatch):
    """torchvision checks that its files are there, but not their MD5 sums."""
    from torchvision.datasets import cifar

    monkeypatch.setattr(cifar, "check_integrity", lambda path, md5=None: Path(path).is_file())


def same_pixels(dataset, made) -> bool:
    expected = made.pixels["cifar10", "train"].transpose(0, 3, 1, 2)
    return np.array_equal(dataset.train_images.numpy(), expected)


@pytest.mark.parametrize("damage", ["wrong sum", "missing", "truncated"])
def test_damaged_torchvision_files_are_refused(cifar_folder, damage, request):
    folder = write_torchvision(cifar_folder, cifar_folder.root)
    if damage != "wrong sum":  # which is what made-up files have without `trusting`
        request.getfixturevalue("trusting")
        batch = folder / "data_batch_3"
        batch.write_bytes(batch.read_bytes()[:1_000])
        if damage == "missing":
            batch.unlink()
    message = refusal()
    assert str(folder) in message and "damaged or incomplete" in message


def test_a_download_arrives_whole_and_is_used_from_then_on(
    cifar_folder, trusting, tmp_path, monkeypatch
):
    from torchvision.datasets import cifar

    root = tmp_path / "cache" / "randprune"
    monkeypatch.setenv("RANDPRUNE_DATA", str(root))
    calls = []

    def fetch(url, folder, *, filename, md5):
        calls.append(folder)
        write_torchvision(cifar_folder, Path(folder))

    monkeypatch.setattr(cifar, "download_and_extract_archive", fetch)
    dataset = load_dataset("cifar10")
    assert (dataset.source, dataset.variant) == ("torchvision", "original")
    assert same_pixels(dataset, cifar_folder)
    assert {path.split("/")[0] for path in files_under(root)} == {"cifar-10-batches-py"}
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]
    assert str(root) not in calls
    loading._load.cache_clear()
    monkeypatch.setattr(cifar, "download_and_extract_archive", None)
    assert same_pixels(load_dataset("cifar10"), cifar_folder)


@pytest.mark.parametrize("error", [OSError("connection reset"), None])
def test_a_download_that_breaks_off_leaves_nothing_behind(
    cifar_folder, tmp_path, monkeypatch, error
):
    from torchvision.datasets import cifar

    root = tmp_path / "cache"
    root.mkdir()
    monkeypatch.setenv("RANDPRUNE_DATA", str(root))

    def fetch(url, scratch, *, filename, md5):
        folder = Path(scratch) / "cifar-10-batches-py"
        folder.mkdir()
        (folder / "data_batch_1").write_bytes(b"half a fi")
        if error:
            raise error  # else the sums are found to be wrong

    monkeypatch.setattr(cifar, "download_and_extract_archive", fetch)
    message = refusal()
    assert "could not be downloaded" in message and str(root) in message
    assert list(root.iterdir()) == []


def test_a_disk_that_is_full_during_a_download_is_named(tmp_path, monkeypatch):
    from torchvision.datasets import cifar

    def fetch(url, scratch, *, filename, md5):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cifar, "download_and_extract_archive", fetch)
    monkeypatch.setenv("RANDPRUNE_DATA", str(tmp_path / "cache"))
    assert re.search("No space left on device: '.*randprune-scratch-", refusal())


def test_the_first_of_two_downloads_wins(cifar_folder, tmp_path):
    root = tmp_path / "cache"
    first = write_torchvision(cifar_folder, tmp_path / "first")
    (first / "first").touch()
    second = write_torchvision(cifar_folder, tmp_path / "second")
    torchvision_files._move_in(first, root)
    torchvision_files._move_in(second, root)
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]
    assert (root / "cifar-10-batches-py" / "first").exists()
