"""Data sets as uint8 tensors with their fingerprints, one copy for all runs of a process.

An image tensor is (n, 3, side, side) uint8, channels last in memory; a label tensor is (n,) int64.
Nothing here normalises or shuffles: what a network sees is made batch by batch (`augment`). A
smaller `image_size` is made once, on loading, by `downsample`.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import registry
from ..config import check_image_size
from ..datasets import DATASETS, registered
from ..paths import data_root
from .copies import identify
from .files import DataError, Encoded, give_memory_back


def downsample(images: Tensor, side: int) -> Tensor:
    """Images of fewer pixels: the mean of each whole block, rounded half up, in integers.

    `images` (n, 3, s, s) uint8, s a multiple of `side`; returns (n, 3, side, side) uint8 with
    channels last in memory, the same on every machine. That averaging keeps what comparisons of
    training methods rest on: Chrabaszcz, Loshchilov and Hutter 2017, arXiv 1707.08819.
    """
    factor, left = divmod(images.shape[-1], side)
    if left or factor < 1:
        raise ValueError(f"images of {images.shape[-1]} pixels a side have no blocks for {side}")
    rows = images.permute(0, 2, 3, 1).contiguous().numpy()
    n, area = len(rows), factor**2
    blocks = rows.reshape(n, side, factor, side, factor, 3).sum(axis=(2, 4), dtype=np.uint32)
    means = ((blocks + area // 2) // area).astype(np.uint8)
    return torch.from_numpy(means).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Dataset:
    """A data set in memory. `fingerprint` is 64 hex digits; `source` says which reader found it."""

    name: str
    variant: str
    source: str
    fingerprint: str
    num_classes: int
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def to(self, device) -> "Dataset":
        """The same data set with its tensors on a device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("train_images", "train_labels", "test_images", "test_labels")
        }
        return replace(self, **moved)

    def split(self, train_images: int) -> tuple[slice, slice]:
        """Slices of the training file for training (the first images) and validation (the last).

        A tenth of the file is kept for validation; a run on fewer images validates on a ninth of
        their number, so that the proportion stays 9 to 1. Raises `DataError` when `train_images`
        is more than there is.
        """
        total = len(self.train_labels)
        reserved = total // 10
        if not 1 <= train_images <= total - reserved:
            raise DataError(
                f"train_images {train_images}: {self.name} has {total - reserved} "
                f"({total} less {reserved} for validation); give 1 to {total - reserved}"
            )
        validation = min(reserved, max(train_images // 9, 1))
        return slice(0, train_images), slice(total - validation, total)


def load_dataset(name: str, variant: str | None = None, image_size: int | None = None) -> Dataset:
    """Load a data set from `data_root()`; a second call in one process answers from memory.

    `variant` (optional) is the copy that is expected; `image_size` the pixels a side, None for the
    images as they are (`config.check_image_size` says what is allowed). Raises `DataError` when
    the data is missing (saying where it was looked for), damaged, or another copy than expected.
    """
    if registry.find("dataset", name) is not None:
        dataset = _load_registered(name)
    else:
        dataset = _load(name, _root(name), _smaller(name, image_size))
    if variant is not None and dataset.variant != variant:
        if dataset.source == "registered":
            raise DataError(
                f"{name}: its function gives data of variant {dataset.variant!r}, but {variant!r} "
                "was asked for: make the RunConfig anew"
            )
        place = _root(name) or "scikit-learn"
        raise DataError(
            f"{name}: the copy in {place} is variant {dataset.variant!r}, but {variant!r} "
            "was asked for; set RANDPRUNE_DATA to that copy, or ask for the one that is there"
        )
    return dataset


def load_ood_images(name: str, image_size: int | None = None) -> dict[str, Tensor]:
    """The out-of-distribution images of a training set: {set name: (n, 3, side, side) uint8}.

    They are reduced to `image_size` as those of the training set are.
    """
    size = _smaller(name, image_size)
    return {
        other: _photo_patches() if other == "photos" else _ood_images(other, size)
        for other in DATASETS[name].ood_sets
    }


def _ood_images(name: str, size: int | None) -> Tensor:
    if registry.find("dataset", name) is None:
        return _test_images(name, _root(name), size)
    images = load_dataset(name).test_images
    if images.shape[-1] != size:
        raise DataError(
            f"ood_sets: {name} has {images.shape[-1]} pixels a side, and the training set {size}: "
            "give both one size"
        )
    return images


def _root(name: str) -> str:
    """The folder that holds a data set; none for `digits`, of scikit-learn, and registered ones."""
    own = name == "digits" or registry.find("dataset", name) is not None
    return "" if own else str(data_root())


def _smaller(name: str, image_size: int | None) -> int | None:
    try:
        return check_image_size(name, image_size)
    except ValueError as error:
        raise DataError(str(error)) from None


@lru_cache(maxsize=4)
def _load(name: str, root: str, side: int | None) -> Dataset:
    if name == "digits":
        return _load_digits()
    dataset = _load_cifar(name, side)
    give_memory_back()
    return dataset


def _load_registered(name: str) -> Dataset:
    facts, (train, train_labels, test, test_labels) = registered(name)
    parts = facts.classes, train, train_labels, test, test_labels
    return Dataset(name, facts.fingerprint[:8], "registered", facts.fingerprint, *parts)


def _load_cifar(name: str, side: int | None) -> Dataset:
    found = identify(name)
    encoded = found.encoded
    train, test = (_read_split(name, encoded, split, side) for split in ("train", "test"))
    return Dataset(
        name,
        found.variant,
        encoded.source,
        found.fingerprint,
        DATASETS[name].classes,
        *train,
        *test,
    )


@lru_cache(maxsize=4)
def _test_images(name: str, root: str, side: int | None) -> Tensor:
    """The test images alone: CIFAR's training images are 150 MB and seconds of decoding."""
    images, _ = _read_split(name, identify(name).encoded, "test", side)
    give_memory_back()
    return images


def _read_split(name: str, encoded: Encoded, split: str, side: int | None) -> tuple[Tensor, Tensor]:
    """Images, channels last in memory, and labels of a split; raises `DataError`."""
    pixels = encoded.decode(encoded.images[split], f"{name} {split}")
    labels = torch.from_numpy(encoded.labels[split])
    classes = DATASETS[name].classes
    if len(labels) == 0 or not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"{name} {split}: labels must be in [0, {classes}), one an image; "
            f"found {len(labels)} labels outside or none: the data is damaged"
        )
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return images if side is None else downsample(images, side), labels


def _of_scikit_learn(name: str) -> Path:
    """A file that comes with scikit-learn, which takes a second to import."""
    return Path(find_spec("sklearn").origin).parent / "datasets" / name


def _load_digits() -> Dataset:
    """scikit-learn's 8 x 8 digits, doubled to 16 x 16 and three equal channels."""
    rows = np.loadtxt(_of_scikit_learn("data/digits.csv.gz"), delimiter=",")
    pixels = np.round(rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = torch.from_numpy(pixels.repeat(2, axis=1).repeat(2, axis=2))
    images = images[:, None].expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(rows[:, -1].astype(np.int64))
    train = 1_437  # four fifths; the last fifth was written by other people and tests
    fingerprint = hashlib.sha256(pixels.tobytes() + labels.numpy().tobytes()).hexdigest()
    return Dataset(
        "digits",
        "original",
        "scikit-learn",
        fingerprint,
        10,
        images[:train],
        labels[:train],
        images[train:],
        labels[train:],
    )


@lru_cache(maxsize=1)
def _photo_patches() -> Tensor:
    """400 patches of 16 x 16 pixels, evenly spaced over scikit-learn's two sample photographs."""
    patches = []
    for name in ("china", "flower"):
        with Image.open(_of_scikit_learn(f"images/{name}.jpg")) as file:
            photo = np.asarray(file)
        height, width = photo.shape[:2]
        for top in np.linspace(0, height - 16, 10).astype(int):
            for left in np.linspace(0, width - 16, 20).astype(int):
                patches.append(photo[top : top + 16, left : left + 16])
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous()


@lru_cache(maxsize=2)
def dataset_on(
    name: str, variant: str, device: torch.device, image_size: int | None = None
) -> Dataset:
    """The data set on a device, one copy for all runs of the process."""
    dataset = load_dataset(name, variant, image_size).to(device)
    if device.type == "cuda":  # it is read on other streams
        torch.cuda.synchronize(device)
    return dataset
