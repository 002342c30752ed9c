"""Plain `pytest --nbval notebooks` compares the chapters as `make test` does."""

import os
from pathlib import Path


def pytest_configure(config):
    """What the kernels need, and patterns of what may differ; given options stay."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # digits of a run depend on it
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # else a warning is stored
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    if getattr(config.option, "nbval", False):
        config.option.nbval_current_env = True
        if config.option.nbval_sanitize_with is None:
            patterns = Path(__file__).parent.parent / "tests" / "nbval_sanitize.cfg"
            config.option.nbval_sanitize_with = str(patterns)
