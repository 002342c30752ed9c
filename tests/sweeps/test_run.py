"""One run for whoever asks: found or trained once, by one of several processes."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import files_under, made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.config import config_to_dict, run_id
from randprune_core.records.store import read_record
from randprune_core.records.table import load_runs
from randprune_core.sweeps.run import MissingRecord, load_or_train
from randprune_core.training import engine
from randprune_core.training import train as train_module


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("this run was to be found, not trained")

    monkeypatch.setattr(train_module, "train", refuse)


@pytest.fixture
def pretend(monkeypatch):
    """Training takes no time and gives a made-up result; the configs trained are listed."""
    trained = []

    def train(config, device, **options):
        trained.append(config)
        made = made_up_record(config)
        result = {name: made[name] for name in ("layers", "cost", "history", "test")}
        return result | {"data": {"source": "made up", "test": 360}}

    monkeypatch.setattr(train_module, "train", train)
    return trained


GOOD = tiny()


def test_training_over_a_bad_file_keeps_it_beside_the_new_record(store, pretend):
    path = paths.record_path("digits", run_id(GOOD))
    path.parent.mkdir(parents=True)
    path.write_text("half a rec")
    with pytest.warns(UserWarning) as caught:
        record = load_or_train(GOOD, device="cpu")
    assert pretend == [GOOD]
    assert any("kept as" in str(warning.message) for warning in caught)
    assert read_record(path) == record
    (aside,) = (p for p in path.parent.iterdir() if p != path)
    assert aside.name.startswith(f"{path.name}.set-aside-") and aside.read_text() == "half a rec"
    assert list(load_runs().run_id) == [run_id(GOOD)]  # what was set aside is no record


def test_a_missing_run_is_named_when_it_is_not_to_be_trained(store, no_training):
    with pytest.raises(MissingRecord, match=run_id(GOOD)):
        load_or_train(GOOD, train_missing=False)
    assert files_under(store) == []


def test_a_recorded_run_is_not_trained_again(store, pretend, no_training):
    record = made_up_record(GOOD)
    store_record(record)
    for train_missing in (True, False):
        assert load_or_train(GOOD, train_missing=train_missing) == record
    assert load_or_train(tiny(model="resnet-8-16")) == record


def test_a_real_run_leaves_its_record_and_nothing_else(trained):
    assert trained.files == [f"runs/digits/{run_id(trained.config)}.json"]
    assert json.loads(trained.text) == trained.record


def test_a_failed_run_leaves_a_note_no_record_and_may_be_retried(store, monkeypatch, pretend):
    succeed = train_module.train

    def fail(config, device, **options):
        raise engine.TrainingFailed("the loss became nan in epoch 1")

    monkeypatch.setattr(train_module, "train", fail)
    with pytest.raises(engine.TrainingFailed):
        load_or_train(GOOD, device="cpu")
    note = json.loads(paths.failed_path(run_id(GOOD)).read_text())
    assert note["config"] == config_to_dict(GOOD) and note["run_id"] == run_id(GOOD)
    assert note["error"] == "the loss became nan in epoch 1"
    assert files_under(store) == [f"failed/{run_id(GOOD)}.json"]
    monkeypatch.setattr(train_module, "train", succeed)
    load_or_train(GOOD, device="cpu")
    assert files_under(store) == [f"runs/digits/{run_id(GOOD)}.json"]


def test_bad_input_that_shows_only_in_training_leaves_no_file(store):
    config = tiny(ratio="erk_plus", sparsity=0.998)
    with pytest.raises(ValueError, match="erk_plus.*linear.weight"):
        load_or_train(config, device="cpu", progress=False)
    assert files_under(store) == []


# Two of these start at once. Training is replaced by a note in a file, so that no PyTorch is
# loaded; the store and its lock are the real ones.
CHILD = """
    import sys, time, types
    from conftest import made_up_record, tiny

    def train(config, device, **options):
        with open(sys.argv[1], "a") as log:
            log.write("trained\\n")
        time.sleep(1)
        made = made_up_record(config)
        return {k: made[k] for k in ("layers", "cost", "history", "test")} | {"data": {}}

    for name in ("train", "engine"):
        stub = types.ModuleType(f"randprune_core.training.{name}")
        stub.train, stub.TrainingFailed = train, RuntimeError
        sys.modules[stub.__name__] = stub
    from randprune_core.records import store
    from randprune_core.sweeps.run import load_or_train
    store.environment = lambda device: {"versions": {}, "device": "a CPU", "threads": 1}
    print("ready", flush=True)
    sys.stdin.readline()
    print(load_or_train(tiny())["run_id"])
"""


def test_two_processes_that_ask_for_one_run_train_it_once(store, tmp_path):
    log = tmp_path / "log"
    search = os.pathsep.join((str(paths.ROOT), str(Path(__file__).parent.parent)))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), str(log)],
            env={**os.environ, "PYTHONPATH": search},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:
        assert [child.stdout.readline() for child in children] == ["ready\n"] * 3
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        answers = [child.communicate(timeout=120)[0].strip() for child in children]
    finally:
        for child in children:
            child.kill()
    assert answers == [run_id(GOOD)] * 3
    assert log.read_text() == "trained\n"
    assert files_under(store) == [f"runs/digits/{run_id(GOOD)}.json"]


def test_a_lock_that_a_killed_process_left_behind_holds_nobody_up(store, pretend):
    lock = paths.lock_path(run_id(GOOD))
    lock.parent.mkdir(parents=True)
    lock.touch()
    load_or_train(GOOD, device="cpu")
    assert pretend == [GOOD]
