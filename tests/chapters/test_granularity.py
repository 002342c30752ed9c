"""Patterns of zeros: compact networks and times."""

import pandas as pd

from randprune_core import paths
from randprune_core.analysis import benchmarks
from randprune_core.chapters import granularity
from randprune_core.presentation import plots


def test_a_compact_network_is_smaller_than_half():
    found = granularity.sizes("resnet-8", side=16)
    assert found["weights"] == 77_360
    assert 0.2 < found["compact_weights"] < 0.5 and 0.2 < found["compact_macs"] < 0.5


def test_without_a_benchmark_nothing_is_drawn(monkeypatch, tmp_path):
    for name in ("BENCHMARKS", "COMMITTED_BENCHMARKS"):
        monkeypatch.setattr(paths, name, tmp_path)
    measured = benchmarks.benchmark("granularity")
    assert measured.empty and plots.is_empty(granularity.plot_times(measured))


def test_times_are_drawn_relative_to_dense():
    rows = []
    for case, time in {"dense": 1.0, **dict.fromkeys(granularity.CASES, 1.1)}.items():
        time = 0.5 if case == "compact" else time
        row = {"processor": "a processor", "model": "vgg-11", "case": case}
        row |= {"macs": 25 if case == "compact" else 100}
        for mode in granularity.MODES:
            row |= {f"{mode}_to_dense": time, f"{mode}_low": time, f"{mode}_high": 2 * time}
        rows.append(row)
    measured = pd.DataFrame(rows)
    figure = granularity.plot_times(measured)
    assert len(figure.legends[0].get_texts()) == 3
    training = figure.get_axes()[0]
    stroke, reach, marker = training.lines[-3:]
    assert stroke.get_xdata() == [0.25] and marker.get_xdata() == [0.5]
    assert list(reach.get_xdata()) == [0.5, 1.0]
