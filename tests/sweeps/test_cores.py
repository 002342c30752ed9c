"""Workers on cores: which error ends a run and which the sweep, and a worker that is killed."""

import time

import pytest
from conftest import made_up_record, store_record, tiny

from randprune_core.config import run_id
from randprune_core.records.locks import try_lock
from randprune_core.sweeps import cores
from randprune_core.sweeps.cores import Schedule


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
        assert cores._train_one(tiny(), None, waits=False) == ("busy", "")
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
