"""From runs to a verdict: a difference of groups, a trend, a rank correlation, and a threshold.

An estimate here is oriented: a positive value speaks for the claim. Its interval is NaN where a
group behind it is one run, and whatever has no interval is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from .statistics import CONFIDENCE, Estimate, contrast

VERDICTS = ("supported", "contradicted", "undecided")
ENOUGH = 10
"""Fewest pairs, after one is taken off for each further group, that give a correlation an interval.
"""


def decide(low: float, high: float, threshold: float = 0.0) -> str:
    """`supported` where the interval lies above the threshold, `contradicted` where below it.

    Anything else is `undecided`: an interval that contains the threshold, or none (NaN). A margin
    of non-inferiority is a negative threshold.
    """
    if low > threshold:
        return "supported"
    return "contradicted" if high < threshold else "undecided"


def mean_difference(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]] = (),
    sampling: float = 0.0,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Mean over the cells of `first` minus mean over those of `second`, each cell counting alike.

    A cell is the runs that differ in their seeds only; runs of different cells are independent. The
    interval is that of `statistics.contrast`: Student's for one cell, Welch's for two. `sampling`
    is a standard error from the finite test set, the same for all seeds; the two half-widths are
    combined as the root of the sum of their squares (Zou and Donner 2008).
    """
    weights = [1 / len(first)] * len(first) + [-1 / len(second) for _ in second]
    found = contrast([*first, *second], weights, confidence)
    images = ndtri((1 + confidence) / 2) * sampling
    reach = math.hypot(found.high - found.value, images)
    return Estimate(found.value, found.value - reach, found.value + reach, found.n)


def trend(
    sizes: Sequence[float], values: Sequence[float], confidence: float = CONFIDENCE
) -> Estimate:
    """Slope of `values` on log2 of `sizes`, one pair a run: change per doubling of the size.

    Least squares over all runs, with the Student-t interval of the slope on n − 2 degrees of
    freedom. `n` is the fewest runs of a size; the interval is NaN where that is 1. Raises
    ValueError for fewer than two sizes, lengths that differ, or a value that is not finite.
    """
    x, y = np.log2(np.asarray(sizes, dtype=float)), np.asarray(values, dtype=float)
    if len(x) != len(y) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"{len(x)} sizes and {len(y)} values: give one finite pair a run")
    counts = np.unique(x, return_counts=True)[1]
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} sizes: a trend needs at least two")
    around = x - x.mean()
    slope = float(around @ y / (around @ around))
    if counts.min() == 1:
        return Estimate(slope, math.nan, math.nan, 1)
    left = y - y.mean() - slope * around
    freedom = len(x) - 2
    error = math.sqrt(left @ left / freedom / (around @ around))
    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    return Estimate(slope, slope - reach, slope + reach, int(counts.min()))


def rank_correlation(
    first: Sequence[float],
    second: Sequence[float],
    groups: int = 1,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Spearman's correlation of two columns with its interval by Fisher's z; `n` is the pairs.

    The standard error on the z scale is `sqrt((1 + r²/2) / (n − 3))` (Bonett and Wright 2000).
    `groups` is how many group means were taken off the values, which cost one degree of freedom
    each beyond the first. A perfect correlation has no z; it gets that of halfway to the next
    value that ranks can give. Value and interval are NaN where a column is constant; the interval
    is NaN where fewer than `ENOUGH` pairs are left.
    """
    r, n = _spearman(first, second), len(first)
    left = n - (groups - 1)
    if math.isnan(r) or left < ENOUGH:
        return Estimate(r, math.nan, math.nan, n)
    most = 1 - 6 / (n * (n**2 - 1))
    z = math.atanh(min(max(r, -most), most))
    reach = ndtri((1 + confidence) / 2) * math.sqrt((1 + r**2 / 2) / (left - 3))
    low, high = math.tanh(z - reach), math.tanh(z + reach)
    return Estimate(r, min(low, r), max(high, r), n)


def unexplained(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Estimate:
    """Share of the rank variance of `second` that `first` leaves unexplained: 1 − r²."""
    r, low, high, n = rank_correlation(first, second, confidence=confidence)
    if math.isnan(low):
        return Estimate(1 - r**2, math.nan, math.nan, n)
    most = max(low**2, high**2)
    least = 0.0 if low <= 0 <= high else min(low**2, high**2)
    return Estimate(1 - r**2, 1 - most, 1 - least, n)


def better_predictor(
    first: Sequence[float],
    second: Sequence[float],
    outcome: Sequence[float],
    confidence: float = CONFIDENCE,
) -> Estimate:
    """How much stronger `first` correlates in rank with `outcome` than `second` does, signs aside.

    The two correlations share the outcome, so that their intervals are combined with the
    correlation between them (Zou 2007, eq. 15). NaN where either has no interval.
    """
    a = rank_correlation(first, outcome, confidence=confidence)
    b = rank_correlation(second, outcome, confidence=confidence)
    sign = math.copysign(1, a.value * b.value)
    a, b = (_without_sign(estimate) for estimate in (a, b))
    value = a.value - b.value
    if math.isnan(a.low) or math.isnan(b.low):
        return Estimate(value, math.nan, math.nan, a.n)
    between = sign * _spearman(first, second)
    spare = (1 - a.value**2) * (1 - b.value**2)
    shared = 0.0
    if spare > 1e-12:
        shared = (between - a.value * b.value / 2) * (
            1 - a.value**2 - b.value**2 - between**2
        ) + between**3
        shared = min(max(shared / spare, -1.0), 1.0)
    below, above = (a.value - a.low, b.high - b.value), (a.high - a.value, b.value - b.low)
    low, high = (math.sqrt(max(x**2 + y**2 - 2 * shared * x * y, 0.0)) for x, y in (below, above))
    return Estimate(value, value - low, value + high, a.n)


def _without_sign(estimate: Estimate) -> Estimate:
    value, low, high, n = estimate
    return Estimate(-value, -high, -low, n) if value < 0 else estimate


def _spearman(first: Sequence[float], second: Sequence[float]) -> float:
    if not len(first):
        return math.nan
    from scipy.stats import rankdata  # scipy.stats takes half a second to import

    x, y = (rankdata(np.asarray(column, dtype=float)) for column in (first, second))
    x, y = x - x.mean(), y - y.mean()
    spread = math.sqrt((x @ x) * (y @ y))
    return float(x @ y / spread) if spread else math.nan
