"""Checkpoints: what was stopped goes on to the same result, what does not fit is not used."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import files_under, tiny

from randprune_core import paths
from randprune_core.config import run_id
from randprune_core.sweeps.run import load_or_train
from randprune_core.training.engine import Run
from randprune_core.training.loop import OutOfTime
from randprune_core.training.train import train


def equal(first: dict, second: dict) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


def test_a_run_that_was_stopped_goes_on_to_the_same_result_bit_for_bit(unmeasured, monkeypatch):
    config = tiny(epochs=3)
    whole = train(config, "cpu")
    epochs = []
    real = Run.start_epoch
    monkeypatch.setattr(
        Run, "start_epoch", lambda run, *rest: (epochs.append(run.epoch), real(run, *rest))
    )
    for stopped_after in (1, 2):
        with pytest.raises(OutOfTime, match=f"after epoch {stopped_after} of 3"):
            train(config, "cpu", deadline=time.time())
    checkpoint = paths.checkpoint_path(run_id(config))
    assert checkpoint.exists()
    resumed = train(config, "cpu", deadline=time.time())  # the last epoch has nothing to put off
    assert epochs == [0, 1, 2]
    assert resumed.history == whole.history
    assert equal(resumed.model.state_dict(), whole.model.state_dict())
    assert resumed.best["epoch"] == whole.best["epoch"]
    assert equal(resumed.best["weights"], whole.best["weights"])
    assert not checkpoint.exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "other data", "other config"])
def test_a_checkpoint_that_does_not_fit_is_not_used(unmeasured, damage):
    config = tiny(train_images=100)
    whole = train(config, "cpu").history
    with pytest.raises(OutOfTime):
        train(config, "cpu", deadline=0.0)
    checkpoint = paths.checkpoint_path(run_id(config))
    if damage in ("truncated", "empty"):
        content = checkpoint.read_bytes()
        checkpoint.write_bytes(content[: len(content) // 2 if damage == "truncated" else 0])
    else:
        state = torch.load(checkpoint, weights_only=True)
        state["history"]["train_loss"] = [-1.0]
        if damage == "other data":
            state["fingerprint"] = "another copy"
        else:
            state["config"]["lr"] = 0.2
        torch.save(state, checkpoint)
    with pytest.warns(UserWarning, match=f"set aside: {checkpoint}: .*; kept as {checkpoint.name}"):
        assert train(config, "cpu").history == whole
    assert len(list(checkpoint.parent.glob("*.set-aside-*"))) == 1
    assert train(config, "cpu").history == whole  # without a word


def test_a_finished_run_leaves_no_checkpoint_and_no_temporary_file(unmeasured, store):
    train(tiny(epochs=1), "cpu")
    assert files_under(store) == []


def test_a_run_killed_at_any_moment_resumes_to_the_bit_identical_record(store):
    """A real SIGKILL, right after the first checkpoint and again a moment after the second."""
    config = tiny(epochs=4, ratio="snip")
    checkpoint = paths.checkpoint_path(run_id(config))
    code = (
        "from randprune_core.config import RunConfig\n"
        "from randprune_core.sweeps.run import load_or_train\n"
        f"load_or_train({config!r}, device='cpu', progress=False)"
    )
    environment = os.environ | {"RANDPRUNE_RESULTS": str(store), "OMP_NUM_THREADS": "1"}
    before = None
    for pause in (0.0, 0.2):
        process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        while process.poll() is None and _written_at(checkpoint) in (None, before):
            time.sleep(0.005)
        time.sleep(pause)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        before = _written_at(checkpoint)
    assert before is not None
    resumed = load_or_train(config, device="cpu", progress=False)
    assert not checkpoint.exists()
    paths.record_path(config.dataset, run_id(config)).unlink()
    whole = load_or_train(config, device="cpu", progress=False)
    for section in ("config", "layers", "cost", "history", "test"):
        assert resumed[section] == whole[section], section


def _written_at(path):
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
