"""One lock a run, so that two processes never train the same run at the same time.

A lock is `flock` on a file, taken through `filelock`: the system releases it when the process that
holds it dies, however it dies.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .. import paths
from .files import writing


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the lock of a run; waits for whoever holds it."""
    held = _acquire(name, wait=True)
    try:
        yield
    finally:
        _release(held)


def try_lock(name: str) -> ExitStack | None:
    """The run's lock, to be closed afterwards; None where another process holds it."""
    if (held := _acquire(name, wait=False)) is None:
        return None
    stack = ExitStack()
    stack.callback(_release, held)
    return stack


def _acquire(name: str, wait: bool) -> FileLock | None:
    path = paths.lock_path(name)
    # Never the library's soft lock, which outlives its process where a file system has no `flock`.
    held = FileLock(path, thread_local=False, fallback_to_soft=False)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(blocking=wait)
        except Timeout:
            return None
    return held


def _release(held: FileLock) -> None:
    """Remove the file while it is still locked: whoever waits for it then makes a new one."""
    Path(held.lock_file).unlink(missing_ok=True)
    held.release()
