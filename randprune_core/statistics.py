"""Intervals over seeds: Student t for a mean, Welch for differences, and gaps to the dense network.

A run is one value; what varies between the runs of a group are their seeds. A group of one run has
a mean and nothing else: its interval is NaN, and so is that of every difference it enters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

CONFIDENCE = 0.95
MARGINS = {"points": 0.3, "ECE": 0.005, "AUROC": 0.005}
"""How much worse is still no worse (non-inferiority), by unit."""
CELL = ["model", "ratio", "sparsity"]
"""What tells one group of runs from another: the runs of a cell differ in their seeds only."""

_SUMMARY = [*CELL, "n", "mean", "std", "low", "high"]
_GAP = [*CELL, "n", "gap", "low", "high"]
_CHANGE = ["ratio", "sparsity", "first", "last", "first_gap", "last_gap"]
_CHANGE += ["n", "change", "low", "high"]


class Estimate(NamedTuple):
    """A value with its interval; `low` and `high` are NaN where `n`, the fewest runs, is 1."""

    value: float
    low: float
    high: float
    n: int


def contrast(
    groups: Sequence[Sequence[float]], weights: Sequence[float], confidence: float = CONFIDENCE
) -> Estimate:
    """A weighted sum of group means with its t interval, variances not assumed equal.

    With group variances s², sizes n and weights c the standard error is `sqrt(sum c² s² / n)`, and
    the degrees of freedom are those of Welch and Satterthwaite. One group with weight 1 gives the
    Student interval, two with 1 and -1 Welch's. `confidence` lies in (0, 1). Raises ValueError for
    an empty group, a value that is not finite, or weights that are not one a group.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not in (0, 1): give for example 0.95")
    if not groups or len(groups) != len(weights):
        raise ValueError(f"{len(weights)} weights for {len(groups)} groups: give one a group")
    samples = [np.asarray(group, dtype=float) for group in groups]
    for position, sample in enumerate(samples):
        if sample.size == 0 or not np.isfinite(sample).all():
            raise ValueError(
                f"group {position} holds {sample.tolist()}: every group needs at least one value, "
                "and only finite ones"
            )
    value = sum(c * sample.mean() for c, sample in zip(weights, samples, strict=True))
    n = min(sample.size for sample in samples)
    if n == 1:
        return Estimate(float(value), math.nan, math.nan, 1)
    parts = [c**2 * x.var(ddof=1) / x.size for c, x in zip(weights, samples, strict=True)]
    variance = sum(parts)
    if variance == 0:  # seeds without effect: the formula of the degrees of freedom is 0/0 there
        return Estimate(float(value), float(value), float(value), n)
    freedom = variance**2 / sum(p**2 / (x.size - 1) for p, x in zip(parts, samples, strict=True))
    reach = stdtrit(freedom, (1 + confidence) / 2) * math.sqrt(variance)
    return Estimate(float(value), float(value - reach), float(value + reach), n)


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Mean of a group of runs with its Student-t interval; no interval for one run."""
    return contrast([values], [1], confidence)


def welch_difference(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Estimate:
    """Mean of `first` minus mean of `second` with Welch's interval; none if either is one run."""
    return contrast([first, second], [1, -1], confidence)


def chance_limit(images: float, classes: int) -> float:
    """Accuracy in percent up to which guessing cannot be excluded: the floor under an attack.

    Chance, 1 / `classes`, and two binomial standard errors of a guess on that many images.
    """
    chance = 1 / classes
    return 100 * (chance + 2 * np.sqrt(chance * (1 - chance) / images))


def summarise(
    runs: pd.DataFrame, value: str = "accuracy", scale: float = 100.0, confidence=CONFIDENCE
) -> pd.DataFrame:
    """One row a cell, in the order of the runs: `n`, `mean`, `std`, `low`, `high` of a column.

    `scale` multiplies the column; 100 turns fractions into percent. `std` is NaN for one run.
    """
    rows = []
    for cell, values in _cells(runs, value, scale).items():
        found = mean_interval(values, confidence)
        std = np.std(values, ddof=1) if found.n > 1 else math.nan
        rows.append([*cell, found.n, found.value, std, found.low, found.high])
    return pd.DataFrame(rows, columns=_SUMMARY)


def gap_to_dense(
    runs: pd.DataFrame, value: str = "accuracy", scale: float = 100.0, confidence=CONFIDENCE
) -> pd.DataFrame:
    """Dense minus sparse for every sparse cell whose dense network is recorded too.

    Columns `model, ratio, sparsity, n, gap, low, high`: positive where the dense network is better
    (for a value of which more is better), `n` the smaller of the two numbers of runs.
    """
    cells = _cells(runs, value, scale)
    rows = []
    for (model, ratio, sparsity), values in cells.items():
        dense = cells.get((model, "dense", 0.0))
        if ratio != "dense" and dense:
            found = welch_difference(dense, values, confidence)
            rows.append([model, ratio, sparsity, found.n, found.value, found.low, found.high])
    return pd.DataFrame(rows, columns=_GAP)


def gap_change(
    runs: pd.DataFrame, value: str = "accuracy", scale: float = 100.0, confidence=CONFIDENCE
) -> pd.DataFrame:
    """How the gap to dense changes from the first to the last model, per ratio and sparsity.

    Models count in the order in which they come in `runs`, smallest first, and only those with a
    gap. `change` is the last gap minus the first, negative where the gap shrinks; its interval is
    that of the contrast of the four groups of runs. Sparsities ascend.
    """
    cells = _cells(runs, value, scale)
    rows = []
    for (ratio, sparsity), part in gap_to_dense(runs, value, scale).groupby(
        ["ratio", "sparsity"], sort=False
    ):
        if len(part) < 2:
            continue
        ends = [part.model.iloc[0], part.model.iloc[-1]]
        groups = [cells[key] for m in ends for key in ((m, "dense", 0.0), (m, ratio, sparsity))]
        found = contrast(groups, [-1, 1, 1, -1], confidence)
        gaps = [part.gap.iloc[0], part.gap.iloc[-1]]
        rows.append([ratio, sparsity, *ends, *gaps, found.n, found.value, found.low, found.high])
    changes = pd.DataFrame(rows, columns=_CHANGE)
    return changes.sort_values("sparsity", kind="stable", ignore_index=True)


def _cells(runs: pd.DataFrame, value: str, scale: float) -> dict[tuple, list[float]]:
    """The values of each cell, in the order of the runs."""
    if runs.empty:
        return {}
    if value not in runs:
        raise ValueError(f"the runs have no column {value!r}: known are {', '.join(runs)}")
    return {
        cell: [scale * number for number in part]
        for cell, part in runs.groupby(CELL, sort=False)[value]
    }
