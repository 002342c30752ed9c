"""CIFAR on disk: where it is looked for, and how it is read.

Nothing here is a tensor, so that a run can be looked up by its data without loading torch.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import paths
from . import torchvision_files

_LABEL_COLUMN = {"cifar10": "label", "cifar100": "fine_label"}

MOST_ROWS, MOST_BYTES = 1_000_000, 2**30
"""What a Parquet file may hold, by far more than CIFAR in any encoding."""

_BATCH_ROWS = 256
_NO_LABELS = np.empty(0, dtype=np.int64)


class DataError(ValueError):
    """A data set is missing, damaged or not what was asked for; the message is for the user."""


@dataclass(frozen=True)
class Encoded:
    """A data set as found: bytes and labels per split, not decoded yet."""

    source: str
    images: dict[str, Sequence[bytes]]
    labels: dict[str, np.ndarray]
    decode: Callable[[Sequence[bytes], str], np.ndarray]


def find(name: str, download: bool = True) -> Encoded:
    """Read a data set from `data_root()`, into which it is downloaded where it is not there.

    Raises `DataError` where that cannot be, is not to be, or what is there is not readable.
    """
    root = paths.data_root()
    if torchvision_files.folder(name, root).is_dir():
        return _read_torchvision(name, root)
    if found := parquet_files(name, root):
        return _read_parquet(name, found)
    if not download:
        raise _not_found(name, root)
    try:
        torchvision_files.download(name, root)
    except OSError as error:
        raise _not_found(name, root, f" ({error})") from error
    return _read_torchvision(name, root)


def _not_found(name: str, root: Path, reason: str = "") -> DataError:
    return DataError(
        f"{name} was not found: looked in {root} for {torchvision_files.folder(name, root).name}/ "
        f"(torchvision) and {name}/**/train-*.parquet, and it could not be downloaded{reason}; "
        "set RANDPRUNE_DATA to a folder that holds it"
    )


def _read_torchvision(name: str, root: Path) -> Encoded:
    try:
        found = torchvision_files.read(name, root)
    except torchvision_files.Damaged as error:
        raise DataError(
            f"{name}: {torchvision_files.folder(name, root)} is damaged or incomplete ({error}); "
            "delete that folder, and it is downloaded again"
        ) from error
    images = {split: [image.tobytes() for image in pixels] for split, (pixels, _) in found.items()}
    labels = {split: labels for split, (_, labels) in found.items()}
    return Encoded("torchvision", images, labels, _decode_raw)


def _decode_raw(images: Sequence[bytes], where: str) -> np.ndarray:
    return np.frombuffer(b"".join(images), dtype=np.uint8).reshape(-1, 32, 32, 3).copy()


def parquet_files(name: str, root: Path) -> dict[str, list[Path]]:
    """The Parquet files of each split below `root`; {} where there are none."""
    found = {s: sorted(root.glob(f"{name}/**/{s}-*.parquet")) for s in ("train", "test")}
    if bool(found["train"]) != bool(found["test"]):
        there, lacking = ("train", "test") if found["train"] else ("test", "train")
        raise DataError(
            f"{name}: {root / name} holds a {there} file but no {lacking}-*.parquet; add it"
        )
    return found if found["train"] else {}


def _read_parquet(name: str, files: dict[str, list[Path]]) -> Encoded:
    import pyarrow as pa
    import pyarrow.compute as pc

    label_column = _LABEL_COLUMN[name]
    images, labels = {}, {}
    for split, found in files.items():
        chunks, parts = [], []
        for path in found:
            try:
                for batch in _batches(path, label_column):
                    encoded = pc.struct_field(batch.column("img"), "bytes")
                    chunks.append(pc.cast(encoded, pa.binary()))
                    if chunks[-1].null_count:
                        raise DataError(f"{path}: an image has no bytes; fetch it again")
                    parts.append(_whole_numbers(batch.column(label_column), path, label_column))
            except DataError:
                raise
            except (
                pa.ArrowException,
                OSError,
                LookupError,
                TypeError,
                ValueError,
                MemoryError,
            ) as error:
                reason = (str(error).splitlines() or ["no reason given"])[0]
                raise DataError(
                    f"{path}: not a readable Parquet file with img and {label_column} ({reason}); "
                    "fetch it again"
                ) from error
        images[split], labels[split] = _Column(chunks), np.concatenate([_NO_LABELS, *parts])
    return Encoded("parquet", images, labels, _decode_pictures)


def _whole_numbers(column, path: Path, name: str) -> np.ndarray:
    """Labels as int64; raises `DataError` for any that is missing, fractional or no number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = pc.cast(column, kind.value_type), kind.value_type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise DataError(f"{path}: its column {name} holds {kind}, not whole numbers")
    if column.null_count:
        raise DataError(f"{path}: its column {name} has a row without a label; fetch it again")
    try:
        return pc.cast(column, pa.int64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: its column {name} holds what is no whole number") from error


def _batches(path: Path, label_column: str) -> Iterator:
    """The rows of a Parquet file in batches; a file that is too large for CIFAR is refused early.

    A few bytes can declare a billion equal rows, so that what is declared is looked at first, and
    what comes of it is counted as it comes.
    """
    import pyarrow.parquet as pq

    if not path.is_file():  # a FIFO would wait for its writer
        raise DataError(f"{path}: it is no regular file; fetch it again")
    with pq.ParquetFile(path) as file:
        declared = file.metadata
        size = sum(declared.row_group(n).total_byte_size for n in range(declared.num_row_groups))
        if declared.num_rows > MOST_ROWS or size > MOST_BYTES:
            raise DataError(
                f"{path}: declares {declared.num_rows:,} rows of {size:,} bytes, which is not "
                "CIFAR; fetch it again"
            )
        unpacked = 0
        columns = ["img", label_column]  # one thread: each keeps tens of MB of what it has freed
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            unpacked += batch.nbytes
            if unpacked > MOST_BYTES:
                raise DataError(f"{path}: holds more than {MOST_BYTES:,} bytes; fetch it again")
            yield batch


def give_memory_back() -> None:
    """Hand what reading Parquet files left allocated, a hundred MB for CIFAR, to the system."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


class _Column(Sequence):
    """Encoded images in Arrow's own memory, an image at a time as bytes: half the memory."""

    def __init__(self, chunks: list):
        import pyarrow as pa

        self._images = pa.chunked_array(chunks, type=pa.binary())

    def __len__(self):
        return len(self._images)

    def __getitem__(self, place):
        return self._images[place].as_py()

    def __iter__(self):
        for chunk in self._images.chunks:
            for image in chunk:
                yield image.as_py()


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
