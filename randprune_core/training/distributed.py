"""The processes of one job, as `torchrun` starts them: joining, comparing, and losing one.

A process that `torchrun` did not start is a job of its own, and nothing here concerns it.
"""

import hashlib
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from ..devices import job_size, pick_device
from .engine import TrainingFailed


class JobEnded(RuntimeError):
    """Another process of the job has ended, and nothing can go on without it."""


def rank() -> int:
    """The place of this process among those of the job, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes the job has."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(device: str = "auto") -> Iterator[str]:
    """Join the job of `torchrun` where there is one; yields the device of this process.

    Processes talk through NCCL on GPUs, one each, and through gloo on a CPU. Raises `ValueError`
    for a device that is not there.
    """
    if job_size() == 1:
        yield device
        return
    picked = pick_device(device)
    if picked.type == "cuda":
        place, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if place >= there:
            raise ValueError(
                f"process {place + 1} of this machine has no GPU, as there are {there}: give "
                f"--nproc-per-node {there}"
            )
        picked = torch.device("cuda", place)
        torch.cuda.set_device(picked)
    before = signal.signal(signal.SIGTERM, _stopped)
    try:
        dist.init_process_group("nccl" if picked.type == "cuda" else "gloo")
        yield str(picked)
        leave()
    finally:
        signal.signal(signal.SIGTERM, before)


def leave() -> None:
    """Leave the job, if there is one: what follows happens in this process alone."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _stopped(*_) -> None:
    raise JobEnded(_ended("torchrun has stopped it"))


def _ended(reason: str) -> str:
    return (
        f"process {rank()} of {world()}: another process of the job has ended, or the job was "
        f"stopped ({reason}); the same command goes on from the last full epoch"
    )


@contextmanager
def explain_lost_process() -> Iterator[None]:
    """Turn what torch says of a lost process into one line."""
    try:
        yield
    except (JobEnded, TrainingFailed):
        raise
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
        if lost or "connection" in str(error).lower():
            raise JobEnded(_ended(str(error).strip().splitlines()[0])) from error
        raise


def check_same(values: Mapping[str, str | bytes]) -> None:
    """Raise `RuntimeError`, on every process, unless each value is the same on all of them.

    The digests of the values are gathered; keys say in words what the values are.
    """
    if world() == 1:
        return
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    for name, value in values.items():
        content = value.encode() if isinstance(value, str) else value
        digest = torch.tensor(list(hashlib.sha256(content).digest()), device=device)
        gathered = [torch.empty_like(digest) for _ in range(world())]
        dist.all_gather(gathered, digest)
        if others := [n for n, other in enumerate(gathered) if not torch.equal(other, gathered[0])]:
            raise RuntimeError(
                f"{name} of process {', '.join(map(str, others))} differ from those of process 0: "
                "start every process with the same command, data, code and results folder"
            )


def mask_digest(masks: Mapping[str, Tensor]) -> bytes:
    """sha256 over the names and bits of masks, in their order."""
    digest = hashlib.sha256()
    for name, mask in masks.items():
        digest.update(name.encode() + mask.cpu().numpy().tobytes())
    return digest.digest()


def as_first_process(value: bool, device: str) -> bool:
    """The value that the first process has, in every process."""
    said = torch.tensor(int(value), device=device)
    dist.broadcast(said, 0)
    return bool(said)
