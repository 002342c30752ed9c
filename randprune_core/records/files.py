"""The files of the results folder: written whole or not at all, and read with suspicion."""

import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import paths, terminal
from ..terminal import printable

LARGEST = 2**23
"""Bytes of the largest file that is read as a record: by far more than one of a long training."""


class BadRecord(ValueError):
    """A file in the record store is not a record of the run it is named after.

    The message is one printable line, whatever of the file it quotes.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


class CannotWrite(OSError):
    """A full disk or a read-only folder; the message names the file and is for the user."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that cannot be written into `CannotWrite`."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(
            f"cannot write {path}: {error.strerror or error}; make room there, or name another "
            "folder with RANDPRUNE_RESULTS (earlier records are untouched, and the same command "
            "goes on)"
        ) from error


def write_whole(path: Path, content: str | bytes) -> None:
    """`paths.write_whole` for text too; raises `CannotWrite`, which says what to do about it."""
    with writing(path):
        paths.write_whole(path, content.encode() if isinstance(content, str) else content)


def remove_partials(path: Path) -> None:
    """Delete what killed processes left of this file half written; nobody else may write it."""
    for partial in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):  # not ours: a folder, or another user's
            partial.unlink(missing_ok=True)


def listed(folder: Path, pattern: str) -> list[Path]:
    """The entries that match, in order of their names; a folder that cannot be read has none."""
    try:
        return sorted(folder.glob(pattern))
    except OSError as error:
        left_out(f"{folder}: not readable as a folder ({error.strerror})")
        return []


def left_out(problem: object) -> None:
    """Warn that a file is not used (`say` explains where the book has it)."""
    line = f"set aside: {problem}"
    if not _noted(line):
        warnings.warn(line, stacklevel=3)


def say(line: str) -> None:
    """Tell the terminal, on standard error, if there is one.

    `notebooks.execute` names a file in `$RANDPRUNE_LEFT_OUT` for what the kernel of the book has to
    say, and shows it itself: among the outputs of a chapter it would be in the book.
    """
    if not _noted(line):
        terminal.say(line)


def _noted(line: str) -> bool:
    if log := os.environ.get("RANDPRUNE_LEFT_OUT"):
        with suppress(OSError), open(log, "a", encoding="utf-8", errors="replace") as file:
            file.write(f"{line}\n")
            return True
    return False


def set_aside(path: Path) -> Path:
    """Give whatever lies under a name another one, so that it is kept; returns the new path."""
    aside = path.with_name(f"{path.name}.set-aside-{time.time_ns()}")
    with writing(path):
        path.rename(aside)
    return aside


def to_json(content: dict) -> str:
    """One line of JSON; ValueError for a number that is not finite."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n"


def read_json(path: Path):
    """What a JSON file holds; raises `BadRecord`, in one line, where it holds none."""
    return parse_json(path, read_content(path))


def read_content(path: Path) -> bytes:
    """What a file holds that may be JSON; raises `BadRecord` where it cannot be read.

    Whatever lies under the name is looked at before it is opened (`paths.read_regular`).
    """
    with _as_json(path):
        return paths.read_regular(path, LARGEST)


def parse_json(path: Path, content: bytes):
    """The values in the content of a JSON file; raises `BadRecord` where it holds none."""

    def refuse(constant):
        raise ValueError(f"{constant} is no number")

    with _as_json(path):
        return json.loads(content.decode("utf-8"), parse_constant=refuse)


@contextmanager
def _as_json(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadRecord(f"{path}: not readable as JSON ({reason})") from error
