"""Executors: what is trained next, what a failure does, and records alike from either executor."""

import json
import time

import pytest
from conftest import files_under, made_up_record, store_record, tiny

from randprune_core import paths
from randprune_core.config import RunConfig, run_id
from randprune_core.metrics.cost import work
from randprune_core.records.locks import try_lock
from randprune_core.sweeps import cores
from randprune_core.sweeps.cores import Schedule
from randprune_core.sweeps.gpu import run_on_gpu

# --- the schedule ----------------------------------------------------------------------------


def test_without_a_deadline_runs_come_in_their_order_however_long_they_take():
    configs = [tiny(epochs=epochs) for epochs in (9, 1, 5)]
    schedule = Schedule(configs)
    schedule.ended(configs[0], 1e6)
    assert [schedule.next() for _ in range(4)] == [*configs, None]
    assert schedule.left() == 0


def test_after_the_deadline_nothing_is_next_and_what_is_left_is_counted():
    schedule = Schedule([tiny(), tiny(seed_init=1)], time.time())
    assert schedule.next() is None and schedule.left() == 2


def test_a_run_that_would_end_too_late_lets_those_pass_that_would_not():
    long, short, other = tiny(epochs=100), tiny(epochs=1), tiny(epochs=2)
    schedule = Schedule([long, short, other], time.time() + 60)
    schedule.ended(tiny(epochs=1), 10.0)  # ten seconds an epoch
    assert [schedule.next() for _ in range(3)] == [short, other, long]


def test_where_no_run_would_end_in_time_the_first_is_started_and_will_be_checkpointed():
    configs = [tiny(epochs=100), tiny(epochs=90)]
    schedule = Schedule(configs, time.time() + 60)
    schedule.ended(tiny(epochs=1), 10.0)
    assert schedule.next() == configs[0]


def test_the_slowest_run_so_far_sets_the_pace():
    schedule = Schedule([tiny(epochs=5), tiny(epochs=1)], time.time() + 60)
    schedule.ended(tiny(epochs=1), 20.0)
    schedule.ended(tiny(epochs=1), 1.0)
    assert schedule.next() == tiny(epochs=1)


def test_work_counts_multiply_accumulates_of_all_images_and_epochs():
    assert work(tiny(epochs=2)) == 2 * work(tiny(epochs=1))
    one = work(RunConfig(model="resnet-20", train_images=1, epochs=1))
    assert one == pytest.approx(41e6, rel=0.02)  # what is commonly given for this network


# --- a GPU's executor, on the CPU ------------------------------------------------------------


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


# --- workers ---------------------------------------------------------------------------------


def test_one_run_that_cannot_be_trained_is_told_from_data_that_none_could_use(store, monkeypatch):
    from randprune_core.data.files import DataError
    from randprune_core.training.engine import TrainingFailed
    from randprune_core.training.loop import OutOfTime

    def train_one(error):
        def train_and_store(config, device, **options):
            raise error

        monkeypatch.setattr(cores, "train_and_store", train_and_store)
        return cores._train_one(tiny(), None)

    assert train_one(OutOfTime("after epoch 1 of 2")) == ("unfinished", "after epoch 1 of 2")
    assert train_one(TrainingFailed("nan")) == ("failed", "nan")
    assert train_one(ValueError("infeasible")) == ("failed", "infeasible")
    assert train_one(MemoryError())[0] == "failed"
    with pytest.raises(DataError, match="not found"):
        train_one(DataError("cifar10 was not found"))


def test_a_run_that_another_process_trains_is_busy_until_it_is_recorded_or_time_is_up(store):
    with try_lock(run_id(tiny())):
        assert cores._train_one(tiny(), None, patient=False) == ("busy", "")
        assert cores._train_one(tiny(), time.time())[0] == "unfinished"
        store_record(made_up_record(tiny()))
        assert cores._train_one(tiny(), None) == ("found", "")


def test_a_run_whose_worker_is_killed_twice_fails_and_the_others_are_trained(monkeypatch):
    greedy, modest = tiny(), tiny(seed_init=1)

    def one_pool(schedule, busy, workers):
        config = schedule.next()
        yield config, "killed" if config == greedy else "trained", "why"

    monkeypatch.setattr(cores, "_in_one_pool", one_pool)
    outcomes = list(cores.run_on_cores(Schedule([greedy, modest]), 1))
    assert outcomes == [(greedy, "failed", "why"), (modest, "trained", "why")]


def test_a_run_that_is_still_busy_at_the_deadline_is_not_finished(monkeypatch):
    def one_pool(schedule, busy, workers):
        busy.append(schedule.next() or tiny())
        schedule.deadline = time.time()
        return iter(())

    monkeypatch.setattr(cores, "_in_one_pool", one_pool)
    ((config, outcome, _),) = cores.run_on_cores(Schedule([tiny()]), 1)
    assert (config, outcome) == (tiny(), "unfinished")
