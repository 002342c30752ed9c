"""The benchmarks run and write what the chapter on speed reads; their numbers are not tested."""

import json
import subprocess
import sys

import pandas as pd
import pytest
import torch

from randprune_core import paths
from randprune_core.precision import native_precision

pytestmark = pytest.mark.slow

TINY_RUN = {
    "training_speed": ["--model", "resnet-8", "--batch", "8", "--steps", "6"],
    "granularity": ["--models", "resnet-8", "--batch", "4"],
    "scaling": ["--batch", "2", "--records", "100", "--deepest", "8", "--widest", "4"],
    # aot_eager traces the network as inductor does, and leaves out the minute of the C++ compiler.
    "compiled": ["--model", "resnet-8", "--batch", "8", "--threads", "1", "--backend", "aot_eager"],
    "overhead": ["--epochs", "1", "--train-images", "256"],
    "precision": ["--ratios", "dense", "--seeds", "0", "--epochs", "1", "--train-images", "256"],
}


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory):
    """The folder that all benchmarks wrote into, at the smallest size and on noise."""
    import os

    folder = tmp_path_factory.mktemp("results")
    environment = {k: v for k, v in os.environ.items() if k != "RANDPRUNE_DATA"}
    environment |= {"RANDPRUNE_RESULTS": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    source = paths.ROOT / "results" / "runs" / "cifar10"
    (folder / "runs").mkdir()
    (folder / "runs" / "cifar10").symlink_to(source)
    for name, options in TINY_RUN.items():
        script = str(paths.ROOT / "benchmarks" / f"{name}.py")
        command = [sys.executable, script, *options]
        command += [] if name == "overhead" else ["--device", "cpu"]
        command += [] if name in ("overhead", "precision") else ["--repetitions", "1"]
        command += ["--at-once", "1"] if name == "scaling" else []
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return folder / "benchmarks"


def test_training_speed_writes_a_row_a_case_that_hangs_together(benchmarks):
    table = pd.read_csv(benchmarks / "training_speed.csv")
    columns = "case,device,model,side,precision,images_per_second,ratio_to_plain,share_of_matmul"
    assert list(table.columns) == [*columns.split(","), "processor"]
    assert set(table.side) == {32, 16} and set(table[table.side == 16].precision) == {"float32"}
    assert (table.images_per_second > 0).all() and (table.share_of_matmul > 0).all()
    for _, part in table.groupby("side"):
        assert list(part["case"]) == ["plain", "torch_prune", "engine", "engine_dense", "sweep"]
        # With one repetition a ratio of medians is one of pairs.
        ratios = part.images_per_second / part.images_per_second.iloc[0]
        assert part.ratio_to_plain.tolist() == pytest.approx(ratios, rel=1e-4)


def test_overhead_adds_up_to_both_runs_and_reads_the_data_once(benchmarks):
    table = pd.read_csv(benchmarks / "overhead.csv")
    for _, part in table.groupby("run"):
        assert part.share.sum() == pytest.approx(1, abs=1e-4)
        assert part.set_index("part").seconds["steps"] > 0
    data = table[table.part == "data"].set_index("run").seconds
    assert data["further"] < data["first"] / 10


def test_scaling_writes_networks_runs_at_once_and_sizes_of_the_store(benchmarks):
    table = pd.read_csv(benchmarks / "scaling.csv")
    assert set(table.grows) == {"depth", "width", "runs_at_once"}
    assert (table.seconds_per_step > 0).all()
    assert pd.read_csv(benchmarks / "load_runs.csv").records.tolist() == [100]


def test_compiled_writes_the_step_as_it_is_and_compiled(benchmarks):
    table = pd.read_csv(benchmarks / "compiled.csv")
    assert list(table["case"]) == ["eager", "compiled"]
    assert table.first_epoch_seconds[1] > table.first_epoch_seconds[0]
    assert table.ratio_to_eager[0] == 1 and (table.images_per_second > 0).all()


def test_precision_trains_a_run_in_both_and_says_how(benchmarks):
    table = pd.read_csv(benchmarks / "precision.csv").set_index("precision")
    assert set(table.index) == {"float32", "bfloat16"} and table.accuracy.between(0, 1).all()
    assert table.arithmetic["float32"] == "native"
    native = native_precision("cpu") == "bfloat16"
    assert table.arithmetic["bfloat16"] == ("native" if native else "emulated")


def test_the_machine_is_described(benchmarks):
    machines = json.loads((benchmarks / "machines.json").read_text())
    (here,) = machines["scaling"]
    assert machines["training_speed"][here]["matmul_gflops"] > 0
    assert machines["scaling"][here]["peak_mib"] > 100
    for name in TINY_RUN:
        assert {"device", "cores", "torch", "date", "commit"} <= set(machines[name][here])


def test_a_processor_replaces_its_own_rows_and_keeps_the_others(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(paths.ROOT / "benchmarks"))
    from machine import processor, save_rows

    monkeypatch.setattr(paths, "BENCHMARKS", tmp_path)
    other = pd.DataFrame([{"case": "a", "device": "cpu", "rate": 1.0, "processor": "another"}])
    other.to_csv(tmp_path / "made_up.csv", index=False)
    for rate in (2.0, 3.0):
        rows = [{"case": "a", "device": "cpu", "rate": rate}]
        path = save_rows("made_up", rows, torch.device("cpu"))
    assert pd.read_csv(path).set_index("processor").rate.to_dict() == {
        "another": 1.0,
        processor(torch.device("cpu")): 3.0,
    }
