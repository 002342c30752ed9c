"""The course of the gradient norm in training in a few numbers: start, peak, where it gets flat.

A curve is what a record holds: `norms[i]` is the mean norm over the part of training that ends at
`epochs[i]`, the first part beginning at 0. It is read as a step function, in tenths of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, isnan, log2, nan
from typing import NamedTuple

import numpy as np
import pandas as pd

from .cells import CELL
from .intervals import mean_interval

INITIAL, PEAK = "gradient.initial", "gradient.peak"
TO_FLAT, FLAT = "gradient.to_flat", "gradient.flat"
COURSE = ("gradient.rise", "gradient.rise_slices", "gradient.fall")
"""What claim 9 says of the course of the norm, in doublings (log2): the largest mean of an epoch
before the flat phase over the initial norm, the largest slice over it, and that largest mean of an
epoch over the flat level."""
CLAIMED = (INITIAL, TO_FLAT, FLAT, *COURSE)
"""Columns of `flow_table` that claims 9 and 10 rest on."""
TOLERANCE = 0.15
"""How far from its level, as a share of it, a flat curve may be."""

_TENTHS = 10
_FLOWS = ["run_id", *CELL, "seed", "accuracy", "gap", "weights"]
_FLOWS += [INITIAL, "start", PEAK, TO_FLAT, FLAT, *COURSE]


class FlatPhase(NamedTuple):
    """A flat phase: the epoch that it begins at, and the norm that the curve stays at."""

    start: float
    level: float


def first_stage(rates: Sequence[float]) -> int:
    """How many epochs pass before the learning rate first falls; `rates` has one an epoch."""
    return next((n for n in range(1, len(rates)) if rates[n] < rates[n - 1]), len(rates))


def find_flat_phase(
    epochs: Sequence[float], norms: Sequence[float], stage: int, tolerance: float = TOLERANCE
) -> FlatPhase | None:
    """The flat phase of a curve within its first `stage` epochs; None where it is never flat.

    The *level* is the median norm over the second half of the stage. The phase begins at the
    earliest tenth of an epoch from which on the moving median stays within `tolerance` of the level
    until the stage ends; if that is later than half of the stage, there is none. The moving median
    covers a sixteenth of the stage on either side (as far as the curve has begun), so that a value
    out of line changes nothing, be it of a tenth of an epoch in a short training or of an epoch in
    a long one. Raises ValueError for a curve that is not one or ends before the stage does.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance {tolerance} is not in (0, 1): give for example {TOLERANCE}")
    values = _in_tenths(epochs, norms, stage)
    level = float(np.median(values[len(values) // 2 :]))
    away = np.abs(moving_median(values, stage) - level) > tolerance * level
    start = int(np.flatnonzero(away)[-1]) + 1 if away.any() else 0
    return FlatPhase(start / _TENTHS, level) if 2 * start <= len(values) else None


def mean_until(epochs: Sequence[float], norms: Sequence[float], start: float) -> float:
    """Mean norm from the first step up to epoch `start`; NaN where that is no time at all."""
    values = _in_tenths(epochs, norms, epochs[-1])[: round(start * _TENTHS)]
    return float(values.mean()) if len(values) else float("nan")


def peak_until(epochs: Sequence[float], norms: Sequence[float], stage: int, start: float) -> float:
    """Highest moving median up to epoch `start`, at least that of the first tenth of an epoch."""
    values = moving_median(_in_tenths(epochs, norms, stage), stage)
    return float(values[: max(round(start * _TENTHS), 1)].max())


def highest_epoch(
    epochs: Sequence[float], norms: Sequence[float], stage: int, start: float
) -> float:
    """Largest mean norm of a whole epoch that begins before epoch `start`, or of the first one."""
    values = _in_tenths(epochs, norms, stage).reshape(-1, _TENTHS).mean(axis=1)
    return float(values[: max(ceil(start), 1)].max())


def highest_slice(
    epochs: Sequence[float], norms: Sequence[float], stage: int, start: float
) -> float:
    """Largest recorded norm up to epoch `start`, or within the first epoch.

    A slice is a tenth of an epoch at first and an epoch later; a largest value of noisy ones lies
    above what it would be without noise.
    """
    values = _in_tenths(epochs, norms, stage)
    return float(values[: max(round(start * _TENTHS), _TENTHS)].max())


def dip(epochs: Sequence[float], norms: Sequence[float], stage: int) -> tuple[float, float]:
    """How far the norm falls below its flat level: share of the level, and the epoch.

    The lowest moving median of the first half of the stage against the level of
    `find_flat_phase`. A share above its tolerance puts the flat phase after the dip.
    """
    values = _in_tenths(epochs, norms, stage)
    half = len(values) // 2
    medians, level = moving_median(values, stage)[:half], np.median(values[half:])
    lowest = int(medians.argmin())
    return float(1 - medians[lowest] / level), (lowest + 0.5) / _TENTHS


def moving_median(values: np.ndarray, stage: int) -> np.ndarray:
    """Median around each tenth of an epoch; the window shrinks towards the start on both sides.

    At the start it must shrink evenly: otherwise the first norms, which differ most, would be
    outvoted by those after them. At the end of the stage it is cut on the far side only.
    """
    reach = int(_TENTHS * stage / 16)
    medians = pd.Series(values).rolling(2 * reach + 1, center=True, min_periods=1).median()
    medians = medians.to_numpy(copy=True)
    for place in range(min(reach, len(values))):
        medians[place] = np.median(values[: 2 * place + 1])
    return medians


def _in_tenths(epochs: Sequence[float], norms: Sequence[float], stage: float) -> np.ndarray:
    """The norm in the middle of each tenth of an epoch of the first `stage` epochs."""
    ends, heights = np.asarray(epochs, dtype=float), np.asarray(norms, dtype=float)
    if ends.ndim != 1 or ends.shape != heights.shape or not len(ends):
        raise ValueError(f"{ends.size} epochs and {heights.size} norms are no curve")
    if not np.isfinite(heights).all() or (np.diff(ends, prepend=0) <= 0).any():
        raise ValueError("a curve needs finite norms, and epochs that rise from 0")
    if not 0 < stage <= ends[-1] + 1e-6:
        raise ValueError(f"the stage of {stage} epochs is not within a curve of {ends[-1]:g}")
    middles = (np.arange(round(stage * _TENTHS)) + 0.5) / _TENTHS
    return heights[np.searchsorted(ends, middles)]


def flow_table(found: Iterable[Mapping], tolerance: float = TOLERANCE) -> pd.DataFrame:
    """One row a run: its gradient norms in a few numbers, and its gap to the dense network.

    Columns `run_id, model, ratio, sparsity, seed`; `accuracy` in percent; `gap`, the mean accuracy
    of the dense runs of the model minus it, in points (NaN for a dense run, and where no dense one
    is among `found`); `weights` of the dense network; `gradient.initial`; `start`, the epoch that
    the flat phase begins at; `gradient.peak`, the highest norm up to there; `gradient.to_flat`, the
    mean norm up to there, which is the initial norm where the curve is flat at once; and
    `gradient.flat`, its level; and in doublings `gradient.rise`, from the initial norm to the
    largest mean of an epoch before the flat phase, `gradient.rise_slices`, to the largest slice,
    and `gradient.fall`, from that mean to the flat level. All after `start` and `start` itself are
    NaN where there is no flat phase.
    """
    rows = []
    for record in found:
        config, history = record["config"], record["history"]
        row = {"run_id": record["run_id"], **{name: config[name] for name in CELL}}
        row |= {"seed": config["seed_init"], "accuracy": 100 * record["test"]["accuracy"]}
        row |= {"weights": record["cost"]["dense_weights"]}
        rows.append(row | _flow(history, tolerance))
    flows = pd.DataFrame(rows, columns=_FLOWS)
    dense = flows[flows.ratio == "dense"].groupby("model").accuracy.mean()
    gap = flows.model.map(dense).astype(float) - flows.accuracy
    return flows.assign(gap=gap.where(flows.ratio != "dense"))


def _flow(history: Mapping, tolerance: float) -> dict[str, float]:
    initial, curve = history["gradient_norm_at_init"], history["gradient_norm"].values()
    row = {INITIAL: initial} | dict.fromkeys(("start", PEAK, TO_FLAT, FLAT, *COURSE), nan)
    stage = first_stage(history["lr"])
    if (phase := find_flat_phase(*curve, stage, tolerance)) is None:
        return row
    before, until = mean_until(*curve, phase.start), (*curve, stage, phase.start)
    row |= {"start": phase.start, FLAT: phase.level, PEAK: peak_until(*until)}
    row |= {TO_FLAT: initial if isnan(before) else before}
    epoch, part = highest_epoch(*until), highest_slice(*until)
    course = (epoch / initial, part / initial, epoch / phase.level)
    if min(course) > 0:
        row |= {name: log2(share) for name, share in zip(COURSE, course, strict=True)}
    return row


def run_curves(found: Iterable[Mapping]) -> pd.DataFrame:
    """Gradient norm against epoch for each run, as recorded and smoothed.

    Columns `model, ratio, sparsity, seed, epoch, norm, smooth`. Epoch 0 is initialisation; any
    other value is the mean over the part of training that ends at its epoch.
    """
    runs = [pd.DataFrame(columns=[*CELL, "seed", "epoch", "norm", "smooth"])]
    for record in found:
        config, history = record["config"], record["history"]
        run = {name: config[name] for name in CELL} | {"seed": config["seed_init"]}
        run["epoch"] = np.array([0.0, *history["gradient_norm"]["epoch"]])
        run["norm"] = [history["gradient_norm_at_init"], *history["gradient_norm"]["norm"]]
        runs.append(pd.DataFrame(run | {"smooth": smooth(run["epoch"], run["norm"])}))
    return pd.concat(runs[1:] or runs, ignore_index=True)


def mean_curves(found: Iterable[Mapping]) -> pd.DataFrame:
    """The mean over seeds of each cell's norms (`run_curves`) with its Student-t interval.

    Columns `model, ratio, sparsity, epoch, n, norm, low, high`.
    """
    groups = run_curves(found).groupby([*CELL, "epoch"], sort=False).norm
    means = {key: mean_interval(norms.tolist()) for key, norms in groups}
    rows = [[*key, mean.n, mean.value, mean.low, mean.high] for key, mean in means.items()]
    return pd.DataFrame(rows, columns=[*CELL, "epoch", "n", "norm", "low", "high"])


def rate_steps(found: Sequence[Mapping]) -> list[int]:
    """After which epochs the learning rate of any of the runs falls."""
    rates = [np.asarray(record["history"]["lr"]) for record in found]
    return sorted({int(step) + 1 for rate in rates for step in np.flatnonzero(np.diff(rate) < 0)})


def smooth(epochs: Sequence[float], norms: Sequence[float]) -> np.ndarray:
    """Each norm as the mean over the time from 0.8 to 1.25 times its epoch; the first one stays.

    An epoch ends with a smaller batch, whose gradient is longer: this takes the saw-tooth away.
    """
    epochs, norms = np.asarray(epochs), np.asarray(norms)
    near = [(epochs >= 0.8 * epoch) & (epochs <= 1.25 * epoch) for epoch in epochs]
    times = np.diff(epochs, prepend=-1)
    return np.array([np.average(norms[each], weights=times[each]) for each in near])
