"""The record store: train a run once, keep its record, find it again.

A record is `results/runs/<dataset>/<run_id>.json`, written once and never rewritten in place. A
file that does not parse, has another schema, or whose name is not the hash of its config is named
in a warning and not used; it is never deleted.
"""

import platform
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from . import paths
from .config import (
    SIDES,
    RunConfig,
    config_from_dict,
    config_to_dict,
    image_side,
    run_id,
    setting,
)
from .failures import note_failure
from .forms import LONGEST, as_text, record_problem
from .locks import lock, try_lock
from .storage import (
    SCHEMA,
    BadRecord,
    read_json,
    remove_partials,
    to_json,
    write_whole,
    writing,
)

SECTIONS = ("schema", "run_id", "config", "provenance", "layers", "cost", "history", "test")


class MissingRecord(LookupError):
    """There is no record of a run and it was not to be trained."""


def load_or_train(
    config: RunConfig,
    *,
    device: str = "auto",
    train_missing: bool = True,
    progress: bool = True,
    deadline: float | None = None,
) -> dict:
    """The record of a run: from the store, or from training it now and storing it.

    `device` is auto, cpu or cuda; `progress` shows a bar on a terminal; `deadline` (a
    `time.time()`) stops at the first full epoch after it, checkpointed. Two processes that ask for
    the same run train it once. Raises `MissingRecord` when `train_missing` is False and there is no
    record, `training.TrainingFailed` when the loss is no longer finite (noted in
    `results/failed/`), and `training.OutOfTime` at the deadline.
    """
    name = run_id(config)
    if (record := find_record(config)) is not None:
        return record
    if not train_missing:
        raise MissingRecord(f"run {name} is not recorded: {config}")
    with lock(name):
        if (record := find_record(config)) is not None:  # trained by whoever held the lock
            return record
        _tidy(config)
        return train_and_store(config, device, progress, deadline)


def train_and_store(
    config: RunConfig, device: str, progress: bool = False, deadline: float | None = None
) -> dict:
    """Train a run, store its record and return it; the caller holds its lock, as from `claim`."""
    from .training import TrainingFailed, train

    begun = Begun()
    try:
        result = train(config, device, progress=progress, deadline=deadline)
    except TrainingFailed as error:
        note_failure(config, error)
        raise
    return store_result(config, result, device, begun)


class Begun:
    """The state of things when a run began: time, and the code that trains it."""

    def __init__(self):
        self.started, self._clock = datetime.now(UTC), time.perf_counter()
        self.code = code_version()

    def seconds(self) -> float:
        """Seconds since then."""
        return round(time.perf_counter() - self._clock, 1)


def store_result(
    config: RunConfig, result: dict, device: str, begun: Begun, at_once: int | None = None
) -> dict:
    """Make the record of what `training.train` returned, store it and return it (`make_record`)."""
    return store_record(make_record(config, result, device, begun, at_once))


def make_record(
    config: RunConfig, result: dict, device: str, begun: Begun, at_once: int | None = None
) -> dict:
    """The record of what `training.train` returned; to be called in the process that trained.

    `at_once` is the number of runs that shared the device, which its seconds depend on.
    """
    provenance = {
        **begun.code,
        "versions": _versions(),
        "device": as_text(device_name(device), LONGEST["text"]),
        "threads": _threads(),
        "data": result["data"],
        "started": begun.started.isoformat(timespec="seconds"),
        "seconds": begun.seconds(),
    }
    if at_once is not None:
        provenance["at_once"] = at_once
    if "processes" in result:  # that shared the run
        provenance["processes"] = result["processes"]
    return {
        "schema": SCHEMA,
        "run_id": run_id(config),
        "config": config_to_dict(config),
        "provenance": provenance,
        **{name: part for name, part in result.items() if name in SECTIONS},
    }


def store_record(record: dict) -> dict:
    """Store a record, forget that the run failed before, and return the record."""
    write_record(record)
    paths.failed_path(record["run_id"]).unlink(missing_ok=True)
    return record


def find_record(config: RunConfig) -> dict | None:
    """The record of a run, or None; a bad file counts as none and is named in a warning."""
    path = paths.record_path(config.dataset, run_id(config))
    if not path.exists():
        return None
    try:
        return read_record(path)
    except BadRecord as error:
        warnings.warn(f"set aside: {error}", stacklevel=2)
        return None


def read_record(path: Path) -> dict:
    """Read and check one record file; raises `BadRecord`, in one line, for any other content.

    Its config has all fields of `RunConfig`, those that did not exist when it was written too.
    """
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else type(record).__name__
        raise BadRecord(f"{path}: its schema is {found!r}, not {SCHEMA}")
    if missing := [section for section in SECTIONS if section not in record]:
        raise BadRecord(f"{path}: it has no {', '.join(missing)}")
    for section in ("config", "provenance", "cost", "history", "test"):
        if not isinstance(record[section], dict):
            found = type(record[section]).__name__
            raise BadRecord(f"{path}: its {section} is a {found}, not an object")
    try:
        config = config_from_dict(record["config"])
        expected = run_id(config)
    except (ValueError, TypeError) as error:
        raise BadRecord(f"{path}: its config is not valid ({error})") from error
    if not expected == record["run_id"] == path.stem:
        raise BadRecord(
            f"{path}: the run id {record['run_id']!r} and the file name must be the hash of the "
            f"config, {expected}"
        )
    if problem := record_problem(record):
        raise BadRecord(f"{path}: {problem}")
    return record | {"config": config_to_dict(config)}


def write_record(record: dict) -> Path:
    """Store a record atomically and return its path; a bad file in its place is moved aside."""
    path = paths.record_path(record["config"]["dataset"], record["run_id"])
    content = to_json(record)
    if path.exists():
        aside = path.with_name(f"{path.name}.set-aside-{time.time_ns()}")
        with writing(path):
            path.rename(aside)
        warnings.warn(f"{path} was no record of this run; kept as {aside.name}", stacklevel=2)
    write_whole(path, content)
    return path


def claim(config: RunConfig) -> ExitStack | None:
    """The lock of a run that is to be trained, to be closed afterwards.

    None where the run is recorded by now, or another process is training it.
    """
    held = try_lock(run_id(config))
    if held is not None and find_record(config) is not None:
        held.close()
        return None
    if held is not None:
        _tidy(config)
    return held


def _tidy(config: RunConfig) -> None:
    """Remove what a killed process left half written of a run whose lock is held."""
    name = run_id(config)
    remove_partials(paths.record_path(config.dataset, name))
    remove_partials(paths.checkpoint_path(name))


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
    from . import index

    runs = found = index.all_runs()
    for name, values in wanted.items():
        if name == "image_size" and None in values:
            values = values | set(SIDES.values())
        found = found[found[name].isin(values)]
    emptied = runs.notna().any() & found.isna().all()  # what only the runs left out measured
    return found.loc[:, ~emptied | runs.columns.isin(known)].reset_index(drop=True)


def all_records(dataset: str = "*") -> Iterator[dict]:
    """Every good record of the store, by data set and run id; bad ones are named in a warning."""
    for path in sorted(paths.RUNS.glob(f"{dataset}/*.json")):
        try:
            yield read_record(path)
        except BadRecord as error:
            warnings.warn(f"set aside: {error}", stacklevel=2)


def records_to_frame(records):
    """Records as a DataFrame, one row each, in the order given (columns as in `load_runs`)."""
    import pandas as pd

    rows = []
    for record in records:
        config = record["config"]
        row = {"run_id": record["run_id"], **config, "image_size": image_side(config)}
        row["setting"] = setting(config)
        row |= flatten(record["test"])
        row |= flatten(record["cost"], "cost.") | flatten(record["provenance"], "provenance.")
        rows.append(row)
    if rows:
        return pd.DataFrame(rows)
    return pd.DataFrame(columns=["run_id", *(field.name for field in fields(RunConfig)), "setting"])


def flatten(values: dict, prefix: str = "") -> dict:
    """Nested keys joined by dots; lists are left out."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            flat[prefix + key] = value
    return flat


def code_version() -> dict:
    """Commit of the code and whether tracked files outside `results/` differ from it.

    Both are None where the code is not in a git checkout.
    """

    def git(*arguments):
        command = ["git", "-C", str(paths.ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no", "--", ":!results"))
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": dirty}


def _versions() -> dict:
    import numpy
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),  # importing it would cost seconds
        "numpy": numpy.__version__,
    }


def device_name(device: str = "auto") -> str:
    """The model name of the processor or GPU, as provenance states it."""
    import torch

    from .engine import pick_device

    picked = pick_device(device)
    if picked.type == "cuda":
        return torch.cuda.get_device_name(picked)
    try:
        with open("/proc/cpuinfo") as info:
            for line in info:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _threads() -> int:
    import torch

    return torch.get_num_threads()
