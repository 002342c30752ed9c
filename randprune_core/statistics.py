"""Cell means and contrasts of them, with intervals over seeds.

A run is one value; what varies between the runs of a *cell* (network, ratio, sparsity) are their
seeds. Everything that is computed with runs is a *contrast*, a weighted sum of cell means: a mean,
a gap to the dense network, its change from one network to another. Its interval takes the variance
within cells, pooled over the static cells at hand (`Spread`), or that of its own cells alone
(Welch, Satterthwaite). A cell of one run has a mean and nothing else: its interval is NaN, and so
is that of every contrast that it enters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

CONFIDENCE = 0.95
MARGINS = {"points": 0.3, "ECE": 0.005, "AUROC": 0.005}
"""How much worse is still no worse (non-inferiority), by unit."""
CELL = ["model", "ratio", "sparsity"]
"""What tells one group of runs from another: the runs of a cell differ in their seeds only."""
STATIC = {"granularity": "unstructured", "method": "static", "when": "before"}
"""Columns of the runs whose spread is pooled: masks as in the paper, which never move."""

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


class Spread(NamedTuple):
    """Variance between the runs of a cell, with its degrees of freedom; NaN with none of these."""

    variance: float
    freedom: int


def pooled_spread(groups: Iterable[Sequence[float]]) -> Spread:
    """The variance within groups, pooled: squared deviations over the sum of n − 1."""
    samples = [np.asarray(group, dtype=float) for group in groups]
    freedom = sum(sample.size - 1 for sample in samples)
    squares = sum(float(((sample - sample.mean()) ** 2).sum()) for sample in samples)
    return Spread(squares / freedom if freedom else math.nan, freedom)


def contrast(
    groups: Sequence[Sequence[float]],
    weights: Sequence[float],
    spread: Spread | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """A weighted sum of group means with its t interval.

    With a variance s² that is pooled over more groups (`spread`), sizes n and weights c the
    standard error is `s sqrt(sum c² / n)`, with the degrees of freedom of s². Without one it is
    `sqrt(sum c² s² / n)` over the variances of these groups, not assumed equal, and the degrees of
    freedom are those of Welch and Satterthwaite: one group with weight 1 gives the Student
    interval, two with 1 and -1 Welch's. `confidence` lies in (0, 1). Raises ValueError for an
    empty group, a value that is not finite, or weights that are not one a group.
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
    value = float(sum(c * sample.mean() for c, sample in zip(weights, samples, strict=True)))
    n = min(sample.size for sample in samples)
    if n == 1:
        return Estimate(value, math.nan, math.nan, 1)
    variances = [x.var(ddof=1) if spread is None else spread.variance for x in samples]
    parts = [c**2 * s / x.size for c, s, x in zip(weights, variances, samples, strict=True)]
    variance = sum(parts)
    if variance == 0:  # seeds without effect: the formula of the degrees of freedom is 0/0 there
        return Estimate(value, value, value, n)
    freedom = spread.freedom if spread else _freedom(parts, [x.size for x in samples])
    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(variance)
    return Estimate(value, value - reach, value + reach, n)


def _freedom(parts: Sequence[float], sizes: Sequence[int]) -> float:
    """Satterthwaite's degrees of freedom of a sum of variances of means."""
    return sum(parts) ** 2 / sum(p**2 / (n - 1) for p, n in zip(parts, sizes, strict=True))


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Mean of a group of runs with its Student-t interval; no interval for one run."""
    return contrast([values], [1], None, confidence)


class Cells(NamedTuple):
    """The runs of a frame by cell, and the spread between runs that all its intervals take."""

    values: dict[tuple, list[float]]
    spread: Spread

    def contrast(self, weights: Mapping[tuple, float], confidence: float = CONFIDENCE) -> Estimate:
        """A contrast of some of the cells, given the weight of each, with the pooled spread."""
        groups = [self.values[cell] for cell in weights]
        return contrast(groups, list(weights.values()), self.spread, confidence)

    def own_spread(
        self, weights: Mapping[tuple, float], confidence: float = CONFIDENCE
    ) -> Estimate:
        """The same contrast with the spread of its own cells alone."""
        groups = [self.values[cell] for cell in weights]
        return contrast(groups, list(weights.values()), None, confidence)

    def difference(self, first: tuple, second: tuple) -> Estimate:
        """Mean of one cell minus that of another."""
        return self.contrast({first: 1, second: -1})


def cells_of(runs: pd.DataFrame, value: str = "accuracy", scale: float = 100.0) -> Cells:
    """The values of each cell, in the order of the runs, with the spread of the static ones.

    `scale` multiplies the column; 100 turns fractions into percent. Raises ValueError for a column
    that the runs do not have.
    """
    if runs.empty:
        return Cells({}, pooled_spread([]))
    if value not in runs:
        raise ValueError(f"the runs have no column {value!r}: known are {', '.join(runs)}")
    static = pd.Series(True, index=runs.index)
    for name, kept in STATIC.items():
        static &= runs[name] == kept if name in runs else True
    still = _grouped(runs[static], value, scale).values()
    return Cells(_grouped(runs, value, scale), pooled_spread(still))


def _grouped(runs: pd.DataFrame, value: str, scale: float) -> dict[tuple, list[float]]:
    return {
        cell: [scale * number for number in part]
        for cell, part in runs.groupby(CELL, sort=False)[value]
    }


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

    `std` is that of the cell's own runs, NaN for one; the interval takes the pooled spread of the
    frame. `scale` is as in `cells_of`.
    """
    rows, cells = [], cells_of(runs, value, scale)
    for cell, values in cells.values.items():
        found = cells.contrast({cell: 1}, confidence)
        std = np.std(values, ddof=1) if found.n > 1 else math.nan
        rows.append([*cell, found.n, found.value, std, found.low, found.high])
    return pd.DataFrame(rows, columns=_SUMMARY)


def gap_to_dense(runs: pd.DataFrame, value: str = "accuracy", scale: float = 100.0) -> pd.DataFrame:
    """Dense minus sparse for every sparse cell whose dense network is recorded too.

    Columns `model, ratio, sparsity, n, gap, low, high`: positive where the dense network is better
    (for a value of which more is better), `n` the smaller of the two numbers of runs.
    """
    cells, rows = cells_of(runs, value, scale), []
    for cell in cells.values:
        dense = (cell[0], "dense", 0.0)
        if cell[1] != "dense" and dense in cells.values:
            found = cells.difference(dense, cell)
            rows.append([*cell, found.n, found.value, found.low, found.high])
    return pd.DataFrame(rows, columns=_GAP)


def gap_change(runs: pd.DataFrame, value: str = "accuracy", scale: float = 100.0) -> pd.DataFrame:
    """How the gap to dense changes from the first to the last model, per ratio and sparsity.

    Models count in the order in which they come in `runs`, smallest first, and only those with a
    gap. `change` is the last gap minus the first, a contrast of four cells, negative where the gap
    shrinks. Sparsities ascend.
    """
    cells, rows = cells_of(runs, value, scale), []
    gaps = gap_to_dense(runs, value, scale)
    for (ratio, sparsity), part in gaps.groupby(["ratio", "sparsity"], sort=False):
        if len(part) < 2:
            continue
        ends, signs = [part.model.iloc[0], part.model.iloc[-1]], (-1, 1)
        weights = {}
        for model, sign in zip(ends, signs, strict=True):
            weights |= {(model, "dense", 0.0): sign, (model, ratio, sparsity): -sign}
        found = cells.contrast(weights)
        gap = [part.gap.iloc[0], part.gap.iloc[-1]]
        rows.append([ratio, sparsity, *ends, *gap, found.n, found.value, found.low, found.high])
    changes = pd.DataFrame(rows, columns=_CHANGE)
    return changes.sort_values("sparsity", kind="stable", ignore_index=True)
