"""Cells and what is computed from their means: tables of runs, a row a cell, difference or change.

The runs of a *cell* (network, ratio, sparsity) differ in their seeds. Every number here is a
contrast of cell means; its interval takes the spread between runs, pooled over the cells of the
contrast and those of `pool`: the runs that every page of a profile takes (`claim_runs.pool_runs`),
or the runs at hand where none are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from .intervals import CONFIDENCE, Estimate, Spread, contrast, pooled_spread

MARGINS = {"points": 0.3, "ECE": 0.005, "AUROC": 0.005}
"""How much worse is still no worse (non-inferiority), by unit."""
CELL = ["model", "ratio", "sparsity"]
"""What tells one group of runs from another: the runs of a cell differ in their seeds only."""
STATIC = {"granularity": "unstructured", "method": "static", "when": "before"}
"""Columns of the runs of a pool: masks as in the paper, which never move."""

_SUMMARY = [*CELL, "n", "mean", "std", "low", "high"]
_DIFFERENCE = [*CELL, "n", "difference", "low", "high"]
_CHANGE = ["ratio", "sparsity", "first", "last", "first_gap", "last_gap"]
_CHANGE += ["n", "change", "low", "high"]


@dataclass(frozen=True)
class Cells:
    """The runs of a frame by cell, and those of the pool whose spread all intervals take."""

    values: dict[tuple, list[float]]
    pool: dict[tuple, list[float]]

    @cached_property
    def spread(self) -> Spread:
        """The spread of the pool alone."""
        return pooled_spread(self.pool.values())

    def spread_of(self, cells: Iterable[tuple]) -> Spread:
        """The spread of the pool and of some cells; a cell of both counts once, with more runs."""
        own = {
            cell: self.values[cell]
            for cell in cells
            if len(self.values[cell]) > len(self.pool.get(cell, ()))
        }
        return pooled_spread((self.pool | own).values()) if own else self.spread

    def contrast(self, weights: Mapping[tuple, float], confidence: float = CONFIDENCE) -> Estimate:
        """A contrast of some of the cells, given the weight of each, with the pooled spread."""
        groups = [self.values[cell] for cell in weights]
        return contrast(groups, list(weights.values()), self.spread_of(weights), confidence)

    def own_spread(
        self, weights: Mapping[tuple, float], confidence: float = CONFIDENCE
    ) -> Estimate:
        """The same contrast with the spread of its own cells alone."""
        groups = [self.values[cell] for cell in weights]
        return contrast(groups, list(weights.values()), None, confidence)

    def difference(self, first: tuple, second: tuple) -> Estimate:
        """Mean of one cell minus that of another."""
        return self.contrast({first: 1, second: -1})


def cells_of(
    runs: pd.DataFrame,
    value: str = "accuracy",
    scale: float = 100.0,
    pool: pd.DataFrame | None = None,
) -> Cells:
    """The values of each cell, in the order of the runs, and those of the static ones of `pool`.

    `scale` multiplies the column; 100 turns fractions into percent. A pool is those of its runs
    that have the column. Raises ValueError for a column that the runs do not have.
    """
    if runs.empty:
        return Cells({}, {})
    if value not in runs:
        raise ValueError(f"the runs have no column {value!r}: known are {', '.join(runs)}")
    pool = runs if pool is None else pool
    static = pool[value].notna() if value in pool else pd.Series(False, index=pool.index)
    for name, kept in STATIC.items():
        static &= pool[name] == kept if name in pool else True
    still = _grouped(pool[static], value, scale) if static.any() else {}
    return Cells(_grouped(runs, value, scale), still)


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
    runs: pd.DataFrame,
    value: str = "accuracy",
    scale: float = 100.0,
    pool: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row a cell, in the order of the runs: `n`, `mean`, `std`, `low`, `high` of a column.

    `std` is that of the cell's own runs, NaN for one. `scale` and `pool` are as in `cells_of`.
    """
    rows, cells = [], cells_of(runs, value, scale, pool)
    for cell, values in cells.values.items():
        found = cells.contrast({cell: 1})
        std = np.std(values, ddof=1) if found.n > 1 else math.nan
        rows.append([*cell, found.n, found.value, std, found.low, found.high])
    return pd.DataFrame(rows, columns=_SUMMARY)


def differences(
    runs: pd.DataFrame,
    pairs: Iterable[tuple[tuple, tuple]],
    value: str = "accuracy",
    scale: float = 100.0,
    pool: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Mean of the first cell minus that of the second, for every pair that is recorded.

    A cell is given as `(model, ratio, sparsity)`. Columns `model, ratio, sparsity, n, difference,
    low, high`: the second cell, and the smaller of the two numbers of runs. `scale` and `pool` are
    as in `cells_of`.
    """
    cells, rows = cells_of(runs, value, scale, pool), []
    for first, second in pairs:
        if first in cells.values and second in cells.values:
            found = cells.difference(first, second)
            rows.append([*second, found.n, found.value, found.low, found.high])
    return pd.DataFrame(rows, columns=_DIFFERENCE)


def mean_difference(
    runs: pd.DataFrame,
    pairs: Iterable[tuple[tuple, tuple]],
    value: str = "accuracy",
    scale: float = 100.0,
    pool: pd.DataFrame | None = None,
) -> Estimate:
    """The mean of what `differences` gives, with its interval; NaN where a pair has no value.

    A cell may stand in several pairs: what its runs share is then in all of these differences.
    """
    cells, pairs = cells_of(runs, value, scale, pool), list(pairs)
    weights: dict[tuple, float] = {}
    for first, second in pairs:
        weights[first] = weights.get(first, 0) + 1 / len(pairs)
        weights[second] = weights.get(second, 0) - 1 / len(pairs)
    known = [np.isfinite(cells.values.get(cell, math.nan)).all() for cell in weights]
    if not (known and all(known)):
        return Estimate(math.nan, math.nan, math.nan, 0)
    return cells.contrast(weights)


def recorded(runs: pd.DataFrame) -> list[tuple]:
    """The cells of runs in the order in which they come."""
    return (
        [] if runs.empty else list(runs[CELL].drop_duplicates().itertuples(index=False, name=None))
    )


def value(
    table: pd.DataFrame, column: str, model: str, sparsity: float = 0.0, ratio: str = "erk"
) -> float:
    """One number of a table of cells; NaN where the cell is not in it."""
    cell = (table.model == model) & (table.ratio == ratio) & (table.sparsity == sparsity)
    found = table.loc[cell, column]
    return float(found.iloc[0]) if len(found) else math.nan


def pairs_of_settings(
    runs: pd.DataFrame, pairs: Iterable[tuple[str, str]]
) -> list[tuple[tuple, tuple]]:
    """Pairs of settings (`config.setting`) as pairs of cells, at every network and sparsity."""
    places, pairs = dict.fromkeys((cell[0], cell[2]) for cell in recorded(runs)), list(pairs)
    return [
        tuple((model, name, sparsity) for name in pair)
        for model, sparsity in places
        for pair in pairs
    ]


def gap_to_dense(
    runs: pd.DataFrame,
    value: str = "accuracy",
    scale: float = 100.0,
    pool: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Dense minus sparse for every sparse cell whose dense network is recorded too.

    Columns `model, ratio, sparsity, n, gap, low, high`: positive where the dense network is better
    (for a value of which more is better), `n` the smaller of the two numbers of runs.
    """
    sparse = [cell for cell in recorded(runs) if cell[1] != "dense"]
    pairs = [((cell[0], "dense", 0.0), cell) for cell in sparse]
    return differences(runs, pairs, value, scale, pool).rename(columns={"difference": "gap"})


def sparse_minus_dense(
    runs: pd.DataFrame, value: str, scale: float = 1.0, pool: pd.DataFrame | None = None
) -> pd.DataFrame:
    """`gap_to_dense` with its sign turned: positive where the sparse network is better.

    Columns as of `differences`. Empty where the runs have no such column.
    """
    gaps = gap_to_dense(runs if value in runs else runs[:0], value, scale, pool)
    return turned(gaps.rename(columns={"gap": "difference"}))


def turned(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `differences` as second minus first."""
    return table.assign(difference=-table.difference, low=-table.high, high=-table.low)


def gap_change(
    runs: pd.DataFrame,
    value: str = "accuracy",
    scale: float = 100.0,
    pool: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """How the gap to dense changes from the first to the last model, per ratio and sparsity.

    Models count in the order in which they come in `runs`, smallest first, and only those with a
    gap. `change` is the last gap minus the first, a contrast of four cells, negative where the gap
    shrinks. Sparsities ascend.
    """
    cells, rows = cells_of(runs, value, scale, pool), []
    gaps = gap_to_dense(runs, value, scale, pool)
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
