"""The runs of a sweep as tasks of a Ray cluster.

The driver, which is the process of the `sweep` command, holds the lock of each run, sends the run
to a worker together with this package, and stores the record that comes back. A worker needs the
libraries, and on its own node the data (`$RANDPRUNE_DATA`), but no disk that it shares with the
driver. The task of a node that is lost starts again on another one. Outcomes are those of
`schedule`.
"""

import os
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from threading import Thread

from .. import paths, registry
from ..config import RunConfig, run_id
from ..data.files import DataError
from ..devices import one_thread
from ..records.failures import note_failure
from ..records.files import write_whole
from ..records.provenance import Begun, code_version, use_code
from ..records.store import claim, make_record, store_record
from .connection import connected, first_line
from .schedule import Result, Schedule

GPUS_PER_RUN = 0.2
"""The share of a GPU that a run takes unless another is chosen: one ResNet-20 cannot fill one."""

RETRIES = 5
"""How often a run starts again whose node or worker process was lost."""

_POLL_SECONDS = 2.0
_FORGET_SECONDS = 10.0
_SILENCE_SECONDS = 20.0
"""How long the head node may be silent: after 60 s Ray ends this process without a word."""
_ROOM_SECONDS = 60.0
"""How long to wait for a node that has room for a run, once there is none."""


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
    not have, `ConnectionError` where no cluster answers (`connection.connected`), and `DataError`
    where a node has no data. Where the cluster or its last node is lost, the runs in progress fail.
    """
    check_gpus_per_run(gpus_per_run)
    with connected(address) as ray:
        needs = _needs(ray.nodes(), device, gpus_per_run)
        share = needs.get("GPU", 0)
        task = ray.remote(_train_on_node).options(
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


class _Lost(Exception):
    """The cluster is gone, or its last node; the message says which."""


def _nodes(ray) -> list[dict]:
    """The nodes of the cluster; raises `_Lost` without the head node or the driver's own."""
    found: list[list[dict]] = []

    def ask() -> None:
        with suppress(Exception):  # Ray raises many kinds
            found.append(ray.nodes())

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SILENCE_SECONDS)
    if not found:
        raise _Lost("the head node of the cluster does not answer")
    own = ray.get_runtime_context().get_node_id()
    if not any(node["Alive"] and node["NodeID"] == own for node in found[0]):
        raise _Lost("the node that the sweep was started on is lost")
    return found[0]


def _outcomes(ray, schedule: Schedule, start, needs, workers: int | None) -> Iterator[Result]:
    """The outcomes of all runs; whatever happens, no task and no lock is left behind."""
    running: dict[object, tuple[RunConfig, ExitStack]] = {}
    try:
        yield from _trained(ray, schedule, running, start, needs, workers)
    except _Lost as lost:
        if not running and (config := schedule.next()) is not None:
            yield config, "failed", str(lost)
        for config, held in running.values():
            held.close()
            yield config, "failed", str(lost)
        running.clear()  # nobody is there to cancel them
    finally:
        with ExitStack() as locks:  # released even where a task cannot be cancelled any more
            for _, held in running.values():
                locks.push(held)
            for task in running:
                ray.cancel(task, force=True)


def _trained(ray, schedule: Schedule, running: dict, start, needs, workers) -> Iterator[Result]:
    """Keep as many tasks going as there is room for, and give their outcomes."""
    had_room = time.monotonic()
    while True:
        room = min(_room(_nodes(ray), needs), workers or schedule.left() + len(running))
        while len(running) < room and (config := schedule.next()) is not None:
            if (held := claim(config)) is None:
                yield config, "found", ""
                continue
            with ExitStack() as until_running:  # Ctrl-C may come while the task is on its way
                until_running.push(held)
                task = start(config, schedule.deadline, _checkpoint(config))
                running[task] = config, until_running.pop_all()
        if not running and (schedule.late() or not schedule.left()):
            return
        if room:
            had_room = time.monotonic()
        elif schedule.late():  # nobody is left who could end these in time
            for config, _ in running.values():
                yield config, "unfinished", "no node is left"
            return
        elif time.monotonic() - had_room > _ROOM_SECONDS:
            raise _Lost("no node of the cluster that has room for a run is left")
        else:
            warnings.warn("no node has room for a run; waiting for one", stacklevel=2)
        yield from _finished(ray, schedule, running)


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
        node, outcome, content = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        # no other run would fare better
        if isinstance(error.cause, DataError | ImportError | PermissionError):
            raise DataError(f"on a node of the cluster: {first_line(error.cause)}") from None
        return "failed", f"{type(error.cause).__name__}: {first_line(error.cause)}"
    except ray.exceptions.RayError as error:  # the node or the process was lost too often
        return "failed", f"its worker was lost {RETRIES + 1} times ({first_line(error)})"
    checkpoint = paths.checkpoint_path(run_id(config))
    if outcome == "trained":
        store_record(content)
        checkpoint.unlink(missing_ok=True)
        _forget(ray, node, config)
    elif outcome == "unfinished":
        content, state = content
        if state is not None:
            write_whole(checkpoint, state)
    elif outcome == "diverged":
        note_failure(config, RuntimeError(content))
        outcome = "failed"
    return outcome, content


def _forget(ray, node: str, config: RunConfig) -> None:
    """Have a node remove its checkpoint of a recorded run; nobody waits long for a lost node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(_remove_checkpoint).options(num_cpus=0, scheduling_strategy=there)
    ray.wait([task.remote(config, str(paths.RESULTS))], timeout=_FORGET_SECONDS)


def _checkpoint(config: RunConfig) -> bytes | None:
    """Where the run got to before, for a worker that has no checkpoint of its own."""
    path = paths.checkpoint_path(run_id(config))
    if not os.path.lexists(path):
        return None
    from ..training.checkpoints import own_content  # loads torch, which no driver has use for

    return own_content(path)


# --- a worker --------------------------------------------------------------------------------


def _train_on_node(*arguments, **options) -> tuple[str, str, object]:
    """`_train_in_worker`, after the node that it is on."""
    import ray

    return ray.get_runtime_context().get_node_id(), *_train_in_worker(*arguments, **options)


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
    try:
        result = train(config, device, deadline=deadline, keep_checkpoint=True)
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
    """The checkpoint's path on this node, with what was sent in it unless there is one."""
    paths.use_results(_folder_here(results))
    path = paths.checkpoint_path(run_id(config))
    if checkpoint is not None and not path.exists():
        write_whole(path, checkpoint)
    return path


def _remove_checkpoint(config: RunConfig, results: str) -> None:
    """Remove the checkpoint on this node: the record is on the driver's disk."""
    paths.use_results(_folder_here(results))
    paths.checkpoint_path(run_id(config)).unlink(missing_ok=True)


def _folder_here(results: str) -> Path:
    """The driver's results folder where this node has it too, else one of its own."""
    if os.access(results, os.W_OK):
        return Path(results)
    return _private(Path(tempfile.gettempdir()) / f"randprune-{os.geteuid()}")


def _private(folder: Path) -> Path:
    """Make a folder that nobody else reads or writes; PermissionError for one that others had."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or mode & 0o077:
        raise PermissionError(
            f"{folder} (owner {found.st_uid}, mode {mode:o}) must be a folder of user "
            f"{os.geteuid()} alone, with mode 700: remove it, or set TMPDIR to another place"
        )
    return folder
