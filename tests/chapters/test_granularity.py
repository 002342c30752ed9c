"""Patterns of zeros side by side: differences, sizes and times."""

import pandas as pd
import pytest
from made_up_runs import runs_of_settings

from randprune_core import paths
from randprune_core.chapters import granularity
from randprune_core.chapters.shared import benchmarks
from randprune_core.chapters.shared.records import by_setting


def test_patterns_are_subtracted_from_unstructured():
    names = ["uniform", "uniform:filter", "uniform:2:4", "uniform:4:8"]
    values = [70.0, 65.0, 69.0, None]
    cells = {("resnet-8", name): value for name, value in zip(names, values, strict=True)}
    found = runs_of_settings(cells)
    others = granularity.unstructured_minus_others(found, by_setting(found.runs))
    assert others.ratio.tolist() == names[1:3]
    assert others.difference.tolist() == pytest.approx([5.0, 1.0])


def test_sizes_are_counted_and_outputs_agree():
    row = granularity.size_table(["resnet-8"], side=16).iloc[0]
    shares = [float(row[name].rstrip("%")) for name in ("kept by the masks", "left when compact")]
    assert shares[0] == pytest.approx(50, abs=0.1) and shares[1] < shares[0]
    assert granularity.largest_difference("resnet-8") < 1e-9


def test_without_a_benchmark_the_chapter_says_so(monkeypatch, tmp_path):
    for name in ("BENCHMARKS", "COMMITTED_BENCHMARKS"):
        monkeypatch.setattr(paths, name, tmp_path)
    measured = benchmarks.benchmark("granularity")
    assert measured.empty and granularity.times_table(measured).empty
    assert "nothing is measured" in granularity.times_caption(measured)
    assert granularity.plot_times(measured).get_axes()[0].get_title() == "nothing is measured"


def test_times_are_written_and_drawn_relative_to_dense():
    rows = []
    for case, time in {"dense": 1.0, **dict.fromkeys(granularity.CASES, 1.1)}.items():
        time = 0.5 if case == "compact" else time
        row = {"device": "cpu", "model": "vgg-11", "case": case}
        row |= {"macs": 25 if case == "compact" else 100}
        for mode in granularity.MODES:
            row |= {f"{mode}_to_dense": time, f"{mode}_low": time, f"{mode}_high": 2 * time}
        rows.append(row)
    measured = pd.DataFrame(rows)
    assert granularity.times_table(measured)["computed MACs"].tolist()[-1] == "25%"
    table = granularity.times_table(measured)
    assert "device" not in table and "dense" not in table.pattern.tolist()
    assert table["training step"].tolist()[-1] == "0.50 (0.50 to 1.00)"
    training = granularity.plot_times(measured).get_axes()[0]
    stroke, reach, marker = training.lines[-3:]
    assert stroke.get_xdata() == [0.25] and marker.get_xdata() == [0.5]
    assert list(reach.get_xdata()) == [0.5, 1.0]
