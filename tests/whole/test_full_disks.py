"""A full disk under `notebook` and `book`: one line that names the file, and exit status 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_project import CHAPTER, small_copy

FULL = "No space left on device"
SAVING = """\
import pandas as pd
from randprune_core.chapters.shared.tables import save_figure_data
path = save_figure_data(pd.DataFrame({"x": range(5000)}), "depth", default=a == 1)
"""


def on_small_disk(project: Path, place: str, size: str, *command: str):
    """Run a command where a file system of this size lies on a folder; skips without the right."""
    folder = project.parent / place
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o "size=$0" none "$1"']
    try:
        allowed = subprocess.run([*mount, size, folder], capture_output=True).returncode == 0
    except OSError:
        allowed = False
    if not allowed:
        pytest.skip("only root may mount a file system")
    then = 'mount -t tmpfs -o "size=$0" none "$1" && shift && exec "$@"'
    program = [sys.executable, "-m", "randprune_core", *command]
    return subprocess.run(
        [*mount[:-1], then, size, folder, *program],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
    )


def environment(project: Path) -> dict:
    (project.parent / "temporary").mkdir(exist_ok=True)
    return os.environ | {
        "PYTHONPATH": str(project),
        "RANDPRUNE_RESULTS": str(project / "results"),
        "TMPDIR": str(project.parent / "temporary"),
    }


@pytest.fixture
def project(tmp_path):
    small_copy(tmp_path / "project", SAVING + CHAPTER)
    return tmp_path / "project"


# Where the file system lies, its size, the command, and what the line names.
CASES = [
    (
        "project/results/local",
        "4k",
        "notebook 01_depth",
        "results/local/01_depth/default/01_depth.ipynb",
    ),
    ("project/results/figures", "4k", "notebook 01_depth", "results/figures/depth.csv"),
    (
        "project/results/local",
        "4k",
        "notebook 01_depth -p a 2",
        "results/local/01_depth/a=2/depth.csv",
    ),
    ("temporary", "4k", "notebook 01_depth", "temporary/randprune-scratch-"),
    ("project/_build", "4k", "book", "_build/executed/01_depth.ipynb"),
    ("project/_build", "40k", "book", "_build/staging/"),
    ("project/_build", "6m", "book", "_build/html"),
    ("project/_build", "9m", "book", "_build/html"),
]


@pytest.mark.faults
@pytest.mark.parametrize(("place", "size", "command", "named"), CASES)
def test_a_full_disk_is_named_with_its_file_in_one_line(
    project, survived, place, size, command, named
):
    done = on_small_disk(project, place, size, *command.split())
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("randprune_core: ") and f": {FULL}" in line
    assert named in line.partition(FULL)[0]
    assert list((project.parent / "temporary").iterdir()) == []
    survived()


@pytest.mark.parametrize("command", ["status", "notebook 01_depth -p a 2"])
def test_standard_output_on_a_full_disk_is_named(project, survived, command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "randprune_core", *command.split()],
            cwd=project,
            env=environment(project),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == f"randprune_core: standard output: {FULL}\n"
    survived()
