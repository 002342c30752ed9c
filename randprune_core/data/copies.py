"""Which copy of CIFAR lies on disk: the one whose fingerprint its encoded bytes and labels have.

Nothing here is a tensor, so that a run can be looked up by its data without loading torch.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from .. import paths, registry
from ..datasets import DATASETS
from . import torchvision_files
from .files import DataError, Encoded, find, parquet_files

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

_LARGEST_MEMORY = 2**20


@dataclass(frozen=True)
class Identified:
    """A data set as found, with the name of the copy and its fingerprint (64 hex digits)."""

    variant: str
    fingerprint: str
    encoded: Encoded


def available_variant(name: str, download: bool = True) -> str:
    """Which copy of a data set lies in `data_root()`: its variant name, found without decoding.

    Files that were identified before and have not changed since (path, size and time) are not read
    again; loading them always is a full check. Raises `DataError` when there is none and it cannot
    be (or is not to be) downloaded.
    """
    if name == "digits":
        return "original"
    if registry.find("dataset", name):
        return DATASETS[name].fingerprint[:8]
    key = _files_key(name)
    known = _read_memory()
    if key in known:
        return known[key]
    variant = identify(name, download).variant
    if key := _files_key(name):  # none before a download
        _write_memory(known | {key: variant})
    return variant


def _files_key(name: str) -> str | None:
    """What tells the files of a data set from other ones without reading them; None: no files."""
    _check_name(name)
    root = paths.data_root()
    files = [path for path in torchvision_files.folder(name, root).glob("*") if path.is_file()]
    if not files:
        files = [path for group in parquet_files(name, root).values() for path in group]
    if not files:
        return None
    found = [(path, path.stat()) for path in sorted(files) if path.is_file()]
    if len(found) < len(files):  # a broken link or a device: whoever reads it says so
        return None
    states = [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found]
    return hashlib.sha256(repr((name, states)).encode()).hexdigest()


def _read_memory() -> dict[str, str]:
    try:
        known = json.loads(paths.read_regular(paths.identified_path(), _LARGEST_MEMORY))
    except (OSError, ValueError, RecursionError):
        return {}
    known = known if isinstance(known, dict) else {}
    return {key: variant for key, variant in known.items() if isinstance(variant, str)}


def _write_memory(known: dict[str, str]) -> None:
    """Remember which files are which copy; where that cannot be written, nothing is lost."""
    with suppress(OSError):
        paths.write_whole(paths.identified_path(), json.dumps(known).encode())


def identify(name: str, download: bool = True) -> Identified:
    """Find and read a CIFAR data set, and compare it with the copies that are known.

    Raises `DataError` when it is not there, or is a known copy that is damaged.
    """
    _check_name(name)
    encoded = find(name, download)
    prints = tuple(_fingerprint(encoded.images[s], encoded.labels[s]) for s in ("train", "test"))
    whole = hashlib.sha256("".join(prints).encode()).hexdigest()
    if encoded.source == "torchvision":  # torchvision has checked its own MD5 sums
        return Identified("original", whole, encoded)
    _check_splits(name, encoded, prints)
    for variant, known in KNOWN_COPIES[name].items():
        if prints == known:
            return Identified(variant, whole, encoded)
        if prints[0] == known[0] or prints[1] == known[1]:
            damaged = "test" if prints[0] == known[0] else "train"
            raise DataError(
                f"{name} in {paths.data_root()}: its {damaged} file is damaged (the other one is "
                f"the known copy {variant!r}); fetch the {damaged} file again"
            )
    warnings.warn(
        f"{name} in {paths.data_root()} is no known copy: used as variant {whole[:8]!r}",
        stacklevel=4,
    )
    return Identified(whole[:8], whole, encoded)


def _check_splits(name: str, encoded: Encoded, prints: tuple[str, str]) -> None:
    """Raise `DataError` where the train file is a test file, or the other way round."""
    where = f"{name} in {paths.data_root()}"
    counts = {split: len(labels) for split, labels in encoded.labels.items()}
    for variant, (train, test) in KNOWN_COPIES[name].items():
        if prints[0] == test or prints[1] == train:
            wrong, right = ("train", "test") if prints[0] == test else ("test", "train")
            raise DataError(
                f"{where}: its {wrong} file ({counts[wrong]:,} images) is the {right} file of the "
                f"known copy {variant!r}; give each file its own name"
            )
    if prints[0] == prints[1] or (counts["train"], counts["test"]) == (10_000, 50_000):
        raise DataError(
            f"{where}: its train file has {counts['train']:,} images and its test file "
            f"{counts['test']:,}, so that they are swapped or the same; fetch them again"
        )


def _check_name(name: str) -> None:
    if name not in KNOWN_COPIES:
        known = ", ".join(("digits", *KNOWN_COPIES))
        raise DataError(f"data set {name!r} cannot be loaded here: known are {known}")


def _fingerprint(images: Sequence[bytes], labels: np.ndarray) -> str:
    """sha256 over the encoded bytes and the labels: decoded pixels depend on the JPEG library."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(image)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
    return digest.hexdigest()
