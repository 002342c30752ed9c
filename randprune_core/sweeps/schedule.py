"""The order in which the runs of a sweep start, and how their outcomes are shown.

Executors (`cores`, `gpu`, `cluster`) take the next run from a `Schedule` when there is room for
one, and yield `(config, outcome, message)` as runs end; an outcome is `trained`, `found` (by now
recorded, or, on a GPU, another process is at it), `unfinished` (checkpointed) or `failed` (the
message says why).
"""

import sys
import time
from collections.abc import Iterable, Iterator

from ..config import RunConfig, run_id

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
        from ..metrics.cost import work  # torch, which a sweep of worker processes has no use for

        room = (self.deadline - time.time()) / self._seconds_per_work
        fitting = (number for number, config in enumerate(self._waiting) if work(config) <= room)
        return self._waiting.pop(next(fitting, 0))

    def ended(self, config: RunConfig, seconds: float) -> None:
        """Learn from a run that was trained from its first to its last epoch in `seconds`."""
        if self.deadline is None:
            return
        from ..metrics.cost import work

        self._seconds_per_work = max(self._seconds_per_work, seconds / work(config))

    def put_back(self, config: RunConfig) -> None:
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
