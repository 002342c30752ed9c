"""One run for whoever asks for it: found in the store, or trained now and stored.

torch is imported where a run is trained: to find a recorded one must not take the seconds that it
takes.
"""

from collections.abc import Callable
from pathlib import Path

from .. import paths
from ..config import RunConfig, run_id
from ..devices import job_size
from ..records.failures import note_failure
from ..records.files import say
from ..records.locks import lock
from ..records.provenance import Begun
from ..records.store import claim, find_record, make_record, store_record, tidy

Saver = Callable[[object], None]
"""What saves a trained network, before it is measured."""


class MissingRecord(LookupError):
    """There is no record of a run and it was not to be trained."""


def load_or_train(
    config: RunConfig,
    *,
    device: str = "auto",
    train_missing: bool = True,
    progress: bool = True,
    deadline: float | None = None,
    save_weights: str | Path | None = None,
) -> dict | None:
    """The record of a run: from the store, or from training it now and storing it.

    `device` is auto, cpu or cuda; `progress` shows a bar on a terminal; `deadline` (a
    `time.time()`) stops at the first full epoch after it, checkpointed. `save_weights` is a file
    that gets the trained network (`weights.save_network`): where the run is recorded already, it is
    trained once more for it, and its record stays. Two processes that ask for
    the same run train it once. Raises `MissingRecord` when `train_missing` is False and there is no
    record, `engine.TrainingFailed` when the loss is no longer finite (noted in `results/failed/`),
    and `loop.OutOfTime` at the deadline.

    A run on ImageNet may be shared: every process of a job of `torchrun` calls this, the first one
    finds or trains and stores the record, and the others train with it and return None. Raises
    `RuntimeError` where another job is training the same run.
    """
    save = _saver(config, save_weights)
    if config.dataset == "imagenet" and train_missing and job_size() > 1:
        return _share(config, device, save)
    name = run_id(config)
    record = find_record(config)
    if record is None and not train_missing:
        raise MissingRecord(f"run {name} is not recorded: {config}")
    if record is None:
        with lock(name):
            if (record := find_record(config)) is None:  # nor trained by whoever held the lock
                tidy(config)
                return train_and_store(config, device, progress, deadline, save)
    if save_weights is not None:
        _train_again(config, device, progress, save)
    return record


def _saver(config: RunConfig, file: str | Path | None) -> Saver:
    """What saves the trained network, where a file is given."""
    if file is None:
        return lambda model: None
    from ..records.weights import check_path, save_network

    check_path(file)
    if config.dataset == "imagenet" and find_record(config) is not None:
        raise ValueError(
            f"run {run_id(config)} is recorded without its network: move its record away to train "
            "it once more"
        )
    return lambda model: save_network(model, file, config)


def _train_again(config: RunConfig, device: str, progress: bool, save: Saver) -> None:
    """Train a recorded run for its network alone."""
    from ..training.train import fit

    say(f"run {run_id(config)} is recorded, and trained once more for its network")
    save(fit(config, device, progress=progress).model)


def train_and_store(
    config: RunConfig,
    device: str,
    progress: bool = False,
    deadline: float | None = None,
    save: Saver = lambda model: None,
) -> dict:
    """Train a run, store its record and return it; the caller holds its lock, as from `claim`."""
    from ..training.engine import TrainingFailed
    from ..training.train import train

    begun = Begun()
    try:
        result = train(
            config, device, progress=progress, deadline=deadline, keep_checkpoint=True, save=save
        )
    except TrainingFailed as error:
        note_failure(config, error)
        raise
    return store_result(config, result, device, begun)


def store_result(
    config: RunConfig, result: dict, device: str, begun: Begun, at_once: int | None = None
) -> dict:
    """Make the record of what `train.train` returned, store it and return it (`make_record`).

    Only then is the checkpoint removed: a folder that takes no record costs no training.
    """
    record = store_record(make_record(config, result, device, begun, at_once))
    paths.checkpoint_path(run_id(config)).unlink(missing_ok=True)
    return record


def _share(config: RunConfig, device: str, save: Saver) -> dict | None:
    """`load_or_train` in one process of a job, for a run that all of them train together."""
    from ..training.distributed import (
        as_first_process,
        explain_lost_process,
        process_group,
        rank,
    )
    from ..training.train import train

    with process_group(device) as own, explain_lost_process():
        held = claim(config) if rank() == 0 else None
        if not as_first_process(held is not None, own):
            return _recorded(config) if rank() == 0 else None
        if held is None:
            return train(config, own)
        with held:
            return train_and_store(config, own, save=save)


def _recorded(config: RunConfig) -> dict:
    if (record := find_record(config)) is None:
        raise RuntimeError(f"run {run_id(config)} is being trained by another job")
    return record
