"""Accuracy on attacked and noisy images, from the records: by level, by seed, and the floor.

Each run attacks the same images, the number of which is recorded. Level 0 is the accuracy on just
these images as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ..analysis.cells import CELL, chance_limit, mean_difference, sparse_minus_dense, summarise
from ..analysis.intervals import Estimate
from .shared import gap_to_dense

KINDS = {"fgsm": "FGSM", "pgd": "PGD, ten steps", "noise": "Gaussian noise"}
"""What is done to the images. Levels are ε in grey levels of 255, for noise σ of the range."""
UNITS = {"fgsm": "ε (grey levels)", "pgd": "ε (grey levels)", "noise": "σ (share of the range)"}
"""What the levels of each kind are counted in, as it stands below an axis."""


def levels(runs: pd.DataFrame) -> dict[str, list[float]]:
    """The recorded levels of each kind, ascending; 0 comes first where it is recorded."""
    found: dict[str, list[float]] = {}
    for kind in KINDS:
        names = re.findall(rf"^{kind}\.([\d.]+)\.accuracy$", "\n".join(runs.columns), re.MULTILINE)
        if names:
            clean = [0.0] if "clean.accuracy" in runs else []
            found[kind] = [*clean, *sorted(float(name) for name in names)]
    return found


def column(kind: str, level: float, what: str = "accuracy") -> str:
    """The column of the runs that holds a level: `pgd.0.5.accuracy`, `clean.accuracy` at 0."""
    return f"{kind}.{level:g}.{what}" if level else f"clean.{what}"


def curve_table(runs: pd.DataFrame, pool: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row a kind, level and cell: `cells.summarise` in percent, `images` and `se`.

    Columns `kind, level, model, ratio, sparsity, n, mean, std, low, high, images, se`; `se` is the
    binomial standard error in points for this many images. It does not become smaller with more
    seeds: every run attacks the same images.
    """
    parts = []
    for kind, level in _each(runs):
        points = summarise(runs, column(kind, level), pool=pool)
        images = runs.drop_duplicates(CELL)[column(kind, level, "n")].to_numpy(dtype=float)
        share = points["mean"] / 100
        se = 100 * np.sqrt(share * (1 - share) / images)
        parts.append(points.assign(kind=kind, level=level, images=images, se=se))
    names = ["kind", "level", *CELL, "n", "mean", "std", "low", "high", "images", "se"]
    return pd.concat(parts)[names] if parts else pd.DataFrame(columns=names)


def difference_table(runs: pd.DataFrame, pool: pd.DataFrame | None = None) -> pd.DataFrame:
    """Sparse minus dense in points at each kind and level (`cells.sparse_minus_dense`).

    Adds `kind, level` and `se`, the two binomial errors taken as independent: an upper limit, since
    the networks attack the same images and mostly fail on the same ones.
    """
    errors = curve_table(runs).set_index(["kind", "level", *CELL]).se
    parts = []
    for kind, level in _each(runs):
        part = sparse_minus_dense(runs, column(kind, level), 100.0, pool)
        pairs = (((m, "dense", 0.0), (m, r, s)) for m, r, s in part[CELL].itertuples(index=False))
        se = [math.hypot(*(errors[kind, level, *cell] for cell in pair)) for pair in pairs]
        parts.append(part.assign(kind=kind, level=level, se=np.array(se, dtype=float)))
    names = ["kind", "level", *CELL, "n", "difference", "low", "high", "se"]
    return pd.concat(parts)[names] if parts else pd.DataFrame(columns=names)


def turned_more(runs: pd.DataFrame, pool: pd.DataFrame | None, models: Sequence[str]) -> Estimate:
    """Of 100 images that a network gets right, how many more PGD turns in ERK 0.9 than in dense.

    PGD at one grey level, on all test images; the mean over `models`. In shares and not in points,
    since a network that is right less often has fewer answers to lose. NaN where a network is not
    recorded.
    """

    def with_turned(frame):
        attacked, right = (frame.get(name, math.nan) for name in (column("pgd", 1), "accuracy"))
        return frame.assign(turned=1 - attacked / right)

    pairs = [((model, "erk", 0.9), (model, "dense", 0.0)) for model in models]
    pool = None if pool is None else with_turned(pool)
    return mean_difference(with_turned(runs), pairs, "turned", pool=pool)


def _each(runs: pd.DataFrame) -> list[tuple[str, float]]:
    return [(kind, level) for kind, values in levels(runs).items() for level in values]


def floor_levels(curves: pd.DataFrame, classes: int) -> dict[str, list[float]]:
    """The levels at which every network is on the floor, by kind (kinds without any included).

    The rule: no cell is above chance, 1 / `classes`, by more than two binomial standard errors of a
    guess on that many images. Nothing is concluded from such a level.
    """
    limit = chance_limit(curves.images.astype(float), classes)
    sunk = (curves["mean"] <= limit).groupby([curves.kind, curves.level]).all()
    known = [kind for kind in KINDS if kind in set(curves.kind)]
    return {kind: [level for level in sunk[kind].index if sunk[kind, level]] for kind in known}


def by_seed(runs: pd.DataFrame, how: Callable = gap_to_dense.seeds) -> pd.DataFrame:
    """What `how` gives of the runs one by one, `seeds` or `seed_gaps`, with `kind` and `level`."""
    parts = [
        how(runs, column(kind, level), 100.0).assign(kind=kind, level=level)
        for kind, level in _each(runs)
    ]
    return pd.concat(parts) if parts else pd.DataFrame(columns=["kind", "level", *CELL, "value"])
