import math

import pandas as pd
import pytest
from made_up_runs import records

from randprune_core.analysis import published
from randprune_core.analysis.cells import gap_to_dense, summarise
from randprune_core.chapters.depth import figure_table


@pytest.fixture(scope="module")
def paper() -> pd.DataFrame:
    return published.figure1()


@pytest.fixture(scope="module")
def paper_gaps(paper) -> pd.DataFrame:
    return published.gap_to_dense(paper)


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
