"""A sweep that is killed or interrupted, whole or in part: nothing is lost, and it goes on."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from fault_tools import RUNS, kill, leftovers, records, run, start

from randprune_core.sweeps.plan import PLAN


def at_work(store: Path) -> bool:
    return any(store.rglob("*.lock"))


def wait_until(true, process, seconds=120):
    end = time.time() + seconds
    while not true():
        assert time.time() < end and process.poll() is None, "it did not get there"
        time.sleep(0.01)


@pytest.mark.faults
def test_workers_end_with_a_sweep_that_is_killed_alone(tmp_path, undisturbed, survived):
    store = tmp_path / "results"
    process = start(store)
    wait_until(lambda: at_work(store), process)
    workers = children(process.pid)
    assert len(workers) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not kill(process)
    end = time.time() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.time() < end:
        time.sleep(0.1)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert run(store)[0] == 0 and records(store) == undisturbed
    survived()


@pytest.mark.faults
def test_a_sweep_goes_on_when_a_worker_is_killed(tmp_path, undisturbed, survived):
    store = tmp_path / "results"
    process = start(store)
    wait_until(lambda: at_work(store), process)
    victim = next(pid for pid in children(process.pid) if "spawn_main" in command_line(pid))
    os.kill(victim, signal.SIGKILL)
    out, error = process.communicate(timeout=500)
    assert (process.returncode, records(store)) == (0, undisturbed), error
    assert out.startswith(f"{RUNS} trained") and leftovers(store) == []
    survived()


@pytest.mark.faults
@pytest.mark.parametrize("whole_group", [True, False])
def test_an_interrupted_sweep_ends_in_one_line_and_goes_on(
    tmp_path, undisturbed, survived, whole_group
):
    store = tmp_path / "results"
    process = start(store)
    wait_until(lambda: any(store.glob("checkpoints/*.pt")), process)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in error
    assert error.splitlines()[-1].startswith("stopped; the same command goes on")
    assert run(store)[0] == 0 and records(store) == undisturbed and leftovers(store) == []
    survived()


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.faults
def test_a_run_on_smaller_images_that_is_killed_goes_on_to_the_same_bits(
    tmp_path, cifar_folder, survived
):
    wanted = "train --model resnet-8 --ratio erk --sparsity 0.9 --image-size 16 --device cpu"
    wanted += " --train-images 150 --batch-size 50 --epochs 12 --precision float32"
    found = {}
    for name in ("undisturbed", "killed"):
        store = tmp_path / name
        if name == "killed":
            process = start(store, *wanted.split())
            wait_until(lambda: any(store.glob("checkpoints/*.pt")), process)  # noqa: B023
            assert kill(process) and not any(store.glob("runs/*/*.json"))
        status, out, error = run(store, *wanted.split())
        assert status == 0, error
        found[name] = json.loads(Path(out.splitlines()[-1]).read_text())
    for section in ("config", "layers", "cost", "history", "test"):
        assert found["killed"][section] == found["undisturbed"][section]
    assert found["killed"]["config"]["image_size"] == 16
    survived()


@pytest.mark.faults
def test_a_sweep_of_all_of_mini_plans_trains_and_stops_by_itself(tmp_path, real_data):
    command = ("sweep", "all", "--profile", "mini", "--device", "cpu", "--time-budget", "5")
    status, out, error = run(tmp_path, *command)
    assert status == 0, error
    assert re.fullmatch(r"\d+ trained, 0 were recorded before, 0 failed, \d+ not finished\n", out)
    trained, unfinished = (int(number) for number in re.findall(r"^\d+|\d+(?= not)", out))
    assert trained + unfinished == len(PLAN)
    assert any(tmp_path.glob("checkpoints/*.pt")), "no run was begun"
