"""The record store: the form of a record, and where it is kept and found again.

A record is `results/runs/<dataset>/<run_id>.json`, written once and never rewritten in place. A
file that does not parse, has another schema, or whose name is not the hash of its config is named
in a warning and not used; it is never deleted.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path

from .. import paths
from ..config import RunConfig, config_from_dict, config_to_dict, run_id
from .files import (
    BadRecord,
    left_out,
    listed,
    parse_json,
    read_content,
    remove_partials,
    set_aside,
    to_json,
    write_whole,
)
from .forms import length_problem, record_problem
from .locks import try_lock
from .provenance import Begun, environment
from .schema import SECTIONS
from .schema import VERSION as SCHEMA
from .validation import short

_USUAL = 2**17
"""Bytes that a record hardly has more of: larger ones are checked anew each time."""


def make_record(
    config: RunConfig, result: dict, device: str, begun: Begun, at_once: int | None = None
) -> dict:
    """The record of what `train.train` returned; to be called in the process that trained.

    `at_once` is the number of runs that shared the device, which its seconds depend on.
    """
    provenance = {
        **begun.code,
        **environment(device),
        "data": result["data"],
        "started": begun.started.isoformat(timespec="seconds"),
        "seconds": begun.seconds(),
    }
    if at_once is not None:
        provenance["at_once"] = at_once
    parts = [*result.get("earlier", ()), begun.code]
    if any(part != begun.code for part in parts):  # it was stopped, and went on with other code
        provenance["commits"] = [
            part for part, before in zip(parts, [None, *parts], strict=False) if part != before
        ]
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
    with suppress(OSError):  # what cannot be removed, a folder, is named wherever notes are read
        paths.failed_path(record["run_id"]).unlink(missing_ok=True)
    return record


def find_record(config: RunConfig) -> dict | None:
    """The record of a run, or None; a bad file counts as none and is named in a warning."""
    path = paths.record_path(config.dataset, run_id(config))
    if not os.path.lexists(path):
        return None
    try:
        return read_record(path)
    except BadRecord as error:
        left_out(error)
        return None


def find_records(configs: Iterable[RunConfig]) -> list[dict]:
    """The records of those runs that have one, in the order of the runs."""
    found = map(find_record, configs)
    return [record for record in found if record is not None]


def read_record(path: Path) -> dict:
    """Read and check one record file; raises `BadRecord`, in one line, for any other content.

    Its config has all fields of `RunConfig`, those that did not exist when it was written too. The
    file is read each time, and checked once for each content that it has had; nobody else has the
    record that is returned.
    """
    content = read_content(path)
    if len(content) > _USUAL:
        return _checked(path, content)
    return _copy(_checked_before(path, paths.RUNS, content))


@lru_cache(maxsize=1024)
def _checked_before(path: Path, runs: Path, content: bytes) -> dict:
    """The record, for nobody to change; a build of the book reads the same file 70 times.

    What a check depends on, the folder of the store too, is in the arguments.
    """
    return _checked(path, content)


def _copy(value):
    """A copy of JSON values, all the way down: three times as fast as `copy.deepcopy`."""
    if isinstance(value, dict):
        return {name: _copy(part) for name, part in value.items()}
    if not isinstance(value, list):
        return value
    return [*map(_copy, value)] if {dict, list} & {*map(type, value)} else value.copy()


def _checked(path: Path, content: bytes) -> dict:
    record = parse_json(path, content)
    if problem := record_problem(record):
        raise BadRecord(f"{path}: {problem}")
    try:
        config = config_from_dict(record["config"])
        expected = run_id(config)
    except (ValueError, TypeError) as error:
        raise BadRecord(f"{path}: its config is not valid ({error})") from error
    if not expected == record["run_id"] == path.stem:
        raise BadRecord(
            f"{path}: the run id {short(record['run_id'])} and the file name must be the hash of "
            f"the config, {expected}"
        )
    if path.parent.parent == paths.RUNS and path.parent.name != config.dataset:
        raise BadRecord(f"{path}: a record of {config.dataset} belongs into that folder")
    if problem := length_problem(record):
        raise BadRecord(f"{path}: {problem}")
    return record | {"config": config_to_dict(config)}


def write_record(record: dict) -> Path:
    """Store a record atomically and return its path; a bad file in its place is moved aside."""
    path = paths.record_path(record["config"]["dataset"], record["run_id"])
    content = to_json(record)
    if os.path.lexists(path):
        aside = set_aside(path)
        left_out(f"{path} was no record of this run; kept as {aside.name}")
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
        tidy(config)
    return held


def tidy(config: RunConfig) -> None:
    """Remove what a killed process left half written of a run whose lock is held."""
    name = run_id(config)
    remove_partials(paths.record_path(config.dataset, name))
    remove_partials(paths.checkpoint_path(name))


def all_records(dataset: str = "*") -> Iterator[dict]:
    """Every good record of the store, by data set and run id; bad ones are named in a warning."""
    for path in record_files(dataset):
        try:
            yield read_record(path)
        except BadRecord as error:
            left_out(error)


def refused(known: Collection[str]) -> dict[str, str]:
    """Why entries of the store are not used, by their names in it; `known` run ids are used.

    Those of `digits` do not count: every copy of the repository has others.
    """
    found = {}
    for path in record_files():
        if path.stem not in known and path.parent.name != "digits":
            try:
                read_record(path)
            except BadRecord as error:
                found[f"{path.parent.name}/{path.name}"] = str(error).removeprefix(f"{path}: ")
    return found


def record_files(dataset: str = "*") -> list[Path]:
    """Every entry of the store that is named as a record, whatever it is, in a fixed order."""
    return listed(paths.RUNS, f"{dataset}/*.json")


def flatten(values: dict, prefix: str = "") -> dict:
    """Nested keys joined by dots; lists are left out."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            flat[prefix + key] = value
    return flat
