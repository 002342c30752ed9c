"""Out-of-distribution detection from the records: AUROC with its two errors, FPR@95, two scores.

Two errors stand beside an AUROC. Its interval over seeds is that of every measure; its sampling
error (DeLong) is that of the images, which are the same for every network, so that more seeds do
not make it smaller.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

from ..analysis.cells import CELL, gap_to_dense, sparse_minus_dense, summarise
from ..presentation.words import listing
from .shared.gap_to_dense import by_size
from .shared.tables import named


def ood_set(runs: pd.DataFrame) -> str:
    """The OoD set that the runs were measured on; "none" where there is none.

    Raises ValueError for more than one: a figure shows one.
    """
    found = re.findall(r"^ood\.(\w+)\.auroc$", "\n".join(runs.columns), re.MULTILINE)
    if len(found) > 1:
        raise ValueError(f"the runs have several OoD sets, {listing(found)}: choose runs of one")
    return found[0] if found else "none"


def measures(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, small networks first, with `auroc, auroc_se, auroc_energy, fpr95, n_ood, n_in`.

    Computed are `energy_minus_msp`, the difference of the two AUROCs of one network, and
    `fpr95_se`, binomial at a fixed threshold. All are fractions; NaN where nothing is recorded.
    """
    prefix = f"ood.{ood_set(runs)}."
    names = {"auroc": "auroc", "auroc_se": "auroc_se", "auroc_energy": "auroc_energy"}
    names |= {"fpr95": "fpr95", "n": "n_ood", "n_in": "n_in"}
    wide = by_size(runs)
    wide = wide.assign(**{new: wide.get(prefix + old, math.nan) for old, new in names.items()})
    return wide.assign(
        energy_minus_msp=wide.auroc_energy - wide.auroc,
        fpr95_se=np.sqrt(wide.fpr95 * (1 - wide.fpr95) / wide.n_ood),
    )


def measure_points(wide: pd.DataFrame, name: str, pool: pd.DataFrame | None = None) -> pd.DataFrame:
    """`cells.summarise` of `auroc` or `fpr95` of `measures`, with `se`: its sampling error.

    `se` is the mean of the standard errors of the cell's runs, not divided by their number: all
    networks are measured on the same images. `pool` are runs as of `measures`, too.
    """
    errors = summarise(wide, f"{name}_se", 1.0)
    return summarise(wide, name, 1.0, pool).assign(se=errors["mean"])


def auroc_gaps(wide: pd.DataFrame, pool: pd.DataFrame | None = None) -> pd.DataFrame:
    """Dense minus sparse in AUROC (`cells.gap_to_dense`), with `se`.

    `se` adds the two sampling errors as if they were independent. The networks share their images,
    so that it is an upper limit unless their errors are negatively correlated.
    """
    errors = measure_points(wide, "auroc").set_index(CELL).se
    gaps = gap_to_dense(wide, "auroc", 1.0, pool)
    se = [
        math.hypot(errors[cell.model, "dense", 0.0], errors[cell.model, cell.ratio, cell.sparsity])
        for cell in gaps.itertuples()
    ]
    return gaps.assign(se=np.array(se, dtype=float))


def figure_table(wide: pd.DataFrame, pool: pd.DataFrame | None = None) -> pd.DataFrame:
    """Every number of the chapter over cells: a row a cell, fractions, limits over seeds.

    Of `auroc, fpr95, auroc_energy` and `energy_minus_msp` the mean, `_low` and `_high`, of the
    first two the `_se`; `n` runs; `difference` (sparse minus dense) in AUROC, with the same; image
    numbers.
    """
    parts = [summarise(wide, "auroc", 1.0)[[*CELL, "n"]]]
    for name in ("auroc", "fpr95"):
        points = measure_points(wide, name, pool)
        parts.append(named(points, "mean", name).assign(**{f"{name}_se": points.se}))
    for name in ("auroc_energy", "energy_minus_msp"):
        parts.append(named(summarise(wide, name, 1.0, pool), "mean", name))
    differences = named(sparse_minus_dense(wide, "auroc", 1.0, pool), "difference", "difference")
    parts.append(differences.assign(difference_se=auroc_gaps(wide).se))
    parts.append(wide.drop_duplicates(CELL)[[*CELL, "n_ood", "n_in"]])
    first, *others = (part.set_index(CELL) for part in parts)
    return first.join(others).reset_index()
