"""An index of a large record store, so that `load_runs` need not parse every record again.

It is one Parquet file of the rows that the records gave, each beside the size and time of change of
its file: a record that is new or was touched is read, and one that is gone is left out. Nothing
depends on the index: it may be deleted at any time and is made again from the records.
"""

import hashlib
import os
import warnings
from contextlib import suppress
from pathlib import Path

from . import config, forms, paths, runs

SMALLEST_STORE = 300
"""Records from which on an index pays; fewer are parsed faster than pandas reads a Parquet file."""

_STAMP = ("file", "size", "changed", "code")


def all_runs():
    """Every good record of the store as a row, as `runs.records_to_frame` gives them.

    Rows are in the order of `runs.all_records`. A column that only left-out records had may be
    there, empty. Bad records are named in a warning.
    """
    files = sorted(paths.RUNS.glob("*/*.json"))
    if len(files) < SMALLEST_STORE:
        return runs.records_to_frame(runs.all_records())
    import pandas as pd

    stamps = pd.DataFrame([_stamp(path) for path in files], columns=list(_STAMP))
    known = _read()
    if known is not None:
        known = known.merge(stamps, on=list(_STAMP))
    indexed = set() if known is None else set(known.file)
    new, read = [], []
    for name, path in zip(stamps.file, files, strict=True):
        if name in indexed:
            continue
        try:
            new.append(runs.read_record(path))
            read.append(name)
        except runs.BadRecord as error:
            warnings.warn(f"set aside: {error}", stacklevel=2)
    if new:
        rows = runs.records_to_frame(new)
        rows = pd.concat([stamps.set_index("file").loc[read].reset_index(), rows], axis=1)
        known = rows if known is None else pd.concat([known, rows], ignore_index=True)
        known = known.sort_values("file", ignore_index=True)
        _write(known)
    if known is None:
        return runs.records_to_frame([])
    return known.drop(columns=list(_STAMP))


def _stamp(path: Path) -> tuple[str, int, int, str]:
    """What tells whether the row of a file still holds: the file as it is, and our own code."""
    found = path.stat()
    name = path.relative_to(paths.RUNS).as_posix()
    return name, found.st_size, found.st_mtime_ns, _CODE


def _read():
    """The rows of the index, None where there is none that can be read."""
    import pandas as pd

    try:
        return pd.read_parquet(paths.index_path())
    except (OSError, ValueError):  # there is none, or it is no Parquet file
        return None


def _write(rows) -> None:
    """Replace the index; where the folder cannot be written to, the next call reads again."""
    path = paths.index_path()
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(partial, index=False)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()


def _code() -> str:
    """Digest of the modules that turn a record to a row: the rows of other code do not hold."""
    sources = (config.__file__, forms.__file__, runs.__file__, __file__)
    return hashlib.sha256(b"".join(Path(name).read_bytes() for name in sources)).hexdigest()[:12]


_CODE = _code()
