"""Data sets as uint8 tensors, their fingerprints, and batched augmentation on the device.

An image tensor is (n, 3, side, side) uint8; a label tensor is (n,) int64. Nothing here resizes,
normalises or shuffles on disk: what a network sees is made batch by batch by `augment`.
"""

import hashlib
import io
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .paths import data_root

OOD_SETS = {"digits": ("photos",), "cifar10": ("cifar100",), "cifar100": ("cifar10",)}
"""The out-of-distribution sets of each training set; every run records all of them."""

PADDING = {"digits": 2, "cifar10": 4, "cifar100": 4}
"""Pixels of reflection on each side before the random crop, as in the authors' code for CIFAR."""

FLIPPED = ("cifar10", "cifar100")
"""Data sets whose images may be mirrored without becoming something else."""

CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100}
_LABEL_COLUMN = {"cifar10": "label", "cifar100": "fine_label"}

# Fingerprints of copies that are known by name: (train, test), over encoded bytes and labels.
KNOWN_COPIES = {
    "cifar10": {
        "jpeg75": (
            "4207be2186e299f163fec779f432ffbe441064ac2af5e4b675e9a94b91343e5a",
            "bcab6501311e856017d314c2bcab2e0237786fe1b972e9d194252730a4213e4a",
        ),
    },
    "cifar100": {
        "jpeg75": (
            "a57822aea948c1a119d3323191b075aa280b10fce13b437fe7d582eebe69ef16",
            "6da9d1179dbf4c46a8b21104b60e6feccdf5a91aae376f55fc7bec2bbe824bc8",
        ),
    },
}


class DataError(ValueError):
    """A data set is missing, damaged or not what was asked for; the message is for the user."""


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


@dataclass(frozen=True)
class _Encoded:
    """A data set as found: bytes and labels per split, not decoded yet."""

    source: str
    images: dict[str, Sequence[bytes]]
    labels: dict[str, np.ndarray]
    decode: Callable[[Sequence[bytes], str], np.ndarray]


def available_variant(name: str, download: bool = True) -> str:
    """Which copy of a data set lies in `data_root()`: its variant name, found without decoding.

    Raises `DataError` when there is none and it cannot be (or is not to be) downloaded.
    """
    return _identify(name, download)[0]


def load_dataset(name: str, variant: str | None = None) -> Dataset:
    """Load a data set from `data_root()`; a second call in one process answers from memory.

    `variant` (optional) is the copy that is expected. Raises `DataError` when the data is missing
    (saying where it was looked for), damaged, or another copy than the one expected.
    """
    dataset = _load(name, str(data_root()))
    if variant is not None and dataset.variant != variant:
        raise DataError(
            f"{name}: the copy in {data_root()} is variant {dataset.variant!r}, but {variant!r} "
            "was asked for; set RANDPRUNE_DATA to that copy, or ask for the one that is there"
        )
    return dataset


def load_ood_images(name: str) -> dict[str, Tensor]:
    """The out-of-distribution images of a training set: {set name: (n, 3, side, side) uint8}."""
    return {
        other: _photo_patches() if other == "photos" else load_dataset(other).test_images
        for other in OOD_SETS[name]
    }


@lru_cache(maxsize=4)
def _load(name: str, root: str) -> Dataset:
    if name == "digits":
        return _load_digits()
    variant, fingerprint, encoded = _identify(name)
    images, labels = {}, {}
    for split in ("train", "test"):
        pixels = encoded.decode(encoded.images[split], f"{name} {split}")
        images[split] = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        labels[split] = torch.from_numpy(encoded.labels[split])
        classes = CLASSES[name]
        if len(labels[split]) == 0 or not 0 <= labels[split].min() <= labels[split].max() < classes:
            raise DataError(
                f"{name} {split}: labels must be in [0, {classes}), one an image; "
                f"found {len(labels[split])} labels outside or none: the data is damaged"
            )
    return Dataset(
        name,
        variant,
        encoded.source,
        fingerprint,
        CLASSES[name],
        images["train"],
        labels["train"],
        images["test"],
        labels["test"],
    )


def _identify(name: str, download: bool = True) -> tuple[str, str, _Encoded | None]:
    if name == "digits":
        return "original", "", None
    if name not in CLASSES:
        raise DataError(f"data set {name!r} cannot be loaded here: known are {', '.join(CLASSES)}")
    encoded = _find(name, download)
    prints = tuple(_fingerprint(encoded.images[s], encoded.labels[s]) for s in ("train", "test"))
    whole = hashlib.sha256("".join(prints).encode()).hexdigest()
    if encoded.source == "torchvision":  # torchvision has checked its own MD5 sums
        return "original", whole, encoded
    for variant, known in KNOWN_COPIES[name].items():
        if prints == known:
            return variant, whole, encoded
        if prints[0] == known[0] or prints[1] == known[1]:
            damaged = "test" if prints[0] == known[0] else "train"
            raise DataError(
                f"{name} in {data_root()}: its {damaged} file is damaged (the other one is the "
                f"known copy {variant!r}); fetch the {damaged} file again"
            )
    warnings.warn(
        f"{name} in {data_root()} is no known copy: used as variant {whole[:8]!r}", stacklevel=4
    )
    return whole[:8], whole, encoded


def _fingerprint(images: Sequence[bytes], labels: np.ndarray) -> str:
    """sha256 over the encoded bytes and the labels: decoded pixels depend on the JPEG library."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(image)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()


def _find(name: str, download: bool) -> _Encoded:
    root = data_root()
    if _torchvision_folder(name, root).is_dir():
        return _read_torchvision(name, root)
    if found := _parquet_files(name, root):
        return _read_parquet(name, found)
    if not download:
        raise _not_found(name, root)
    return _download(name, root)


def _not_found(name: str, root: Path) -> DataError:
    return DataError(
        f"{name} was not found: looked in {root} for {_torchvision_folder(name, root).name}/ "
        f"(torchvision) and {name}/**/train-*.parquet, and it could not be downloaded; set "
        "RANDPRUNE_DATA to a folder that holds it"
    )


def _torchvision_folder(name: str, root: Path) -> Path:
    return root / {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]


def _torchvision_class(name: str):
    import torchvision

    return {
        "cifar10": torchvision.datasets.CIFAR10,
        "cifar100": torchvision.datasets.CIFAR100,
    }[name]


def _read_torchvision(name: str, root: Path) -> _Encoded:
    images, labels = {}, {}
    for split in ("train", "test"):
        try:
            found = _torchvision_class(name)(str(root), train=split == "train")
        except Exception as error:  # torchvision raises RuntimeError, EOFError, UnpicklingError ...
            raise DataError(
                f"{name}: {_torchvision_folder(name, root)} is damaged or incomplete; delete that "
                "folder and let torchvision download it again"
            ) from error
        images[split] = [image.tobytes() for image in found.data]
        labels[split] = np.asarray(found.targets, dtype=np.int64)
    return _Encoded("torchvision", images, labels, _decode_raw)


def _decode_raw(images: Sequence[bytes], where: str) -> np.ndarray:
    return np.frombuffer(b"".join(images), dtype=np.uint8).reshape(-1, 32, 32, 3).copy()


def _parquet_files(name: str, root: Path) -> dict[str, list[Path]]:
    found = {s: sorted(root.glob(f"{name}/**/{s}-*.parquet")) for s in ("train", "test")}
    if bool(found["train"]) != bool(found["test"]):
        there, lacking = ("train", "test") if found["train"] else ("test", "train")
        raise DataError(
            f"{name}: {root / name} holds a {there} file but no {lacking}-*.parquet; add it"
        )
    return found if found["train"] else {}


def _read_parquet(name: str, files: dict[str, list[Path]]) -> _Encoded:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    label_column = _LABEL_COLUMN[name]
    images, labels = {}, {}
    for split, paths in files.items():
        images[split], parts = [], []
        for path in paths:
            try:
                table = pq.read_table(path, columns=["img", label_column])
                encoded = pc.struct_field(table.column("img"), "bytes").to_pylist()
                parts.append(table.column(label_column).to_numpy().astype(np.int64))
            except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
                reason = (str(error).splitlines() or ["no reason given"])[0]
                raise DataError(
                    f"{path}: not a readable Parquet file with img and {label_column} ({reason}); "
                    "fetch it again"
                ) from error
            if any(image is None for image in encoded):
                raise DataError(f"{path}: an image has no bytes; fetch it again")
            images[split] += encoded
        labels[split] = np.concatenate(parts)
    return _Encoded("parquet", images, labels, _decode_pictures)


def _decode_pictures(images: Sequence[bytes], where: str) -> np.ndarray:
    """Decode PNG or JPEG pictures of 32 x 32 pixels to (n, 32, 32, 3) uint8."""
    from PIL import Image

    pixels = np.empty((len(images), 32, 32, 3), dtype=np.uint8)
    for position, encoded in enumerate(images):
        try:
            with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as picture:
                if picture.size != (32, 32):
                    raise ValueError(f"its size is {picture.size}, not (32, 32)")
                pixels[position] = np.asarray(picture.convert("RGB"))
        except Exception as error:  # Pillow raises many kinds for damaged pictures
            raise DataError(f"{where}: image {position} is damaged ({error})") from error
    return pixels


def _download(name: str, root: Path) -> _Encoded:
    """Let torchvision download the data; it reaches `root` only when it is complete."""
    try:
        with tempfile.TemporaryDirectory(prefix="randprune-") as folder:
            for train in (True, False):
                _torchvision_class(name)(folder, train=train, download=True)
            _move_in(_torchvision_folder(name, Path(folder)), root)
    except (OSError, RuntimeError) as error:
        raise _not_found(name, root) from error
    return _read_torchvision(name, root)


def _move_in(complete: Path, root: Path) -> None:
    """Put a folder into `root` at once; whichever of two processes is first there wins."""
    root.mkdir(parents=True, exist_ok=True)
    target = root / complete.name
    with tempfile.TemporaryDirectory(prefix=".randprune-", dir=root) as staging:
        copied = shutil.copytree(complete, Path(staging) / complete.name)
        try:
            Path(copied).rename(target)
        except OSError:
            if not target.is_dir():
                raise


def _load_digits() -> Dataset:
    """scikit-learn's 8 x 8 digits, doubled to 16 x 16 and three equal channels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    images = torch.from_numpy(pixels.repeat(2, axis=1).repeat(2, axis=2))
    images = images[:, None].expand(-1, 3, -1, -1).contiguous()
    labels = torch.from_numpy(digits.target.astype(np.int64))
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
    from sklearn.datasets import load_sample_images

    patches = []
    for photo in load_sample_images().images:
        height, width = photo.shape[:2]
        for top in np.linspace(0, height - 16, 10).astype(int):
            for left in np.linspace(0, width - 16, 20).astype(int):
                patches.append(photo[top : top + 16, left : left + 16])
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous()


def pad_for_crops(images: Tensor, padding: int) -> Tensor:
    """Reflect-pad (n, 3, s, s) uint8 images to (n, s + 2p, s + 2p, 3), the layout of `augment`."""
    positions = torch.arange(-padding, images.shape[-1] + padding, device=images.device).abs()
    last = images.shape[-1] - 1
    positions = last - (last - positions).abs()
    return images[:, :, positions][:, :, :, positions].permute(0, 2, 3, 1).contiguous()


def augment(padded: Tensor, index: Tensor, offsets: Tensor, mirrored: Tensor, side: int) -> Tensor:
    """Random crops and flips of a batch in one gather, on the device of the images.

    `padded` (n, S, S, 3) uint8 from `pad_for_crops`; `index` (b,) which images; `offsets` (b, 2)
    top and left corner in [0, S - side]; `mirrored` (b,) bool. Returns (b, 3, side, side) uint8 in
    channels-last memory.
    """
    steps = torch.arange(side, device=padded.device)
    rows = offsets[:, :1] + steps
    columns = offsets[:, 1:] + torch.where(mirrored[:, None], steps.flip(0), steps)
    size = padded.shape[1]
    pixels = (index[:, None, None] * size + rows[:, :, None]) * size + columns[:, None, :]
    crops = padded.view(-1, 3).index_select(0, pixels.flatten())
    return crops.view(len(index), side, side, 3).permute(0, 3, 1, 2)
