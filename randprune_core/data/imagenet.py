"""ImageNet, or any folder of pictures laid out like it: what is there, and batches decoded from it.

`data_root()/imagenet/train/CLASS/*` and `.../val/CLASS/*`, as torchvision's `ImageFolder` reads
them. Networks for ImageNet see 224 pixels, CIFAR networks 32; the number of classes is that of the
folders. No image is held out of `train`: `val` is watched during training and tested at its end,
and nothing is selected on it.
"""

import hashlib
import itertools
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from .. import paths
from ..config import IMAGENET_MODELS
from ..datasets import DATASETS
from .files import DataError

_ORIGINAL = DATASETS["imagenet"]
ILSVRC_2012 = {"classes": _ORIGINAL.classes, "train": _ORIGINAL.train_images, "val": 50_000}
"""What the original has; a folder with these counts is taken for it."""

_IN_THIS_PROCESS = 2_000  # images below which processes to decode them cost more than they save
_MOST_DECODERS = 16


def image_size(model: str) -> int:
    """Side in pixels of the images that a network is trained on: 224, or 32 for CIFAR networks."""
    return 224 if model in IMAGENET_MODELS else 32


class Folder:
    """The pictures below `root`, as the engine sees a data set.

    `train` and `val` are lists of (path, label), the first sorted by class, the second with the
    classes in turn, so that any first part of it, as the one that is attacked, has all of them.
    `side` is the size in pixels that images are brought to. Raises `DataError` when the folders are
    not there or do not fit.
    """

    name, source = "imagenet", "ImageFolder"

    def __init__(self, root: Path, side: int):
        self.side = side
        found = {split: _image_folder(root, split) for split in ("train", "val")}
        self.train, self.val = found["train"].samples, _in_turn(found["val"].samples)
        if different := set(found["train"].classes) ^ set(found["val"].classes):
            raise DataError(
                f"imagenet: train/ and val/ in {root} need the same class folders, but only one of "
                f"them has {min(different)} ({len(different)} such folders)"
            )
        self.num_classes = len(found["train"].classes)
        self.train_labels = torch.tensor(found["train"].targets)
        self.test_labels = torch.tensor([label for _, label in self.val])
        files = [path for split in found.values() for path, _ in split.samples]
        self.fingerprint = _fingerprint(root, files)
        counts = {"classes": self.num_classes, "train": len(self.train), "val": len(self.val)}
        self.variant = "original" if counts == ILSVRC_2012 else self.fingerprint[:8]

    @cached_property
    def test_images(self) -> Tensor:
        """All images of `val` as (n, 3, side, side) uint8: 7.5 GB for the 50,000 of ImageNet."""
        pictures = Pictures(self.val, plain(self.side))
        return torch.cat([images for images, _ in batches(pictures, _chunks(len(self.val)))])


@lru_cache(maxsize=2)
def _folder(root: Path, side: int) -> Folder:
    return Folder(root, side)


def load_folder(model: str) -> Folder:
    """The folder in `data_root()` at the size of a model; read once a process."""
    return _folder(paths.data_root() / "imagenet", image_size(model))


def check_images(folder: Folder, train_images: int) -> None:
    """Raise `DataError` unless a run is on all training images of the folder."""
    if train_images != len(folder.train):
        raise DataError(
            f"train_images {train_images}: a run on imagenet trains on all {len(folder.train):,} "
            "images of train/; leave --train-images out"
        )


def _image_folder(root: Path, split: str) -> ImageFolder:
    folder = root / split
    if not folder.is_dir():
        raise DataError(
            f"imagenet was not found: looked for {root / 'train'} and {root / 'val'}, each with a "
            "folder of pictures for each class; set RANDPRUNE_DATA to the folder that holds "
            "imagenet/"
        )
    try:
        return ImageFolder(str(folder))
    except FileNotFoundError as error:
        raise DataError(
            f"imagenet: {folder} needs one folder for each class, with at least one picture in it "
            f"({str(error).splitlines()[0]})"
        ) from error


def _in_turn(samples: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """One sample of every class, then another one of every class, and so on."""
    places: defaultdict[int, Iterator[int]] = defaultdict(itertools.count)
    return sorted(samples, key=lambda sample: (next(places[sample[1]]), sample[1]))


def _fingerprint(root: Path, files: Sequence[str]) -> str:
    """sha256 over the names and sizes of the files: reading ImageNet's 150 GB would take longer."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{os.path.relpath(path, root)}\0{os.path.getsize(path)}\n".encode())
    return digest.hexdigest()


def make_pictures(root: Path, train: int = 40, val: int = 5, classes: int = 4) -> Path:
    """Write `root/imagenet` with small JPEGs, `train` and `val` of each class, and return it.

    A class is a shade of grey under noise, which a network learns in a few steps: to try the path,
    where ImageNet itself is not at hand.
    """
    draw = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for label in range(classes):
            folder = root / "imagenet" / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                size = (40, 40 + number % 5, 3)
                pixels = draw.normal(40 + 175 * label / (classes - 1), 25, size).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.JPEG")
    return root / "imagenet"


# --- pictures to tensors ---------------------------------------------------------------------


def augmented(side: int) -> transforms.Compose:
    """A random part of 8 to 100 % of the picture, scaled to `side`, mirrored half of the time."""
    parts = [transforms.RandomResizedCrop(side), transforms.RandomHorizontalFlip()]
    return transforms.Compose([*parts, transforms.PILToTensor()])


def plain(side: int) -> transforms.Compose:
    """The middle of the picture, its shorter side scaled to 8/7 of `side` first (256 for 224)."""
    parts = [transforms.Resize(round(side * 8 / 7)), transforms.CenterCrop(side)]
    return transforms.Compose([*parts, transforms.PILToTensor()])


class Pictures(torch.utils.data.Dataset):
    """Pictures as (3, side, side) uint8 with their labels.

    With `seeds`, one for each sample, what `transform` draws follows from them alone: not from the
    process that decodes the picture, nor from the ones decoded before.
    """

    def __init__(self, samples: Sequence[tuple[str, int]], transform, seeds: Tensor | None = None):
        self.samples, self.transform, self.seeds = samples, transform, seeds

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        path, label = self.samples[place]
        picture = _open(path)
        if self.seeds is None:
            return self.transform(picture), label
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(self.seeds[place]))
            return self.transform(picture), label


def _open(path: str) -> Image.Image:
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            return picture.convert("RGB")
    except Exception as error:  # Pillow raises many kinds for damaged pictures
        reason = " ".join(str(error).split())
        raise DataError(f"imagenet: {path} is damaged ({reason}); fetch it again") from error


def batches(
    pictures: Pictures, groups: Sequence[Sequence[int]], sharing: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of each group of places, decoded ahead in processes of their own.

    `sharing` processes of this machine divide its cores. Global generators are left alone. Raises
    `DataError` for a damaged picture.
    """
    decoders = 0
    if sum(map(len, groups)) >= _IN_THIS_PROCESS:
        decoders = min(_MOST_DECODERS, max(len(os.sched_getaffinity(0)) // sharing, 1))
    loader = DataLoader(
        pictures,
        batch_sampler=groups,
        num_workers=decoders,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )
    try:
        yield from loader
    except DataError as error:  # a decoder's own comes with its traceback
        raise DataError(str(error).strip().splitlines()[-1].removeprefix(_RAISED_AS)) from None


_RAISED_AS = f"{DataError.__module__}.{DataError.__qualname__}: "


def _chunks(count: int, size: int = 250) -> list[list[int]]:
    return [list(range(count))[start : start + size] for start in range(0, count, size)]
