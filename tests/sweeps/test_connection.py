"""Joining a Ray cluster: what does not answer, asks for a token, or has other versions is named.

The tests marked `faults` share one cluster of one node that asks for a token.
"""

import json
import os
import platform
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import files_under
from ray_nodes import locks_under, start_sweep, started, wait_for_checkpoints

from randprune_core import paths
from randprune_core.__main__ import main
from randprune_core.sweeps import connection

SWEEP = ["sweep", "depth", "--models", "resnet-8", "--ratios", "dense", "--executor", "ray"]
SECONDS = 30
"""Within which everything is answered that is no cluster."""


@pytest.fixture(scope="module")
def ray():
    return pytest.importorskip("ray", reason="Ray is not installed: make test-faults installs it")


@pytest.mark.parametrize("address", ["nonsense", "ray://head:10001", "head:", "head:99999"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="HOST:PORT of the head node, auto or local"):
        connection.check_address(address, "1.0")


# --- what is no cluster ----------------------------------------------------------------------


@contextmanager
def closed_port():
    """A port of this machine at which nobody answers: bound, and not listened at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def web_server():
    web = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield web.server_port
    web.shutdown()
    web.server_close()


@contextmanager
def silent_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def talking_port(greeting: bytes):
    """A server that greets whoever comes, and then says no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        guests = []

        def greet():
            while True:
                try:
                    guests.append(server.accept()[0])
                    guests[-1].sendall(greeting)
                except OSError:  # the test is over, or the guest has left
                    return

        threading.Thread(target=greet, daemon=True).start()
        yield server.getsockname()[1]
        for guest in guests:
            guest.close()


def mail_server():
    return talking_port(b"220 mail ESMTP\r\n")


def other_grpc():
    """The first frame of HTTP/2, an empty SETTINGS, as any gRPC server sends it."""
    return talking_port(b"\0\0\0\4\0\0\0\0\0")


@pytest.mark.parametrize("given", ["option", "environment"])
def test_an_address_at_which_nobody_answers_is_named_at_once(
    store, capsys, monkeypatch, ray, given
):
    with closed_port() as port:
        address = f"127.0.0.1:{port}"
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        if given == "environment":
            monkeypatch.setenv("RAY_ADDRESS", address)
        started = time.monotonic()
        assert main([*SWEEP, *(["--ray-address", address] if given == "option" else [])]) == 2
        assert time.monotonic() - started < SECONDS
    printed = capsys.readouterr().err
    assert f"nobody answers at the Ray address '{address}'" in printed
    assert printed.count("\n") == 1 and files_under(store) == []


@pytest.mark.faults
def test_ports_that_are_not_of_ray_are_answered_in_one_line_within_half_a_minute(ray):
    kinds = (web_server, silent_port, mail_server, other_grpc)
    with ExitStack() as opened, ThreadPoolExecutor(len(kinds)) as pool:
        addresses = [f"127.0.0.1:{opened.enter_context(kind())}" for kind in kinds]
        begun = time.monotonic()
        asked = [pool.submit(connection.check_address, one, ray.__version__) for one in addresses]
        for kind, address, check in zip(kinds, addresses, asked, strict=True):
            error = check.exception()
            assert isinstance(error, ConnectionError), kind
            assert f"no Ray cluster answers at '{address}'" in str(error), kind
            assert "\n" not in str(error)
        assert time.monotonic() - begun < SECONDS


# --- tokens and versions ---------------------------------------------------------------------

TOKEN, EARLIER = "a" * 64, "b" * 64
NAMES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")
MEMBER = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    """A home folder of the test's own, and nothing said of Ray."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def guarded():
    """A cluster of one node that asks for a token."""
    with started(1, **MEMBER) as cluster:
        yield cluster


@pytest.fixture
def refused(guarded, store, capfd, monkeypatch):
    """The one line that a sweep on that cluster ends with, given variables."""

    def sweep(**variables: str) -> str:
        begun = time.monotonic()
        with monkeypatch.context() as patched:
            for name, value in variables.items():
                patched.setenv(name, value)
            assert main([*SWEEP, "--ray-address", guarded.address]) == 2
        assert time.monotonic() - begun < SECONDS
        said, error = capfd.readouterr()
        assert (said, error.count("\n"), files_under(store)) == ("", 1, []), error
        return error

    return sweep


@pytest.mark.faults
@pytest.mark.parametrize(
    "kind", ["no token", "earlier file", "earlier file in use", "earlier variable"]
)
def test_a_cluster_that_asks_for_another_token_is_named_with_authentication(
    refused, guarded, own_home, kind
):
    variables = {"RAY_AUTH_MODE": "token"}
    if "file" in kind:  # as Ray leaves it for a cluster of this machine
        (own_home / ".ray").mkdir(parents=True)
        (own_home / ".ray" / "auth_token").write_text(EARLIER)
    if kind == "earlier file":
        variables = {}
    elif kind == "earlier variable":
        variables["RAY_AUTH_TOKEN"] = EARLIER
    said = refused(**variables)
    assert f"authentication failed at the Ray cluster at '{guarded.address}'" in said
    assert all(name in said for name in NAMES[:3]) and "ray get-auth-token" in said
    assert TOKEN not in said and EARLIER not in said


def write_versions(cluster, ray: str, python: str) -> None:
    """Have the head node say that it has other versions."""
    versions = {"ray_version": ray, "python_version": python}
    code = (
        "from ray._raylet import GcsClient; "
        f"GcsClient(address={cluster.address!r}).internal_kv_put("
        f"b'CLUSTER_METADATA', {json.dumps(versions).encode()!r}, True, b'cluster')"
    )
    subprocess.run([sys.executable, "-c", code], env=os.environ | MEMBER, check=True)


@pytest.mark.faults
def test_versions_that_differ_are_both_named(refused, guarded, ray):
    here = (ray.__version__, platform.python_version())
    try:
        for there in (("2.9.3", here[1]), (here[0], "3.9.18"), ("2.50.0", "3.12.1")):
            write_versions(guarded, *there)
            said = refused(**MEMBER)
            assert f"has Ray {there[0]} and Python {there[1]}" in said
            assert f"this process Ray {here[0]} and Python {here[1]}" in said
    finally:
        write_versions(guarded, *here)


@pytest.mark.faults
def test_a_cluster_whose_only_node_is_lost_ends_the_sweep_with_a_summary(store, guarded):
    """The last test of this cluster; its head node goes on without the raylet."""
    import psutil

    process = start_sweep(guarded.address, "--ratios", "dense", "erk", **MEMBER)
    wait_for_checkpoints(1, process)
    head = psutil.Process(guarded.nodes[0].pid)
    head.suspend()  # else it would end with its raylet
    try:
        guarded.raylet(0).kill()
        said, errors = process.communicate(timeout=120)
    finally:
        head.resume()
    assert process.returncode == 1, errors
    assert "1 failed" in said and "were recorded before" in said
    assert "the node that the sweep was started on is lost" in errors
    assert "Traceback" not in errors
    assert not locks_under(store)


# --- a cluster of this machine alone ---------------------------------------------------------

ALONE = """
import os
from conftest import tiny
from ray._raylet import AuthenticationTokenLoader
from randprune_core import paths
from randprune_core.config import run_id
from randprune_core.sweeps import cluster, connection
from randprune_core.sweeps.sweep import sweep

config = tiny(epochs=1, train_images=50)
forget, tokens = cluster._forget, AuthenticationTokenLoader.instance()

def as_if_on_a_node_of_its_own(*arguments):
    left = paths.checkpoint_path(run_id(config))
    left.write_bytes(b"left on the node")
    forget(*arguments)
    assert not left.exists()

cluster._forget = as_if_on_a_node_of_its_own
report = sweep([config], "ray", ray_address="local", progress=False)
assert (report.trained, report.failed) == (1, {}), report
assert os.environ["RAY_AUTH_TOKEN"] == tokens.get_raw_token() == "mine"
with connection._alone():
    assert os.environ["RAY_AUTH_TOKEN"] == tokens.get_raw_token() != "mine"
"""


def listening(pid: int) -> set[tuple[str, str]]:
    """Names and addresses of a process and those below it that wait for connections."""
    import psutil

    found = set()
    with suppress(psutil.Error):  # one has ended meanwhile
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.Error):
                for one in process.net_connections("inet"):
                    if one.status == psutil.CONN_LISTEN:
                        found.add((process.name(), one.laddr.ip.removeprefix("::ffff:")))
    return found


@pytest.mark.faults
def test_a_local_cluster_is_this_machines_alone_and_takes_and_leaves_no_token(store, ray, own_home):
    """Neither an earlier token nor a token for another cluster is used, changed or lost."""
    (own_home / ".ray").mkdir(parents=True)
    (own_home / ".ray" / "auth_token").write_text("x")
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "mine"}
    own["PYTHONPATH"] = os.pathsep.join((str(paths.ROOT), str(paths.ROOT / "tests")))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", ALONE], env=os.environ | own, **pipes)
    seen = set()
    while process.poll() is None:
        seen |= listening(process.pid)
        time.sleep(0.2)
    assert process.communicate()[1] == "" and process.returncode == 0
    assert {"gcs_server", "raylet"} <= {name for name, _ in seen}
    assert {ip for _, ip in seen} == {"127.0.0.1"}, seen
    assert files_under(own_home) == [".ray/auth_token"]
    assert (own_home / ".ray" / "auth_token").read_text() == "x"
