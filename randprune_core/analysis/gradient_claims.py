"""The rank correlations of claims 9 and 10, over cells (see `claim_tests`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from . import intervals
from .contrasts import Cell, Decision, cell
from .decisions import CONFIDENCE
from .gradient_flow import CLAIMED, FLAT, INITIAL, TO_FLAT
from .intervals import Estimate
from .parts import Part

_COMPARED = {
    FLAT: "Among the ratios of a network at one sparsity, flat level and accuracy go together with",
    TO_FLAT: "With the gap to dense, the norm up to the flat phase correlates more than "
    "the initial one by",
    INITIAL: "Of the gap to dense, the norm at initialisation leaves open",
}


def correlate(part: Part, row: Decision, seen: pd.DataFrame, runs: pd.DataFrame) -> Part:
    """The part with its rank correlation over the cells that are recorded.

    `seen` is what `claim_tests.sample` gives of the row, of the seeds of the look. No interval
    where a cell is one run.
    """
    needed = {INITIAL, TO_FLAT, FLAT} if row.metric == TO_FLAT else {row.metric}
    if not {*needed, "accuracy"} <= set(runs) or seen.empty:
        return part
    flow = flow_of_cells(row, runs[runs.run_id.isin(seen.id)])
    found = {
        FLAT: _order_within,
        TO_FLAT: _better,
        INITIAL: _left_open,
    }[row.metric](flow)
    if math.isnan(found.value):
        lacking = f"{len(flow)} cells give no rank correlation"
        return part if part.lacking else replace(part, lacking=lacking)
    if flow.n.min() == 1:
        found = Estimate(found.value, math.nan, math.nan, 1)
    return replace(part, estimate=found, compared=_COMPARED[row.metric])


def flow_of_cells(row: Decision, runs: pd.DataFrame) -> pd.DataFrame:
    """One row a listed cell whose dense network is there: means, `gap` in points, `n` runs."""
    columns = [name for name in CLAIMED if name in runs]
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
        for column in (np.log2(flow[FLAT]), flow.accuracy)
    ]
    groups = max(flow.model.nunique(), 1)
    return intervals.rank_correlation(*columns, groups=groups, confidence=CONFIDENCE)


def _better(flow: pd.DataFrame) -> Estimate:
    pair = flow[TO_FLAT], flow[INITIAL]
    return intervals.better_predictor(*pair, flow.gap, confidence=CONFIDENCE)


def _left_open(flow: pd.DataFrame) -> Estimate:
    return intervals.unexplained(flow[INITIAL], flow.gap, confidence=CONFIDENCE)
