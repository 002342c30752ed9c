import math

import numpy as np
import pandas as pd
import pytest
from made_up_runs import records

from randprune_core.analysis import cells
from randprune_core.chapters.shared import gap_to_dense


def test_panels_are_the_claims_sparsity_and_the_highest_recorded():
    assert gap_to_dense.panels(pd.DataFrame({"sparsity": [0.9, 0.8, 0.7]})) == [0.5, 0.8, 0.9]
    assert gap_to_dense.panels(pd.DataFrame({"sparsity": np.arange(1, 10) / 10})) == [0.5, 0.8, 0.9]
    assert gap_to_dense.panels(pd.DataFrame({"sparsity": []})) == [0.5, 0.8, 0.9]


def test_sizes_are_those_in_which_the_networks_differ_alone():
    widths = ["resnet-20-4", "resnet-20-8", "resnet-20"]
    assert [*gap_to_dense.sizes(widths, "width").values()] == [4, 8, 16]
    assert gap_to_dense.sizes(["resnet-8", "resnet-110"], "depth")["resnet-110"] == 110
    for unlike in (["resnet-8", "resnet-20-8"], ["vgg-16", "resnet-20"], ["my-network"], []):
        assert gap_to_dense.sizes(unlike, "depth") == {}


def runs() -> pd.DataFrame:
    rows = [
        ("resnet-8", "dense", 0.0, 0, 0.80),
        ("resnet-8", "dense", 0.0, 1, 0.82),
        ("resnet-8", "erk", 0.9, 0, 0.75),
        ("resnet-8", "erk", 0.9, 1, 0.79),
        ("resnet-8", "erk", 0.9, 2, 0.70),  # its dense twin is not recorded
        ("resnet-20", "erk", 0.9, 0, 0.60),
    ]
    return pd.DataFrame(rows, columns=["model", "ratio", "sparsity", "seed_init", "accuracy"])


def test_a_gap_of_a_seed_is_between_runs_of_the_same_network_and_seed():
    found = gap_to_dense.seed_gaps(runs())
    assert list(found.columns) == ["model", "ratio", "sparsity", "value"]
    assert found[["model", "sparsity"]].values.tolist() == [["resnet-8", 0.9]] * 2
    assert found.value.tolist() == pytest.approx([5.0, 3.0])
    assert found.value.mean() == pytest.approx(
        cells.gap_to_dense(runs()[:4]).gap[0]  # the mean over twins is the gap of the means
    )


def test_without_runs_there_is_no_seed():
    assert gap_to_dense.seeds(runs()[:0]).empty and gap_to_dense.seed_gaps(runs()[:0]).empty
    assert gap_to_dense.seeds(runs()).value.tolist()[:2] == pytest.approx([80, 82])


def test_the_table_has_a_row_a_network_and_ratio_and_marks_one_seed():
    found = records({"resnet-8": 9.0, "resnet-20": 7.0}, ratios=("erk", "snip")).runs
    points, gaps = cells.summarise(found), cells.gap_to_dense(found)
    table = gap_to_dense.beside_dense(points, gaps)
    assert list(zip(table.network, table.ratio, strict=True)) == [
        ("ResNet-8", "ERK"),
        ("ResNet-8", "SNIP ratio"),
        ("ResNet-20", "ERK"),
        ("ResNet-20", "SNIP ratio"),
    ]
    level = points.sparsity.max()
    assert table[f"lost at {level:g}"][0] == "9.0\u00a0○" and table.dense[0] == "80.0\u00a0○"
    alone = points[points.ratio != "dense"]
    without = gap_to_dense.beside_dense(alone.assign(low=70.0, high=72.0), gaps[:0])
    assert without.dense[0] == without[f"lost at {level:g}"][0] == "–"
    assert without[f"at {level:g}"][0].endswith("\u00a0±\u00a01.0")
    assert gap_to_dense.beside_dense(points[:0], gaps[:0]).empty
    one = gap_to_dense.beside_dense(points[points.ratio != "snip"], gaps)
    assert list(one) == ["network", "dense", f"ERK {level:g}", f"lost at {level:g}"]
    assert math.isnan(points.low[0])
