import math

import pandas as pd
import pytest
from made_up_runs import records

from randprune_core.analysis import published
from randprune_core.analysis.cells import gap_to_dense, summarise
from randprune_core.chapters.depth import (
    compare,
    dense_line,
    figure_table,
    inside_band,
    show_comparison,
)


@pytest.fixture(scope="module")
def paper() -> pd.DataFrame:
    return published.figure1()


@pytest.fixture(scope="module")
def paper_gaps(paper) -> pd.DataFrame:
    return published.gap_to_dense(paper)


def test_text_on_the_dense_line_quotes_the_readings_and_its_flattening(paper):
    text = dense_line(paper)
    assert "92.37, 93.07, 93.31, 93.15 and 93.34 percent" in text
    assert "From ResNet-44 to ResNet-110 the dense network changes by +0.03 points" in text


def test_text_on_the_seed_band_counts_the_gaps_inside_it(paper_gaps):
    deep = paper_gaps[paper_gaps.model == "resnet-110"]
    inside = int((deep.gap.abs() < 0.42).sum())
    assert f"{inside} of the 36 sparse points" in inside_band(paper_gaps)


def test_only_the_papers_own_schedule_is_compared_point_by_point(paper):
    found = records({"resnet-20": 5.0})
    points = summarise(found.runs)
    assert compare(found, points, paper).empty
    assert "only the direction" in show_comparison(found, points, paper).data

    object.__setattr__(found, "profile", "paper")
    assert "None of the cells" in show_comparison(found, points[:0], paper).data
    both = compare(found, points, paper)
    assert both[["ratio", "paper"]].values.tolist() == [["dense", 92.37], ["erk", 87.79]]
    assert both.difference.tolist() == pytest.approx([80 - 92.37, 75 - 87.79])
    assert "| ResNet-20 | ERK " in show_comparison(found, points, paper).data


def test_figure_table_holds_every_drawn_number(paper, paper_gaps):
    found = records({"resnet-8": 9.0, "resnet-20": 7.0})
    points, gaps = summarise(found.runs), gap_to_dense(found.runs)
    table = figure_table(found, points, gaps, paper, paper_gaps)
    assert len(table) == 4 + 185
    ours = table[table.source == "cpu jpeg75"].set_index(["model", "ratio"])
    assert ours.accuracy["resnet-8", "erk"] == pytest.approx(71)
    assert ours.gap["resnet-8", "erk"] == pytest.approx(9)
    assert math.isnan(ours.gap["resnet-8", "dense"])
    assert (table[table.source == "paper"].ratio != "dense").sum() == 180


def test_figure_table_without_records_holds_the_papers_points(paper, paper_gaps):
    found = records({"resnet-8": 9.0})
    empty = found.runs[:0]
    table = figure_table(found, summarise(empty), gap_to_dense(empty), paper, paper_gaps)
    assert set(table.source) == {"paper"} and len(table) == 185
