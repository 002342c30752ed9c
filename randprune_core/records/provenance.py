"""Where a record comes from: the code, the versions and the machine that trained it, and when."""

import os
import platform
import subprocess
import time
import warnings
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

    Both are None where the code is not the whole of a git checkout: a copy that lies inside of
    another repository has no commit. A warning says why git refuses a checkout (of another owner).
    A worker of a cluster has a copy of the driver's code, whose version `use_code` gave it.
    """
    if _GIVEN:
        return _GIVEN.copy()
    try:
        if not os.path.samefile(_git("rev-parse", "--show-toplevel"), paths.ROOT):
            return {"commit": None, "dirty": None}
        commit = _git("rev-parse", "HEAD")
        dirty = bool(_git("status", "--porcelain", "--untracked-files=no", "--", ":!results"))
    except subprocess.CalledProcessError as error:
        if "dubious ownership" in error.stderr:
            warnings.warn(
                f"the commit of the code is not recorded: {paths.ROOT} belongs to another user, "
                f"and git does not read it; `git config --global --add safe.directory {paths.ROOT}`"
                " allows it",
                stacklevel=2,
            )
        return {"commit": None, "dirty": None}
    except OSError:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": dirty}


def _git(*arguments: str) -> str:
    """What git says of the checkout that this file is in, and of no other."""
    # Exported GIT_DIR, GIT_WORK_TREE and the like would name another repository (a hook has them).
    kept = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(paths.ROOT), *arguments],
        env=kept | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=True,
    )
    return done.stdout.removesuffix("\n")


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
