"""Chapter 12: nothing measured, one device, two devices."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from randprune_core import paths
from randprune_core.chapters import speed
from randprune_core.chapters.shared import benchmarks

CASES = ["plain", "torch_prune", "engine", "engine_dense", "sweep"]


def training(device: str, rates=(100, 150, 194, 200, 300), ceiling=400) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case": CASES,
            "device": device,
            "model": "resnet-20",
            "precision": ["float32", *["bfloat16"] * 4],
            "images_per_second": rates,
            "ratio_to_plain": [rate / rates[0] for rate in rates],
            "share_of_matmul": [rate / ceiling for rate in rates],
        }
    )


@pytest.fixture
def measured(store):
    paths.BENCHMARKS.mkdir(parents=True)
    table = pd.concat([training("cpu"), training("cuda", rates=(1000, 2000, 9000, 9500, 40000))])
    table.to_csv(paths.BENCHMARKS / "training_speed.csv", index=False)
    facts = {"device": "a CPU", "cores": 2, "torch": "2.15.0", "date": "2026-01-01"}
    facts |= {"commit": "0123456789abcdef", "dirty": True, "matmul_gflops": 1234.5}
    machines = {"training_speed": {"cpu": facts}}
    (paths.BENCHMARKS / "machines.json").write_text(json.dumps(machines))
    return table


def test_nothing_measured_gives_empty_tables_and_figures_that_say_so(store):
    empty = benchmarks.benchmark("training_speed")
    assert empty.empty and benchmarks.machines("training_speed") == {}
    assert speed.speed_table(empty).empty and speed.machine_table("scaling").empty
    assert speed.store_table(benchmarks.benchmark("load_runs")).empty
    (axis,) = speed.speed_figure(empty).axes
    assert axis.get_title("left") == "nothing is measured"
    scaling = benchmarks.benchmark("scaling")
    assert len(speed.scaling_figure(scaling).axes) == 2
    plt.close("all")


def test_a_device_is_chosen_and_an_unknown_one_refused(measured):
    assert set(benchmarks.benchmark("training_speed").device) == {"cpu", "cuda"}
    assert set(benchmarks.benchmark("training_speed", "cuda").device) == {"cuda"}
    with pytest.raises(ValueError, match="device 'tpu' is not known: choose auto, cpu or cuda"):
        benchmarks.benchmark("training_speed", "tpu")


def test_bars_are_as_long_as_the_rates_and_the_bound_is_right_of_them(measured):
    figure = speed.speed_figure(benchmarks.benchmark("training_speed"))
    for axis, device in zip(figure.axes, ("cpu", "cuda"), strict=True):
        part = measured[measured.device == device]
        assert [bar.get_width() for bar in axis.patches] == part.images_per_second.tolist()
        assert device in axis.get_title("left")
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(400)
    plt.close(figure)


def test_machines_are_listed_with_a_plus_for_uncommitted_changes(measured):
    (row,) = speed.machine_table("training_speed", "scaling").to_dict("records")
    assert row["commit"] == "0123456789ab+" and row["device"] == "a CPU (cpu)"
