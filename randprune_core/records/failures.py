"""The notes that failed runs leave in `results/failed/`: which run, and why.

A failed run has no record and may be tried again; its note goes when it is recorded.
"""

import os
from pathlib import Path

from .. import paths
from ..config import RunConfig, config_from_dict, config_to_dict, run_id
from .files import BadRecord, left_out, listed, read_json, set_aside, to_json, write_whole
from .forms import as_text, note_problem
from .schema import VERSION


def note_failure(config: RunConfig, error: Exception) -> None:
    """Note that a run's loss is no longer finite; it may be tried again."""
    path = paths.failed_path(run_id(config))
    if os.path.lexists(path) and not path.is_file():
        aside = set_aside(path)
        left_out(f"{path} was no note of this run; kept as {aside.name}")
    note = {"schema": VERSION, "run_id": run_id(config), "config": config_to_dict(config)}
    write_whole(path, to_json(note | {"error": as_text(error)}))


def all_failures() -> dict[str, tuple[RunConfig, str]]:
    """Config and error of every failed run, by run id; a bad note is named in a warning."""
    found = {}
    for path in listed(paths.FAILED, "*.json"):
        try:
            found[path.stem] = read_failure(path)
        except BadRecord as error:
            left_out(error)
    return found


def read_failure(path: Path) -> tuple[RunConfig, str]:
    """The config and the error in one note; raises `BadRecord`, in one line, for anything else."""
    note = read_json(path)
    if problem := note_problem(note, path.stem):
        raise BadRecord(f"{path}: {problem}")
    try:
        config = config_from_dict(note["config"])
    except (ValueError, TypeError) as problem:
        raise BadRecord(f"{path}: not the note of a failed run ({problem})") from problem
    if run_id(config) != path.stem:
        raise BadRecord(f"{path}: not the note of the failed run {run_id(config)}")
    return config, " ".join(note["error"].split())
