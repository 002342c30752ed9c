"""Real clusters of Ray on this machine, and sweeps on them as processes of their own."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import files_under

from randprune_core import paths


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
    """A head node and perhaps one more, each with a raylet, one CPU and an address of its own."""

    def __init__(self, folder: str, nodes: int = 2, **variables: str):
        self.folder, self.nodes, self.variables = folder, [], variables
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self._start("--head", "--port", str(port), "--include-dashboard", "false")
        if nodes == 2:
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
        variables |= PATIENCE | self.variables
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

    def raylet(self, node: int):
        """The process without which a node is lost."""
        import psutil

        below = psutil.Process(self.nodes[node].pid).children(recursive=True)
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


@contextmanager
def started(nodes: int = 2, **variables: str) -> Iterator[Cluster]:
    """A cluster whose processes have these variables; skips without Ray."""
    pytest.importorskip("ray", reason="Ray is not installed: make test-faults installs it")
    folder = tempfile.mkdtemp(prefix="ray")  # a path of Ray's sockets must be short
    cluster = Cluster(folder, nodes, **variables)
    yield cluster
    cluster.stop()
    shutil.rmtree(folder, ignore_errors=True)


def start_sweep(address: str, *options: str, **variables: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "randprune_core", "sweep", "depth", "--executor", "ray"]
    command += ["--ray-address", address, "--models", "resnet-8", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | variables, **pipes)


def wait_for_checkpoints(number: int, process: subprocess.Popen) -> None:
    """Until so many runs are between their first and their last epoch."""
    deadline = time.monotonic() + 600
    while len(list(paths.CHECKPOINTS.glob("*.pt"))) < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no run came to its first epoch"
        time.sleep(0.05)


def locks_under(folder: str | os.PathLike) -> list[str]:
    """The locks of runs that are left.

    What is half written beside them does not count: a worker is killed where it is, and the next
    process that takes its run removes the rest.
    """
    return [name for name in files_under(folder) if name.endswith(".lock")]
