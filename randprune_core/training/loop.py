"""The loop of one run: epoch after epoch, with a checkpoint after each."""

import time

from tqdm import tqdm

from ..config import RunConfig
from ..devices import pick_device
from ..precision import arithmetic
from . import checkpoints
from .engine import Run


class OutOfTime(RuntimeError):
    """The deadline has passed; the state after the last full epoch is in the checkpoint."""


def train_to_the_end(
    config: RunConfig, device: str, progress: bool, deadline: float | None, kind: type[Run] = Run
) -> Run:
    """Train one run, as its checkpoint left it or anew, to its last epoch and return it."""
    with arithmetic():
        run = checkpoints.begin(config, pick_device(device), kind)
        steps = len(run.sizes)
        with tqdm(
            total=config.epochs * steps,
            initial=run.epoch * steps,
            desc=f"{config.model} {config.ratio} {config.sparsity:g}",
            unit="step",
            disable=None if progress else True,  # None: shown on a terminal only
        ) as bar:
            while run.epoch < config.epochs:
                run.start_epoch(bar.update)
                finish_epoch(run, deadline)
                bar.update(run.epoch * steps - bar.n)  # a GPU reports whole epochs only
                reached = 100 * run.history["validation_accuracy"][-1]
                bar.set_postfix(validation=f"{reached:.1f} %")
    return run


def finish_epoch(run: Run, deadline: float | None) -> None:
    """Note and checkpoint an epoch; raises `OutOfTime` when it is late and not the last one."""
    run.finish_epoch()
    late = deadline is not None and time.time() > deadline
    if late and run.epoch < run.config.epochs:
        checkpoints.save(run)
        raise OutOfTime(f"stopped after epoch {run.epoch} of {run.config.epochs}")
    if run.epoch == run.config.epochs:  # until its record is on disk, this is all there is of it
        checkpoints.save(run)
    else:
        checkpoints.save_now_and_then(run)
