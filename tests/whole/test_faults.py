"""Every fault is provoked for real, and nothing is lost: full disks, damaged files, NaN.

What takes longer than a few seconds is marked `faults`; `make test-faults` runs it.
Kills have files of their own, test_kills.py and test_kills_at_random.py.
"""

import gc
import hashlib
import http.server
import io
import json
import random
import resource
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import warnings

import numpy as np
import pytest
from conftest import files_under, made_up_record, store_record, tiny
from fault_tools import (
    RUNS,
    SWEEP,
    bound_by_permissions,
    environment,
    leftovers,
    records,
    run,
    run_code,
    start,
)

from randprune_core import paths
from randprune_core.bookmaking import provenance
from randprune_core.config import run_id
from randprune_core.data import torchvision_files
from randprune_core.data.copies import KNOWN_COPIES, _fingerprint, identify
from randprune_core.data.files import DataError
from randprune_core.records.failures import all_failures
from randprune_core.records.table import load_runs

# --- two at once -----------------------------------------------------------------------------


@pytest.mark.faults
def test_two_sweeps_at_once_lose_no_run_and_train_none_twice(tmp_path, undisturbed, survived):
    store = tmp_path / "results"
    both = [start(store, workers=1) for _ in range(2)]
    ends = [process.communicate(timeout=500) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    trained = [
        [line.split()[2] for line in error.splitlines() if line.split()[1] == "trained"]
        for _, error in ends
    ]
    assert sorted(trained[0] + trained[1]) == sorted(undisturbed)
    assert records(store) == undisturbed and leftovers(store) == []
    survived()


# --- disks -----------------------------------------------------------------------------------


def limited(size: int):
    """Before a process starts: no file may grow beyond this size, as if the disk were full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.faults
@pytest.mark.parametrize("size", [4_096, 100_000])
def test_a_full_disk_stops_a_sweep_with_one_line_and_earlier_records_stay(
    tmp_path, undisturbed_store, undisturbed, survived, size
):
    store = tmp_path / "results"
    for record in undisturbed_store.glob("runs/*/*.json"):
        if json.loads(record.read_text())["config"]["seed_init"] == 0:
            copy = store / record.relative_to(undisturbed_store)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(record, copy)
    kept = records(store)
    assert 0 < len(kept) < RUNS
    status, out, error = run(store, preexec_fn=limited(size))
    assert (status, out) == (2, "")
    last = error.splitlines()[-1]
    assert last.startswith(f"randprune_core: cannot write {store}") and "File too large" in last
    assert "Traceback" not in error
    assert records(store) == kept
    assert all(name.endswith(".lock") for name in leftovers(store))
    assert run(store)[0] == 0 and records(store) == undisturbed and leftovers(store) == []
    survived()


def test_a_disk_that_is_full_when_the_record_is_written_leaves_no_half_record(store, survived):
    earlier = store_record(made_up_record(tiny(seed_init=1)))
    before = earlier.read_bytes()
    code = (
        "from conftest import made_up_record, tiny\n"
        "from randprune_core.records.store import write_record\n"
        "write_record(made_up_record(tiny()))"
    )
    done = run_code(store, code, preexec_fn=limited(700))
    last = done.stderr.splitlines()[-1]
    assert "CannotWrite: cannot write" in last and f"{run_id(tiny())}.json: File too large" in last
    assert files_under(store) == [f"runs/digits/{earlier.name}"]
    assert earlier.read_bytes() == before
    survived()


@pytest.mark.faults
def test_a_small_file_system_that_is_full_is_told_apart_from_a_failed_run(tmp_path, survived):
    """A real file system without room, where this machine lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    size = "size=300k"
    command = f"mount -t tmpfs -o {size} none {place} && exec $0 -m randprune_core $@"
    arguments = ["unshare", "--mount", "sh", "-c", command, sys.executable, *SWEEP]
    try:
        mounted = subprocess.run([*arguments[:4], f"mount -t tmpfs none {place}"]).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a file system")
    done = subprocess.run(
        arguments, cwd=paths.ROOT, env=environment(place), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"randprune_core: cannot write {place}") and "No space left" in last
    assert "Traceback" not in done.stderr
    survived()


@pytest.mark.parametrize("damage", ["read-only", "a file"])
def test_a_results_folder_that_cannot_be_written_is_named_in_one_line(store, survived, damage):
    if damage == "a file":
        store.write_text("")
    else:
        (store / "runs").mkdir(parents=True)
        (store / "runs").chmod(0o555)
        store.chmod(0o555)
    wanted = [
        "train",
        "--dataset",
        "digits",
        "--model",
        "resnet-8",
        "--epochs",
        "1",
        "--device",
        "cpu",
    ]
    options = {"preexec_fn": bound_by_permissions}
    try:
        assert run(store, "status", **options)[0] == 0
        status, out, error = run(store, *wanted, **options)
    finally:
        store.chmod(0o755)
    assert (status, out) == (2, "")
    assert error.startswith(f"randprune_core: cannot write {store}") and error.count("\n") == 1
    assert store.is_file() or files_under(store) == []
    survived()


# --- files that are not what they were -------------------------------------------------------


def hand_edited(record):
    record["config"]["epochs"] = 3


def foreign(record):
    record["schema"] = 2


def a_word(record):
    record["test"]["accuracy"] = "high"


def not_a_number(record):
    record["test"]["accuracy"] = float("nan")


def a_time_that_is_none(record):
    record["provenance"]["started"] = 7


EDITS = (hand_edited, foreign, a_word, not_a_number, a_time_that_is_none)
CONTENTS = ("", "{", "[]", "null", '{"a": 1}', "[" * 100_000, "1" * 5_000, "\0", "{}")


def test_records_that_are_truncated_empty_foreign_or_edited_are_named_and_the_rest_is_used(
    store, survived
):
    good = store_record(made_up_record(tiny()))
    bad = {}
    for seed, edit in enumerate(EDITS, 1):
        record = made_up_record(tiny(seed_init=seed))
        edit(record)
        path = paths.RUNS / "digits" / f"{run_id(tiny(seed_init=seed))}.json"
        path.write_text(json.dumps(record))
        bad[path] = path.read_bytes()
    for number, content in enumerate(CONTENTS):
        path = good.with_name(f"{number:012x}.json")
        path.write_text(content)
        bad[path] = path.read_bytes()
    with pytest.warns(UserWarning) as caught:
        assert list(load_runs().run_id) == [good.stem]
    said = [str(warning.message) for warning in caught]
    for path in bad:
        (line,) = [line for line in said if f"set aside: {path}: " in line]
        assert "\n" not in line
    status, out, error = run(store, "check")
    assert (status, out) == (1, f"{len(bad)} problems\n") and "Traceback" not in error
    assert all(any(line.startswith(f"{path}: ") for line in error.splitlines()) for path in bad)
    assert run(store, "status")[0] == 0
    assert {path: path.read_bytes() for path in bad} == bad
    survived(len(bad))


def test_a_data_file_in_which_one_byte_has_changed_is_refused_or_gives_the_same_images(
    cifar_folder, monkeypatch, survived
):
    with pytest.warns(UserWarning, match="no known copy"):
        found = identify("cifar10", download=False)
    prints = tuple(
        _fingerprint(found.encoded.images[s], found.encoded.labels[s]) for s in ("train", "test")
    )
    monkeypatch.setitem(KNOWN_COPIES, "cifar10", {"jpeg75": prints})
    draw, refused = random.Random(0), 0
    for number in range(60):
        path = cifar_folder.path["cifar10", draw.choice(("train", "test"))]
        whole = path.read_bytes()
        if number % 3:
            damaged = bytearray(whole)
            damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        else:
            damaged = whole[: draw.randrange(len(whole))]
        path.write_bytes(damaged)
        try:
            assert identify("cifar10", download=False).variant == "jpeg75"
        except DataError as error:
            assert "\n" not in str(error)
            refused += 1
        finally:
            path.write_bytes(whole)
    assert refused >= 40
    survived(60)


# --- a network that vanishes -----------------------------------------------------------------


class Vanishing(http.server.BaseHTTPRequestHandler):
    """Serves an archive as its class attributes say: whole, cut off halfway, or falling silent."""

    archive, how = b"", "whole"

    def do_GET(self):
        if self.how == "error":
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.archive)))
        self.end_headers()
        if self.how == "whole":
            self.wfile.write(self.archive)
            return
        self.wfile.write(self.archive[: len(self.archive) // 2])
        self.wfile.flush()
        if self.how == "silent":
            time.sleep(1.5)
        self.close_connection = True

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch, cifar_folder, tmp_path):
    """A web server that torchvision takes for CIFAR's own, with a small archive."""
    from conftest import write_torchvision
    from torchvision.datasets import CIFAR10

    folder = write_torchvision(cifar_folder, tmp_path / "made")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(folder, folder.name)
    Vanishing.archive = packed.getvalue()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vanishing)
    web.daemon_threads = True
    threading.Thread(target=web.serve_forever, daemon=True).start()

    def md5(content):
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    for name in ("train_list", "test_list"):
        files = [[file, md5((folder / file).read_bytes())] for file, _ in getattr(CIFAR10, name)]
        monkeypatch.setattr(CIFAR10, name, files)
    monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{web.server_port}/archive.tar.gz")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(Vanishing.archive))
    monkeypatch.setattr(torchvision_files, "SILENCE", 0.5)
    monkeypatch.setenv("RANDPRUNE_DATA", str(tmp_path / "empty"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    yield web
    web.shutdown()
    web.server_close()
    with warnings.catch_warnings():  # urllib leaves connections that broke to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_network_that_vanishes_leaves_no_data_and_the_next_download_works(
    server, cifar_folder, monkeypatch, tmp_path, survived
):
    root = tmp_path / "empty"
    for how in ("cut", "silent", "error"):
        monkeypatch.setattr(Vanishing, "how", how)
        with pytest.raises(DataError, match="could not be downloaded") as caught:
            identify("cifar10")
        assert "\n" not in str(caught.value)
        assert not root.exists() or list(root.iterdir()) == []
        survived()
    monkeypatch.setattr(Vanishing, "how", "whole")
    found = identify("cifar10")
    assert (found.variant, found.encoded.source) == ("original", "torchvision")
    pixels = found.encoded.decode(found.encoded.images["train"], "")
    assert np.array_equal(pixels, cifar_folder.pixels["cifar10", "train"])
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]


# --- a loss that is no number ----------------------------------------------------------------

WITH_ONE_THAT_DIVERGES = """
import sys
from conftest import tiny
from randprune_core import __main__
from randprune_core.sweeps import grids

def grid(*arguments, **options):
    return [tiny(lr=1e30, seed_init=7), tiny(epochs=1), tiny(epochs=1, seed_init=1)]

grids.grid = grid
sys.exit(__main__.main(["sweep", "depth", "--device", "cpu", "--workers", "1"]))
"""


@pytest.mark.faults
def test_a_run_whose_loss_is_no_number_is_noted_shown_and_does_not_stop_the_sweep(store, survived):
    done = run_code(store, WITH_ONE_THAT_DIVERGES)
    diverged = run_id(tiny(lr=1e30, seed_init=7))
    assert done.returncode == 1, done.stderr
    assert done.stdout == "2 trained, 0 were recorded before, 1 failed, 0 not finished\n"
    assert done.stderr.splitlines()[-1].startswith(f"failed {diverged}: the loss became")
    assert "Traceback" not in done.stderr
    assert leftovers(store) == [f"failed/{diverged}.json"] and len(records(store)) == 2
    page = provenance.page(load_runs(), all_failures())
    assert diverged in page and "the loss became" in page
    survived()
