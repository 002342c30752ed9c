"""Sweeps on Ray: refusals in one line, a worker without the driver's disk, and real clusters.

The tests marked `faults` start two raylets on this machine, each a node with one CPU.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from types import SimpleNamespace

import pytest
from conftest import files_under, made_up_record, tiny
from ray_nodes import locks_under, start_sweep, started, wait_for_checkpoints

from randprune_core import paths
from randprune_core.__main__ import main
from randprune_core.config import run_id
from randprune_core.data.files import DataError
from randprune_core.records import provenance
from randprune_core.records.files import CannotWrite
from randprune_core.records.locks import try_lock
from randprune_core.sweeps import cluster
from randprune_core.sweeps.cluster import _needs, _room, _train_in_worker, check_gpus_per_run
from randprune_core.sweeps.grids import grid
from randprune_core.sweeps.run import load_or_train
from randprune_core.sweeps.schedule import Schedule

MEASURED = ("config", "layers", "cost", "history", "test")


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("gpus", [0, -0.2, 1.5, 8.5, 9, float("nan")])
def test_a_share_of_gpus_that_ray_cannot_give_is_refused(gpus):
    with pytest.raises(ValueError, match=r"gpus per run .* a share in \(0, 1\].*up to 8"):
        check_gpus_per_run(gpus)


def test_shares_and_whole_numbers_of_gpus_are_allowed():
    for gpus in (None, 0.01, 0.2, 1, 1.0, 2.0, 8):
        check_gpus_per_run(gpus)


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("nodes", "device", "gpus", "said"),
    [
        ([node(CPU=4)], "tpu", None, "device 'tpu' is not known: choose auto, cpu or cuda"),
        ([node(CPU=4)], "cuda", None, "device 'cuda': no node of the cluster has a GPU"),
        ([node(CPU=4)], "auto", 0.2, "0.2 cannot be had, as no node .* has a GPU"),
        ([node(CPU=4, GPU=1)], "cpu", 0.2, "0.2 cannot be had, as the device is cpu"),
        ([node(CPU=4), node(False, CPU=4, GPU=1)], "cuda", None, "no node .* has a GPU"),
        ([node(memory=1)], "auto", None, "no node .* has the 1 CPU that a run takes"),
        ([node(CPU=4, GPU=1)], "auto", 2, "no node .* has the 1 CPU and 2 GPU"),
    ],
)
def test_what_the_cluster_does_not_have_is_named(nodes, device, gpus, said):
    with pytest.raises(ValueError, match=said) as caught:
        _needs(nodes, device, gpus)
    assert "\n" not in str(caught.value)


def test_a_run_takes_a_cpu_and_where_there_are_gpus_a_share_of_one():
    mixed = [node(CPU=4), node(CPU=8, GPU=1)]
    assert _needs(mixed[:1], "auto", None) == {"CPU": 1}
    assert _needs(mixed, "cpu", None) == {"CPU": 1}
    assert _needs(mixed, "auto", None) == {"CPU": 1, "GPU": cluster.GPUS_PER_RUN}
    assert _needs(mixed, "cuda", 0.5) == {"CPU": 1, "GPU": 0.5}


def test_room_counts_the_nodes_that_are_alive():
    nodes = [node(CPU=4, GPU=1), node(CPU=16, GPU=2), node(False, CPU=64, GPU=8), node(CPU=1)]
    assert _room(nodes, {"CPU": 1}) == 21
    assert _room(nodes, {"CPU": 1, "GPU": 0.2}) == 4 + 10  # the CPUs, then the GPUs run out
    assert _room([], {"CPU": 1}) == 0


SWEEP = ["sweep", "depth", "--models", "resnet-8", "--ratios", "dense"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--executor", "ray", "--gpus-per-run", "0"], "gpus per run 0.0 is not allowed"),
        (["--executor", "ray", "--gpus-per-run", "8.5"], "gpus per run 8.5 is not allowed"),
        (["--gpus-per-run", "0.5"], "gpus per run 0.5 needs executor ray, not 'local'"),
        (["--executor", "slurm"], "unknown executor 'slurm': known are local, ray"),
    ],
)
def test_the_command_line_refuses_options_in_one_line(store, capsys, options, said):
    assert main([*SWEEP, *options]) == 2
    printed = capsys.readouterr().err
    assert said in printed and printed.count("\n") == 1
    assert files_under(store) == []


def test_without_ray_the_command_line_says_how_to_install_it(store, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*SWEEP, "--executor", "ray"]) == 2
    printed = capsys.readouterr().err
    assert "pip install -r requirements-cluster.txt" in printed and printed.count("\n") == 1
    assert files_under(store) == []


# --- a worker that sees nothing of the driver's disk -----------------------------------------


@pytest.fixture
def far_away(tmp_path, monkeypatch):
    """Train as a worker does whose node has no such results folder as the driver's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()

    def work(config, deadline=None, checkpoint=None):
        code = {"commit": "abc", "dirty": False}
        more = {"device": "cpu", "at_once": None, "code": code, "results": "/not/on/this/node"}
        return _train_in_worker(config, deadline, checkpoint, **more)

    def forget(config):
        cluster._remove_checkpoint(config, "/not/on/this/node")

    own = tmp_path / "node" / f"randprune-{os.geteuid()}"
    yield SimpleNamespace(work=work, forget=forget, folder=tmp_path / "node", own=own)
    provenance.use_code({})  # as a worker this process had that of its driver


def test_a_worker_brings_a_record_with_its_own_provenance_and_stores_nothing(
    store, trained, far_away
):
    outcome, record = far_away.work(trained.config)
    assert outcome == "trained"
    assert all(record[section] == trained.record[section] for section in MEASURED)
    assert set(record["provenance"]) == set(trained.record["provenance"])
    assert record["provenance"]["commit"] == "abc" and record["provenance"]["threads"] == 1
    assert files_under(store) == []


def test_a_run_stopped_on_one_node_goes_on_on_another_with_the_same_result(
    store, trained, far_away
):
    outcome, (message, checkpoint) = far_away.work(trained.config, time.time() + 0.05)
    assert outcome == "unfinished" and message == "stopped after epoch 1 of 2"
    shutil.rmtree(far_away.folder)
    outcome, record = far_away.work(trained.config, checkpoint=checkpoint)
    assert outcome == "trained"
    assert all(record[section] == trained.record[section] for section in MEASURED)
    assert files_under(store) == []


def test_a_run_that_waited_past_the_deadline_is_not_started(store, far_away):
    assert far_away.work(tiny(), time.time() - 1) == ("unfinished", ("not started", None))
    assert files_under(far_away.folder) == []


def test_a_worker_tells_a_loss_that_diverged_from_what_cannot_be_trained(store, far_away):
    outcome, message = far_away.work(tiny(lr=1e30, epochs=1, train_images=50))
    assert outcome == "diverged" and "the loss became" in message
    outcome, message = far_away.work(tiny(ratio="erk_plus", sparsity=0.998))
    assert outcome == "failed" and "erk_plus" in message
    with pytest.raises(DataError, match="cifar10"):
        far_away.work(tiny(dataset="cifar10", model="resnet-8"))
    assert files_under(store) == []


def test_the_checkpoint_of_a_node_stays_until_the_driver_has_the_record(store, far_away):
    config = tiny(epochs=1, train_images=50)
    assert far_away.work(config)[0] == "trained"
    assert files_under(far_away.own) == [f"checkpoints/{run_id(config)}.pt"]
    far_away.forget(config)
    assert files_under(far_away.own) == []
    far_away.forget(config)  # once more does no harm


def test_the_folder_of_a_node_is_for_its_user_alone(store, far_away):
    far_away.work(tiny(), time.time() - 1)
    assert far_away.own.stat().st_mode & 0o777 == 0o700
    assert far_away.own.stat().st_uid == os.geteuid()


def open_to_all(folder):
    folder.mkdir()
    folder.chmod(0o777)


def open_to_readers(folder):
    folder.mkdir()
    folder.chmod(0o755)


def of_another_user(folder):
    if os.geteuid():
        pytest.skip("only root may give a folder away")
    folder.mkdir(mode=0o700)
    os.chown(folder, 54_321, 54_321)


def a_link(folder):
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


def a_file(folder):
    folder.write_text("")


@pytest.mark.parametrize("made", [open_to_all, open_to_readers, of_another_user, a_link, a_file])
def test_a_folder_that_others_had_is_refused_in_one_line(store, far_away, made):
    made(far_away.own)
    checkpoint = far_away.own / "checkpoints" / f"{run_id(tiny())}.pt"
    if far_away.own.is_dir():
        checkpoint.parent.mkdir()
        checkpoint.write_bytes(b"theirs")
    before = files_under(far_away.folder)
    with pytest.raises(PermissionError, match="must be a folder of user .* alone") as caught:
        far_away.work(tiny())
    assert "\n" not in str(caught.value) and str(far_away.own) in str(caught.value)
    with pytest.raises(PermissionError):
        far_away.forget(tiny())
    assert files_under(far_away.folder) == before


@pytest.mark.parametrize("kind", ["of another user", "a link to one", "a folder", "a FIFO"])
def test_only_a_checkpoint_of_ones_own_is_sent_to_a_worker(store, kind, tmp_path):
    path = paths.checkpoint_path(run_id(tiny()))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    assert cluster._checkpoint(tiny()) == b"mine"
    path.unlink()
    assert cluster._checkpoint(tiny()) is None
    if kind == "a folder":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif os.geteuid():
        pytest.skip("only root may give a file away")
    else:
        theirs = tmp_path / "theirs" if kind == "a link to one" else path
        theirs.write_bytes(b"theirs")
        os.chown(theirs, 54_321, 54_321)
        if theirs != path:
            path.symlink_to(theirs)
    with pytest.warns(UserWarning, match="kept as .* and the run starts anew"):
        assert cluster._checkpoint(tiny()) is None
    assert not os.path.lexists(path) and len(list(path.parent.iterdir())) == 1


# --- a driver whose cluster is made up -------------------------------------------------------


class MadeUpRay:
    """A cluster of one node, on which tasks never end; `nodes` is to be set."""

    exceptions = SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=ZeroDivisionError)
    cancelled, resources, own = 0, {"CPU": 2.0}, "here"

    def nodes(self):
        alive = {"NodeID": "here", "Alive": True, "Resources": self.resources}
        return [alive | {"NodeID": self.own}]

    def get_runtime_context(self):
        return SimpleNamespace(get_node_id=lambda: "here")

    def wait(self, tasks, timeout):
        time.sleep(0.05)
        return [], tasks

    def cancel(self, task, force):
        self.cancelled += 1


def outcomes(ray, configs, spoil=None):
    """What becomes of runs; the cluster is spoilt once the first of them is started."""

    def start(config, *_):
        if spoil:
            spoil(ray)
        return f"task {run_id(config)}"

    return list(cluster._outcomes(ray, Schedule(configs), start, {"CPU": 1.0}, None))


def silent_head(ray):
    ray.nodes = lambda: time.sleep(60)


def failing_head(ray):
    ray.nodes = lambda: 1 / 0


def own_node_dead(ray):
    ray.own = "another"


def no_cpus(ray):
    ray.resources = {"CPU": 0.0}


@pytest.mark.parametrize("spoil", [silent_head, failing_head, own_node_dead, no_cpus])
def test_the_loss_of_the_only_node_fails_the_runs_in_progress_and_ends_the_sweep(
    store, monkeypatch, spoil
):
    monkeypatch.setattr(cluster, "_SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(cluster, "_ROOM_SECONDS", 0.2)
    configs = [tiny(seed_init=seed) for seed in range(3)]
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = outcomes(MadeUpRay(), configs, spoil)
    assert time.monotonic() - started < 10
    assert [(config, outcome) for config, outcome, _ in found] == [
        (config, "failed") for config in configs[:2]
    ]
    assert all("does not answer" in m or "is lost" in m or "is left" in m for *_, m in found)
    assert files_under(store) == []  # locks are released


def test_a_cluster_that_is_lost_between_two_runs_fails_the_next_one(store):
    ray = MadeUpRay()
    own_node_dead(ray)
    ((config, outcome, _),) = outcomes(ray, [tiny(), tiny(seed_init=1)])
    assert (config, outcome) == (tiny(), "failed")


class TaskFailed(Exception):
    cause = PermissionError("shm/randprune-1 (owner 2, mode 700) must be a folder of user 1 alone")


def test_a_node_whose_folder_is_anothers_ends_the_sweep_in_one_line(store):
    def get(task):
        raise TaskFailed

    ray = MadeUpRay()
    ray.exceptions = SimpleNamespace(RayTaskError=TaskFailed, RayError=ZeroDivisionError)
    ray.get = get
    with pytest.raises(DataError, match="on a node of the cluster: shm/randprune-1 .* alone$"):
        cluster._take(ray, "task", tiny())


def test_a_node_is_asked_to_forget_a_checkpoint_once_the_record_is_on_disk(store, monkeypatch):
    asked = []

    def forget(ray, node, config):
        assert paths.record_path("digits", run_id(config)).exists()
        asked.append((node, config))

    monkeypatch.setattr(cluster, "_forget", forget)
    ray = MadeUpRay()
    ray.get = lambda task: ("there", "trained", made_up_record(tiny()))
    assert cluster._take(ray, "task", tiny())[0] == "trained"
    assert asked == [("there", tiny())]


def test_a_record_that_cannot_be_stored_leaves_the_checkpoint_on_its_node(store, monkeypatch):
    monkeypatch.setattr(cluster, "_forget", lambda *_: pytest.fail("the checkpoint is removed"))
    ray = MadeUpRay()
    ray.get = lambda task: ("there", "trained", made_up_record(tiny()))
    store.write_text("")  # a file in place of the results folder
    with pytest.raises(CannotWrite):
        cluster._take(ray, "task", tiny())


# --- real clusters ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_nodes():
    with started() as cluster:
        yield cluster


def sweep_script(two_nodes, configs: str, **options) -> dict:
    """The report of a sweep over configs that are written as Python, from a process of its own."""
    code = (
        "import dataclasses, json; from conftest import tiny; "
        "from randprune_core.sweeps.sweep import sweep; "
        f"report = sweep({configs}, 'ray', ray_address={two_nodes.address!r}, "
        f"**{options!r}); print(json.dumps(dataclasses.asdict(report)))"
    )
    variables = os.environ | {"PYTHONPATH": str(paths.ROOT / "tests")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.faults
def test_what_fails_is_noted_what_is_claimed_is_passed_over_and_the_sweep_goes_on(store, two_nodes):
    with try_lock(run_id(tiny(seed_init=1))):
        report = sweep_script(
            two_nodes,
            "[tiny(lr=1e30, epochs=1, train_images=50), tiny(ratio='erk_plus', sparsity=0.998),"
            "tiny(seed_init=1), tiny(epochs=1, train_images=50)]",
        )
    diverged = run_id(tiny(lr=1e30, epochs=1, train_images=50))
    assert (report["trained"], report["found"], report["unfinished"]) == (1, 1, 0)
    assert "the loss became" in report["failed"].pop(diverged)
    assert "erk_plus" in report["failed"].pop(run_id(tiny(ratio="erk_plus", sparsity=0.998)))
    assert not report["failed"]
    recorded = f"runs/digits/{run_id(tiny(epochs=1, train_images=50))}.json"
    assert files_under(store) == [f"failed/{diverged}.json", recorded]


@pytest.mark.faults
def test_a_time_budget_ends_the_sweep_and_leaves_a_checkpoint(store, two_nodes):
    long = tiny(epochs=100_000)
    for seconds in (15, 60, 240):  # on a busy machine a worker takes longer to begin
        report = sweep_script(two_nodes, "[tiny(epochs=100_000)]", time_budget=seconds)
        assert report == {"trained": 0, "found": 0, "failed": {}, "unfinished": 1}
        if files_under(store):
            break
    assert files_under(store) == [f"checkpoints/{run_id(long)}.pt"]


@pytest.mark.faults
def test_ctrl_c_ends_a_sweep_in_one_line_and_leaves_no_lock_behind(store, two_nodes):
    process = start_sweep(two_nodes.address, "--ratios", "dense", "erk")
    wait_for_checkpoints(1, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("stopped; the same command goes on")
    assert "Traceback" not in said
    assert not locks_under(store)


@pytest.mark.faults
def test_gpus_of_a_cluster_without_any_are_refused(store, two_nodes, capfd):
    process = start_sweep(two_nodes.address, "--ratios", "dense", "--gpus-per-run", "0.2")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "gpus per run 0.2 cannot be had, as no node of the cluster has a GPU" in said
    assert said.count("\n") == 1 and files_under(store) == []


@pytest.mark.faults
def test_a_sweep_that_loses_a_node_ends_with_every_record_of_the_local_executor(
    tmp_path, monkeypatch, store, two_nodes
):
    configs = grid("depth", "quick", models=["resnet-8"], ratios=["dense", "erk"])
    process = start_sweep(two_nodes.address, "--ratios", "dense", "erk")
    wait_for_checkpoints(2, process)  # one on each node
    two_nodes.raylet(1).kill()
    assert len(list(paths.RUNS.glob("*/*.json"))) < len(configs)
    said, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    report = said.splitlines()[-1]  # Ray tells of the lost node before it
    assert report == f"{len(configs)} trained, 0 were recorded before, 0 failed, 0 not finished"
    on_ray = {
        run_id(c): json.loads(paths.record_path("digits", run_id(c)).read_text()) for c in configs
    }
    assert len(files_under(store)) == len(configs)  # no lock and no checkpoint is left
    monkeypatch.setattr(paths, "RUNS", tmp_path / "local")
    for config in configs:
        record = load_or_train(config, device="cpu", progress=False)
        for section in MEASURED:
            assert record[section] == on_ray[run_id(config)][section], (config, section)


@pytest.mark.faults
def test_the_loss_of_the_last_node_ends_the_sweep_with_a_summary(store, two_nodes):
    """The last test: with its raylet the head node ends."""
    process = start_sweep(two_nodes.address, "--ratios", "dense", "erk")
    wait_for_checkpoints(1, process)
    two_nodes.raylet(0).kill()
    recorded = len(list(paths.RUNS.glob("*/*.json")))
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    (line,) = [line for line in said.splitlines() if "were recorded before" in line]
    trained, found, failed, left = (int(word) for word in line.split() if word.isdigit())
    assert (trained, found) == (recorded, 0) and failed >= 1
    assert trained + failed + left == len(
        grid("depth", "quick", models=["resnet-8"], ratios=["dense", "erk"])
    )
    assert errors.count("failed ") >= failed and "Traceback" not in errors
    assert not locks_under(store)
