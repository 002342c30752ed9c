import math

import pandas as pd
import pytest
from test_chapters_gap import records

from randprune_core import published
from randprune_core.statistics import gap_to_dense, summarise


@pytest.fixture(scope="module")
def paper() -> pd.DataFrame:
    return published.figure1()


@pytest.fixture(scope="module")
def paper_gaps(paper) -> pd.DataFrame:
    return published.gap_to_dense(paper)


def gap_of(gaps, model, sparsity, ratio="erk"):
    found = gaps[(gaps.model == model) & (gaps.sparsity == sparsity) & (gaps.ratio == ratio)]
    (row,) = found.to_dict("records")
    return row


def test_figure_1_has_185_points_of_five_depths(paper):
    assert len(paper) == 185
    assert paper.groupby("model").size().to_dict() == {
        f"resnet-{depth}": 37 for depth in (20, 32, 44, 56, 110)
    }
    assert paper["mean"].between(80, 95).all()
    assert set(paper.error) == {0.03, 0.15}
    assert (paper.high - paper.low).to_numpy() == pytest.approx(2 * paper.error.to_numpy())
    assert paper.dense_band.notna().all()


@pytest.mark.parametrize(
    ("sparsity", "expected"),
    [(0.5, (0.79, 0.55, 0.45, -0.05, -0.12)), (0.9, (4.58, 3.38, 2.66, 2.58, 1.41))],
)
def test_gaps_are_those_that_the_introduction_prints(paper_gaps, sparsity, expected):
    depths = (20, 32, 44, 56, 110)
    for depth, gap in zip(depths, expected, strict=True):
        assert gap_of(paper_gaps, f"resnet-{depth}", sparsity)["gap"] == pytest.approx(gap)


def test_reading_errors_of_a_difference_add_up(paper_gaps):
    assert gap_of(paper_gaps, "resnet-56", 0.5)["error"] == pytest.approx(0.18)
    row = gap_of(paper_gaps, "resnet-20", 0.9)
    assert row["error"] == pytest.approx(0.06)
    assert (row["low"], row["high"]) == pytest.approx((4.52, 4.64))


def test_change_of_a_gap_is_uncertain_by_reading_errors_and_dense_bands(paper_gaps):
    changes = published.gap_change(paper_gaps)
    row = gap_of(changes.assign(model=changes["first"]), "resnet-20", 0.9)
    assert row["last"] == "resnet-110"
    assert row["change"] == pytest.approx(1.41 - 4.58)
    assert row["high"] - row["change"] == pytest.approx(0.06 + 0.06 + 0.22 + 0.42)


def test_text_on_the_dense_line_quotes_the_readings_and_its_flattening(paper):
    text = published.dense_line(paper)
    assert "92.37, 93.07, 93.31, 93.15 and 93.34 percent" in text
    assert "From ResNet-44 to ResNet-110 the dense network changes by +0.03 points" in text


def test_text_on_the_seed_band_counts_the_gaps_inside_it(paper_gaps):
    deep = paper_gaps[paper_gaps.model == "resnet-110"]
    inside = int((deep.gap.abs() < 0.42).sum())
    assert f"{inside} of the 36 sparse points" in published.inside_band(paper_gaps)


def test_only_the_papers_own_schedule_is_compared_point_by_point(paper):
    found = records({"resnet-20": 5.0})
    points = summarise(found.runs)
    assert published.compare(found, points, paper).empty
    assert "only the direction" in published.show_comparison(found, points, paper).data

    object.__setattr__(found, "profile", "paper")
    assert "None of the cells" in published.show_comparison(found, points[:0], paper).data
    both = published.compare(found, points, paper)
    assert both[["ratio", "paper"]].values.tolist() == [["dense", 92.37], ["erk", 87.79]]
    assert both.difference.tolist() == pytest.approx([80 - 92.37, 75 - 87.79])
    assert "| ResNet-20 | ERK " in published.show_comparison(found, points, paper).data


def test_figure_table_holds_every_drawn_number(paper, paper_gaps):
    found = records({"resnet-8": 9.0, "resnet-20": 7.0})
    points, gaps = summarise(found.runs), gap_to_dense(found.runs)
    table = published.figure_table(found, points, gaps, paper, paper_gaps)
    assert len(table) == 4 + 185
    ours = table[table.source == "cpu jpeg75"].set_index(["model", "ratio"])
    assert ours.accuracy["resnet-8", "erk"] == pytest.approx(71)
    assert ours.gap["resnet-8", "erk"] == pytest.approx(9)
    assert math.isnan(ours.gap["resnet-8", "dense"])
    assert (table[table.source == "paper"].ratio != "dense").sum() == 180


def test_figure_table_without_records_holds_the_papers_points(paper, paper_gaps):
    found = records({"resnet-8": 9.0})
    empty = found.runs[:0]
    table = published.figure_table(found, summarise(empty), gap_to_dense(empty), paper, paper_gaps)
    assert set(table.source) == {"paper"} and len(table) == 185
