"""One lock a run, so that two processes never train the same run at the same time.

A lock is `flock` on a file, taken through `filelock`: the system releases it when the process that
holds it dies, however it dies.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .. import paths
from .files import say, writing


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the lock of a run; waits for whoever holds it, and says for whom."""
    if (held := _acquire(name, wait=False)) is None:
        say(f"run {name}: waiting for {holder(name)}, which is training it")
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


def holder(name: str) -> str:
    """Who holds the lock of a run, in words: a process of this machine is known by its number."""
    try:
        found = os.stat(paths.lock_path(name))
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # it has ended by now, or this is not Linux
        return "another process"
    for words in map(str.split, locks):
        if device in words and words[words.index(device) - 1].isdigit() and "->" not in words:
            return f"process {words[words.index(device) - 1]} on {socket.gethostname()}"
    return "another process, perhaps on another machine"


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
