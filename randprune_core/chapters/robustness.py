"""Accuracy on attacked and noisy images, from the records: curves, floor, dense against sparse.

Each run attacks the same images, the number of which is recorded. Level 0 is the accuracy on just
these images as they are.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

from ..analysis.cells import CELL, chance_limit, sparse_minus_dense, summarise
from ..presentation.theme import LABELS
from ..presentation.words import model_label, plus_minus
from .shared.tables import grid_table

KINDS = {"fgsm": "FGSM", "pgd": "PGD, ten steps", "noise": "Gaussian noise"}
"""What is done to the images. Levels are ε in grey levels of 255, for noise σ of the range."""
UNITS = {"fgsm": "ε in grey levels of 255", "pgd": "ε in grey levels of 255"}
UNITS |= {"noise": "σ as a share of the pixel range"}


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


def curve_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a kind, level and cell: `cells.summarise` in percent, `images` and `se`.

    Columns `kind, level, model, ratio, sparsity, n, mean, std, low, high, images, se`; `se` is the
    binomial standard error in points for this many images. It does not become smaller with more
    seeds: every run attacks the same images.
    """
    parts = []
    for kind, values in levels(runs).items():
        for level in values:
            points = summarise(runs, column(kind, level))
            images = runs.drop_duplicates(CELL)[column(kind, level, "n")].to_numpy(dtype=float)
            share = points["mean"] / 100
            se = 100 * np.sqrt(share * (1 - share) / images)
            parts.append(points.assign(kind=kind, level=level, images=images, se=se))
    names = ["kind", "level", *CELL, "n", "mean", "std", "low", "high", "images", "se"]
    return pd.concat(parts)[names] if parts else pd.DataFrame(columns=names)


def difference_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Sparse minus dense in points at each kind and level (`cells.sparse_minus_dense`).

    Adds `kind, level` and `se`, the two binomial errors taken as independent: an upper limit, since
    the networks attack the same images and mostly fail on the same ones.
    """
    errors = curve_table(runs).set_index(["kind", "level", *CELL]).se
    parts = []
    for kind, values in levels(runs).items():
        for level in values:
            part = sparse_minus_dense(runs, column(kind, level), 100.0)
            se = [
                math.hypot(
                    errors[kind, level, cell.model, "dense", 0.0],
                    errors[kind, level, cell.model, cell.ratio, cell.sparsity],
                )
                for cell in part.itertuples()
            ]
            parts.append(part.assign(kind=kind, level=level, se=np.array(se, dtype=float)))
    names = ["kind", "level", *CELL, "n", "difference", "low", "high", "se"]
    return pd.concat(parts)[names] if parts else pd.DataFrame(columns=names)


def floor_levels(curves: pd.DataFrame, classes: int) -> dict[str, list[float]]:
    """The levels at which every network is on the floor, by kind (kinds without any included).

    The rule: no cell is above chance, 1 / `classes`, by more than two binomial standard errors of a
    guess on that many images. Nothing is concluded from such a level.
    """
    limit = chance_limit(curves.images.astype(float), classes)
    sunk = (curves["mean"] <= limit).groupby([curves.kind, curves.level]).all()
    return {
        kind: [level for level in sunk[kind].index if sunk[kind, level]]
        for kind in KINDS
        if kind in set(curves.kind)
    }


def strongest(curves: pd.DataFrame, classes: int) -> dict[str, float]:
    """The strongest level of each kind that is not on the floor; kinds without one are left out."""
    found = {}
    for kind, sunk in floor_levels(curves, classes).items():
        left = set(curves.level[curves.kind == kind]) - {0.0, *sunk}
        if left:
            found[kind] = max(left)
    return found


def shown_sparsities(table: pd.DataFrame, ratio: str, fixed: float = 0.5) -> list[float]:
    """Sparsities worth a line, three at most: one that the paper names and the two highest."""
    recorded = sorted(table.sparsity[table.ratio == ratio].unique())
    return sorted({*(level for level in recorded if level == fixed), *recorded[-2:]})


def shown_ratio(runs: pd.DataFrame) -> str:
    """The ratio that is held against dense: ERK, else the first other one."""
    ratios = [ratio for ratio in runs.ratio.unique() if ratio != "dense"]
    return "erk" if "erk" in ratios or not ratios else ratios[0]


def level_text(kind: str, level: float) -> str:
    """A level as the text writes it: `ε = 2/255`, `σ = 0.08`."""
    return f"σ = {level:g}" if kind == "noise" else f"ε = {level:g}/255"


def level_table(curves: pd.DataFrame, kind: str, ratio: str) -> pd.DataFrame:
    """Accuracy in percent of dense and the shown sparsities of `ratio`, a column a level."""
    part = curves[(curves.kind == kind) & curves.ratio.isin(["dense", ratio])]
    part = part[part.sparsity.isin([0.0, *shown_sparsities(part, ratio)])]
    rows: dict[tuple, dict] = {}
    for cell in part.to_dict("records"):
        name = LABELS[cell["ratio"]] + (f" {cell['sparsity']:g}" if cell["sparsity"] else "")
        start = {"network": model_label(cell["model"]), "pruning": name}
        row = rows.setdefault((cell["model"], cell["ratio"], cell["sparsity"]), start)
        row[f"{cell['level']:g}"] = plus_minus(cell["mean"], cell["low"], cell["high"])
    return pd.DataFrame(list(rows.values()))


def strongest_rows(differences: pd.DataFrame, levels: dict[str, float], ratio: str) -> pd.DataFrame:
    """Sparse minus dense at one level of each kind, to read."""
    parts = []
    for kind, level in levels.items():
        here = (differences.kind == kind) & (differences.level == level)
        part = differences[here & (differences.ratio == ratio)]
        table = grid_table(part[part.sparsity.isin(shown_sparsities(part, ratio))], "difference")
        table.insert(
            0, "attack or noise", f"{KINDS[kind].split(',')[0]}, {level_text(kind, level)}"
        )
        parts.append(table)
    return pd.concat(parts) if parts else pd.DataFrame()
