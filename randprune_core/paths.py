"""Every folder of the project, named once; no other module builds a path of its own.

`ROOT` is the repository (the folder that holds `randprune_core`). `$RANDPRUNE_RESULTS` moves the
record store elsewhere, which is what tests and read-only installations use.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
STORED_OUTPUTS = NOTEBOOKS / "outputs.json"
BOOK = ROOT / "book"
BUILD = ROOT / "_build"

RESULTS = Path(os.environ.get("RANDPRUNE_RESULTS") or ROOT / "results").resolve()
RUNS = RESULTS / "runs"
FAILED = RESULTS / "failed"
FIGURES = RESULTS / "figures"
PAPER = RESULTS / "paper"
BENCHMARKS = RESULTS / "benchmarks"
LOCAL = RESULTS / "local"
CHECKPOINTS = RESULTS / "checkpoints"


def data_root() -> Path:
    """Where data sets are read from: `$RANDPRUNE_DATA`, else `randprune` in the user's cache."""
    if given := os.environ.get("RANDPRUNE_DATA"):
        return Path(given).expanduser().resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "randprune"


def record_path(dataset: str, run_id: str) -> Path:
    """The JSON file of one run: `results/runs/<dataset>/<run_id>.json`."""
    return RUNS / dataset / f"{run_id}.json"


def failed_path(run_id: str) -> Path:
    """The note that a failed run leaves: `results/failed/<run_id>.json`."""
    return FAILED / f"{run_id}.json"


def checkpoint_path(run_id: str) -> Path:
    """The checkpoint of an unfinished run: `results/checkpoints/<run_id>.pt`."""
    return CHECKPOINTS / f"{run_id}.pt"


def lock_path(run_id: str) -> Path:
    """The lock that keeps two processes from training the same run."""
    return CHECKPOINTS / f"{run_id}.lock"


def identified_path() -> Path:
    """Which copies of a data set were recognised before: `results/local/identified_data.json`."""
    return LOCAL / "identified_data.json"


def index_path() -> Path:
    """The rows that `load_runs` read before, for a large store: `results/local/index.parquet`."""
    return LOCAL / "index.parquet"
