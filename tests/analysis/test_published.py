import pandas as pd
import pytest

from randprune_core import paths
from randprune_core.analysis import published


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


def test_numbers_of_rigls_authors_are_those_of_their_issue():
    table = published.rigl()
    known = table.set_index(["method", "training", "sparsity"])["mean"].sort_index()
    sparsities = [0.5, 0.8, 0.9, 0.95]
    assert known["static", 1][sparsities].tolist() == [94.1, 92.9, 91.5, 89.0]
    assert known["rigl", 1][sparsities].tolist() == [94.2, 93.6, 92.9, 91.8]
    assert known["static", 2][sparsities].tolist() == [94.1, 93.2, 91.8, 89.7]
    assert known["rigl", 2][sparsities].tolist() == [94.2, 93.8, 93.3, 92.4]
    assert known["pruning", 1][sparsities].tolist() == [94.0, 93.6, 93.3, 92.3]
    assert len(table) == 20


def test_their_differences_are_to_the_static_network_of_the_shorter_training():
    table = published.rigl().set_index(["method", "training", "sparsity"]).sort_index()
    assert (table.difference["static", 1] == 0).all()
    row = table.loc[("rigl", 1, 0.95)]
    assert row.difference == pytest.approx(2.8)
    assert (row.low, row.high) == pytest.approx((2.7, 2.9))  # both numbers are rounded


def test_every_published_number_names_its_source_and_its_error():
    for path in paths.PAPER.glob("*.csv"):
        table = pd.read_csv(path)
        assert list(table)[-2:] == ["test_accuracy_percent", "reading_error_points"], path
        assert table.test_accuracy_percent.between(80, 100).all()
        assert (table.reading_error_points > 0).all()
        assert f"`{path.name}`" in (paths.PAPER / "README.md").read_text(encoding="utf-8")
        if "source" in table:
            assert table.source.str.startswith("https://").all()
