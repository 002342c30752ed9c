"""A sweep that is killed at random, over and over, ends with the records of one left alone."""

import random
import time
from pathlib import Path

import pytest
from fault_tools import RUNS, kill, leftovers, records, run, start


@pytest.mark.faults
def test_a_sweep_killed_20_times_at_random_ends_with_the_records_of_one_left_alone(
    tmp_path, undisturbed, survived
):
    draw, store, kills, halfway = random.Random(0), tmp_path / "results", 0, 0
    while kills < 20:
        kills += kill_at_random(start(store, workers=1 + kills % 2), store, draw)
        halfway += any(store.glob("checkpoints/*.pt"))
        found = records(store)  # no record is half written, at any moment
        assert found == {name: undisturbed[name] for name in found}
        survived(1)
        if len(found) == RUNS:  # it was too fast for us: once more from the start
            for path in store.glob("runs/*/*.json"):
                path.unlink()
    assert halfway >= 10, "hardly a run was killed between its first and its last epoch"
    truncated = next(iter(store.glob("runs/*/*.json")), None)
    if truncated:
        truncated.write_text(truncated.read_text()[:500])
    status, out, error = run(store)
    assert status == 0 and "0 failed, 0 not finished" in out
    assert records(store) == undisturbed
    aside = [name for name in leftovers(store) if ".set-aside-" in name]
    assert leftovers(store) == aside and len(aside) == bool(truncated)
    assert truncated is None or str(truncated) in error
    survived(bool(truncated))


def kill_at_random(process, store: Path, draw: random.Random) -> bool:
    """A few kills come before the first epoch ends, half just when a file is being written."""
    started, when = time.time(), draw.random()

    def alive_until(true, seconds):
        while process.poll() is None and not true():
            time.sleep(seconds)

    def written():
        found = [path for path in store.rglob("*.*") if path.suffix != ".lock"]
        return {path.name: written_at(path) for path in found}

    try:
        # Locks that killed processes left are older.
        alive_until(
            lambda: any(written_at(lock) >= started for lock in store.rglob("*.lock")), 0.02
        )
        if when > 0.2:
            before = written()
            alive_until(lambda: written() != before, 0.001)
        time.sleep(draw.uniform(0, 0.04 if when > 0.5 else 2))
    finally:
        killed = kill(process)
    return killed


def written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
