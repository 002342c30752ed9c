"""Calibration: sparse against dense in ECE and NLL, and what the recorded bins say beside it.

Differences here are sparse minus dense, since of an error less is better.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..analysis import cells as cells_module
from ..analysis.cells import CELL, MARGINS, gap_change, summarise
from ..presentation import panels
from ..presentation.plots import plot_by_sparsity, plot_gap_to_dense
from ..presentation.theme import COLOURS, LABELS
from ..presentation.words import data_label, listing, model_label, plus_minus
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


def shared_sparsity(differences: pd.DataFrame, ratio: str) -> float | None:
    """The highest sparsity at which two networks differ from dense, else the highest one."""
    counts = differences[differences.ratio == ratio].groupby("sparsity").size()
    if counts.empty:
        return None
    return float(max(counts[counts > 1].index, default=max(counts.index)))


def finding(records: Records, ratio: str = "erk") -> str:
    """Sparse minus dense in ECE by size, for `ratio`, and how it changes.

    Says what is lacking where the records allow no such sentence.
    """
    differences = sparse_minus_dense(records.runs)
    sparsity = shared_sparsity(differences, ratio)
    if sparsity is None:
        return (
            f"The records allow no statement on calibration yet: profile {records.profile} has no "
            f"network with dense and {LABELS[ratio]} runs."
        )
    shown = differences[(differences.ratio == ratio) & (differences.sparsity == sparsity)]
    values = listing(
        plus_minus(cell.difference, cell.low, cell.high, 3) for cell in shown.itertuples()
    )
    models = listing(model_label(model) for model in shown.model)
    where = f"profile {records.profile}, {data_label(records.configs[0])}"
    text = f"At sparsity {sparsity:g}, the ECE of {LABELS[ratio]} minus that of dense is {values}"
    return (f"{text} for {models} ({where}). {_trend(records, ratio, sparsity)}").strip()


def _trend(records: Records, ratio: str, sparsity: float) -> str:
    """How the difference changes from the smallest network to the largest; "" for one network."""
    changes = gap_change(by_size(records.runs), "ece", 1.0)
    found = changes[(changes.ratio == ratio) & (changes.sparsity == sparsity)]
    if found.empty:
        return ""
    row = found.iloc[0]
    change = plus_minus(-row.change, -row.high, -row.low, digits=3)
    seeds = f"95 % interval over {records.seeds()}" if row.n > 1 else "one seed, so no interval"
    return (
        f"From {model_label(row['first'])} to {model_label(row['last'])} the difference changes by "
        f"{change} ({seeds})."
    )


def confidence_finding(runs: pd.DataFrame, ratio: str = "erk") -> str:
    """Which networks are too sure, and which way pruning moves them; "" without differences.

    `runs` is `calibration_bins.with_bins`.
    """
    differences = sparse_minus_dense(runs, "overconfidence") if len(runs) else pd.DataFrame()
    sparsity = shared_sparsity(differences, ratio) if len(differences) else None
    if sparsity is None:
        return ""
    means = summarise(by_size(runs), "overconfidence", 1.0).set_index(CELL)["mean"]
    at = differences[(differences.ratio == ratio) & (differences.sparsity == sparsity)]
    dense, sparse = (
        listing(plus_minus(means[model, *cell], digits=3) for model in at.model)
        for cell in (("dense", 0.0), (ratio, sparsity))
    )
    models = listing(model_label(model) for model in at.model)
    less = int((differences.difference < 0).sum())
    counts = runs.groupby(CELL).size()
    few, many = counts.min(), counts.max()
    seeds = f"{few} to {many} seeds" if few < many else "one seed" if many == 1 else f"{many} seeds"
    return (
        f"Mean confidence minus accuracy is {dense} in the dense networks ({models}) and {sparse} "
        f"with {LABELS[ratio]} at sparsity {sparsity:g} (means over {seeds}): above zero a network "
        f"is too sure, below zero too unsure. In {less} of {len(differences)} sparse cells it is "
        "lower than in the dense network. A lower value is nearer to zero only where the dense "
        "network is too sure."
    )


def chance_finding(runs: pd.DataFrame) -> str:
    """How large an ECE chance alone gives, and how many runs are no larger; "" without runs."""
    if runs.empty:
        return ""
    low, high = (f"{value:.3f}" for value in (runs.chance.min(), runs.chance.max()))
    about = low if low == high else f"{low} to {high}"
    images = listing(f"{n:,}" for n in sorted(runs["n"].unique()))
    below = int((runs.ece <= runs.chance).sum())
    text = (
        f"With these bins and {images} test images, perfectly calibrated networks would not show "
        f"an ECE of zero, but about {about} by chance."
    )
    if not below:
        return f"{text} All of the {len(runs)} recorded runs show more than that."
    return (
        f"{text} {below} of {len(runs)} recorded runs show no more than that and cannot be told "
        "from perfect calibration: below this level, lower is no better."
    )


def likelihood_finding(ece: pd.DataFrame, nll: pd.DataFrame) -> str:
    """How often ECE and NLL disagree on what pruning did; "" without differences.

    Both are `sparse_minus_dense`, of the same runs.
    """
    if ece.empty:
        return ""
    both = ece.merge(nll, on=CELL, suffixes=("", "_nll"))
    lower = both[both.difference < 0]
    return (
        f"The ECE is lower than that of the dense network in {len(lower)} of {len(both)} sparse "
        f"cells, and in {int((lower.difference_nll > 0).sum())} of these the NLL is higher. The "
        "NLL asks for confidence that is right and high; the ECE is content with a network that "
        "knows that it knows little."
    )


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
