"""Chapter 14: nothing measured, one processor, two of them."""

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
    assert benchmarks.machines("training_speed") == {}
    assert plots.is_empty(speed.speed_figure(empty["training_speed"]))
    assert plots.is_empty(speed.scaling_figure(empty["scaling"]))
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
        assert axis.xaxis.get_major_formatter()(10_000, 0) == "10,000"
        figure.draw_without_rendering()
        for text in axis.texts:  # on no line and on no bar
            box = text.get_window_extent()
            assert axis.get_window_extent().x1 < box.x0 < box.x1 < figure.bbox.x1
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(400)
    (entry,) = figure.legends[0].get_texts()
    assert entry.get_text() == "at the rate of a large matrix product"
    plt.close(figure)


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
    figure = speed.scaling_figure(pd.DataFrame(rows))
    _, right = figure.axes
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["depth", "width, 20 layers", "a", "b", "in proportion"]
    assert right.lines[0].get_ydata()[-1] == pytest.approx(2 * 0.4 / 0.5)
    plt.close("all")
