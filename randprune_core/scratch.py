"""Scratch: folders for a while and half-written files, and what killed processes left of them.

The name of each has the number of the process that made it, which holds a lock on it.
"""

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import paths

_SCRATCH = re.compile(r"\.?randprune-scratch-(\d+)-\w+|\..+\.(\d+)\.tmp")


@contextmanager
def scratch_folder(within: Path | None = None) -> Iterator[Path]:
    """A folder that lasts as long as the block: hidden `within` another one, or a temporary one."""
    prefix = f"{'.' if within else ''}randprune-scratch-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=within) as folder:
        held = os.open(folder, os.O_RDONLY)
        try:
            paths.hold(held)
            yield Path(folder)
        finally:
            os.close(held)


def remove_leftovers(folders: Iterable[Path] | None = None) -> None:
    """Delete the scratch of processes that have ended, in folders (None: wherever any is made)."""
    for folder in _places() if folders is None else folders:
        with suppress(OSError):  # it is not there, or not ours
            for path in [folder / name for name in os.listdir(folder)]:
                if (found := _SCRATCH.fullmatch(path.name)) and _abandoned(path, found):
                    _remove(path)


def _places() -> Iterator[Path]:
    with suppress(OSError):
        yield Path(tempfile.gettempdir())
    for folder in (paths.NOTEBOOKS, paths.BOOK, paths.BUILD):
        yield from [Path(found) for found, *_ in os.walk(folder)]
    yield from (paths.LOCAL, paths.FIGURES, paths.FAILED, paths.CHECKPOINTS, paths.RUNS)
    with suppress(OSError):
        yield from [path for path in paths.RUNS.iterdir() if path.is_dir()]


def _abandoned(path: Path, name: re.Match) -> bool:
    """Whether this user made it and nobody works on it: here, in a container or on another host."""
    maker = int(name[1] or name[2])
    if maker != os.getpid() and _runs(maker):
        return False
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # this file system has no locks: the number has to do
        pass
    finally:
        found = os.fstat(file)
        os.close(file)
    return found.st_uid == os.geteuid()


def _runs(process: int) -> bool:
    """Whether there is such a process; one that has ended stays listed until its parent asks."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    with suppress(OSError):  # as on a system without /proc
        state = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2]
        return state.split()[0] not in ("Z", "X")
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
