"""From an estimate to a verdict, and rank correlations over cells.

An estimate here is oriented: a positive value speaks for the claim. Its interval is NaN where a
group behind it is one run, and whatever has no interval is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from .statistics import CONFIDENCE, Estimate

VERDICTS = ("supported", "contradicted", "undecided", "out of reach")
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
