"""CIFAR in torchvision's files: downloaded, checked, read without running what they hold.

The files are pickles, which can call any function. Each must have the MD5 sum that torchvision
lists, and is then read by an unpickler that knows arrays and nothing else that could be called.
"""

import http.client
import pickle
import shutil
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..scratch import remove_leftovers, scratch_folder
from ..terminal import FULL_DISK

SILENCE = 60.0
"""Seconds without a byte after which a download is given up."""

_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
_CALLABLE = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}


class Damaged(ValueError):
    """A file is missing, has another MD5 sum or holds something else than images and labels."""


def folder(name: str, root: Path) -> Path:
    """Where torchvision keeps a data set below `root`."""
    return root / _FOLDERS[name]


def read(name: str, root: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (n, 32, 32, 3) uint8 and labels (n,) int64 of `train` and `test`; raises `Damaged`."""
    known = _known(name)
    return {
        "train": _read_split(folder(name, root), known.train_list),
        "test": _read_split(folder(name, root), known.test_list),
    }


def download(name: str, root: Path) -> None:
    """Let torchvision fetch the data set; it reaches `root` only when it is complete.

    Raises OSError where that fails, and then leaves nothing behind.
    """
    from torchvision.datasets import cifar

    known = _known(name)
    try:
        with scratch_folder() as scratch, _named(scratch), _limited_silence():
            cifar.download_and_extract_archive(
                known.url, str(scratch), filename=known.filename, md5=known.tgz_md5
            )
            for file, md5 in known.train_list + known.test_list:
                _check(folder(name, scratch) / file, md5)
            _move_in(folder(name, scratch), root)
    except (RuntimeError, Damaged, EOFError, tarfile.TarError, http.client.HTTPException) as error:
        raise OSError(str(error)) from error


def _known(name: str):
    """The names and MD5 sums of a data set, which torchvision lists in its class."""
    from torchvision.datasets import cifar

    return {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100}[name]


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Name the folder in an OSError that names no file, as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK:
            error.filename = error.filename or str(folder)
        raise


@contextmanager
def _limited_silence() -> Iterator[None]:
    """Give up on a network that has vanished, for which torchvision would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _check(path: Path, md5: str) -> None:
    from torchvision.datasets import cifar

    if not cifar.check_integrity(str(path), md5):
        raise Damaged(f"{path.name} is missing or has another MD5 sum than torchvision's")


def _read_split(where: Path, files: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for name, md5 in files:
        _check(where / name, md5)
        try:
            with open(where / name, "rb") as file:
                batch = _Unpickler(file, encoding="latin1").load()
            pixels = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
            found = batch["labels"] if "labels" in batch else batch["fine_labels"]
            labels.append(np.asarray(found, dtype=np.int64).reshape(len(pixels)))
        except Exception as error:  # an unpickler raises many kinds for damaged files
            raise Damaged(f"{name} holds no images and labels ({error})") from error
        images.append(pixels.transpose(0, 2, 3, 1))
    return np.concatenate(images), np.concatenate(labels)


class _Unpickler(pickle.Unpickler):
    """Reads arrays, lists, strings and numbers; any other name in the file is refused."""

    def find_class(self, module, name):
        if (module, name) not in _CALLABLE:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed there")
        return super().find_class(module, name)


def _move_in(complete: Path, root: Path) -> None:
    """Put a folder into `root` at once; whichever of two processes is first there wins."""
    root.mkdir(parents=True, exist_ok=True)
    remove_leftovers([root])
    target = root / complete.name
    with scratch_folder(root) as staging:
        copied = shutil.copytree(complete, staging / complete.name)
        try:
            Path(copied).rename(target)
        except OSError:
            if not target.is_dir():
                raise
