"""Out-of-distribution detection from the records: AUROC with its two errors, FPR@95, two scores.

Two errors stand beside an AUROC. Its interval over seeds is that of every measure; its sampling
error (DeLong) is that of the images, which are the same for every network, so that more seeds do
not make it smaller.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..analysis import cells
from ..analysis.cells import CELL, summarise
from ..analysis.intervals import NORMAL_95
from ..presentation import panels
from ..presentation.plots import plot_by_sparsity, plot_gap_to_dense, ratio_handle
from ..presentation.theme import COLOURS, in_order
from ..presentation.words import listing, model_label
from .shared.tables import named


def ood_set(runs: pd.DataFrame) -> str:
    """The OoD set that the runs were measured on; "none" where there is none.

    Raises ValueError for more than one: a figure shows one.
    """
    found = re.findall(r"^ood\.(\w+)\.auroc$", "\n".join(runs.columns), re.MULTILINE)
    if len(found) > 1:
        raise ValueError(f"the runs have several OoD sets, {listing(found)}: choose runs of one")
    return found[0] if found else "none"


def measures(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with `auroc, auroc_se, auroc_energy, fpr95, n_ood, n_in` of their OoD set.

    Computed are `energy_minus_msp`, the difference of the two AUROCs of one network, and
    `fpr95_se`, binomial at a fixed threshold. All are fractions; NaN where nothing is recorded.
    """
    prefix = f"ood.{ood_set(runs)}."
    names = {"auroc": "auroc", "auroc_se": "auroc_se", "auroc_energy": "auroc_energy"}
    names |= {"fpr95": "fpr95", "n": "n_ood", "n_in": "n_in"}
    wide = runs.assign(**{new: runs.get(prefix + old, math.nan) for old, new in names.items()})
    return wide.assign(
        energy_minus_msp=wide.auroc_energy - wide.auroc,
        fpr95_se=np.sqrt(wide.fpr95 * (1 - wide.fpr95) / wide.n_ood),
    )


def measure_points(wide: pd.DataFrame, value: str, scale: float = 1.0) -> pd.DataFrame:
    """`cells.summarise` of `auroc` or `fpr95` of `measures`, with `se`: its sampling error.

    `se` is the mean of the standard errors of the cell's runs, not divided by their number: all
    networks are measured on the same images.
    """
    errors = summarise(wide, f"{value}_se", scale)
    return summarise(wide, value, scale).assign(se=errors["mean"])


def auroc_differences(wide: pd.DataFrame) -> pd.DataFrame:
    """Sparse minus dense in AUROC (`cells.sparse_minus_dense`), with `se`.

    `se` adds the two sampling errors as if they were independent. The networks share their images,
    so that it is an upper limit unless their errors are negatively correlated.
    """
    errors = measure_points(wide, "auroc").set_index(CELL).se
    differences = cells.sparse_minus_dense(wide, "auroc")
    se = [
        math.hypot(errors[cell.model, "dense", 0.0], errors[cell.model, cell.ratio, cell.sparsity])
        for cell in differences.itertuples()
    ]
    return differences.assign(se=np.array(se, dtype=float))


def points_figure(points: pd.DataFrame, label: str, title: str = "") -> Figure:
    """`measure_points` against sparsity, a panel a model, with thin bars of 1.96 sampling errors.

    They stand to the right of their markers, that of the dense network at the left edge of its
    panel. Of more than two sparse ratios only ERK has its bars.
    """
    figure = plot_by_sparsity(points, title=title, label=label)
    ratios = in_order(points.ratio)
    barred = points[points.ratio.isin(ratios if len(ratios) < 4 else ["dense", "erk"])]
    thin = {"fmt": "none", "elinewidth": 1.1, "capsize": 0, "alpha": 0.8}
    for axis in figure.get_axes():
        for cell in barred[barred.model.map(model_label) == axis.get_title()].itertuples():
            left, right = axis.get_xlim()
            aside = (right - left) / 40  # from the interval over seeds, which it would hide
            x = left + 2 * aside if cell.ratio == "dense" else cell.sparsity + aside
            reach = NORMAL_95 * cell.se
            axis.errorbar([x], [cell.mean], yerr=reach, ecolor=COLOURS[cell.ratio], **thin)
            axis.set_xlim(left, right)
    handles = [ratio_handle(ratio) for ratio in ratios]
    handles.append(Line2D([], [], color="#777777", linewidth=1.1, label="sampling error"))
    panels.set_key(figure, handles, columnspacing=1.2)
    return figure


def difference_figure(
    differences: pd.DataFrame, sparsities: Iterable[float], title: str = ""
) -> Figure:
    """Sparse minus dense in AUROC against the networks, a panel a sparsity.

    The grey bars about zero are 1.96 sampling errors of the difference, the widest of the ratios.
    """
    shown = differences[differences.sparsity.isin(list(sparsities))]
    models = list(shown.model.unique())
    figure = plot_gap_to_dense(
        shown.rename(columns={"difference": "gap"}),
        title=title,
        label="Sparse − dense (AUROC)",
        xlabel="ResNet: depth, or depth and width",
    )
    for axis in figure.get_axes():
        part = differences[
            axis.get_title() == "sparsity " + differences.sparsity.map("{:g}".format)
        ]
        reach = NORMAL_95 * part.groupby("model").se.max().reindex(models)
        grey = {"color": COLOURS["dense"], "alpha": 0.15, "linewidth": 0, "zorder": 1}
        axis.bar(range(len(models)), 2 * reach, 0.8, bottom=-reach, **grey)
        if len(models) > 4:
            axis.tick_params(axis="x", rotation=60)
    return figure


def figure_table(wide: pd.DataFrame) -> pd.DataFrame:
    """Every number of the figures over cells: a row a cell, fractions, limits over seeds.

    Of `auroc, fpr95, auroc_energy` and `energy_minus_msp` the mean, `_low` and `_high`, of the
    first two the `_se`; `n` runs; `difference` to dense in AUROC, with the same; image numbers.
    """
    parts = [summarise(wide, "auroc", 1.0)[[*CELL, "n"]]]
    for name in ("auroc", "fpr95"):
        points = measure_points(wide, name)
        parts.append(named(points, "mean", name).assign(**{f"{name}_se": points.se}))
    for name in ("auroc_energy", "energy_minus_msp"):
        parts.append(named(summarise(wide, name, 1.0), "mean", name))
    differences = auroc_differences(wide)
    parts.append(
        named(differences, "difference", "difference").assign(difference_se=differences.se)
    )
    parts.append(wide.drop_duplicates(CELL)[[*CELL, "n_ood", "n_in"]])
    first, *others = (part.set_index(CELL) for part in parts)
    return first.join(others).reset_index()
