"""Records as rows: one data frame of all runs, and an index of them for a large store.

The index spares `load_runs` to parse every record each time. It is one Parquet file of the rows
that the records gave, each beside the size and time of change of its file: a record that is new or
was touched is read, and one that is gone is left out. Nothing depends on the index: it may be
deleted at any time and is made again from the records.
"""

import hashlib
import io
import warnings
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from .. import config, datasets, paths
from ..config import RunConfig, image_side, setting
from ..datasets import DATASETS
from . import files, forms, store
from .files import BadRecord
from .store import all_records, flatten, read_record

SMALLEST_STORE = 300
"""Records from which on an index pays; fewer are parsed faster than pandas reads a Parquet file."""

_STAMP = ("file", "size", "changed", "code")


def load_runs(**filters):
    """All records as a DataFrame, one row a run, in the order of their run ids.

    Columns: `run_id`, the fields of `RunConfig`, `setting` (`config.setting`), the flattened `test`
    keys (`accuracy`, `ece`, `ood.cifar100.auroc`, `pgd.1.accuracy`, ...; bins and curves stay in
    the record), and `cost.*` and `provenance.*`. `image_size` is the pixels a side, the data set's
    own where the config has None. A filter names a config field and gives a value
    or a collection of values: `load_runs(dataset="cifar10", ratio=("dense", "erk"))`. Raises
    `ValueError` for a filter that is no config field. Bad records are left out with a warning that
    names them.
    """
    known = [field.name for field in fields(RunConfig)]
    if unknown := sorted(set(filters) - set(known)):
        raise ValueError(f"unknown filter {unknown[0]!r}: filter by {', '.join(known)}")
    wanted = {
        name: {value} if isinstance(value, str) or not hasattr(value, "__iter__") else set(value)
        for name, value in filters.items()
    }
    runs = found = all_runs()
    for name, values in wanted.items():
        if name == "image_size" and None in values:
            values = values | {facts.side for facts in DATASETS.values()}
        found = found[found[name].isin(values)]
    emptied = runs.notna().any() & found.isna().all()  # what only the runs left out measured
    return found.loc[:, ~emptied | runs.columns.isin(known)].reset_index(drop=True)


def records_to_frame(records):
    """Records as a DataFrame, one row each, in the order given (columns as in `load_runs`)."""
    import pandas as pd

    rows = []
    for record in records:
        config = record["config"]
        row = {"run_id": record["run_id"], **config, "image_size": image_side(config)}
        row["setting"] = setting(config)
        row |= flatten(record["test"]) | _fpr95_of_known_images(record["test"])
        row |= flatten(record["cost"], "cost.") | flatten(record["provenance"], "provenance.")
        rows.append(row)
    if rows:
        return pd.DataFrame(rows)
    return pd.DataFrame(columns=["run_id", *(field.name for field in fields(RunConfig)), "setting"])


def all_runs():
    """Every good record of the store as a row, as `records_to_frame` gives them.

    Rows are in the order of `store.all_records`. A column that only left-out records had may be
    there, empty. Bad records are named in a warning.
    """
    kept = sorted(paths.RUNS.glob("*/*.json"))
    if len(kept) < SMALLEST_STORE:
        return records_to_frame(all_records())
    import pandas as pd

    stamps = pd.DataFrame([_stamp(path) for path in kept], columns=list(_STAMP))
    known = _read()
    if known is not None:
        known = known.merge(stamps, on=list(_STAMP))
    indexed = set() if known is None else set(known.file)
    new, read = [], []
    for name, path in zip(stamps.file, kept, strict=True):
        if name in indexed:
            continue
        try:
            new.append(read_record(path))
            read.append(name)
        except BadRecord as error:
            warnings.warn(f"set aside: {error}", stacklevel=2)
    if new:
        rows = records_to_frame(new)
        rows = pd.concat([stamps.set_index("file").loc[read].reset_index(), rows], axis=1)
        known = rows if known is None else pd.concat([known, rows], ignore_index=True)
        known = known.sort_values("file", ignore_index=True)
        _write(known)
    if known is None:
        return records_to_frame([])
    return known.drop(columns=list(_STAMP))


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
    content = io.BytesIO()
    rows.to_parquet(content, index=False)
    with suppress(OSError):
        paths.write_whole(paths.index_path(), content.getvalue())


def _code() -> str:
    """Digest of the modules that turn a record to a row: the rows of other code do not hold."""
    modules = (config, datasets, files, forms, store)
    sources = (*(module.__file__ for module in modules), __file__)
    return hashlib.sha256(b"".join(Path(name).read_bytes() for name in sources)).hexdigest()[:12]


_CODE = _code()
