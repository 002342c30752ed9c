"""Checkpoints: the state of an unfinished run, written atomically and read back.

A file holds tensors, numbers and strings only and is loaded with `weights_only=True`: reading one
runs no code. It is used for the same config on the same data, and for nothing else.
"""

import io
import time
from dataclasses import asdict

import torch

from .. import paths
from ..config import RunConfig, config_from_dict, run_id
from ..records.files import write_whole
from .engine import Run

SECONDS_BETWEEN = {"cpu": 0, "cuda": 30}
"""The least time between two checkpoints of a run: an epoch takes a GPU less than a second."""


def begin(config: RunConfig, device: torch.device, kind: type[Run] = Run) -> Run:
    """The run as its checkpoint left it, else a new one with its initial gradient norm noted."""
    state = _read(config, device)
    if state:
        run = kind(config, device)
        if state.pop("fingerprint") == run.dataset.fingerprint:
            try:
                run.load_state(state)
                return run
            except (RuntimeError, ValueError, KeyError, TypeError):
                pass  # a file of another version of this code is worth no more than none
    run = kind(config, device)
    run.note_initial_gradient_norm()
    return run


def _read(config: RunConfig, device: torch.device) -> dict | None:
    path = paths.checkpoint_path(run_id(config))
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        same = config_from_dict(state.pop("config")) == config
    except Exception:  # torch raises many kinds for a file that a full disk cut short
        return None
    return state if same else None


def save(run: Run) -> None:
    """Write the state after a full epoch, whole; raises `CannotWrite` on a full disk."""
    if not run.writes:
        return
    state = {"config": asdict(run.config), "fingerprint": run.dataset.fingerprint, **run.state()}
    content = io.BytesIO()  # torch's own writer says nothing useful when the disk is full
    with run.on_stream():
        torch.save(state, content)
    write_whole(paths.checkpoint_path(run_id(run.config)), content.getvalue())
    run.saved_at = time.monotonic()


def save_now_and_then(run: Run) -> None:
    """`save`, unless the last one is less than `SECONDS_BETWEEN` ago."""
    if time.monotonic() - run.saved_at >= SECONDS_BETWEEN[run.device.type]:
        save(run)


def remove(config: RunConfig) -> None:
    """Delete the checkpoint of a run that has come to its end."""
    paths.checkpoint_path(run_id(config)).unlink(missing_ok=True)
