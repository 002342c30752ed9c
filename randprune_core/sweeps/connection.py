"""A connection to a Ray cluster: one that was found to answer, or one of this machine alone."""

import json
import os
import platform
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from .. import paths
from ..devices import WORKER_ENVIRONMENT, environment

_ANSWER_SECONDS = 5.0
_PROBE_SECONDS = 15.0
_OBJECT_STORE_BYTES = 200 * 2**20
_QUIET = {"logging_level": "error", "log_to_driver": False}


@contextmanager
def connected(address: str) -> Iterator:
    """Ray, connected to the cluster; the tasks of this driver end with the connection.

    `address` is HOST:PORT of the head node, `auto` for the cluster that this machine belongs to, or
    `local` for one that starts and ends here. Ray sends no statistics unless the user has it do so.
    Raises `ValueError` for an address that is none and without Ray, `ConnectionError` where no
    cluster of the same versions answers, or one that asks for another token.
    """
    statistics = os.environ.get("RAY_USAGE_STATS_ENABLED", "0")
    with environment({"RAY_USAGE_STATS_ENABLED": statistics}):
        try:
            import ray
        except ImportError as error:
            raise ValueError(
                "executor 'ray' needs Ray, which is not installed here: pip install -r "
                "requirements-cluster.txt -c constraints.txt"
            ) from error
        if ray.is_initialized():
            raise ValueError("this process is connected to Ray already: call ray.shutdown() first")
        if address != "local":
            given = os.environ.get("RAY_ADDRESS") if address == "auto" else None
            check_address(given or address, ray.__version__)
        with _alone() if address == "local" else nullcontext({}) as options:
            yield from _joined(ray, address, options)


def _joined(ray, address: str, options: dict) -> Iterator:
    package = {
        "py_modules": [str(paths.ROOT / "randprune_core")],
        "excludes": ["**/__pycache__/**"],
        "env_vars": WORKER_ENVIRONMENT,
    }
    try:
        try:
            ray.init(address=address, runtime_env=package, **options, **_QUIET)
        except Exception as error:  # Ray raises many kinds
            raise ConnectionError(
                f"cannot join the Ray cluster at {address!r} ({first_line(error)}): start the "
                "sweep on one of its nodes, or start one with ray start --head"
            ) from error
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _alone() -> Iterator[dict]:
    """Options of a cluster that nobody else gets at: on loopback, behind a token of its own.

    Ray would listen on every address of this machine, and would leave its token in the user's home
    folder, where each later cluster takes it from.
    """
    from ray._private import ray_constants
    from ray._raylet import AuthenticationTokenLoader, Config

    def read_environment() -> None:
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()

    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    own[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"  # for the processes of the cluster
    before = ray_constants.ENABLE_RAY_CLUSTER
    try:
        with environment(own):
            ray_constants.ENABLE_RAY_CLUSTER = False
            read_environment()
            yield {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        read_environment()


def check_address(address: str, version: str) -> None:
    """Raise unless a cluster of this Ray and Python answers at HOST:PORT or `auto`, in seconds."""
    if address != "auto":
        _check_port(address)
    answer = _probe(address)
    error, message = answer.get("error"), answer.get("message", "")
    if error == "AuthenticationError":
        raise ConnectionError(
            f"authentication failed at the Ray cluster at {address!r} "
            f"({message.partition('. ')[0]}): set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what "
            "ray get-auth-token prints on its head node; a token may also lie in the file of "
            "RAY_AUTH_TOKEN_PATH or in ~/.ray/auth_token"
        )
    if error:
        raise ConnectionError(
            f"no Ray cluster answers at {address!r} ({first_line(message)}): give HOST:PORT of a "
            "head node, or start one with ray start --head"
        )
    here = {"ray_version": version, "python_version": platform.python_version()}
    if any(answer.get(name, own) != own for name, own in here.items()):
        raise ConnectionError(
            f"the Ray cluster at {address!r} has Ray {answer['ray_version']} and Python "
            f"{answer['python_version']}, and this process Ray {version} and Python "
            f"{here['python_version']}: install the same versions here and there"
        )


def _check_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit() or int(port) > 65_535:
        raise ValueError(
            f"Ray address {address!r} is not understood: give HOST:PORT of the head node, auto or "
            "local"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except OSError as error:
        raise ConnectionError(
            f"nobody answers at the Ray address {address!r} ({error.strerror or error}): start a "
            "cluster there with ray start --head, or give the address of one"
        ) from error


def _probe(address: str) -> dict:
    """What `probe` says of an address, in `_PROBE_SECONDS` at the latest."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("probe.py")), address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        reason = f"no answer that is Ray's within {_PROBE_SECONDS:g} s"
    except (IndexError, ValueError):
        reason = "Ray's client ended without an answer"
    return {"error": "no answer", "message": reason}


def first_line(error: object) -> str:
    """An error of Ray as one line; some of its messages are a page long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
