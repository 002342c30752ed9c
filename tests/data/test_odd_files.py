"""Parquet files of other types: read where they hold the same bytes, else named in one line."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_parquet

from randprune_core.data import copies
from randprune_core.data.copies import identify
from randprune_core.data.files import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*no known copy")
KEY = ("cifar10", "train")


def write(made, images: pa.Array, labels: pa.Array) -> None:
    column = pa.StructArray.from_arrays([images], ["bytes"])
    pq.write_table(pa.table({"img": column, "label": labels}), made.path[KEY])


def good(made) -> tuple[pa.Array, pa.Array]:
    return pa.array(made.encoded[KEY], pa.binary()), pa.array(made.labels[KEY])


def refusal() -> str:
    with pytest.raises(DataError) as raised:
        identify("cifar10")
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


SAME = {
    "large_binary": (lambda images: images.cast(pa.large_binary()), None),
    "binary_view": (lambda images: pa.array(images.to_pylist(), pa.binary_view()), None),
    "dictionary of bytes": (lambda images: images.dictionary_encode(), None),
    "int8 labels": (None, lambda labels: labels.cast(pa.int8())),
    "uint64 labels": (None, lambda labels: labels.cast(pa.uint64())),
    "whole float labels": (None, lambda labels: labels.cast(pa.float64())),
    "dictionary of labels": (None, lambda labels: labels.dictionary_encode()),
}


@pytest.mark.parametrize("kind", SAME)
def test_other_types_of_the_same_bytes_and_labels_are_the_same_data(cifar_folder, kind, survived):
    images, labels = good(cifar_folder)
    expected = identify("cifar10").fingerprint
    change_images, change_labels = SAME[kind]
    images = change_images(images) if change_images else images
    labels = change_labels(labels) if change_labels else labels
    write(cifar_folder, images, labels)
    assert identify("cifar10").fingerprint == expected
    survived()


def texts(made, kind) -> pa.Array:
    return pa.array(["not a picture"] * len(made.encoded[KEY]), kind)


IMAGES = {
    "numbers": lambda made: pa.array(range(200)),
    "lists of bytes": lambda made: pa.array([list(image) for image in made.encoded[KEY]]),
    "lists of pictures": lambda made: pa.array([[image] for image in made.encoded[KEY]]),
    "structs": lambda made: pa.array([{"a": image} for image in made.encoded[KEY]]),
    "nulls": lambda made: pa.nulls(200),
    "one null": lambda made: pa.array([None, *made.encoded[KEY][1:]], pa.binary()),
    "times": lambda made: pa.array(range(200), pa.timestamp("s")),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_another_type_are_one_line(cifar_folder, kind, survived):
    write(cifar_folder, IMAGES[kind](cifar_folder), good(cifar_folder)[1])
    assert str(cifar_folder.path[KEY]) in refusal()
    survived()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_texts_in_the_place_of_images_are_no_pictures(cifar_folder, kind, survived):
    from randprune_core.data.loading import load_dataset

    write(cifar_folder, texts(cifar_folder, kind), good(cifar_folder)[1])
    with pytest.raises(DataError, match="cifar10 train") as raised:
        load_dataset("cifar10")
    assert len(str(raised.value).splitlines()) == 1
    survived()


LABELS = {
    "fractional": [0.5] * 200,
    "one fractional": [1.0] * 199 + [1.5],
    "nan": [float("nan")] * 200,
    "infinite": [float("inf")] * 200,
    "huge": pa.array([2**64 - 1] * 200, pa.uint64()),
    "one null": [None] + [1] * 199,
    "all null": [None] * 200,
    "null floats": pa.array([None] + [1.0] * 199),
    "texts": ["1"] * 200,
    "booleans": [True] * 200,
    "lists": [[1]] * 200,
    "bytes": [b"1"] * 200,
    "dictionary of texts": pa.array(["1"] * 200).dictionary_encode(),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_are_no_whole_numbers_are_one_line(cifar_folder, kind, survived):
    labels = LABELS[kind]
    labels = labels if isinstance(labels, pa.Array) else pa.array(labels)
    write(cifar_folder, good(cifar_folder)[0], labels)
    message = refusal()
    assert str(cifar_folder.path[KEY]) in message and "label" in message
    survived()


def swap(made, splits: tuple[str, str]) -> None:
    parts = [(made.encoded["cifar10", s], made.labels["cifar10", s]) for s in splits]
    for split, (images, labels) in zip(("train", "test"), parts, strict=True):
        write_parquet(made.path["cifar10", split], images, labels, "label")


@pytest.mark.parametrize("splits", [("test", "train"), ("test", "test"), ("train", "train")])
def test_swapped_files_of_a_known_copy_are_one_line(cifar_folder, monkeypatch, splits, survived):
    encoded = identify("cifar10").encoded
    prints = tuple(
        copies._fingerprint(encoded.images[s], encoded.labels[s]) for s in encoded.labels
    )
    monkeypatch.setitem(copies.KNOWN_COPIES["cifar10"], "jpeg75", prints)
    swap(cifar_folder, splits)
    assert "file of the known copy 'jpeg75'" in refusal()
    survived()


def test_equal_files_and_swapped_numbers_of_an_unknown_copy_are_one_line(cifar_folder, survived):
    swap(cifar_folder, ("test", "test"))
    assert "swapped or the same" in refusal()
    for split, count in (("train", 10_000), ("test", 50_000)):
        labels = np.arange(count) % 10
        write_parquet(cifar_folder.path["cifar10", split], [b"x"] * count, labels, "label")
    assert "its train file has 10,000 images and its test file 50,000" in refusal()
    survived(2)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_what_is_no_file_is_one_line(cifar_folder, make, survived):
    path = cifar_folder.path[KEY]
    path.unlink()
    make(path)
    assert str(path) in refusal()
    with pytest.raises(DataError):
        copies.available_variant("cifar10")
    survived()
