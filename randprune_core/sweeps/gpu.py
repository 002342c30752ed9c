"""A sweep on a GPU: many runs at the same time, each on its own CUDA stream.

One small network leaves most of a GPU idle: its kernels are short and follow each other. Runs side
by side fill the gaps; each trains as it would alone, and the data set is there once.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from ..config import RunConfig
from ..data.files import DataError
from ..devices import pick_device
from ..metrics.cost import work
from ..precision import arithmetic
from ..records.failures import note_failure
from ..records.provenance import Begun
from ..records.store import claim
from ..training import checkpoints
from ..training.engine import Run, TrainingFailed
from ..training.loop import OutOfTime, finish_epoch
from ..training.measure import measure
from ..training.train import check_data
from .run import store_result
from .schedule import Result, Schedule


def run_on_gpu(schedule: Schedule, device: str, slots: int | None = None) -> Iterator[Result]:
    """Train runs side by side on one device; `slots` fixes how many at once."""
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
    if isinstance(result, dict):
        return "trained", ""
    if isinstance(result, OutOfTime):
        return "unfinished", str(result)
    if isinstance(result, TrainingFailed):
        note_failure(config, result)
    return "failed", str(result)


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its measurements (see `train.train`), or the error that ended it.

    `seconds` is wall time from start to end; `at_once` the most runs that shared the device.
    """

    config: RunConfig
    result: dict | RuntimeError | ValueError
    seconds: float
    at_once: int


class Slots:
    """How many runs go side by side: doubled while that pays, unless the number is given.

    Work is counted in multiply-accumulates, so that networks of different sizes can be mixed. A
    level begins when its last slot is filled and is measured over two epochs of each of its runs.
    """

    GAIN = 1.1
    """A doubling must train this much more in the same time, or the level before is kept."""

    def __init__(self, given: int | None = None, most: int = 32):
        self.wanted, self._most = given or 1, most
        self._settled = given is not None
        self._best_rate = 0.0
        self._begin_level()

    def _begin_level(self) -> None:
        self._epochs, self._work, self._since = 0, 0.0, None

    def limit(self, most: int) -> None:
        """There is no room for more."""
        self.wanted, self._settled = min(self.wanted, max(most, 1)), True

    def note_epoch(self, work: float, active: int, now: float) -> None:
        """An epoch of `work` ended at `now` (seconds), with `active` runs on the device."""
        if self._settled or active < self.wanted:
            return
        if self._since is None:
            self._since = now
            return
        self._epochs, self._work = self._epochs + 1, self._work + work
        if self._epochs < 2 * self.wanted or now <= self._since:
            return
        rate = self._work / (now - self._since)
        if rate < self.GAIN * self._best_rate:
            self.wanted, self._settled = self.wanted // 2, True
        elif self.wanted >= self._most:
            self._settled = True
        else:
            self._best_rate, self.wanted = rate, min(2 * self.wanted, self._most)
        self._begin_level()


@dataclass
class _Active:
    run: Run
    started: float
    work: float  # multiply-accumulates of one epoch, forwards
    at_once: int = 1

    def outcome(self, result: dict | RuntimeError | ValueError) -> Outcome:
        seconds = time.perf_counter() - self.started
        return Outcome(self.run.config, result, seconds, self.at_once)


def side_by_side(
    configs: Iterable[RunConfig],
    device: str = "auto",
    *,
    slots: int | None = None,
    deadline: float | None = None,
) -> Iterator[Outcome]:
    """Train runs on one device at the same time and yield each as it ends.

    `slots` fixes how many run at once (default: found out, see `Slots`). The next config is asked
    for when there is a slot for it, so that `configs` may decide late. After `deadline` (a
    `time.time()`) no run starts, and the others stop at their next full epoch with `OutOfTime`.
    Raises `DataError` when the data is not there, which no other run would survive either.
    """
    level, waiting, active = Slots(slots), iter(configs), []
    target = pick_device(device)
    with arithmetic():
        while True:
            while len(active) < level.wanted and not _is_late(deadline):
                if (config := next(waiting, None)) is None:
                    break
                try:
                    active.append(_begin(config, target))
                except torch.cuda.OutOfMemoryError as error:
                    if not active:
                        yield Outcome(config, error, 0.0, 1)
                        continue
                    torch.cuda.empty_cache()
                    level.limit(len(active))
                    waiting = itertools.chain([config], waiting)
                except DataError:
                    raise
                except (RuntimeError, ValueError) as error:
                    yield Outcome(config, error, 0.0, 1)
            if not active:
                return
            yield from _advance_all(active, level, deadline)


def _is_late(deadline: float | None) -> bool:
    return deadline is not None and time.time() > deadline


def _begin(config: RunConfig, device: torch.device) -> _Active:
    started = time.perf_counter()
    check_data(config)
    run = checkpoints.begin(config, device)
    if run.epoch < config.epochs:  # else it was stopped while it was measured
        run.start_epoch()
    return _Active(run, started, work(config) / config.epochs)


def _advance_all(active: list[_Active], level: Slots, deadline: float | None) -> Iterator[Outcome]:
    """Go on with every run whose epoch is done; waits a moment where there is none."""
    for one in active:
        one.at_once = max(one.at_once, len(active))
    ready = [one for one in active if one.run.is_done()]
    if not ready:
        time.sleep(0.0005)
    for one in ready:
        result = _advance(one.run, deadline)
        level.note_epoch(one.work, len(active), time.perf_counter())
        if result is not None:
            active.remove(one)
            yield one.outcome(result)
            if isinstance(result, dict):  # whoever took it has stored it: else we were closed
                checkpoints.remove(one.run.config)


def _advance(run: Run, deadline: float | None) -> dict | RuntimeError | ValueError | None:
    """Finish the epoch of a run and start its next one, or measure it."""
    try:
        if run.epoch < run.config.epochs:
            finish_epoch(run, deadline)
        if run.epoch < run.config.epochs:
            run.start_epoch()
            return None
        with run.on_stream():
            return measure(run)
    except (RuntimeError, ValueError) as error:
        return error
