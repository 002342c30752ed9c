"""Runs side by side: each as it would be alone, and as many as pay."""

import json
import time

import pytest
import torch
from conftest import files_under, made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.config import run_id
from randprune_core.data.files import DataError
from randprune_core.records.locks import try_lock
from randprune_core.sweeps import gpu
from randprune_core.sweeps.cores import Schedule
from randprune_core.sweeps.gpu import Slots, run_on_gpu
from randprune_core.training import checkpoints
from randprune_core.training.engine import TrainingFailed
from randprune_core.training.loop import OutOfTime
from randprune_core.training.train import measure, train


def test_side_by_side_makes_the_records_that_single_runs_make(store, trained):
    configs = [trained.config, tiny(seed_init=1, epochs=1, train_images=50)]
    outcomes = list(run_on_gpu(Schedule(configs), "cpu", slots=2))
    assert sorted(outcome for _, outcome, _ in outcomes) == ["trained", "trained"]
    record = json.loads(paths.record_path("digits", run_id(trained.config)).read_text())
    for section in ("config", "layers", "cost", "history", "test"):
        assert record[section] == trained.record[section], section
    assert set(record["provenance"]) == set(trained.record["provenance"]) | {"at_once"}
    assert record["provenance"]["at_once"] == 2
    assert len(files_under(store)) == 2  # no lock and no checkpoint is left


def test_a_run_that_another_process_trains_or_has_recorded_is_passed_over(store):
    busy, recorded, free = (tiny(seed_init=s, epochs=1, train_images=50) for s in range(3))
    store_record(made_up_record(recorded))
    with try_lock(run_id(busy)):
        outcomes = dict(
            (config, outcome)
            for config, outcome, _ in run_on_gpu(Schedule([busy, recorded, free]), "cpu")
        )
    assert outcomes == {busy: "found", recorded: "found", free: "trained"}


def test_failed_runs_are_noted_and_unfinished_ones_give_their_lock_back(store):
    diverging = tiny(lr=1e30, epochs=1, train_images=50)
    infeasible = tiny(ratio="erk_plus", sparsity=0.998)
    outcomes = {
        config: (outcome, message)
        for config, outcome, message in run_on_gpu(Schedule([diverging, infeasible]), "cpu", 2)
    }
    assert outcomes[diverging][0] == outcomes[infeasible][0] == "failed"
    assert "the loss became" in outcomes[diverging][1] and "erk_plus" in outcomes[infeasible][1]
    assert files_under(store) == [f"failed/{run_id(diverging)}.json"]
    stopped = tiny(epochs=3)
    schedule = Schedule([stopped], time.time() + 0.05)
    ((_, outcome, message),) = run_on_gpu(schedule, "cpu")
    assert outcome == "unfinished" and "of 3" in message
    with try_lock(run_id(stopped)):  # it would be None if it were still held
        pass


def test_an_executor_that_is_interrupted_gives_every_lock_back(store, monkeypatch):
    from randprune_core.sweeps import gpu

    def interrupted(run):
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu, "measure", interrupted)
    configs = [tiny(epochs=1, train_images=50), tiny(epochs=2)]
    with pytest.raises(KeyboardInterrupt):
        list(run_on_gpu(Schedule(configs), "cpu", slots=2))
    for config in configs:
        with try_lock(run_id(config)):
            pass


together = gpu.side_by_side


def measured(config) -> dict:
    return train(config, "cpu")


def test_runs_side_by_side_equal_the_same_runs_alone(store):
    configs = [tiny(), tiny(seed_init=1, epochs=1), tiny(ratio="dense", sparsity=0.0, epochs=1)]
    outcomes = {outcome.config: outcome for outcome in together(configs, "cpu", slots=2)}
    assert set(outcomes) == set(configs)
    for config, outcome in outcomes.items():
        assert outcome.result == measured(config)
        assert outcome.seconds > 0 and outcome.at_once == 2
    assert files_under(store) == []


def test_a_run_that_fails_leaves_the_others_alone(store):
    configs = [
        tiny(lr=1e30, epochs=1, train_images=50),
        tiny(ratio="erk_plus", sparsity=0.998),
        tiny(epochs=1, train_images=50),
    ]
    results = {outcome.config: outcome.result for outcome in together(configs, "cpu", slots=3)}
    assert isinstance(results[configs[0]], TrainingFailed)
    assert isinstance(results[configs[1]], ValueError) and "erk_plus" in str(results[configs[1]])
    assert results[configs[2]]["test"]["n"] == 360


def test_after_the_deadline_nothing_starts_and_what_runs_is_checkpointed(store):
    configs = [tiny(), tiny(seed_init=1)]
    assert list(together(configs, "cpu", deadline=0.0)) == []
    deadline = time.time() + 0.05  # the first epoch takes longer
    (outcome,) = together(configs, "cpu", slots=1, deadline=deadline)
    assert outcome.config == configs[0] and isinstance(outcome.result, OutOfTime)
    assert len(files_under(store)) == 1
    (resumed,) = together(configs[:1], "cpu")
    assert resumed.result == measured(configs[0])


def test_a_run_that_was_stopped_while_it_was_measured_is_measured(store, monkeypatch):
    config = tiny(epochs=1)
    real = measure
    monkeypatch.setattr(gpu, "measure", None)
    with pytest.raises(TypeError):
        list(together([config], "cpu"))
    monkeypatch.setattr(gpu, "measure", real)
    (outcome,) = together([config], "cpu")
    assert outcome.result == measured(config)


def test_no_memory_for_one_more_limits_the_slots_and_the_run_waits(store, monkeypatch):
    begin, refused = checkpoints.begin, []

    def tight(config, device):
        if config.seed_init == 1 and not refused:
            refused.append(config)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return begin(config, device)

    monkeypatch.setattr(checkpoints, "begin", tight)
    configs = [tiny(seed_init=seed, epochs=1, train_images=50) for seed in range(3)]
    outcomes = list(together(configs, "cpu", slots=3))
    assert [outcome.config for outcome in outcomes] == configs
    assert [outcome.at_once for outcome in outcomes] == [1, 1, 1]
    assert all(isinstance(outcome.result, dict) for outcome in outcomes)


def test_a_run_that_does_not_fit_alone_fails_and_the_next_one_is_trained(store, monkeypatch):
    begin = checkpoints.begin

    def tight(config, device):
        if config.seed_init == 0:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return begin(config, device)

    monkeypatch.setattr(checkpoints, "begin", tight)
    configs = [tiny(seed_init=seed, epochs=1, train_images=50) for seed in range(2)]
    first, second = together(configs, "cpu", slots=1)
    assert "out of memory" in str(first.result) and "layers" in second.result


def test_data_that_no_run_could_use_ends_it_all(store):
    with pytest.raises(DataError, match="train_images 1400"):
        list(together([tiny(train_images=1_400), tiny()], "cpu"))


def trained_with(speed, most: int = 32) -> int:
    """The number of slots that is settled on where k runs do speed(k) epochs a second in all."""
    slots, now = Slots(most=most), 0.0
    for _ in range(2_000):
        now += 1 / speed(slots.wanted)
        slots.note_epoch(work=1e9, active=slots.wanted, now=now)
    return slots.wanted


@pytest.mark.parametrize(
    ("speed", "expected"),
    [
        (lambda k: 1.0, 1),
        (lambda k: min(k, 4), 4),
        (lambda k: min(k, 4) * 0.9 ** max(k - 4, 0), 4),
        (lambda k: k**0.5, 32),
        (lambda k: 1 + 0.05 * k, 1),
    ],
)
def test_slots_double_as_long_as_that_trains_more_in_the_same_time(speed, expected):
    assert trained_with(speed) == expected


def test_slots_stay_within_their_most_and_stay_as_given():
    assert trained_with(lambda k: k, most=6) == 6
    slots = Slots(given=3)
    for now in range(100):
        slots.note_epoch(1.0, 3, float(now))
    assert slots.wanted == 3


def test_a_level_that_is_never_filled_decides_nothing():
    slots = Slots()
    for now in range(10):
        slots.note_epoch(1.0, 1, float(now))
    assert slots.wanted == 2
    for now in range(10, 100):
        slots.note_epoch(1.0, 1, float(now))
    assert slots.wanted == 2
