"""Checkpoints: the state of an unfinished run, written atomically and read back.

A file holds tensors, numbers and strings only and is loaded with `weights_only=True`: reading one
runs no code. It is used for the same config on the same data, and for nothing else: one that does
not fit in every part (`states`) is kept under another name, and the run starts anew.
"""

import io
import os
import stat
import time
import zipfile
from dataclasses import asdict
from pathlib import Path

import torch

from .. import paths
from ..config import RunConfig, run_id
from ..records.files import left_out, set_aside, write_whole
from ..records.provenance import code_version
from . import states
from .engine import Run

SECONDS_BETWEEN = {"cpu": 0, "cuda": 30}
"""The least time between two checkpoints of a run: an epoch takes a GPU less than a second."""

_SPARE_BYTES = 2**24
"""What a checkpoint may hold beside its tensors: names and the history of thousands of epochs."""

_LARGEST_SENT = 2**31
"""Bytes of the largest checkpoint that is sent to a worker, whatever its network."""


def begin(config: RunConfig, device: torch.device, kind: type[Run] = Run) -> Run:
    """The run as its checkpoint left it, else a new one with its initial gradient norm noted."""
    path = paths.checkpoint_path(run_id(config))
    run = kind(config, device)
    run.code = code_version()
    if os.path.lexists(path):
        try:
            state = _read(path, run)
            run.earlier = state.pop("code", [])
            run.load_state(state)
            return run
        except _Unfit as error:
            if run.writes:  # of the processes that share a run only one moves the file
                aside = set_aside(path)
                left_out(f"{path}: {error}; kept as {aside.name}, and the run starts anew")
    run.note_initial_gradient_norm()
    return run


class _Unfit(ValueError):
    """A checkpoint that its run cannot go on from."""


def _read(path: Path, run: Run) -> dict:
    """The state in a file; raises `_Unfit` for all that is not a whole state of this run."""
    try:
        _check_owner(path)
        content = paths.read_regular(path, _largest(run))
        _check_archive(content)
        state = torch.load(io.BytesIO(content), map_location=run.device, weights_only=True)
    except _Unfit:
        raise
    except Exception as error:  # torch raises many kinds for a file that a full disk cut short
        reason = (str(error).splitlines() or [""])[0][:100]
        raise _Unfit(f"it is not readable as a checkpoint ({reason})") from error
    if problem := states.problem(state, run):
        raise _Unfit(problem)
    return state


def own_content(path: Path) -> bytes | None:
    """What a checkpoint file holds, for a worker elsewhere.

    None for one that is of another user, or no regular file; it is kept under another name.
    """
    try:
        _check_owner(path)
        return paths.read_regular(path, _LARGEST_SENT)
    except (ValueError, OSError) as error:
        left_out(f"{path}: {error}; kept as {set_aside(path).name}, and the run starts anew")
        return None


def _check_owner(path: Path) -> None:
    """Only what this user wrote is read: another one could have it go on from any weights."""
    for found in (os.lstat(path), os.stat(path)):
        if found.st_uid != os.geteuid():
            raise _Unfit("it belongs to another user")
    if not stat.S_ISREG(found.st_mode):
        raise _Unfit("it is no regular file")


def _largest(run: Run) -> int:
    tensors = [*run.model.state_dict().values(), *run.drawn.values()]
    return 4 * sum(tensor.nbytes for tensor in tensors) + _SPARE_BYTES


def _check_archive(content: bytes) -> None:
    """Compare the checksums of what is in the file, which torch does not do, and its true size."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise _Unfit("it is packed, which no checkpoint is")
        if (damaged := archive.testzip()) is not None:
            raise _Unfit(f"it is damaged in {damaged}")


def save(run: Run) -> None:
    """Write the state after a full epoch, whole; raises `CannotWrite` on a full disk."""
    if not run.writes:
        return
    state = {"config": asdict(run.config), "fingerprint": run.dataset.fingerprint, **run.state()}
    state["code"] = [*run.earlier, run.code] if run.earlier[-1:] != [run.code] else run.earlier
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
    """Delete the checkpoint of a run whose record is on disk, or of which none is wanted."""
    paths.checkpoint_path(run_id(config)).unlink(missing_ok=True)
