"""The rank correlations of claims 9 and 10, over cells (see `claim_tests`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from . import evidence
from .contrasts import Cell, Decision, cell
from .decisions import CONFIDENCE
from .parts import Part
from .statistics import Estimate

GRADIENT = ("gradient.initial", "gradient.to_flat", "gradient.flat")
GRADIENT += ("gradient.rise", "gradient.rise_slices", "gradient.fall")
"""Columns of claims 9 and 10: the gradient norm at initialisation, its mean from the start up to
the flat phase, its mean level in the flat phase; and in doublings (log2) the largest mean of an
epoch before the flat phase over the initial norm, the largest slice over it, and that largest mean
of an epoch over the flat level."""
_COMPARED = {
    "gradient.flat": "Among the ratios of a network at one sparsity, flat level and accuracy go "
    "together with",
    "gradient.to_flat": "With the gap to dense, the norm up to the flat phase correlates more than "
    "the initial one by",
    "gradient.initial": "Of the gap to dense, the norm at initialisation leaves open",
}


def correlate(part: Part, row: Decision, seen: pd.DataFrame, runs: pd.DataFrame) -> Part:
    """The part with its rank correlation over the cells that are recorded.

    `seen` is what `claim_tests.sample` gives of the row, of the seeds of the look. No interval
    where a cell is one run.
    """
    needed = {*GRADIENT[:3]} if row.metric == "gradient.to_flat" else {row.metric}
    if not {*needed, "accuracy"} <= set(runs) or seen.empty:
        return part
    flow = flow_of_cells(row, runs[runs.run_id.isin(seen.id)])
    found = {
        "gradient.flat": _order_within,
        "gradient.to_flat": _better,
        "gradient.initial": _left_open,
    }[row.metric](flow)
    if math.isnan(found.value):
        lacking = f"{len(flow)} cells give no rank correlation"
        return part if part.lacking else replace(part, lacking=lacking)
    if flow.n.min() == 1:
        found = Estimate(found.value, math.nan, math.nan, 1)
    return replace(part, estimate=found, compared=_COMPARED[row.metric])


def flow_of_cells(row: Decision, runs: pd.DataFrame) -> pd.DataFrame:
    """One row a listed cell whose dense network is there: means, `gap` in points, `n` runs."""
    columns = [name for name in GRADIENT if name in runs]
    by_id = runs.sort_values("run_id")  # a mean must not depend on the order of the runs
    grouped = by_id.groupby(["model", "setting", "sparsity"])
    means: Mapping[Cell, pd.Series] = dict(grouped[[*columns, "accuracy"]].mean().iterrows())
    counts = grouped.size()
    rows = []
    for key in row.listed:
        dense = cell(key[0], "dense")
        if key in means and dense in means:
            found = dict(zip(("model", "setting", "sparsity"), key, strict=True)) | dict(means[key])
            gap = 100 * (means[dense].accuracy - means[key].accuracy)
            rows.append(found | {"gap": gap, "n": min(counts[key], counts[dense])})
    names = ["model", "setting", "sparsity", *columns, "accuracy", "gap", "n"]
    return pd.DataFrame(rows, columns=names)


def _order_within(flow: pd.DataFrame) -> Estimate:
    """Rank correlation of flat level and accuracy, both less their mean over the ratios."""
    flow = flow[flow.groupby("model").setting.transform("size") > 1]
    columns = [
        column - column.groupby(flow.model).transform("mean")
        for column in (np.log2(flow["gradient.flat"]), flow.accuracy)
    ]
    groups = max(flow.model.nunique(), 1)
    return evidence.rank_correlation(*columns, groups=groups, confidence=CONFIDENCE)


def _better(flow: pd.DataFrame) -> Estimate:
    pair = flow["gradient.to_flat"], flow["gradient.initial"]
    return evidence.better_predictor(*pair, flow.gap, confidence=CONFIDENCE)


def _left_open(flow: pd.DataFrame) -> Estimate:
    return evidence.unexplained(flow["gradient.initial"], flow.gap, confidence=CONFIDENCE)
