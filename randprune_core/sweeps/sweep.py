"""Training the runs of a sweep that have no record: the most informative first, several at once."""

import os
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..config import RunConfig, check_name, run_id
from ..devices import pick_device
from ..records.store import find_records
from ..records.table import records_to_frame
from .coverage import missing
from .plan import in_order

EXECUTORS = ("local", "ray")


@dataclass
class SweepReport:
    """What a sweep did: counts, and the failed runs with their errors by run id."""

    trained: int = 0
    found: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    unfinished: int = 0

    def note(self, config: RunConfig, outcome: str, message: str) -> None:
        """Count what became of one run; `message` is the error of a failed one."""
        if outcome == "failed":
            self.failed[run_id(config)] = message
        else:
            setattr(self, outcome, getattr(self, outcome) + 1)


def collect(configs: Sequence[RunConfig], train_missing: bool | None = None, device: str = "auto"):
    """The records of a grid as a DataFrame (see `table.load_runs`), in the order of the grid.

    `train_missing` None trains what is missing on `digits` only, which takes seconds a run; True
    trains whatever is missing, False nothing. A run that fails is left out with a warning.
    """
    if train_missing is None:
        train_missing = all(config.dataset == "digits" for config in configs)
    if train_missing and missing(configs):
        report = sweep(configs, device=device, progress=False)
        for name, error in report.failed.items():
            warnings.warn(f"run {name} failed and is left out: {error}", stacklevel=2)
    return records_to_frame(find_records(configs))


def sweep(
    configs: Iterable[RunConfig],
    executor: str = "local",
    *,
    device: str = "auto",
    workers: int | None = None,
    time_budget: float | None = None,
    progress: bool = True,
    ray_address: str = "auto",
    gpus_per_run: float | None = None,
) -> SweepReport:
    """Train the runs that have no record, several at once, and say what happened.

    On a CPU every core trains one run with one thread, which is faster in total than threads
    sharing a run; on a GPU runs train side by side on streams. `workers` fixes how many run at once
    (default: one a core; on a GPU as many as pay). `time_budget` is in seconds: no run starts after
    it, runs that would not end within it wait behind those that would, and runs in progress stop at
    their next full epoch with a checkpoint. A failed run is noted and the sweep goes on. Executor
    `ray` trains on the cluster at `ray_address`: HOST:PORT of its head node, `auto` for the one
    that this machine belongs to, or `local` for one that lives as long as the sweep. On GPUs each
    run takes the share `gpus_per_run` of one.
    Raises `ValueError` for an unknown executor or device.
    """
    check_name("executor", executor, EXECUTORS)
    if gpus_per_run is not None:
        _check_gpus(gpus_per_run, executor)
    if workers is not None and workers < 1:
        raise ValueError(f"workers {workers} is too small: give at least 1")
    if time_budget is not None and not time_budget >= 0:
        raise ValueError(f"time budget {time_budget} is not a number of seconds: give 0 or more")
    configs = list(configs)
    todo = in_order(missing(configs))
    report = SweepReport(found=len(configs) - len(todo))
    if not todo:
        return report
    from . import cores, schedule

    deadline = None if time_budget is None else time.time() + time_budget
    waiting = schedule.Schedule(todo, deadline)
    if executor == "ray":
        from .cluster import run_on_ray

        outcomes = run_on_ray(waiting, ray_address, gpus_per_run, device, workers)
    elif device != "cpu" and pick_device(device).type == "cuda":  # which loads torch
        from .gpu import run_on_gpu

        outcomes = run_on_gpu(waiting, device, workers)
    else:
        outcomes = cores.run_on_cores(waiting, min(workers or os.cpu_count(), len(todo)))
    for config, outcome, message in schedule.shown(outcomes, len(todo), progress):
        report.note(config, outcome, message)
    report.unfinished += waiting.left()
    return report


def _check_gpus(gpus_per_run: float, executor: str) -> None:
    from .cluster import check_gpus_per_run

    if executor != "ray":
        raise ValueError(f"gpus per run {gpus_per_run} needs executor ray, not {executor!r}")
    check_gpus_per_run(gpus_per_run)
