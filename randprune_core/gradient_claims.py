"""How the claims on the gradient norm, 9 and 10, are tested (see `claim_tests`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from . import evidence
from .comparisons import Part, collect, difference, select, several
from .statistics import CELL, Estimate

UNEXPLAINED = 0.5
"""Claim 10: what leaves more than this share of the rank variance open explains nothing alone."""
GRADIENT = ("gradient.initial", "gradient.peak", "gradient.to_flat", "gradient.flat")
"""Columns of claims 9 and 10: the gradient norm at initialisation, its highest value before the
flat phase, its mean from the start up to the flat phase, and its mean level in the flat phase."""
NETWORKS = 3
"""How many networks with several seeds the course of the norm is judged by, as in Figure 6."""


def gradient_flow(runs: pd.DataFrame) -> Iterator[Part]:
    """The parts of claims 9 and 10; undecided where the columns `GRADIENT` are absent."""
    initial, peak, to_flat, flat = GRADIENT
    yield _change(
        Part(9, "rises", "doublings"),
        runs,
        peak,
        initial,
        "From the start to its peak the norm changes by",
    )
    yield _change(
        Part(9, "falls", "doublings"),
        runs,
        peak,
        flat,
        "From its peak to the flat phase it falls by",
    )
    yield _correlation(
        Part(9, "orders ratios", "of rank correlation"),
        _flow(runs, [flat]),
        _order_within,
        "Among the ratios of a network at one sparsity, flat level and accuracy go together with",
    )
    yield _correlation(
        Part(9, "predicts better", "of rank correlation"),
        _flow(runs, [to_flat, initial]),
        lambda cell: evidence.better_predictor(cell[to_flat], cell[initial], cell.gap),
        "With the gap to dense, the norm up to the flat phase correlates more than the initial by",
    )
    yield _correlation(
        Part(10, "initial norm", "of the rank variance", threshold=UNEXPLAINED),
        _flow(runs, [initial]),
        lambda cell: evidence.unexplained(cell[initial], cell.gap),
        "Of the gap to dense, the norm at initialisation leaves open",
    )


def _change(part: Part, runs: pd.DataFrame, high: str, low: str, compared: str) -> Part:
    """The part with log2 of one column over another, averaged over the cells of redrawn masks."""
    change = pd.Series(dtype=float)
    if high in runs and low in runs:
        ratio = runs[high] / runs[low]
        change = np.log2(ratio.where(ratio > 0))
    values = select(runs.assign(change=change), "change")
    values = values[values.source == "random"]
    found = collect(values, CELL)
    if not (keys := several(found)):
        return replace(part, lacking="no run has the gradient norms that this needs")
    networks = {key[0] for key in keys if len(found[key]) > 1}
    if 0 < len(networks) < NETWORKS:
        lacking = f"this needs {NETWORKS} networks with several seeds, not {len(networks)}"
        part = replace(part, lacking=lacking)
    return difference(part, [found[key] for key in keys], [], compared)


def _flow(runs: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """One row a sparse cell that has the columns and a dense network: means, gap, `n`, `ids`.

    Cells of one seed are left out where others have more.
    """
    random = select(runs, "accuracy", 100)
    random = random[random.source == "random"]
    sparse, dense = random[random.ratio != "dense"], random[random.ratio == "dense"]
    norms = {name: sparse.id.map(select(runs, name).set_index("id").value) for name in columns}
    sparse = sparse.assign(**norms).dropna(subset=columns)
    sparse = sparse[sparse.model.isin(dense.model)]
    if sparse.empty:
        return sparse
    whole = {"n": ("id", "size"), "ids": ("id", tuple)}
    means = {"accuracy": ("value", "mean"), **{name: (name, "mean") for name in columns}}
    found = sparse.groupby(CELL, as_index=False).agg(**means, **whole)
    dense = dense.groupby("model").agg(dense=("value", "mean"), **whole)
    found = found.merge(dense, on="model", suffixes=("", "_dense"))
    found["gap"] = found.dense - found.accuracy
    found["n"] = found[["n", "n_dense"]].min(axis=1)
    found["ids"] = found.ids + found.ids_dense
    return found[found.n > 1] if (found.n > 1).any() else found


def _correlation(
    part: Part, flow: pd.DataFrame, estimate: Callable[[pd.DataFrame], Estimate], compared: str
) -> Part:
    """The part with a rank correlation over cells; without an interval where they are one seed."""
    if flow.empty:
        return replace(part, lacking="no run has the gradient norms that this needs")
    found = estimate(flow)
    if math.isnan(found.value):
        return replace(part, lacking=f"{len(flow)} cells give no rank correlation")
    if flow.n.max() == 1:
        found = Estimate(found.value, math.nan, math.nan, 1)
    ids = frozenset(name for cell in flow.ids for name in cell)
    return replace(part, estimate=found, runs=ids, compared=compared)


def _order_within(flow: pd.DataFrame) -> Estimate:
    """Rank correlation of flat level and accuracy, both less their mean over the ratios."""
    groups = flow.groupby(["model", "sparsity"])
    flow = flow[groups.ratio.transform("size") > 1]
    level = np.log2(flow[GRADIENT[3]])
    groups = [flow.model, flow.sparsity]
    columns = [
        column - column.groupby(groups).transform("mean") for column in (level, flow.accuracy)
    ]
    return evidence.rank_correlation(*columns, groups=flow.groupby(["model", "sparsity"]).ngroups)
