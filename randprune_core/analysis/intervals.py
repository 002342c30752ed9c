"""Estimates with their intervals, and verdicts on them: contrasts of group means, correlations.

A group holds the values of runs that differ in their seeds. A contrast is a weighted sum of group
means: a mean, a difference, a change of a difference. Its interval takes a variance that is pooled
over more groups (`Spread`), one pooled variance or several, or those of its own groups alone
(Welch, Satterthwaite). A group of one run has a mean and nothing else: its interval is NaN, and so
is that of every contrast that it enters.

A verdict takes an estimate that is oriented: a positive value speaks for the claim. Whatever has no
interval is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95
NORMAL_95 = 1.96
"""Standard errors to either side of a value in its 95 % interval, where they are known (images)."""
VERDICTS = ("supported", "contradicted", "undecided", "out of reach")
ENOUGH = 10
"""Fewest pairs, after one is taken off for each further group, that give a correlation an interval.
"""


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
    spread: Spread | Sequence[Spread] | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """A weighted sum of group means with its t interval.

    With a variance s² that is pooled over more groups (`spread`), sizes n and weights c the
    standard error is `s sqrt(sum c² / n)`, with the degrees of freedom of s². Without one it is
    `sqrt(sum c² s² / n)` over the variances of these groups, not assumed equal, and the degrees of
    freedom are those of Welch and Satterthwaite: one group with weight 1 gives the Student
    interval, two with 1 and -1 Welch's. With a spread for each group, where only some groups are
    alike, it is that too, and groups that share a spread give the same object. `confidence` lies in
    (0, 1). Raises ValueError for an empty group, a value that is not finite, or weights or spreads
    that are not one a group.
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
    spreads = [spread] * len(groups) if isinstance(spread, Spread) else spread
    if spreads is not None and len(spreads) != len(groups):
        raise ValueError(f"{len(spreads)} spreads for {len(groups)} groups: give one a group")
    value = float(sum(c * sample.mean() for c, sample in zip(weights, samples, strict=True)))
    value = round(value, 10)  # the order of summing must not decide how 67.45 is written
    n = min(sample.size for sample in samples)
    if n == 1:
        return Estimate(value, math.nan, math.nan, 1)
    if spreads is None:
        spreads = [Spread(float(x.var(ddof=1)), x.size - 1) for x in samples]
    parts = [c**2 * s.variance / x.size for c, s, x in zip(weights, spreads, samples, strict=True)]
    variance = sum(parts)
    if variance == 0:  # seeds without effect: the formula of the degrees of freedom is 0/0 there
        return Estimate(value, value, value, n)
    reach = float(stdtrit(_freedom(parts, spreads), (1 + confidence) / 2)) * math.sqrt(variance)
    return Estimate(value, value - reach, value + reach, n)


def _freedom(parts: Sequence[float], spreads: Sequence[Spread]) -> float:
    """Satterthwaite's degrees of freedom of a sum of variances, of which some are one estimate."""
    shares: dict[int, float] = {}
    for part, spread in zip(parts, spreads, strict=True):
        shares[id(spread)] = shares.get(id(spread), 0.0) + part
    freedoms = {id(spread): spread.freedom for spread in spreads}
    return sum(parts) ** 2 / sum(share**2 / freedoms[key] for key, share in shares.items())


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Mean of a group of runs with its Student-t interval; no interval for one run."""
    return contrast([values], [1], None, confidence)


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
    """Spearman's correlation; NaN where a column is constant, or has less than two values."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return math.nan
    from scipy.stats import spearmanr  # scipy.stats takes half a second to import

    return float(spearmanr(first, second).statistic)
