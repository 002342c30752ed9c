"""Programs beside this one: what they wrote, how they end, what they say of a full disk."""

import os
import signal
import threading
import time

import pytest

from randprune_core.bookmaking import programs


def test_status_and_both_streams_of_a_program_come_back():
    code = "import sys; print(sys.argv[1:]); print('é', file=sys.stderr); sys.exit(3)"
    status, written = programs.run_program(code, "a", "b c", variables=os.environ)
    assert status == 3
    assert sorted(written.splitlines()) == ["['a', 'b c']", "é"]


def test_a_program_finds_the_package_wherever_it_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code = "import randprune_core, os; print(os.environ['PYTHONPATH'].split(os.pathsep)[1:])"
    variables = {**os.environ, "PYTHONPATH": "/own"}
    assert programs.run_program(code, variables=variables) == (0, "['/own']\n")


def test_jobs_side_by_side_return_in_their_order():
    jobs = {n: lambda n=n: (time.sleep(0.05 * (3 - n)), n)[1] for n in range(3)}
    assert programs.side_by_side(jobs, 2) == {0: 0, 1: 1, 2: 2}


def test_the_first_error_comes_after_all_jobs_have_ended():
    ended = []

    def fails():
        raise ValueError("no")

    jobs = {"first": fails, "second": lambda: (time.sleep(0.1), ended.append(1))}
    with pytest.raises(ValueError, match="no"):
        programs.side_by_side(jobs, 2)
    assert ended == [1]


def test_ctrl_c_ends_the_programs_and_begins_no_other_job():
    begun = []

    def job(number):
        begun.append(number)
        programs.run_program("import time; time.sleep(60)", variables=os.environ)

    started = time.monotonic()
    timer = threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        programs.side_by_side({n: lambda n=n: job(n) for n in range(5)}, 2)
    assert time.monotonic() - started < 20 and sorted(begun) == [0, 1]


FULL = "No space left on device"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (f"x\nOSError: [Errno 28] {FULL}\ny", f"here: {FULL}"),
        (f"OSError: [Errno 28] {FULL}: '/a b/c'", f"/a b/c: {FULL}"),
        (f"OSError: [Errno 28] {FULL}: '/a' -> '/b'", f"/b: {FULL}"),
        (f'OSError: [Errno 28] {FULL}: "/it\'s"', f"/it's: {FULL}"),
        ("OSError: [Errno 27] File too large: '/a'", "/a: File too large"),
        (f" cannot write /a: {FULL}; make room ", f"cannot write /a: {FULL}; make room"),
        ("ValueError: full", None),
        ("", None),
    ],
)
def test_a_full_disk_is_found_in_what_a_program_wrote(written, said):
    assert programs.full_disk(written, "here") == said
