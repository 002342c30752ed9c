"""Several processes: real ones, started by `torchrun`, that talk through gloo."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import files_under, redirect_store
from two_processes import frozen, one_epoch, small

from randprune_core import paths
from randprune_core.config import RunConfig, run_id
from randprune_core.data import imagenet
from randprune_core.records.store import read_record
from randprune_core.training import distributed
from randprune_core.training.distributed import (
    JobEnded,
    check_same,
    explain_lost_process,
    mask_digest,
)

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
RUN = {"model": "resnet-8-4", "ratio": "erk", "sparsity": 0.5, "epochs": 8, "batch_size": 16}
RUN |= {"lr": 0.05, "weight_decay": 1e-4, "precision": "float32"}
HERE = Path(__file__).parent.parent


def start(*words: str, data: Path, results: Path) -> subprocess.Popen:
    """A job of two processes, with what it prints to be read from `communicate()`."""
    environment = os.environ | {"RANDPRUNE_DATA": str(data), "RANDPRUNE_RESULTS": str(results)}
    environment |= {"PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*TORCHRUN, *words], env=environment, cwd=HERE.parent, **pipes)


def train(**where: Path) -> subprocess.Popen:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in RUN.items()]
    words = ("-m", "randprune_core", "train", "--dataset", "imagenet", "--device", "cpu")
    return start(*words, *options, **where)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    imagenet.make_pictures(root, train=16, val=6, classes=3)
    return root


@pytest.fixture
def config(data, monkeypatch) -> RunConfig:
    """The run of `train`."""
    monkeypatch.setenv("RANDPRUNE_DATA", str(data))
    imagenet._folder.cache_clear()
    return small(**RUN)


# --- in one process --------------------------------------------------------------------------


def test_one_process_has_nobody_to_differ_from():
    check_same({"the masks": "any"})
    assert (distributed.rank(), distributed.world()) == (0, 1)


def test_a_mask_digest_changes_with_one_bit_and_with_a_name():
    mask = torch.zeros(4, 3, dtype=torch.bool)
    other = mask.clone()
    other[3, 2] = True
    digests = {mask_digest(found) for found in ({"a": mask}, {"a": other}, {"b": mask})}
    assert len(digests) == 3
    assert mask_digest({"a": mask.clone()}) in digests


@pytest.mark.parametrize(
    "error",
    [RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:2\n")]
    + [torch.distributed.DistBackendError("NCCL error in: x.cpp:3")],
)
def test_a_lost_process_is_told_in_one_line(error):
    said = "another process .* goes on from the last full epoch"
    with pytest.raises(JobEnded, match=said) as caught, explain_lost_process():
        raise error
    assert "\n" not in str(caught.value)


def test_other_errors_stay_what_they_are():
    said = "3 pruned weights are not zero"
    with pytest.raises(RuntimeError, match=f"^{said}$") as error, explain_lost_process():
        raise RuntimeError(said)
    assert error.type is RuntimeError


def test_more_processes_than_gpus_is_one_line(monkeypatch):
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "pick_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    said = "process 2 .* no GPU.*--nproc-per-node 1"
    with pytest.raises(ValueError, match=said), distributed.process_group():
        pass


# --- in two ----------------------------------------------------------------------------------


@pytest.mark.faults
def test_two_processes_do_what_one_does(data, tmp_path, config, monkeypatch):
    """Batch norm is frozen: it alone sees a batch as a whole, and each process sees half of one."""
    job = start(str(HERE / "two_processes.py"), str(tmp_path), data=data, results=tmp_path)
    error = job.communicate()[1]
    assert job.returncode == 0, error[-2000:]
    left = [torch.load(tmp_path / f"{number}.pt", weights_only=True) for number in (0, 1)]
    monkeypatch.setattr(torch.nn.BatchNorm2d, "train", frozen)
    for ratio in ("erk", "snip"):
        alone = one_epoch(small(ratio=ratio, sparsity=0.8, epochs=1, lr=0.01))
        first, second = (found[ratio] for found in left)
        for name, mask in alone.masks.items():
            assert torch.equal(mask, first["masks"][name])
            assert torch.equal(mask, second["masks"][name])
        for name, value in alone.model.state_dict().items():
            assert torch.equal(first["weights"][name], second["weights"][name])
            torch.testing.assert_close(first["weights"][name], value, rtol=1e-4, atol=1e-6)
        for name in ("train_loss", "validation_loss", "gradient_norm_at_init"):
            assert first["history"][name] == pytest.approx(alone.history[name], rel=1e-4)
        norms, own = (h["gradient_norm"]["norm"] for h in (first["history"], alone.history))
        assert norms == pytest.approx(own, rel=1e-3)
    for found in left:
        assert found["refusal"].startswith("the masks of process 1 differ from those of process 0")


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """A run by two processes: their exit status and what they printed, and the results folder."""
    results = tmp_path_factory.mktemp("undisturbed")
    job = train(data=data, results=results)
    out, error = job.communicate()
    return job.returncode, out, error, results


@pytest.mark.faults
def test_two_processes_train_and_one_of_them_writes(undisturbed, config):
    status, out, error, results = undisturbed
    assert status == 0, error[-2000:]
    (name,) = files_under(results)
    assert name == f"runs/imagenet/{run_id(config)}.json"
    assert out.splitlines()[-1].endswith(name) and out.count("test accuracy") == 1
    record = read_record(results / name)
    assert record["provenance"]["processes"] == 2
    losses = record["history"]["train_loss"]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.faults
def test_a_killed_process_ends_the_job_and_the_same_command_goes_on(
    undisturbed, data, config, tmp_path, monkeypatch
):
    results = redirect_store(monkeypatch, tmp_path / "results")
    job = train(data=data, results=results)
    checkpoint = paths.checkpoint_path(run_id(config))
    while not checkpoint.exists():
        assert job.poll() is None, job.communicate()[1][-2000:]
        time.sleep(0.02)
    os.kill(process_of(job, rank=1), signal.SIGKILL)
    out, error = job.communicate()
    assert job.returncode != 0 and "test accuracy" not in out
    assert "another process of the job has ended" in error
    assert "the same command goes on from the last full epoch" in error
    assert not (results / "runs").exists()

    state = torch.load(checkpoint, weights_only=True)
    assert 1 <= state["epoch"] < RUN["epochs"]
    mark = state["history"]["train_loss"][0] = 123.0  # so that it is seen to go on from here
    torch.save(state, checkpoint)
    job = train(data=data, results=results)
    out, error = job.communicate()
    assert job.returncode == 0, error[-2000:]
    (path,) = (results / "runs" / "imagenet").iterdir()
    resumed = read_record(path)
    whole = read_record(undisturbed[3] / "runs" / "imagenet" / path.name)
    assert resumed["history"]["train_loss"][0] == mark
    resumed["history"]["train_loss"][0] = whole["history"]["train_loss"][0]
    for section in ("config", "layers", "cost", "history", "test"):
        assert resumed[section] == whole[section], section
    assert not checkpoint.exists()


def process_of(job: subprocess.Popen, rank: int) -> int:
    """The process of a job that has this rank, by its environment."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            words = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(parent) == job.pid and f"RANK={rank}".encode() in words:
            return int(entry.name)
    raise LookupError(f"job {job.pid} has no process of rank {rank}")
