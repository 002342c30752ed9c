"""The runs of a sweep as tasks of a Ray cluster.

The driver, which is the process of the `sweep` command, holds the lock of each run, sends the run
to a worker together with this package, and stores the record that comes back. A worker needs the
libraries, and on its own node the data (`$RANDPRUNE_DATA`), but no disk that it shares with the
driver. The task of a node that is lost starts again on another one. Outcomes are those of
`schedule`.
"""

import os
import socket
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from .. import paths, registry
from ..config import RunConfig, run_id
from ..data.files import DataError
from ..devices import WORKER_ENVIRONMENT, environment, one_thread
from ..records.failures import note_failure
from ..records.files import write_whole
from ..records.provenance import Begun, code_version, use_code
from ..records.store import claim, make_record, store_record
from .schedule import Result, Schedule

GPUS_PER_RUN = 0.2
"""The share of a GPU that a run takes unless another is chosen: one ResNet-20 cannot fill one."""

RETRIES = 5
"""How often a run starts again whose node or worker process was lost."""

_POLL_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_OBJECT_STORE_BYTES = 200 * 2**20
_QUIET = {"logging_level": "error", "log_to_driver": False}


def check_gpus_per_run(gpus: float | None) -> None:
    """Raise `ValueError` unless it is None, in (0, 1], or a whole number of GPUs up to 8."""
    if gpus is None or 0 < gpus <= 1 or gpus in range(2, 9):
        return
    raise ValueError(
        f"gpus per run {gpus} is not allowed: give a share in (0, 1], such as 0.2, or a whole "
        "number of GPUs up to 8"
    )


def run_on_ray(
    schedule: Schedule,
    address: str = "auto",
    gpus_per_run: float | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Iterator[Result]:
    """Train runs on the nodes of a Ray cluster, as many at once as it has room for.

    `address` is HOST:PORT of the head node, `auto` for the cluster that this machine belongs to, or
    `local` for one that lives as long as the sweep. A run takes one CPU and computes with one
    thread; on GPUs (`device` cuda, or auto where a node has one) also the share `gpus_per_run` of
    one. `workers` limits how many run at once. Raises `ValueError` for what Ray or the cluster does
    not have, `ConnectionError` where no cluster answers, and `DataError` where a node
    has no data.
    """
    check_gpus_per_run(gpus_per_run)
    with _connected(address) as ray:
        needs = _needs(ray.nodes(), device, gpus_per_run)
        share = needs.get("GPU", 0)
        task = ray.remote(_train_in_worker).options(
            num_cpus=needs["CPU"], num_gpus=share, max_retries=RETRIES
        )
        start = partial(
            task.remote,
            device="cuda" if share else "cpu",
            at_once=max(1, int(1 / share)) if share else None,
            code=code_version(),
            results=str(paths.RESULTS),
            registered=registry.packed(),
        )
        yield from _outcomes(ray, schedule, start, needs, workers)


# --- the cluster -----------------------------------------------------------------------------


@contextmanager
def _connected(address: str):
    """Ray, connected to the cluster; it sends no statistics unless the user has it do so."""
    statistics = os.environ.get("RAY_USAGE_STATS_ENABLED", "0")
    with environment({"RAY_USAGE_STATS_ENABLED": statistics}), _joined(address) as ray:
        yield ray


@contextmanager
def _joined(address: str):
    """Ray, connected to the cluster; the tasks of this driver end with the connection."""
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "executor 'ray' needs Ray, which is not installed here: pip install -r "
            "requirements-cluster.txt -c constraints.txt"
        ) from error
    if ray.is_initialized():
        raise ValueError("this process is connected to Ray already: call ray.shutdown() first")
    options = {}
    if address == "local":
        options = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    else:
        _check_address(os.environ.get("RAY_ADDRESS") or address if address == "auto" else address)
    package = {
        "py_modules": [str(paths.ROOT / "randprune_core")],
        "excludes": ["**/__pycache__/**"],
        "env_vars": WORKER_ENVIRONMENT,
    }
    try:
        ray.init(address=address, runtime_env=package, **options, **_QUIET)
    except Exception as error:  # Ray raises many kinds
        ray.shutdown()
        raise ConnectionError(
            f"cannot join the Ray cluster at {address!r} ({_first_line(error)}): start the sweep "
            "on one of its nodes, or start one with ray start --head"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise where nobody answers at HOST:PORT, which Ray itself would say after two minutes."""
    if address == "auto":
        return
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


def _needs(nodes: list[dict], device: str, gpus_per_run: float | None) -> dict[str, float]:
    """What a run takes of a node."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device {device!r} is not known: choose auto, cpu or cuda")
    has_gpu = any(node["Alive"] and node["Resources"].get("GPU") for node in nodes)
    if gpus_per_run is not None and (device == "cpu" or not has_gpu):
        why = "the device is cpu" if device == "cpu" else "no node of the cluster has a GPU"
        raise ValueError(f"gpus per run {gpus_per_run} cannot be had, as {why}: leave it out")
    if device == "cuda" and not has_gpu:
        raise ValueError("device 'cuda': no node of the cluster has a GPU; choose cpu")
    needs = {"CPU": 1.0}
    if has_gpu and device != "cpu":
        needs["GPU"] = GPUS_PER_RUN if gpus_per_run is None else gpus_per_run
    if not _room(nodes, needs):
        wanted = " and ".join(f"{amount:g} {name}" for name, amount in needs.items())
        raise ValueError(f"no node of the cluster has the {wanted} that a run takes")
    return needs


def _room(nodes: list[dict], needs: dict[str, float]) -> int:
    """How many runs fit on the nodes that are alive."""
    return sum(
        int(min(node["Resources"].get(name, 0) / amount for name, amount in needs.items()) + 1e-6)
        for node in nodes
        if node["Alive"]
    )


# --- the driver ------------------------------------------------------------------------------


def _outcomes(ray, schedule: Schedule, start, needs, workers: int | None) -> Iterator[Result]:
    """Keep as many tasks going as there is room for; whatever happens, leave none behind."""
    running: dict[object, tuple[RunConfig, ExitStack]] = {}
    try:
        while True:
            room = min(_room(ray.nodes(), needs), workers or schedule.left() + len(running))
            while len(running) < room and (config := schedule.next()) is not None:
                if (held := claim(config)) is None:
                    yield config, "found", ""
                    continue
                running[start(config, schedule.deadline, _checkpoint(config))] = config, held
            late = schedule.deadline is not None and time.time() >= schedule.deadline
            if not running and (late or not schedule.left()):
                return
            if not room:
                if late:  # nobody is left who could end these in time
                    for config, _ in running.values():
                        yield config, "unfinished", "no node is left"
                    return
                warnings.warn("no node has room for a run; waiting for one", stacklevel=2)
            yield from _finished(ray, schedule, running)
    finally:
        for task, (_, held) in running.items():
            ray.cancel(task, force=True)
            held.close()


def _finished(ray, schedule: Schedule, running: dict) -> Iterator[Result]:
    """Wait for a moment, and give the outcomes of the tasks that have ended by then."""
    if not running:
        time.sleep(_POLL_SECONDS)
        return
    ended, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
    for task in ended:
        config, held = running.pop(task)
        with held:
            outcome, message = _take(ray, task, config)
        if outcome == "trained":
            schedule.ended(config, message["provenance"]["seconds"])
            message = ""
        yield config, outcome, message


def _take(ray, task, config: RunConfig) -> tuple[str, str | dict]:
    """Store what a task has brought: the outcome, and the record or what went wrong."""
    try:
        outcome, content = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DataError | ImportError):  # no other run would fare better
            raise DataError(f"on a node of the cluster: {_first_line(error.cause)}") from None
        return "failed", f"{type(error.cause).__name__}: {_first_line(error.cause)}"
    except ray.exceptions.RayError as error:  # the node or the process was lost too often
        return "failed", f"its worker was lost {RETRIES + 1} times ({_first_line(error)})"
    checkpoint = paths.checkpoint_path(run_id(config))
    if outcome == "trained":
        store_record(content)
        checkpoint.unlink(missing_ok=True)
    elif outcome == "unfinished":
        content, state = content
        if state is not None:
            write_whole(checkpoint, state)
    elif outcome == "diverged":
        note_failure(config, RuntimeError(content))
        outcome = "failed"
    return outcome, content


def _checkpoint(config: RunConfig) -> bytes | None:
    """Where the run got to before, for a worker that has no checkpoint of its own."""
    path = paths.checkpoint_path(run_id(config))
    return path.read_bytes() if path.exists() else None


def _first_line(error: BaseException) -> str:
    """An error of Ray as one line; some of its messages are a page long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


# --- a worker --------------------------------------------------------------------------------


def _train_in_worker(
    config: RunConfig,
    deadline: float | None,
    checkpoint: bytes | None,
    *,
    device: str,
    at_once: int | None,
    code: dict,
    results: str,
    registered: bytes | None = None,
) -> tuple[str, object]:
    """Train one run: its outcome, and its record, its checkpoint or what went wrong.

    `code` is the commit of the driver, whose package this is; `registered` is `registry.packed`.
    """
    from ..training.engine import TrainingFailed
    from ..training.loop import OutOfTime
    from ..training.train import train

    one_thread()
    if registered is not None:
        registry.unpack(registered)
    saved = _checkpoint_here(config, checkpoint, results)
    if deadline is not None and time.time() >= deadline:  # it waited for a node too long
        return "unfinished", ("not started", None)
    use_code(code)
    begun = Begun()
    own = Path(results) != paths.RESULTS  # a folder that the driver does not see
    try:
        result = train(config, device, deadline=deadline, keep_checkpoint=not own)
    except OutOfTime as error:
        return "unfinished", (str(error), saved.read_bytes())
    except TrainingFailed as error:
        return "diverged", str(error)
    except DataError:
        raise
    except MemoryError:
        return "failed", "out of memory; give fewer --workers"
    except (RuntimeError, ValueError) as error:
        return "failed", str(error)
    return "trained", make_record(config, result, device, begun, at_once)


def _checkpoint_here(config: RunConfig, checkpoint: bytes | None, results: str) -> Path:
    """The checkpoint's path on this node: in the driver's folder where this node has it too."""
    if os.access(results, os.W_OK):
        folder = Path(results)
    else:
        folder = Path(tempfile.gettempdir()) / f"randprune-{os.getuid()}"
    paths.use_results(folder)
    path = paths.checkpoint_path(run_id(config))
    if checkpoint is not None and not path.exists():
        write_whole(path, checkpoint)
    return path
