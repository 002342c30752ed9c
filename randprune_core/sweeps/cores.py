"""A sweep on the cores of this machine: one process a core, one thread a process."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType

from .. import paths, registry
from ..config import RunConfig, run_id
from ..data.files import DataError
from ..devices import environment, one_thread, worker_environment
from ..records.files import say
from ..records.locks import holder
from ..records.store import claim, find_record
from ..terminal import warnings_as_lines
from .run import train_and_store
from .schedule import Result, Schedule


def run_on_cores(schedule: Schedule, workers: int) -> Iterator[Result]:
    """Train runs on the CPU in `workers` processes of one thread each.

    A run that another sweep is training waits until the others have ended, so that nothing is lost
    if that sweep is stopped. A worker that is killed takes the others with it; their runs go on in
    new workers from their checkpoints, once.
    """
    busy: list[RunConfig] = []
    killed: set[RunConfig] = set()
    with worker_environment(), environment({"RANDPRUNE_RESULTS": str(paths.RESULTS)}):
        while schedule.left() or busy:
            for config, outcome, message in _in_one_pool(schedule, busy, workers):
                if outcome != "killed":
                    yield config, outcome, message
                elif config in killed:
                    yield config, "failed", message
                else:
                    killed.add(config)
                    schedule.put_back(config)
            if schedule.late():
                break
    for config in busy:
        yield config, "unfinished", "another process is training it"


def _in_one_pool(schedule: Schedule, busy: list[RunConfig], workers: int) -> Iterator[Result]:
    """Outcomes until nothing is left, or until a worker is killed: then `killed` for all in it."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker, (registry.packed(),))
    running: dict[Future, tuple[RunConfig, float]] = {}
    broken = False
    try:
        while True:
            while not broken and len(running) < workers:
                if (config := schedule.next()) is None and (not busy or schedule.late()):
                    break
                waits = config is None
                config = busy.pop(0) if waits else config
                try:
                    with _without_script():
                        future = pool.submit(_train_one, config, schedule.deadline, waits)
                except BrokenProcessPool:  # while nothing was running in it
                    schedule.put_back(config)
                    broken = True
                    break
                running[future] = config, time.time()
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                config, started = running.pop(future)
                try:
                    outcome, message = future.result()
                except BrokenProcessPool:
                    outcome, message, broken = "killed", _KILLED, True
                if outcome == "busy":
                    busy.append(config)
                    continue
                if outcome == "trained":
                    schedule.ended(config, time.time() - started)
                yield config, outcome, message
    finally:  # after an error or Ctrl-C nobody waits for the runs that are left: they can go on
        for child in set(multiprocessing.active_children()) - before if running else ():
            child.terminate()
        pool.shutdown()


@contextmanager
def _without_script() -> Iterator[None]:
    """Processes that are started meanwhile do not run the caller's script.

    `multiprocessing` would run it in each of them, up to its own sweep where it has no
    `if __name__ == "__main__"`, and finds none where the code comes from standard input.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


_KILLED = (
    "its process was killed twice, perhaps for lack of memory; give fewer --workers: the same "
    "command goes on from the last full epoch"
)


def _start_worker(registered: bytes) -> None:
    """A worker computes with one thread, and ends with the sweep, however that ends.

    It knows what is `registered` in the process of the sweep.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches it too: it has nothing to say
    sweep = multiprocessing.parent_process()

    def follow():
        sweep.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own is a system semaphore: a killed worker leaves it
    one_thread()
    registry.unpack(registered)


@warnings_as_lines()
def _train_one(config: RunConfig, deadline: float | None, waits: bool = True) -> tuple[str, str]:
    """Train one run in a worker; what is wrong with this run alone is turned to words.

    Where another process is training it, the outcome is `busy`, unless this worker `waits` for it.
    """
    from ..training.loop import OutOfTime

    said = False
    while (held := claim(config)) is None:
        if find_record(config) is not None:
            return "found", ""
        if not waits:
            return "busy", ""
        if deadline is not None and time.time() >= deadline:
            return "unfinished", "another process is training it"
        if not said:
            name, said = run_id(config), True
            say(f"run {name}: waiting for {holder(name)}, which is training it")
        time.sleep(1)
    try:
        with held:
            train_and_store(config, "cpu", deadline=deadline)
    except OutOfTime as error:
        return "unfinished", str(error)
    except DataError:  # no other run of this data set would fare better
        raise
    except MemoryError:
        return "failed", "out of memory; give fewer --workers"
    except (RuntimeError, ValueError) as error:  # a loss that is NaN, a budget that is infeasible
        return "failed", str(error)
    return "trained", ""
