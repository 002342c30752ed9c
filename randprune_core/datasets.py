"""What is known of each data set, one row a data set: a new one begins with a row here.

Nothing here reads an image file: `data/` finds and loads them. `register` adds a data set of one's
own, from a function that gives its images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from . import registry

if TYPE_CHECKING:
    from torch import Tensor

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Facts:
    """One data set: its name in the text, its images, and how they are prepared for training."""

    label: str
    classes: int
    side: int  # pixels a side as a network gets them, unless it is given a size
    train_images: int  # of a full run; what is left of the training files validates
    mean: Triple  # of the training pixels per channel, in units of the [0, 1] range
    std: Triple
    padding: int  # pixels of reflection on each side before the random crop
    mirrored: bool  # whether an image may be mirrored without becoming something else
    ood_sets: tuple[str, ...]  # out-of-distribution sets; every run records all of them
    smaller_sides: tuple[int, ...] = ()  # sizes it can be reduced to, by means of whole blocks
    fingerprint: str = ""  # 64 hex digits, of a registered data set

    @property
    def normalization(self) -> tuple[Triple, Triple]:
        """Mean and standard deviation per channel."""
        return self.mean, self.std


class _Rows(dict):
    """The rows of the package by name; a registered data set gets its row when it is asked for."""

    def __missing__(self, name: str) -> Facts:
        return registered(name)[0]


DATASETS = _Rows()
DATASETS |= {
    "digits": Facts(
        label="digits",
        classes=10,
        side=16,
        train_images=1_294,
        mean=(0.305,) * 3,
        std=(0.376,) * 3,
        padding=2,
        mirrored=False,
        ood_sets=("photos",),
    ),
    "cifar10": Facts(
        label="CIFAR-10",
        classes=10,
        side=32,
        train_images=45_000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        padding=4,
        mirrored=True,
        ood_sets=("cifar100",),
        smaller_sides=(8, 16),
    ),
    "cifar100": Facts(
        label="CIFAR-100",
        classes=100,
        side=32,
        train_images=45_000,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        padding=4,
        mirrored=True,
        ood_sets=("cifar10",),
        smaller_sides=(8, 16),
    ),
    # A folder in its place may have other classes and images; `data.imagenet` crops and mirrors.
    "imagenet": Facts(
        label="ImageNet",
        classes=1_000,
        side=224,
        train_images=1_281_167,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        padding=0,
        mirrored=True,
        ood_sets=(),
    ),
}


def padding(dataset: str, image_size: int | None = None) -> int:
    """Pixels of reflection on each side before the random crop.

    Four of the 32 pixels of CIFAR, as in the authors' code, and as large a share of smaller images.
    """
    facts = DATASETS[dataset]
    return facts.padding * (image_size or facts.side) // facts.side


def register(
    name: str,
    load: Callable[[], tuple[Tensor, Tensor, Tensor, Tensor]],
    *,
    mirrored: bool = False,
    padding: int | None = None,
    ood_sets: Sequence[str] = (),
) -> None:
    """Make a data set of one's own known by a name, to `RunConfig` and all that takes one.

    `load()` gives (training images, training labels, test images, test labels), images (n, 3, side,
    side) uint8 and labels (n,) integers from 0; it is called on first use. A tenth of the training
    images, the last ones, validates. Before training an image is padded by `padding` pixels (an
    eighth of its side), cropped at random and, where `mirrored`, mirrored at random. `ood_sets` are
    registered data sets of the same side whose test images are out-of-distribution.

    The first 8 digits of the data's fingerprint are the run's `variant`, and the hash of the
    function's code (`registry.code_hash`) is its `code`: other data or other code is another run.
    Raises `ValueError` for a name that is taken, or no function.
    """
    options = {"mirrored": mirrored, "padding": padding, "ood_sets": tuple(ood_sets)}
    registry.add("dataset", name, load, built_in=name in DATASETS, **options)


def unregister(name: str) -> None:
    """Forget a registered data set; its records stay. Raises `ValueError` for any other name."""
    registry.remove("dataset", name)


def registered(name: str) -> tuple[Facts, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The row and the tensors of a registered data set; `KeyError` where there is none."""
    if (entry := registry.find("dataset", name)) is None:
        raise KeyError(name)
    return _loaded(entry)


@lru_cache(maxsize=4)
def _loaded(entry: registry.Entry) -> tuple[Facts, tuple[Tensor, Tensor, Tensor, Tensor]]:
    import torch

    given = entry.function()
    try:
        tensors = tuple(torch.as_tensor(part).cpu().contiguous() for part in given)
        train, train_labels, test, test_labels = tensors
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"dataset {entry.name!r} gives no four tensors: return training images, training "
            "labels, test images, test labels"
        ) from None
    for split, images, labels in (("train", train, train_labels), ("test", test, test_labels)):
        _check(f"dataset {entry.name!r}, {split}", images, labels, train.shape[1:])
    classes = max(2, int(train_labels.max()) + 1)
    if int(test_labels.max()) >= classes:
        raise ValueError(
            f"dataset {entry.name!r}: a test label is {int(test_labels.max())}, and the training "
            f"labels end at {classes - 1}"
        )
    digest = hashlib.sha256()
    for part in tensors:
        digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
        digest.update(part.numpy())
    # From counts of the 256 levels: a copy of all images as floats may not fit.
    counts = [torch.bincount(train[:, c].flatten(), minlength=256).double() for c in range(3)]
    levels = torch.arange(256, dtype=torch.float64) / 255
    means = [(count @ levels / count.sum()).item() for count in counts]
    pairs = zip(counts, means, strict=True)
    stds = [(count @ (levels - mean) ** 2 / count.sum()).sqrt().item() for count, mean in pairs]
    padding = entry.options["padding"]
    facts = Facts(
        label=entry.name,
        classes=classes,
        side=train.shape[-1],
        train_images=len(train) - len(train) // 10,
        mean=tuple(round(mean, 4) for mean in means),
        std=tuple(max(round(std, 4), 1e-3) for std in stds),
        padding=train.shape[-1] // 8 if padding is None else padding,
        mirrored=entry.options["mirrored"],
        ood_sets=entry.options["ood_sets"],
        fingerprint=digest.hexdigest(),
    )
    images = [part.contiguous(memory_format=torch.channels_last) for part in (train, test)]
    return facts, (images[0], train_labels.long(), images[1], test_labels.long())


def _check(what: str, images: Tensor, labels: Tensor, shape: Sequence[int]) -> None:
    """Raise `ValueError` for images and labels that a network cannot be trained on."""
    if str(images.dtype) != "torch.uint8" or images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(
            f"{what}: images are {images.dtype} of shape {tuple(images.shape)}; they must be uint8 "
            "of shape (n, 3, side, side): grey ones by images.expand(-1, 3, -1, -1)"
        )
    if images.shape[2] != images.shape[3] or images.shape[1:] != shape:
        raise ValueError(
            f"{what}: images are {images.shape[2]} x {images.shape[3]} pixels; all must be squares "
            "of one size"
        )
    whole = not (labels.is_floating_point() or labels.is_complex())
    if not whole or labels.shape != (len(images),) or not len(labels) or int(labels.min()) < 0:
        raise ValueError(
            f"{what}: labels are {labels.dtype} of shape {tuple(labels.shape)} for {len(images)} "
            "images; they must be integers from 0, one an image, and at least one"
        )
