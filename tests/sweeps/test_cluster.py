"""Sweeps on Ray: refusals in one line, a worker without the driver's disk, and real clusters.

The tests marked `faults` start two raylets on this machine, each a node with one CPU.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import pytest
from conftest import files_under, tiny

from randprune_core import paths
from randprune_core.__main__ import main
from randprune_core.config import run_id
from randprune_core.data.files import DataError
from randprune_core.records.locks import try_lock
from randprune_core.sweeps import cluster
from randprune_core.sweeps.cluster import _needs, _room, _train_in_worker, check_gpus_per_run
from randprune_core.sweeps.grids import grid
from randprune_core.sweeps.run import load_or_train

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


@pytest.fixture
def closed_port():
    """A port of this machine at which nobody answers: bound, and not listened at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


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


@pytest.mark.parametrize("address", ["nonsense", "ray://head:10001", "head:", "head:99999"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="HOST:PORT of the head node, auto or local"):
        cluster._check_address(address)


@pytest.mark.parametrize("given", ["option", "environment"])
def test_an_address_at_which_nobody_answers_is_named_at_once(
    store, capsys, monkeypatch, closed_port, given
):
    pytest.importorskip("ray", reason="Ray is not installed: make test-faults installs it")
    address = f"127.0.0.1:{closed_port}"
    if given == "environment":
        monkeypatch.setenv("RAY_ADDRESS", address)
    else:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
    chosen = ["--ray-address", address] if given == "option" else []
    started = time.monotonic()
    assert main([*SWEEP, "--executor", "ray", *chosen]) == 2
    assert time.monotonic() - started < 60  # Ray itself takes two minutes
    printed = capsys.readouterr().err
    assert f"nobody answers at the Ray address '{address}'" in printed
    assert printed.count("\n") == 1 and files_under(store) == []


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

    return SimpleNamespace(work=work, folder=tmp_path / "node")


def test_a_worker_brings_a_record_with_its_own_provenance_and_stores_nothing(
    store, trained, far_away
):
    outcome, record = far_away.work(trained.config)
    assert outcome == "trained"
    assert all(record[section] == trained.record[section] for section in MEASURED)
    assert set(record["provenance"]) == set(trained.record["provenance"])
    assert record["provenance"]["commit"] == "abc" and record["provenance"]["threads"] == 1
    assert files_under(store) == files_under(far_away.folder) == []


def test_a_run_stopped_on_one_node_goes_on_on_another_with_the_same_result(
    store, trained, far_away
):
    outcome, (message, checkpoint) = far_away.work(trained.config, time.time() + 0.05)
    assert outcome == "unfinished" and message == "stopped after epoch 1 of 2"
    shutil.rmtree(far_away.folder)
    outcome, record = far_away.work(trained.config, checkpoint=checkpoint)
    assert outcome == "trained"
    assert all(record[section] == trained.record[section] for section in MEASURED)
    assert files_under(store) == files_under(far_away.folder) == []


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


# --- real clusters ---------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# With ports of their own choice Ray's agents must be up within 15 s, or the node dies.
AGENTS = ("metrics-export", "dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent")
PATIENCE = {
    "RAY_agent_register_timeout_ms": "300000",  # the tests share a busy machine
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_health_check_period_ms": "500",  # a lost node is noticed in seconds nevertheless
}


class Cluster:
    """A head node and one more, each with a raylet, one CPU and an address of its own."""

    def __init__(self, folder: str):
        self.folder, self.nodes = folder, []
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self._start("--head", "--port", str(port), "--include-dashboard", "false")
        self._start("--address", self.address, "--node-ip-address", "127.0.0.2")

    def _start(self, *options: str) -> None:
        """Start a node and wait until it is up; Ray gives up after 30 s on a busy machine."""
        ray = os.path.join(os.path.dirname(sys.executable), "ray")
        command = [ray, "start", *options, "--block", "--num-cpus", "1", "--temp-dir", self.folder]
        command += ["--object-store-memory", str(80 * 2**20), "--disable-usage-stats"]
        command += ["--include-log-monitor", "false"]
        for component in AGENTS:
            command += [f"--{component}-port", str(free_port())]
        variables = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        variables |= PATIENCE
        path = os.path.join(self.folder, f"{len(self.nodes)}.log")
        for _ in range(5):
            with open(path, "w") as log:
                node = subprocess.Popen(command, stdout=log, stderr=log, env=variables)
            while node.poll() is None:
                with open(path) as log:
                    if "Ray runtime started" in log.read():
                        self.nodes.append(node)
                        return
                time.sleep(0.2)
        self.stop()
        with open(path) as log:
            raise AssertionError(f"the node did not come up: {log.read()[-2000:]}")

    def raylet_of_the_second_node(self):
        import psutil

        below = psutil.Process(self.nodes[1].pid).children(recursive=True)
        (raylet,) = (child for child in below if child.name() == "raylet")
        return raylet

    def stop(self) -> None:
        """End every process of the nodes, those first that would look after the others."""
        import psutil

        running = [psutil.Process(node.pid) for node in self.nodes if node.poll() is None]
        below = [child for process in running for child in process.children(recursive=True)]
        for process in running:
            process.terminate()
        for node in self.nodes:
            node.wait(60)
        for child in psutil.wait_procs(below, timeout=10)[1]:
            child.kill()


@pytest.fixture(scope="module")
def two_nodes():
    pytest.importorskip("ray", reason="Ray is not installed: make test-faults installs it")
    folder = tempfile.mkdtemp(prefix="ray")  # a path of Ray's sockets must be short
    started = Cluster(folder)
    yield started
    started.stop()
    shutil.rmtree(folder, ignore_errors=True)


def start_sweep(two_nodes, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "randprune_core", "sweep", "depth", "--executor", "ray"]
    command += ["--ray-address", two_nodes.address, "--models", "resnet-8", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_checkpoints(number: int, process: subprocess.Popen) -> None:
    """Until so many runs are between their first and their last epoch."""
    deadline = time.monotonic() + 600
    while len(list(paths.CHECKPOINTS.glob("*.pt"))) < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no run came to its first epoch"
        time.sleep(0.05)


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
    report = sweep_script(two_nodes, "[tiny(epochs=100_000)]", time_budget=40)
    assert report == {"trained": 0, "found": 0, "failed": {}, "unfinished": 1}
    assert files_under(store) == [f"checkpoints/{run_id(long)}.pt"]


@pytest.mark.faults
def test_ctrl_c_ends_a_sweep_in_one_line_and_leaves_no_lock_behind(store, two_nodes):
    process = start_sweep(two_nodes, "--ratios", "dense", "erk")
    wait_for_checkpoints(1, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("stopped; the same command goes on")
    assert "Traceback" not in said
    left = files_under(store)
    assert not [name for name in left if name.endswith((".lock", ".tmp"))]


@pytest.mark.faults
def test_gpus_of_a_cluster_without_any_are_refused(store, two_nodes, capfd):
    process = start_sweep(two_nodes, "--ratios", "dense", "--gpus-per-run", "0.2")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "gpus per run 0.2 cannot be had, as no node of the cluster has a GPU" in said
    assert said.count("\n") == 1 and files_under(store) == []


@pytest.mark.faults
def test_a_sweep_that_loses_a_node_ends_with_every_record_of_the_local_executor(
    tmp_path, monkeypatch, store, two_nodes
):
    options = {"models": ["resnet-8"], "ratios": ["dense", "erk"], "sparsities": [0.5, 0.8, 0.9]}
    configs = grid("depth", "quick", **options)
    process = start_sweep(
        two_nodes, "--ratios", "dense", "erk", "--sparsities", "0.5", "0.8", "0.9"
    )
    wait_for_checkpoints(2, process)  # one on each node
    two_nodes.raylet_of_the_second_node().kill()
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
