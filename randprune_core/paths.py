"""Every folder of the project, named once, and how a file in one of them is replaced.

No other module builds a path of its own.

`ROOT` is the repository (the folder that holds `randprune_core`). `$RANDPRUNE_RESULTS` moves the
record store elsewhere, which is what tests and read-only installations use.
"""

import os
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
STORED_OUTPUTS = NOTEBOOKS / "outputs.json"
BOOK = ROOT / "book"
BUILD = ROOT / "_build"

RESULTS = Path(os.environ.get("RANDPRUNE_RESULTS") or ROOT / "results")
with suppress(OSError, RuntimeError):  # `check_environment` says what is wrong with it
    RESULTS = RESULTS.resolve()
RUNS = RESULTS / "runs"
FAILED = RESULTS / "failed"
FIGURES = RESULTS / "figures"
PAPER = RESULTS / "paper"
BENCHMARKS = RESULTS / "benchmarks"
LOCAL = RESULTS / "local"
CHECKPOINTS = RESULTS / "checkpoints"


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file, fsync, rename: at no moment is half a file under the name.

    Makes the folder. Raises OSError where that is not possible, and then leaves no file behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def content(path: Path) -> bytes:
    """What a file holds, for a hash: with line ends as Unix has them, whatever a checkout made."""
    return path.read_bytes().replace(b"\r\n", b"\n")


_BARS = (
    "MININTERVAL",
    "MAXINTERVAL",
    "MINITERS",
    "SMOOTHING",
    "DELAY",
    "NCOLS",
    "NROWS",
    "POSITION",
)
NUMBERS = dict.fromkeys((f"TQDM_{name}" for name in _BARS), float)
NUMBERS |= dict.fromkeys(("WORLD_SIZE", "RANK", "LOCAL_RANK"), int)
"""Variables that are read as numbers, here or by a library that does not name them."""


def check_environment() -> None:
    """Raise ValueError, in one line with its name, for a variable that cannot be what it is."""
    for name, kind in NUMBERS.items():
        if (value := os.environ.get(name)) is not None:
            try:
                kind(value or "0" if name.startswith("TQDM") else value)
            except ValueError:
                raise ValueError(f"{name}={value} is not a number: set one, or unset it") from None
    for name in ("RANDPRUNE_DATA", "RANDPRUNE_RESULTS"):
        if given := os.environ.get(name):
            _folder(name, given, expand=name == "RANDPRUNE_DATA")


def _folder(name: str, given: str, expand: bool) -> Path:
    """The folder that a variable names; ValueError where it can be none, as a path too long."""
    try:
        path = Path(given).expanduser() if expand else Path(given)
        path = path.resolve()
        with suppress(FileNotFoundError, PermissionError, NotADirectoryError):
            path.stat()
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        shown = given if len(given) < 60 else f"{given[:50]}…"
        raise ValueError(f"{name}={shown} names no folder: {why.rstrip('.')}") from None
    return path


def use_results(folder: Path) -> None:
    """Keep checkpoints and notes of this process in another results folder from now on."""
    global RESULTS, CHECKPOINTS, LOCAL
    RESULTS, CHECKPOINTS, LOCAL = folder, folder / "checkpoints", folder / "local"


def data_root() -> Path:
    """Where data sets are read from: `$RANDPRUNE_DATA`, else `randprune` in the user's cache.

    Raises ValueError that names the variable where it can be no folder.
    """
    if given := os.environ.get("RANDPRUNE_DATA"):
        return _folder("RANDPRUNE_DATA", given, expand=True)
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
