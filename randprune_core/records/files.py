"""The files of the results folder: written whole or not at all, and read with suspicion."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import paths

SCHEMA = 1
"""The version of the form of records and notes."""


class BadRecord(ValueError):
    """A file in the record store is not a record of the run it is named after.

    The message is one printable line, whatever of the file it quotes.
    """

    def __init__(self, message: str):
        letters = (c if c.isprintable() else ascii(c)[1:-1] for c in message)
        super().__init__("".join(letters))


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
        partial.unlink(missing_ok=True)


def to_json(content: dict) -> str:
    """One line of JSON; ValueError for a number that is not finite."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n"


def read_json(path: Path):
    """What a JSON file holds; raises `BadRecord`, in one line, where it holds none."""

    def refuse(constant):
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (ValueError, OSError, RecursionError) as error:
        raise BadRecord(f"{path}: not readable as JSON ({error})") from error
