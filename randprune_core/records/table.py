"""Records as rows: one data frame of all runs, and an index of them for a large store.

The index spares `load_runs` to parse every record each time. It is one file of the rows that the
records gave, with the size and the times of change of the file of each row: a record that is new or
was touched is read, and one that is gone is left out. It is a cache: it begins with the digest of
what follows, and an index that is not exactly what was written here is replaced.
"""

import hashlib
import json
import stat
from contextlib import suppress
from dataclasses import fields
from math import nan
from pathlib import Path

from .. import config, datasets, paths
from ..config import RunConfig, image_side, setting
from ..datasets import DATASETS
from . import files, forms, schema, store, validation
from .files import BadRecord
from .store import all_records, flatten, read_record, record_files

SMALLEST_STORE = 300
"""Records from which on an index pays; fewer are parsed as fast."""

LARGEST_INDEX = 2**30
"""Bytes of the largest index that is read: 400,000 records."""


def load_runs(**filters):
    """All records as a DataFrame, one row a run, ordered by data set, then by run id.

    Columns: `run_id`, the fields of `RunConfig`, `setting` (`config.setting`), the flattened `test`
    keys (`accuracy`, `ece`, `ood.cifar100.auroc`, `pgd.1.accuracy`, ...; bins and curves stay in
    the record), and `cost.*` and `provenance.*` (`provenance.commits`, only of runs that went on
    with other code, is how many parts they have). `image_size` is the pixels a side, the data set's
    own where the config has None. A filter names a config field and gives a value
    or a collection of values, in any spelling that `RunConfig` takes:
    `load_runs(dataset="cifar10", ratio=("dense", "erk"))`. `code` tells runs of registered code
    from those of its earlier versions. Raises `ValueError` for a filter that is no config field and
    for a value that no run can have. Bad records are left out with a warning that names them.
    """
    known = [field.name for field in fields(RunConfig)]
    if unknown := sorted(set(filters) - set(known)):
        raise ValueError(f"unknown filter {unknown[0]!r}: filter by {', '.join(known)}")
    runs = found = all_runs()
    recorded = {name: set(runs[name]) for name in filters}  # of registered names, too
    wanted = {
        name: {
            each if each in recorded[name] else _wanted(name, each)
            for each in ([value] if _is_one(value) else value)
        }
        for name, value in filters.items()
    }
    for name, values in wanted.items():
        if name == "image_size" and None in values:
            values = values | {facts.side for facts in DATASETS.values()}
        found = found[found[name].isin(values)]
    emptied = runs.notna().any() & found.isna().all()  # what only the runs left out measured
    return found.loc[:, ~emptied | runs.columns.isin(known)].reset_index(drop=True)


def _is_one(value: object) -> bool:
    return isinstance(value, str) or not hasattr(value, "__iter__")


def _wanted(name: str, value: object) -> object:
    """A value of a filter as records have it; ValueError for one that no run can have."""
    if name == "code":
        return value
    if name != "image_size":  # any run with that value
        dense = value == {"ratio": "dense", "sparsity": 0}.get(name)
        others = {} if dense else {"ratio": "snip", "sparsity": 0.5}
        return getattr(RunConfig(**others | {"nesterov": False, name: value}), name)
    sides = {side for facts in DATASETS.values() for side in (facts.side, *facts.smaller_sides)}
    if value is not None and value not in sides:
        known = ", ".join(map(str, sorted(sides)))
        raise ValueError(f"image_size {value!r} is not known: filter by {known} or None")
    return value


def records_to_frame(records):
    """Records as a DataFrame, one row each, in the order given (columns as in `load_runs`)."""
    return _frame(list(map(_row, records)))


def _row(record: dict) -> dict:
    config = record["config"]
    row = {"run_id": record["run_id"], "code": "", **config, "image_size": image_side(config)}
    row["setting"] = setting(config)
    row |= flatten(record["test"]) | _fpr95_of_known_images(record["test"])
    provenance = record["provenance"]
    if "commits" in provenance:
        provenance = provenance | {"commits": len(provenance["commits"])}
    return row | flatten(record["cost"], "cost.") | flatten(provenance, "provenance.")


def _frame(rows: list[dict]):
    import pandas as pd

    names = dict.fromkeys(name for row in rows for name in row)  # in the order of their arrival
    if rows:
        return pd.DataFrame({name: [row.get(name, nan) for row in rows] for name in names})
    return pd.DataFrame(columns=["run_id", *(field.name for field in fields(RunConfig)), "setting"])


def all_runs():
    """Every good record of the store as a row, as `records_to_frame` gives them.

    Rows are in the order of `store.all_records`. Bad records are named in a warning.
    """
    kept = record_files()
    if len(kept) < SMALLEST_STORE:
        return records_to_frame(all_records())
    known, rows, changed = _read(), [], False
    for path in kept:
        stamp = _stamp(path)
        row = known.pop(stamp, None)
        if row is None:
            try:
                row, changed = _row(read_record(path)), stamp is not None or changed
            except BadRecord as error:
                files.left_out(error)
                continue
        rows.append((stamp, row))
    if changed or known:
        _write([(stamp, row) for stamp, row in rows if stamp is not None])
    return _frame([row for _, row in rows])


def _fpr95_of_known_images(test: dict) -> dict[str, float]:
    """FPR@95 with the OoD images as the positive class, by column, where a ROC curve is recorded.

    The share of known images that are rejected where 95 % of the OoD images are: what the recorded
    curve misses at a false positive rate of 0.05.
    """
    found = {}
    for name, values in test.get("ood", {}).items():
        curve = values.get("roc") if isinstance(values, dict) else None
        if curve and 0.05 in curve["fpr"]:
            missed = 1 - curve["tpr"][curve["fpr"].index(0.05)]
            found[f"ood.{name}.fpr95_ood_positive"] = round(missed, 6)
    return found


def _stamp(path: Path) -> tuple[str, int, int, int] | None:
    """What tells whether the row of a file still holds; None for what is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    name = path.relative_to(paths.RUNS).as_posix()
    return name, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read() -> dict[tuple, dict]:
    """The rows of the index by the stamp of their file; none of an index that is not whole."""
    try:
        content = paths.read_regular(paths.index_path(), LARGEST_INDEX)
    except (OSError, ValueError, MemoryError):
        return {}
    digest, _, body = content.partition(b"\n")
    if digest != _digest(body):
        return {}
    held = json.loads(body)
    return dict(zip(map(tuple, held["stamps"]), held["rows"], strict=True))


def _write(rows: list[tuple]) -> None:
    """Replace the index; where the folder cannot be written to, the next call reads again."""
    held = {"stamps": [stamp for stamp, _ in rows], "rows": [row for _, row in rows]}
    body = json.dumps(held, separators=(",", ":")).encode()
    with suppress(OSError):
        paths.write_whole(paths.index_path(), _digest(body) + b"\n" + body)


def _digest(body: bytes) -> bytes:
    """What an index begins with: of its content, and of the code that made it."""
    return hashlib.sha256(_CODE.encode() + body).hexdigest().encode()


def _code() -> str:
    """Digest of the modules that turn a record to a row: the rows of other code do not hold."""
    modules = (config, datasets, files, forms, schema, store, validation)
    sources = (*(module.__file__ for module in modules), __file__)
    return hashlib.sha256(b"".join(Path(name).read_bytes() for name in sources)).hexdigest()[:12]


_CODE = _code()
