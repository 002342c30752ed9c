"""Numbers that the paper and its neighbours published, from `randprune_core/published/`.

They were read off a figure or rounded: `low` and `high` enclose that error, and no spread over
seeds.
"""

from __future__ import annotations

import pandas as pd

from .. import paths
from .cells import CELL

TITLE = "The paper's Figure 1, read off: CIFAR-10, 45,000\u00a0images, 160\u00a0epochs"
"""What stands above the panels of published numbers."""

DENSE_BAND = {20: 0.22, 32: 0.25, 44: 0.13, 56: 0.05, 110: 0.42}
"""Half-width in points of the band of the dense line over seeds in Figure 1, by depth, read off it
(`randprune_core/published/README.md`)."""


def figure1() -> pd.DataFrame:
    """Figure 1 of the paper, CIFAR-10 accuracy by depth: one row a point, accuracies in percent.

    Columns `model, ratio, sparsity, mean, low, high, error, dense_band`.
    """
    table = pd.read_csv(paths.PAPER / "figure1_cifar10_depth.csv")
    mean, error = table.test_accuracy_percent, table.reading_error_points
    return pd.DataFrame(
        {
            "model": "resnet-" + table.depth.astype(str),
            "ratio": table.ratio,
            "sparsity": table.sparsity,
            "mean": mean,
            "low": mean - error,
            "high": mean + error,
            "error": error,
            "dense_band": table.depth.map(DENSE_BAND),
        }
    )


def rigl() -> pd.DataFrame:
    """What masks that change cost or gain, by RigL's authors: Wide ResNet-22-2 on CIFAR-10, ERK.

    One row a network. Columns `method` (static, rigl or pruning), `training` (its length in that of
    the shorter one), `sparsity`, `mean` in percent, `difference` to the static network of the
    shorter training in points, with `low` and `high`, the rounding of both.
    """
    table = pd.read_csv(paths.PAPER / "rigl_cifar10_wide_resnet22.csv")
    table = table.rename(columns={"test_accuracy_percent": "mean"}).drop(columns="source")
    static = table[(table.method == "static") & (table.training == 1)].set_index("sparsity")
    difference = (table["mean"] - table.sparsity.map(static["mean"])).round(6)
    error = table.pop("reading_error_points") + table.sparsity.map(static.reading_error_points)
    return table.assign(difference=difference, low=difference - error, high=difference + error)


def gap_to_dense(points: pd.DataFrame) -> pd.DataFrame:
    """Dense minus sparse in points; the reading errors of the two add up.

    Columns `model, ratio, sparsity, gap, low, high, error, dense_band`.
    """
    dense = points[points.ratio == "dense"].set_index("model")
    sparse = points[points.ratio != "dense"].reset_index(drop=True)
    gap = sparse.model.map(dense["mean"]) - sparse["mean"]
    error = sparse.model.map(dense["error"]) + sparse["error"]
    limits = {"gap": gap, "low": gap - error, "high": gap + error, "error": error}
    return sparse[CELL].assign(**limits, dense_band=sparse.dense_band)


def gap_change(gaps: pd.DataFrame) -> pd.DataFrame:
    """Change of the gap from the first to the last model, columns as in `cells.gap_change`.

    The spread over seeds is published for the dense networks only. `low` and `high` are as far from
    the change as the four reading errors and the two dense bands together; this is no confidence
    interval, but a change within it cannot be told from reading and seeds.
    """
    rows = []
    for (ratio, sparsity), part in gaps.groupby(["ratio", "sparsity"], sort=False):
        first, last = part.iloc[0], part.iloc[-1]
        change = last.gap - first.gap
        reach = sum(end.error + end.dense_band for end in (first, last))
        row = {"ratio": ratio, "sparsity": sparsity, "first": first.model, "last": last.model}
        row |= {"first_gap": first.gap, "last_gap": last.gap, "change": change}
        rows.append(row | {"low": change - reach, "high": change + reach})
    return pd.DataFrame(rows)
