"""Programs that the book is made with, papermill and Sphinx: they end when this process does."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from ..terminal import FULL_DISK

Key, Value = TypeVar("Key"), TypeVar("Value")

_FULL = [os.strerror(number) for number in FULL_DISK]
_FULL_FILE = re.compile(rf"\[Errno \d+\] ({'|'.join(_FULL)})(?:: (?:.* -> )?(['\"])(.*)\2)?$")


def run_program(
    code: str, *arguments: str, variables: Mapping[str, str], errors: bool = True
) -> tuple[int, str]:
    """Run Python code in a process of its own: its exit status and what it wrote.

    `variables` are its environment. `errors` says whether standard error is part of what it wrote,
    or goes to the terminal. However this process ends, the other one ends within a second.
    """
    package = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, (package, variables.get("PYTHONPATH"))))
    with subprocess.Popen(
        [sys.executable, "-c", f"{_FIRST.format(os.getpid())}; {code}", *arguments],
        env={**variables, "PYTHONPATH": search},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if errors else None,
        encoding="utf-8",
        errors="replace",
    ) as program:
        _RUNNING.add(program)
        try:
            written, _ = program.communicate()
            return program.returncode, written
        except BaseException:
            program.kill()
            raise
        finally:
            _RUNNING.discard(program)


_RUNNING: set[subprocess.Popen] = set()


def side_by_side(jobs: Mapping[Key, Callable[[], Value]], at_once: int) -> dict[Key, Value]:
    """What jobs return, of which `at_once` run at the same time, each in a thread.

    Raises the first error after all of them have ended. Ctrl-C ends the programs that they run, and
    the others are not begun.
    """
    with ThreadPoolExecutor(at_once) as pool:
        begun = {key: pool.submit(job) for key, job in jobs.items()}
        try:
            wait(begun.values())
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for program in list(_RUNNING):
                program.terminate()
            raise
    return {key: job.result() for key, job in begun.items()}


_FIRST = f"from {__name__} import end_with; end_with({{}})"


def end_with(parent: int) -> None:
    """End this process as soon as it is no longer a child of `parent`, which started it.

    Asking works on every Unix; a signal of
    the system (PR_SET_PDEATHSIG) is known to Linux alone, and comes when a thread of `parent` ends.
    """

    def follow():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def full_disk(text: str, where: object) -> str | None:
    """What a program wrote of a full or a read-only disk, and of which file; None for nothing.

    `where` is what is named where the program named no file.
    """
    for line in reversed(text.splitlines()):
        if found := _FULL_FILE.search(line):
            return f"{found[3] or where}: {found[1]}"
        if any(full in line for full in _FULL):
            return line.strip()
    return None
