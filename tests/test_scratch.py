"""Scratch of processes that were killed goes away; that of processes at work stays."""

import os
import signal
import subprocess
import sys
import time

import pytest

from randprune_core import paths, scratch
from randprune_core.__main__ import main

# Stops in the middle of a file and of a folder, and says so.
MAKER = """
import os, sys, time
from pathlib import Path
from randprune_core import paths, scratch

def stop(descriptor):
    print("halfway", flush=True)
    time.sleep(600)

os.fsync = stop
with scratch.scratch_folder() as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("half")
    paths.write_whole(Path(sys.argv[1]), b"half a file")
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture
def maker(temporary):
    """Starts a process that stops in the middle of writing a file."""
    started = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", MAKER, str(path)],
            cwd=paths.ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "halfway\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def everything(*folders) -> set:
    return {path for folder in folders for path in folder.rglob("*") if path.is_file()}


FOLDERS = ("RUNS", "FAILED", "FIGURES", "LOCAL", "CHECKPOINTS")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("place", FOLDERS)
def test_the_next_start_removes_what_a_killed_process_left_and_nothing_else(
    store, temporary, maker, survived, place, how
):
    folder = getattr(paths, place) / ("digits" if place == "RUNS" else "")
    dead, alive = maker(folder / "dead.json"), maker(folder / "alive.json")
    whole = folder / "whole.json"
    whole.write_text("{}")
    before = everything(store, temporary)
    assert len(before) == 5
    scratch.remove_leftovers()
    assert everything(store, temporary) == before, "both are alive"
    dead.send_signal(how)
    dead.wait()
    main(["sweep", "no-such-figure"])
    left = everything(store, temporary)
    assert whole in left and len(left) == 3
    assert all("dead" not in path.name for path in left)
    assert len(list(temporary.iterdir())) == 1
    alive.kill()
    alive.wait()
    scratch.remove_leftovers()
    assert everything(store, temporary) == {whole} and list(temporary.iterdir()) == []
    survived(2)


def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_process_left_goes_before_its_parent_has_asked_how_it_ended(store, temporary):
    """Orphans are such for ever where the first process of a container asks nobody."""
    paths.LOCAL.mkdir(parents=True)
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    os.kill(process.pid, 0)  # it is listed still
    (paths.LOCAL / f".notes.json.{process.pid}.tmp").write_text("half")
    scratch.remove_leftovers()
    assert list(paths.LOCAL.iterdir()) == []
    process.wait()


def test_a_lock_protects_scratch_whose_number_is_that_of_no_process_here(store, temporary):
    """As of a process in a container or on another host that shares the folder."""
    paths.LOCAL.mkdir(parents=True)
    number = ended()
    held, free = (paths.LOCAL / f".{name}.json.{number}.tmp" for name in ("held", "free"))
    free.write_text("half")
    with open(held, "w") as file:
        paths.hold(file.fileno())
        scratch.remove_leftovers()
        assert held.exists() and not free.exists()
    scratch.remove_leftovers()
    assert not held.exists()


def test_what_only_looks_like_scratch_stays(store, temporary, tmp_path):
    paths.LOCAL.mkdir(parents=True)
    number = ended()
    kept = [
        paths.LOCAL / f"notes.{number}.tmp",
        paths.LOCAL / ".notes.tmp",
        paths.LOCAL / f".notes.{number}.tmp.bak",
        paths.LOCAL / f".notes.{os.getppid()}.tmp",
        temporary / f"randprune-{number}",
    ]
    for path in kept:
        path.write_text("mine")
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").write_text("mine")
    for folder in (paths.LOCAL, temporary):
        (folder / f"randprune-scratch-{number}-link").symlink_to(target)
    scratch.remove_leftovers()
    assert all(path.read_text() == "mine" for path in (*kept, target / "file"))


def test_a_fifo_and_a_missing_folder_stop_nothing(store, temporary):
    paths.LOCAL.mkdir(parents=True)
    os.mkfifo(paths.LOCAL / f".pipe.{ended()}.tmp")
    started = time.monotonic()
    scratch.remove_leftovers()
    assert time.monotonic() - started < 5
    assert list(paths.LOCAL.iterdir()) == []


def test_a_scratch_folder_lasts_as_long_as_its_block(temporary):
    with scratch.scratch_folder() as folder:
        (folder / "file").write_text("x")
        scratch.remove_leftovers()
        assert (folder / "file").exists() and folder.parent == temporary
    assert list(temporary.iterdir()) == []


def test_nobody_else_may_open_a_scratch_folder(temporary, tmp_path):
    for within in (None, tmp_path):
        with scratch.scratch_folder(within) as folder:
            assert folder.stat().st_mode & 0o077 == 0
