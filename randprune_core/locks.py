"""One lock a run, so that two processes never train the same run at the same time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from . import paths
from .storage import writing


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the run's `flock`; the system releases it when the process dies, however it dies."""
    held = _acquire(name, fcntl.LOCK_EX)
    try:
        yield
    finally:
        _release(name, held)


def try_lock(name: str) -> ExitStack | None:
    """The run's lock, to be closed afterwards; None where another process holds it."""
    if (held := _acquire(name, fcntl.LOCK_EX | fcntl.LOCK_NB)) is None:
        return None
    stack = ExitStack()
    stack.callback(_release, name, held)
    return stack


def _acquire(name: str, how: int) -> IO | None:
    """The open lock file; None where `how` says not to wait and another process holds it.

    The file is removed by its holder. Whoever was waiting for it then holds the lock of a file
    that nobody else can find, and so asks again.
    """
    path = paths.lock_path(name)
    while True:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "w")  # noqa: SIM115 - open as long as the lock is held
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        if _is_open_as(path, file):
            return file
        file.close()


def _release(name: str, held: IO) -> None:
    paths.lock_path(name).unlink(missing_ok=True)
    held.close()


def _is_open_as(path: Path, file) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
