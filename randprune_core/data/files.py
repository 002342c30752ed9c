"""CIFAR on disk: where it is looked for, how it is read, and which copy of it that is.

Nothing here is a tensor, so that a run can be looked up by its data without loading torch.
"""

import hashlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import paths, registry
from ..datasets import DATASETS
from . import torchvision_files

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


MOST_ROWS, MOST_BYTES = 1_000_000, 2**30
"""What a Parquet file may hold, by far more than CIFAR in any encoding."""

_BATCH_ROWS = 256
_LARGEST_MEMORY = 2**20
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
        files = [path for group in _parquet_files(name, root).values() for path in group]
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
    encoded = _find(name, download)
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


def _find(name: str, download: bool) -> Encoded:
    root = paths.data_root()
    if torchvision_files.folder(name, root).is_dir():
        return _read_torchvision(name, root)
    if found := _parquet_files(name, root):
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


def _parquet_files(name: str, root: Path) -> dict[str, list[Path]]:
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
