"""Tests."""

import time

import pytest
from conftest import tiny

from randprune_core.config import RunConfig
from randprune_core.metrics.cost import work
from randprune_core.sweeps.cores import Schedule


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
