"""The notes that failed runs leave in `results/failed/`: which run, and why.

A failed run has no record and may be tried again; its note goes when it is recorded.
"""

import warnings
from pathlib import Path

from .. import paths
from ..config import RunConfig, config_from_dict, config_to_dict, run_id
from .files import SCHEMA, BadRecord, read_json, to_json, write_whole
from .forms import as_text, note_problem


def note_failure(config: RunConfig, error: Exception) -> None:
    """Note that a run's loss is no longer finite; it may be tried again."""
    note = {"schema": SCHEMA, "run_id": run_id(config), "config": config_to_dict(config)}
    write_whole(paths.failed_path(run_id(config)), to_json(note | {"error": as_text(error)}))


def all_failures() -> dict[str, tuple[RunConfig, str]]:
    """Config and error of every failed run, by run id; a bad note is named in a warning."""
    found = {}
    for path in sorted(paths.FAILED.glob("*.json")):
        try:
            found[path.stem] = read_failure(path)
        except BadRecord as error:
            warnings.warn(f"set aside: {error}", stacklevel=2)
    return found


def read_failure(path: Path) -> tuple[RunConfig, str]:
    """The config and the error in one note; raises `BadRecord`, in one line, for anything else."""
    note = read_json(path)
    try:
        config, error = config_from_dict(note["config"]), note["error"]
    except (ValueError, TypeError, LookupError) as problem:
        raise BadRecord(f"{path}: not the note of a failed run ({problem!r})") from problem
    if run_id(config) != path.stem:
        raise BadRecord(f"{path}: not the note of the failed run {run_id(config)}")
    if problem := note_problem(note, path.stem):
        raise BadRecord(f"{path}: {problem}")
    return config, " ".join(error.split())
