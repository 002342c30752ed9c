"""Who trains the runs of a sweep: one process a core, or streams side by side on a GPU.

Both take the next run from a `Schedule` when there is room for one, and yield `(config, outcome,
message)` as runs end; an outcome is `trained`, `found` (by now recorded, or, on a GPU, another
process is at it), `unfinished` (checkpointed) or `failed` (the message says why).
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from .config import RunConfig, run_id
from .devices import one_thread, worker_environment
from .failures import note_failure
from .metrics.cost import work
from .runs import Begun, claim, find_record, store_result, train_and_store

Result = tuple[RunConfig, str, str]


class Schedule:
    """Runs in the order of their importance, and whether they will end in time.

    How long a run takes is judged by the runs that have ended so far, in proportion to their work.
    Among those that wait, the first that should end before the deadline is next; where none would,
    the first one, which then leaves a checkpoint. `deadline` is a `time.time()`.
    """

    def __init__(self, todo: Iterable[RunConfig], deadline: float | None = None):
        self._waiting, self.deadline = list(todo), deadline
        self._seconds_per_work = 0.0

    def next(self) -> RunConfig | None:
        """The run to start now; None when there is none, or no time."""
        if not self._waiting or self.late():
            return None
        if self.deadline is None or not self._seconds_per_work:
            return self._waiting.pop(0)
        room = (self.deadline - time.time()) / self._seconds_per_work
        fitting = (number for number, config in enumerate(self._waiting) if work(config) <= room)
        return self._waiting.pop(next(fitting, 0))

    def ended(self, config: RunConfig, seconds: float) -> None:
        """Learn from a run that was trained from its first to its last epoch in `seconds`."""
        self._seconds_per_work = max(self._seconds_per_work, seconds / work(config))

    def again(self, config: RunConfig) -> None:
        """Put a run back that was not trained to its end; it is the next one."""
        self._waiting.insert(0, config)

    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.time() >= self.deadline

    def left(self) -> int:
        """How many runs were not started."""
        return len(self._waiting)


def shown(outcomes: Iterable[Result], total: int, progress: bool) -> Iterator[Result]:
    """Pass outcomes on under a progress bar; where there is no terminal, with a line a run."""
    from tqdm import tqdm

    with tqdm(total=total, unit="run", desc="sweep", disable=None if progress else True) as bar:
        for config, outcome, message in outcomes:
            bar.update()
            if progress and bar.disable:
                name = f"{config.model} {config.ratio} {config.sparsity:g} seed {config.seed_init}"
                words = f"{time.strftime('%H:%M:%S')} {outcome} {run_id(config)} {name}"
                print(words, file=sys.stderr)
            yield config, outcome, message


# --- a GPU -----------------------------------------------------------------------------------


def run_on_gpu(schedule: Schedule, device: str, slots: int | None = None) -> Iterator[Result]:
    """Train runs side by side on one device; `slots` fixes how many at once."""
    from .side_by_side import side_by_side

    held, found = {}, []

    def claimed() -> Iterator[RunConfig]:
        while (config := schedule.next()) is not None:
            lock = claim(config)
            if lock is None:
                found.append((config, "found", ""))
                continue
            held[config] = lock, Begun()
            yield config

    try:
        for outcome in side_by_side(claimed(), device, slots=slots, deadline=schedule.deadline):
            config, result = outcome.config, outcome.result
            lock, begun = held.pop(config)
            with lock:
                if isinstance(result, dict):
                    store_result(config, result, device, begun, outcome.at_once)
                    schedule.ended(config, outcome.seconds)
            yield (config, *_outcome(config, result))
        yield from found
    finally:
        for lock, _ in held.values():
            lock.close()


def _outcome(config: RunConfig, result: dict | Exception) -> tuple[str, str]:
    from .engine import TrainingFailed
    from .training import OutOfTime

    if isinstance(result, dict):
        return "trained", ""
    if isinstance(result, OutOfTime):
        return "unfinished", str(result)
    if isinstance(result, TrainingFailed):
        note_failure(config, result)
    return "failed", str(result)


# --- the cores of this machine ---------------------------------------------------------------


def run_on_cores(schedule: Schedule, workers: int) -> Iterator[Result]:
    """Train runs on the CPU in `workers` processes of one thread each.

    A run that another sweep is training waits until the others have ended, so that nothing is lost
    if that sweep is stopped. A worker that is killed takes the others with it; their runs go on in
    new workers from their checkpoints, once.
    """
    busy: list[RunConfig] = []
    killed: set[RunConfig] = set()
    with worker_environment():
        while schedule.left() or busy:
            for config, outcome, message in _in_one_pool(schedule, busy, workers):
                if outcome != "killed":
                    yield config, outcome, message
                elif config in killed:
                    yield config, "failed", message
                else:
                    killed.add(config)
                    schedule.again(config)
            if schedule.late():
                break
    for config in busy:
        yield config, "unfinished", "another process is training it"


def _in_one_pool(schedule: Schedule, busy: list[RunConfig], workers: int) -> Iterator[Result]:
    """Outcomes until nothing is left, or until a worker is killed: then `killed` for all in it."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    running: dict[Future, tuple[RunConfig, float]] = {}
    broken = False
    try:
        while True:
            while not broken and len(running) < workers:
                if (config := schedule.next()) is None and (not busy or schedule.late()):
                    break
                patient = config is None
                config = busy.pop(0) if patient else config
                try:
                    future = pool.submit(_train_one, config, schedule.deadline, patient)
                except BrokenProcessPool:  # while nothing was running in it
                    schedule.again(config)
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


_KILLED = (
    "its process was killed twice, perhaps for lack of memory; give fewer --workers: the same "
    "command goes on from the last full epoch"
)


def _start_worker() -> None:
    """A worker computes with one thread, and ends with the sweep, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches it too: it has nothing to say
    sweep = multiprocessing.parent_process()

    def follow():
        sweep.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # its own is a system semaphore: a killed worker leaves it
    one_thread()


def _train_one(config: RunConfig, deadline: float | None, patient: bool = True) -> tuple[str, str]:
    """Train one run in a worker; what is wrong with this run alone is turned to words.

    Where another process is training it, the outcome is `busy`, or who is `patient` waits for it.
    """
    from .data.files import DataError
    from .training import OutOfTime

    while (held := claim(config)) is None:
        if find_record(config) is not None:
            return "found", ""
        if not patient:
            return "busy", ""
        if deadline is not None and time.time() >= deadline:
            return "unfinished", "another process is training it"
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
