"""Where a record comes from: the code, the versions and the machine that trained it, and when."""

import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version

from .. import paths
from ..devices import device_name
from .forms import LONGEST, as_text


class Begun:
    """The state of things when a run began: time, and the code that trains it."""

    def __init__(self):
        self.started, self._clock = datetime.now(UTC), time.perf_counter()
        self.code = code_version()

    def seconds(self) -> float:
        """Seconds since then."""
        return round(time.perf_counter() - self._clock, 1)


_GIVEN: dict = {}


def use_code(code: dict) -> None:
    """Have `code_version` answer with this from now on, in this process."""
    _GIVEN.clear()
    _GIVEN.update(code)


def code_version() -> dict:
    """Commit of the code and whether tracked files outside `results/` differ from it.

    Both are None where the code is not in a git checkout. A worker of a cluster has a copy of the
    driver's code, whose version `use_code` gave it.
    """
    if _GIVEN:
        return _GIVEN.copy()

    def git(*arguments):
        command = ["git", "-C", str(paths.ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no", "--", ":!results"))
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": dirty}


def environment(device: str) -> dict:
    """Versions, device and threads of this process: to be asked in the one that trained."""
    import numpy
    import torch

    return {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),  # importing it would cost seconds
            "numpy": numpy.__version__,
        },
        "device": as_text(device_name(device), LONGEST["text"]),
        "threads": torch.get_num_threads(),
    }
