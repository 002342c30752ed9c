"""What the chapter on depth adds to the gap to dense: the paper's published numbers beside ours."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from ..analysis.cells import CELL
from ..analysis.published import TITLE, figure1
from ..presentation.plots import plot_by_sparsity
from ..presentation.theme import LABELS
from ..presentation.words import data_label, listing, model_label, plus_minus
from .shared.gap_to_dense import gains
from .shared.records import Records
from .shared.tables import accuracy_table, show_table, show_text


def compare(records: Records, points: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Ours beside the paper's, for every cell that both have; empty unless the profile is `paper`.

    `points` is `cells.summarise`. Adds `paper`, `error` and `difference` (ours minus theirs):
    another schedule trains another network, even where model and sparsity have the same name.
    """
    theirs = published[[*CELL, "mean", "error"]].rename(columns={"mean": "paper"})
    both = points[: len(points) if records.profile == "paper" else 0].merge(theirs, on=CELL)
    return both.assign(difference=both["mean"] - both.paper)


def show_comparison(records: Records, points: pd.DataFrame, published: pd.DataFrame):
    """The table `tab-depth-paper` of `compare`, or a sentence that says why there is none."""
    both = compare(records, points, published)
    if both.empty and records.profile == "paper":
        return show_text("None of the cells that the paper shows is recorded at its schedule.")
    if both.empty:
        config = records.configs[0]
        return show_text(
            f"These are not: profile {records.profile} trains {config.epochs} epochs on "
            f"{config.train_images:,} images of {data_label(config)}, the paper 160 epochs on "
            "45,000 images of the original CIFAR-10. A network of the same name is another "
            "network after another schedule, so that only the direction of the gap is compared."
        )
    table = {
        "network": both.model.map(model_label),
        "ratio": both.ratio.map(LABELS),
        "sparsity": [f"{sparsity:g}" for sparsity in both.sparsity],
        "ours": [plus_minus(*row, digits=2) for row in both[["mean", "low", "high"]].values],
        "paper": [f"{row.paper:.2f} ± {row.error:.2f}" for row in both.itertuples()],
        "ours − paper": [plus_minus(value, digits=2) for value in both.difference],
    }
    caption = (
        "Ours beside the paper's, in percent and points, for the cells that both have. ± is half "
        "of the 95 % interval over seeds for ours and the reading error for the paper's."
    )
    return show_table(pd.DataFrame(table), "tab-depth-paper", caption)


def figure_table(
    records: Records,
    points: pd.DataFrame,
    gaps: pd.DataFrame,
    published: pd.DataFrame,
    published_gaps: pd.DataFrame,
) -> pd.DataFrame:
    """Every number that the figures of the chapter draw, one row a point, ours before the paper's.

    Accuracies are in percent, gaps (dense minus sparse) in points; `low` and `high` are 95 %
    intervals over seeds for ours and reading errors for the paper's.
    """
    parts = [
        accuracy_table(records.origin, points, gaps, "gap"),
        accuracy_table("paper", published.assign(n=math.nan), published_gaps, "gap"),
    ]
    return pd.concat([part for part in parts if len(part)])


def accuracy_figure(records: Records, points: pd.DataFrame) -> Figure:
    """Figure 1 of the paper beside ours, in the same panels where the schedules are the same."""
    return plot_by_sparsity(
        points,
        figure1(),
        overlay=records.profile == "paper",
        title=records.source(),
        published_title=TITLE,
    )


def dense_line(points: pd.DataFrame, ratio: str = "erk", sparsity: float = 0.9) -> str:
    """How the published dense line flattens with depth, against `ratio` at one sparsity."""
    dense = points[points.ratio == "dense"]
    first, middle, last = (dense.model.iloc[place] for place in (0, len(dense) // 2, -1))
    values = listing(plus_minus(value, digits=2) for value in dense["mean"])
    models = listing(model_label(model) for model in dense.model)
    return (
        f"In the paper's figure the dense line is at {values} percent for {models}. "
        f"{gains(points, ratio, sparsity, first, middle)} "
        f"{gains(points, ratio, sparsity, middle, last)}"
    )


def inside_band(gaps: pd.DataFrame, model: str = "resnet-110") -> str:
    """How many published gaps of a model are smaller than the spread of its dense line."""
    gaps = gaps[gaps.model == model]
    band = gaps.dense_band.iloc[0]
    inside = gaps[gaps.gap.abs() < band]
    erk = inside[inside.ratio == "erk"].sparsity
    which = listing(f"{value:g}" for value in erk) or "no sparsity"
    return (
        f"At {model_label(model)} the dense line has a band of ±{band:.2f} points over seeds. "
        f"{len(inside)} of the {len(gaps)} sparse points lie less than that from it, those of ERK "
        f"at {which}: such a difference, of either sign, cannot be told from the choice of seeds."
    )
