"""What the chapter on depth adds to the gap to dense: the paper's published numbers beside ours."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from ..analysis.published import TITLE, figure1
from ..presentation.plots import plot_by_sparsity
from .shared.records import Records
from .shared.tables import accuracy_table


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
