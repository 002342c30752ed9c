"""Every folder of the project, named once, and how a file in one of them is replaced.

No other module builds a path of its own.

`ROOT` is the folder that holds `randprune_core`: the repository, or where the package is installed.
Records lie in `results/` of the repository, and of an installed package in `results/` of the
working directory; `$RANDPRUNE_RESULTS` moves them elsewhere. What is input and no result is read
where it is shipped: the paper's numbers are part of the package, the committed benchmarks of the
repository.
"""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent
IN_REPOSITORY = (ROOT / "_toc.yml").is_file()
NOTEBOOKS = ROOT / "notebooks"
STORED_OUTPUTS = NOTEBOOKS / "outputs.json"
BOOK = ROOT / "book"
BUILD = ROOT / "_build"


def _folder(variable: str, given: str) -> Path:
    """The absolute folder that a variable names; ValueError, in one line, for one that cannot be.

    Symbolic links on the way to it are followed.
    """
    try:
        folder = Path(given).expanduser().resolve()
        with suppress(FileNotFoundError, PermissionError):  # it is made, or named where it is used
            os.stat(folder)
    except (OSError, RuntimeError, ValueError) as error:
        shown = given if len(given) <= 100 else f"{given[:100]}…"
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{variable}={shown} names no folder: {reason}") from error
    return folder


def _results() -> Path:
    """The results folder; the repository's own under the path that it has there, links or not."""
    own = (ROOT if IN_REPOSITORY else Path.cwd()) / "results"
    given = os.environ.get("RANDPRUNE_RESULTS")
    folder = _folder("RANDPRUNE_RESULTS", given) if given else own
    return own if folder == own.resolve() else folder


RESULTS = _results()
RUNS = RESULTS / "runs"
FAILED = RESULTS / "failed"
FIGURES = RESULTS / "figures"
PAPER = PACKAGE / "published"  # what the paper published
BENCHMARKS = RESULTS / "benchmarks"  # what was measured here
COMMITTED_BENCHMARKS = ROOT / "results" / "benchmarks"  # read for what was not
LOCAL = RESULTS / "local"
CHECKPOINTS = RESULTS / "checkpoints"


def write_whole(path: Path, content: bytes) -> None:
    """Write to a temporary file, fsync, rename: at no moment is half a file under the name.

    Makes the folder. Raises OSError with the name of the file where that is not possible, and then
    leaves no file behind. What a killed process left is for `scratch.remove_leftovers`.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(partial, "wb") as file:
            hold(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):  # that of a full disk names no file
            error.filename = str(path)
        raise


def hold(descriptor: int) -> None:
    """Lock what is open there until it is closed, where the file system has locks."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def read_regular(path: Path, largest: int) -> bytes:
    """The content of a regular file of at most `largest` bytes, or of one that a symlink leads to.

    Raises OSError or ValueError for anything else. What lies there is looked at first: opening a
    FIFO would wait for a writer, and a device may do anything.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no regular file")
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())  # which may be another one by now
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        if found.st_size > largest:
            raise ValueError(f"it has {found.st_size:,} bytes: {largest:,} are allowed")
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest:,} bytes")
    return content


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
            _folder(name, given)


def check_repository(command: str) -> None:
    """Raise ValueError, in one line, where a command needs the repository and this is a copy."""
    if not IN_REPOSITORY:
        raise ValueError(
            f"{command} needs the repository with its notebooks, not the installed package: clone "
            "it and run the command there"
        )


def use_results(folder: Path) -> None:
    """Keep checkpoints and notes of this process in another results folder from now on."""
    global RESULTS, CHECKPOINTS, LOCAL
    RESULTS, CHECKPOINTS, LOCAL = folder, folder / "checkpoints", folder / "local"


class NoHome(ValueError):
    """This user has no home folder, and nothing says where else to look."""


def data_root() -> Path:
    """Where data sets are read from: `$RANDPRUNE_DATA`, else `randprune` in the user's cache.

    Raises ValueError that names the variable where it can be no folder, `NoHome` where neither is.
    """
    if given := os.environ.get("RANDPRUNE_DATA"):
        return _folder("RANDPRUNE_DATA", given)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "randprune"
    try:
        return Path.home() / ".cache" / "randprune"
    except RuntimeError as error:
        raise NoHome(
            "this user has no home folder to look for data in: set RANDPRUNE_DATA to a folder"
        ) from error


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


def rerun_folder() -> Path:
    """Where a chapter that does not have its default parameters writes its figure data.

    `$RANDPRUNE_RERUN`, which the command `notebook` sets for its kernel, else `results/local/`.
    """
    return Path(os.environ.get("RANDPRUNE_RERUN") or LOCAL)


def identified_path() -> Path:
    """Which copies of a data set were recognised before: `results/local/identified_data.json`."""
    return LOCAL / "identified_data.json"


def index_path() -> Path:
    """The rows that `load_runs` read before, for a large store: `results/local/index.json`."""
    return LOCAL / "index.json"
