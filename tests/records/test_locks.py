"""Locks: one process holds a run, and none outlives it."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import files_under

from randprune_core import paths
from randprune_core.records.locks import lock, try_lock

HOLDER = """
import sys
from randprune_core.records.locks import lock

with lock("abc"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(store):
    """Another process that holds the lock of a run until its input ends."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=paths.ROOT, **pipes)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_lock_that_is_held_is_refused_and_its_file_goes_with_it(store):
    held = try_lock("abc")
    assert try_lock("abc") is None and try_lock("other") is not None
    held.close()
    with try_lock("abc"):
        pass
    assert "checkpoints/abc.lock" not in files_under(store)


def test_the_lock_of_another_process_is_refused_until_that_process_ends(holder):
    assert try_lock("abc") is None
    holder.communicate("")
    with lock("abc"):
        assert paths.lock_path("abc").exists()


def test_a_killed_process_releases_its_lock(holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert paths.lock_path("abc").exists()  # the file is left, the lock is not
    with lock("abc"):
        assert try_lock("abc") is None


def test_an_error_under_a_lock_releases_it(store):
    with pytest.raises(KeyboardInterrupt), lock("abc"):
        raise KeyboardInterrupt
    assert files_under(store) == []


def test_a_folder_that_cannot_be_written_is_named_in_one_line(store):
    store.write_text("a file")
    with pytest.raises(OSError, match="cannot write .*abc.lock.*RANDPRUNE_RESULTS"), lock("abc"):
        pass
