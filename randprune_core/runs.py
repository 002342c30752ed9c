"""The record store: train a run once, keep its record, find it again.

A record is `results/runs/<dataset>/<run_id>.json`, written once and never rewritten in place. A
file that does not parse, has another schema, or whose name is not the hash of its config is named
in a warning and not used; it is never deleted.
"""

import fcntl
import json
import os
import platform
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from . import paths
from .config import RunConfig, config_from_dict, config_to_dict, run_id

SCHEMA = 1
SECTIONS = ("schema", "run_id", "config", "provenance", "layers", "cost", "history", "test")


class MissingRecord(LookupError):
    """There is no record of a run and it was not to be trained."""


class BadRecord(ValueError):
    """A file in the record store is not a record of the run it is named after."""


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
    with _lock(name):
        if (record := find_record(config)) is not None:  # trained by whoever held the lock
            return record
        record = _train_record(config, device, progress, deadline)
        write_record(record)
        paths.failed_path(name).unlink(missing_ok=True)
    return record


def _train_record(config, device, progress, deadline) -> dict:
    from .training import TrainingFailed, train

    started, clock = datetime.now(UTC), time.perf_counter()
    code = code_version()
    try:
        result = train(config, device, progress=progress, deadline=deadline)
    except TrainingFailed as error:
        note = {"schema": SCHEMA, "run_id": run_id(config), "config": config_to_dict(config)}
        _write_json(paths.failed_path(run_id(config)), note | {"error": str(error)})
        raise
    provenance = {
        **code,
        "versions": _versions(),
        "device": device_name(device),
        "threads": _threads(),
        "data": result.pop("data"),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 1),
    }
    return {
        "schema": SCHEMA,
        "run_id": run_id(config),
        "config": config_to_dict(config),
        "provenance": provenance,
        **result,
    }


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
    """Read and check one record file; raises `BadRecord`, in one line, for any other content."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BadRecord(f"{path}: not readable as JSON ({error})") from error
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
        expected = run_id(config_from_dict(record["config"]))
    except (ValueError, TypeError) as error:
        raise BadRecord(f"{path}: its config is not valid ({error})") from error
    if not expected == record["run_id"] == path.stem:
        raise BadRecord(
            f"{path}: the run id {record['run_id']!r} and the file name must be the hash of the "
            f"config, {expected}"
        )
    return record


def write_record(record: dict) -> Path:
    """Store a record atomically and return its path; a bad file in its place is moved aside."""
    path = paths.record_path(record["config"]["dataset"], record["run_id"])
    if path.exists():
        aside = path.with_name(f"{path.name}.set-aside-{time.time_ns()}")
        path.rename(aside)
        warnings.warn(f"{path} was no record of this run; kept as {aside.name}", stacklevel=2)
    _write_json(path, record)
    return path


def _write_json(path: Path, content: dict) -> None:
    """Write to a temporary file, fsync, rename: at no moment is half a file under the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(content, file, allow_nan=False, separators=(",", ":"))
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _lock(name: str) -> Iterator[None]:
    """Hold the run's `flock`; the system releases it when the process dies, however it dies.

    The file is removed by its holder. Whoever was waiting for it then holds the lock of a file
    that nobody else can find, and so asks again.
    """
    path = paths.lock_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_open_as(path, file):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_open_as(path: Path, file) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def load_runs(**filters):
    """All records as a DataFrame, one row a run, in the order of their run ids.

    Columns: `run_id`, the fields of `RunConfig`, the flattened `test` keys (`accuracy`, `ece`,
    `ood.cifar100.auroc`, `pgd.1.accuracy`, ...; bins and curves stay in the record), and
    `cost.*` and `provenance.*`. A filter names a config field and gives a value or a collection of
    values: `load_runs(dataset="cifar10", ratio=("dense", "erk"))`. Raises `ValueError` for a filter
    that is no config field. Bad records are left out with a warning that names them.
    """
    known = [field.name for field in fields(RunConfig)]
    if unknown := sorted(set(filters) - set(known)):
        raise ValueError(f"unknown filter {unknown[0]!r}: filter by {', '.join(known)}")
    wanted = {
        name: {value} if isinstance(value, str) or not hasattr(value, "__iter__") else set(value)
        for name, value in filters.items()
    }
    found = (
        record
        for record in all_records()
        if all(record["config"][name] in values for name, values in wanted.items())
    )
    return records_to_frame(found)


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
        row = {"run_id": record["run_id"], **record["config"]}
        row |= _flatten(record["test"])
        row |= _flatten(record["cost"], "cost.") | _flatten(record["provenance"], "provenance.")
        rows.append(row)
    if rows:
        return pd.DataFrame(rows)
    return pd.DataFrame(columns=["run_id", *(field.name for field in fields(RunConfig))])


def _flatten(values: dict, prefix: str = "") -> dict:
    """Nested keys joined by dots; lists are left out."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
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


def check_records() -> list[str]:
    """What contradicts itself in the store, one line a problem: files, budgets, ranges."""
    problems = []
    for path in sorted(paths.RUNS.glob("*/*.json")):
        try:
            record = read_record(path)
        except BadRecord as error:
            problems.append(str(error))
            continue
        try:
            problems += [f"{path}: {problem}" for problem in _contradictions(record)]
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(f"{path}: a section is not complete ({error!r})")
    return problems


def _contradictions(record: dict) -> Iterator[str]:
    config, layers = record["config"], record["layers"]
    total = sum(layer["total"] for layer in layers)
    kept = sum(layer["kept"] for layer in layers)
    budget = (1 - config["sparsity"]) * total
    if config["granularity"] == "unstructured" and abs(kept - budget) > len(layers):
        yield f"keeps {kept} of {total} weights, but sparsity {config['sparsity']} is {budget:.0f}"
    if kept != record["cost"]["kept_weights"]:
        yield f"layers keep {kept} weights, cost says {record['cost']['kept_weights']}"
    if len(record["history"]["epoch"]) != config["epochs"]:
        yield f"history has {len(record['history']['epoch'])} of {config['epochs']} epochs"
    for name, value in _flatten(record["test"]).items():
        fraction = name.endswith(("accuracy", "ece", "auroc", "fpr95", "auroc_energy"))
        if fraction and not 0 <= value <= 1:
            yield f"{name} is {value}, not a fraction in [0, 1]"
    counted = sum(row["count"] for row in record["test"]["bins"])
    if counted != record["test"]["n"]:
        yield f"the calibration bins hold {counted} images, the test set {record['test']['n']}"
