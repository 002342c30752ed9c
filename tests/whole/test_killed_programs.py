"""`notebook` and `book` killed alone: nothing trains on, and the next start cleans up.

The signal goes to the first process only, as from a supervisor or a system without memory; its
papermill, kernel, training workers and Sphinx have to notice by themselves.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from small_project import CHAPTER, small_copy

TRAINING = """\
from randprune_core.config import RunConfig
from randprune_core.sweeps.sweep import sweep
run = {"dataset": "digits", "model": "resnet-8", "ratio": "erk", "sparsity": 0.9}
run |= {"epochs": 100_000, "train_images": 200, "batch_size": 50}
if a == 1:
    sweep([RunConfig(seed_init=seed, **run) for seed in range(2)], device="cpu", workers=2)
"""
SECONDS = 10
"""How long anything may go on after the first process has ended."""


class Programs:
    """The commands of a small repository, and every process that belongs to them."""

    def __init__(self, place: Path):
        self.folder, self.temporary = place / "project", place / "temporary"
        self.started: list[subprocess.Popen] = []
        self.temporary.mkdir(parents=True)
        small_copy(self.folder, TRAINING + CHAPTER)
        self.environment = os.environ | {
            "PYTHONPATH": str(self.folder),
            "RANDPRUNE_RESULTS": str(self.folder / "results"),
            "TMPDIR": str(self.temporary),
        }

    def start(self, *arguments: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "randprune_core", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> int:
        return self.start(*arguments).wait(timeout=400)

    def running(self) -> Iterator[psutil.Process]:
        """Every process that was started with the temporary folder of these programs."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("RANDPRUNE_RESULTS") == str(self.folder / "results"):
                    yield process

    def reached(self, moment: str) -> bool:
        if moment == "training":
            return len(list(self.folder.glob("results/checkpoints/*.lock"))) == 2
        lines = []
        for process in self.running():
            with contextlib.suppress(psutil.Error):
                lines.append(" ".join(process.cmdline()))
        return any(moment in line for line in lines)

    def leave_half_written(self, processes: list[int]) -> None:
        """A checkpoint of each, as of one that ends while it writes; nobody asks how it ended."""
        checkpoints = self.folder / "results" / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        for number in processes:
            (checkpoints / f".run.pt.{number}.tmp").write_text("half")

    def scratch(self) -> list[Path]:
        """What no program may leave for ever: temporary folders and half-written files."""
        return [*self.temporary.iterdir(), *self.folder.rglob(".*.tmp")]


@pytest.fixture
def programs(tmp_path):
    """They lose their first process to this one, which adopts orphans as a user's systemd does."""
    adopt = ctypes.CDLL(None, use_errno=True).prctl
    adopt(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    made = Programs(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
    for process in made.running():
        with contextlib.suppress(psutil.Error):
            process.kill()
    adopt(36, 0, 0, 0, 0)
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, 0)


def kill_alone(programs: Programs, process: subprocess.Popen, moment: str, how: int) -> list[int]:
    """Send one process a signal once its programs are that far; the numbers of the others."""
    end = time.monotonic() + 300
    while not programs.reached(moment):
        assert process.poll() is None and time.monotonic() < end, f"{moment} was not reached"
        time.sleep(0.02)
    others = [found.pid for found in programs.running() if found.pid != process.pid]
    process.send_signal(how)
    process.wait(timeout=30)
    return others


def assert_nothing_runs(programs: Programs) -> None:
    end = time.monotonic() + SECONDS
    while left := list(programs.running()):
        assert time.monotonic() < end, [found.cmdline() for found in left]
        time.sleep(0.1)


SIGNALS = (signal.SIGTERM, signal.SIGKILL)
MOMENTS = ("run_papermill", "ipykernel_launcher", "training")
CASES = [  # each program at each moment, the signals in turns
    (command, moment, SIGNALS[(row + column) % 2])
    for row, command in enumerate(("notebook", "book"))
    for column, moment in enumerate(MOMENTS)
]


@pytest.mark.faults
@pytest.mark.parametrize(("command", "moment", "how"), CASES)
def test_nothing_goes_on_after_a_program_that_is_killed_alone(
    programs, survived, command, moment, how
):
    process = programs.start(*{"notebook": ("notebook", "01_depth")}.get(command, (command,)))
    others = kill_alone(programs, process, moment, how)
    assert len(others) >= {"training": 4}.get(moment, 1), "papermill, kernel and two workers"
    assert_nothing_runs(programs)
    assert programs.scratch(), "it was killed before it made anything"
    programs.leave_half_written(others)
    assert programs.run("notebook", "01_depth", "-p", "no_parameter", "2") == 2
    assert programs.scratch() == []
    survived()


@pytest.mark.faults
def test_ctrl_c_of_a_book_alone_ends_all_and_leaves_no_scratch(programs, survived):
    process = programs.start("book")
    kill_alone(programs, process, "ipykernel_launcher", signal.SIGINT)
    assert process.returncode == 130
    assert_nothing_runs(programs)
    assert programs.scratch() == []
    survived()


@pytest.mark.faults
def test_sphinx_ends_with_a_book_that_is_killed_alone_and_the_next_book_is_whole(
    programs, survived
):
    notebook = programs.folder / "notebooks" / "01_depth.ipynb"
    notebook.write_text(notebook.read_text().replace('"a = 1"', '"a = 2"'))
    pages = programs.folder / "_build" / "html"
    for how in SIGNALS:
        assert kill_alone(programs, programs.start("book"), "jupyter_book", how)
        assert_nothing_runs(programs)
        assert not (pages / "index.html").exists(), "Sphinx went on to its end"
        survived()
    for folder in ("executed", "staging/book", "launch/notebooks"):
        half = programs.folder / "_build" / folder / f".half.{ended_number()}.tmp"
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_text("{")
    assert programs.run("book") == 0
    assert programs.scratch() == []
    assert "Depth" in (pages / "notebooks" / "01_depth.html").read_text()


def ended_number() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.faults
def test_a_program_at_work_keeps_its_scratch_when_another_one_starts(programs, survived):
    process = programs.start("notebook", "01_depth")
    try:
        end = time.monotonic() + 300
        while not programs.reached("training"):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        (own,) = programs.temporary.iterdir()
        before = sorted(own.rglob("kernel.json"))
        assert before
        assert programs.run("notebook", "01_depth", "-p", "a", "2") == 0
        assert list(programs.temporary.iterdir()) == [own]
        assert sorted(own.rglob("kernel.json")) == before and process.poll() is None
    finally:
        process.kill()
        process.wait()
    assert_nothing_runs(programs)
    survived()
