"""Calibration: sparse against dense in ECE and NLL, and what the recorded bins say beside it.

Differences here are sparse minus dense, since of an error less is better.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..analysis import cells as cells_module
from ..analysis.cells import CELL, MARGINS, summarise
from ..presentation import panels
from ..presentation.plots import plot_by_sparsity, plot_gap_to_dense
from ..presentation.theme import COLOURS
from .shared.records import Records
from .shared.tables import named

MARGIN = MARGINS["ECE"]
"""ECE by which a sparse network may be worse and still count as no worse (`method`, Statistics)."""


def by_size(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the smallest network first, by its maskable weights."""
    if runs.empty:
        return runs
    return runs.sort_values("cost.dense_weights", kind="stable")


def sparse_minus_dense(runs: pd.DataFrame, value: str = "ece") -> pd.DataFrame:
    """Sparse minus dense of a column, smallest network first (see `cells.sparse_minus_dense`).

    Columns `model, ratio, sparsity, n, difference, low, high`, in the unit of the column.
    """
    return cells_module.sparse_minus_dense(by_size(runs), value)


def error_figure(records: Records, points: pd.DataFrame) -> Figure:
    """ECE against sparsity, a panel a network, from zero up; `points` is `cells.summarise`."""
    figure = plot_by_sparsity(points, title=records.source(), label="ECE (15 bins)")
    figure.get_axes()[0].set_ylim(bottom=0)  # the panels share it
    return figure


def difference_figure(
    records: Records, differences: pd.DataFrame, sparsities: Sequence[float]
) -> Figure:
    """Sparse minus dense in ECE against size, a panel a sparsity, with the margin dashed."""
    shown = differences[differences.sparsity.isin(sparsities)]
    figure = plot_gap_to_dense(
        shown.rename(columns={"difference": "gap"}),
        title=records.source(),
        label="ECE, sparse minus dense",
        xlabel="ResNet, fewest weights first",
    )
    if shown.empty:
        return figure
    dotted = {"color": COLOURS["dense"], "linewidth": 1, "linestyle": (0, (1, 2))}
    for axis in figure.get_axes():
        axis.axhline(MARGIN, **dotted)
        axis.tick_params(axis="x", rotation=90 if shown.model.nunique() > 5 else 0)
    shown = figure.subfigs[0].legends[0].legend_handles
    panels.set_key(figure, [*shown, Line2D([], [], label=f"margin {MARGIN:g}", **dotted)])
    return figure


def figure_table(records: Records, runs: pd.DataFrame) -> pd.DataFrame:
    """Every number by cell that the chapter draws or lists: fractions, the NLL in nats.

    `runs` is `calibration_bins.with_bins`. Columns `source, model, ratio, sparsity, n`, then `ece`,
    `nll` and `difference` (ECE, sparse minus dense), each with `_low` and `_high`, the 95 %
    interval over seeds, then the means of `overconfidence` and `chance`.
    """
    table = summarise(runs)[[*CELL, "n"]]
    for name, cells, value in (
        ("ece", summarise(runs, "ece", 1.0), "mean"),
        ("nll", summarise(runs, "nll", 1.0), "mean"),
        ("difference", sparse_minus_dense(runs), "difference"),
    ):
        table = table.merge(named(cells, value, name), on=CELL, how="left")
    for name in ("overconfidence", "chance"):
        right = summarise(runs, name, 1.0)[[*CELL, "mean"]].rename(columns={"mean": name})
        table = table.merge(right, on=CELL, how="left")
    table.insert(0, "source", records.origin)
    return table
