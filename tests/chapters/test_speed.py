"""Chapter 14: nothing measured, two processors, pairs of runs in two precisions."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from randprune_core import paths
from randprune_core.analysis import benchmarks
from randprune_core.chapters import speed
from randprune_core.presentation import plots

CASES = ["plain", "torch_prune", "engine", "engine_dense", "sweep"]


def training(device: str, rates=(100, 150, 194, 200, 300), ceiling=400) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case": CASES,
            "device": device,
            "processor": f"a-{device}",
            "side": 32,
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
    facts = {"device": "cpu", "cores": 2, "torch": "2.15.0", "date": "2026-01-01"}
    facts |= {"commit": "0123456789abcdef", "dirty": True, "matmul_gflops": 1234.5}
    machines = {"training_speed": {"a-cpu": facts}}
    (paths.BENCHMARKS / "machines.json").write_text(json.dumps(machines))
    return table


def test_nothing_measured_gives_empty_tables_and_figures(store):
    names = ("training_speed", "scaling", "precision", "overhead", "compiled", "load_runs")
    empty = {name: benchmarks.benchmark(name) for name in names}
    assert all(table.empty for table in empty.values())
    assert benchmarks.machines("training_speed") == {} and speed.machine_table("scaling").empty
    assert plots.is_empty(speed.speed_figure(empty["training_speed"]))
    assert plots.is_empty(speed.scaling_figure(empty["scaling"]))
    assert speed.precision_table(empty["precision"]).empty
    plt.close("all")


def test_a_device_is_chosen_and_an_unknown_one_refused(measured):
    assert set(benchmarks.benchmark("training_speed").device) == {"cpu", "cuda"}
    assert set(benchmarks.benchmark("training_speed", "cuda").device) == {"cuda"}
    with pytest.raises(ValueError, match="device 'tpu' is not known: choose auto, cpu or cuda"):
        benchmarks.benchmark("training_speed", "tpu")


def test_a_file_of_an_older_version_is_named(measured):
    measured.drop(columns="processor").to_csv(paths.BENCHMARKS / "scaling.csv", index=False)
    with pytest.raises(ValueError, match=r"scaling\.csv: it has no column `processor`.*measure"):
        benchmarks.benchmark("scaling")


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
    assert row["commit"] == "0123456789ab+" and row["processor"] == "a cpu"


def test_a_line_a_processor_and_growth_and_the_runs_at_once(store):
    rows = [
        {"grows": grows, "model": model, "runs_at_once": count, "processor": name, "macs": macs}
        | {"seconds_per_step": seconds}
        for name in ("a", "b")
        for grows, model, count, macs, seconds in (
            ("depth", "resnet-8", 1, 1e7, 0.1),
            ("depth", "resnet-20", 1, 4e7, 0.4),
            ("width", "resnet-20-8", 1, 1e7, 0.2),
            ("runs_at_once", "resnet-20", 1, 4e7, 0.4),
            ("runs_at_once", "resnet-20", 2, 4e7, 0.5),
        )
    ]
    left, right = speed.scaling_figure(pd.DataFrame(rows)).axes
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == [f"{word}, {name}" for name in "ab" for word in ("depth", "width, 20 layers")]
    assert right.lines[0].get_ydata()[-1] == pytest.approx(2 * 0.4 / 0.5)
    plt.close("all")


def trained(accuracies: dict[str, list[float]], arithmetic: str = "native") -> pd.DataFrame:
    rows = [
        {
            "model": "resnet-8",
            "ratio": "erk",
            "sparsity": 0.9,
            "seed": seed,
            "precision": precision,
            "arithmetic": arithmetic if precision == "bfloat16" else "native",
            "processor": "a processor",
            "accuracy": accuracy,
        }
        for precision, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("bfloat16", "below", "above"),
    [
        ([0.60, 0.62, 0.61], False, False),
        ([0.50, 0.51, 0.52], True, False),
        ([0.70, 0.71, 0.72], False, True),
    ],
)
def test_pairs_of_seeds_are_compared(bfloat16, below, above):
    table = trained({"float32": [0.60, 0.61, 0.62], "bfloat16": bfloat16})
    ((_, _, change),) = speed.precision_cells(table)
    assert (change.high < 0, change.low > 0) == (below, above)
    (row,) = speed.precision_table(table).to_dict("records")
    assert row["seeds"] == 3 and row["float32"].startswith("61.0 ±")


def test_a_seed_in_one_precision_only_is_no_pair_and_one_pair_is_one_seed():
    table = trained({"float32": [0.60, 0.61], "bfloat16": [0.59]}, "emulated")
    ((_, _, change),) = speed.precision_cells(table)
    assert change.n == 1 and change.value == pytest.approx(-1)
    (row,) = speed.precision_table(table).to_dict("records")
    assert (row["seeds"], row["difference"]) == (1, "−1.0 ○")
