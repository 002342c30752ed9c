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
from ..presentation.words import data_label, listing, model_label, plus_minus
from .shared.noninferiority import depths, finding, wide_table
from .shared.records import Records

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
        table = wide_table(part, shown_sparsities(part, ratio))
        table.insert(
            0, "attack or noise", f"{KINDS[kind].split(',')[0]}, {level_text(kind, level)}"
        )
        parts.append(table)
    return pd.concat(parts) if parts else pd.DataFrame()


def floor_note(curves: pd.DataFrame, classes: int) -> str:
    """The rule of `floor_levels` and what it finds, in sentences."""
    if curves.empty:
        return ""
    images = curves.images.min()
    limit = chance_limit(images, classes)
    found = floor_levels(curves, classes)
    names = [
        f"{KINDS[k].split(',')[0]} at {listing(f'{x:g}' for x in v)}" for k, v in found.items() if v
    ]
    free = [KINDS[kind].split(",")[0] for kind, values in found.items() if not values]
    text = (
        "A level is on the floor where no recorded network is above chance by more than two "
        f"standard errors, that is above {limit:.1f} % for {classes} classes and {images:,.0f} "
        "images."
    )
    if not names:
        return f"{text} No level is."
    text += f" That is so for {listing(names)}: these levels are drawn, nothing is read from them."
    return f"{text} No level of {listing(free)} is on the floor." if free else text


def images_note(curves: pd.DataFrame, differences: pd.DataFrame) -> str:
    """How many images a point is measured on, and the largest binomial errors."""
    if curves.empty:
        return ""
    counts = listing(f"{n:,.0f}" for n in sorted(curves.images.unique()))
    text = (
        f"Each point is a share of {counts} images, the same for every network. Its binomial "
        f"standard error is at most {curves.se.max():.1f} points"
    )
    if differences.empty:
        return f"{text}."
    return f"{text}, that of a difference at most {differences.se.max():.1f}."


def pgd_finding(records: Records, curves: pd.DataFrame, classes: int, ratio: str) -> str:
    """Sparse minus dense under PGD at its strongest level off the floor, and without attack.

    Says that there is no statement where nothing is recorded, or every level is on the floor.
    """
    where = f"profile {records.profile}, {data_label(records.configs[0])}, {records.seeds()}"
    level = strongest(curves, classes).get("pgd")
    if level is None:
        return f"The records allow no statement on robustness ({where})."
    what = f"points of accuracy under PGD at {level_text('pgd', level)}"
    found = finding(records.runs, column("pgd", level), what, scale=100.0, ratio=ratio)
    if not found:
        return f"The records allow no statement on robustness ({where})."
    clean = _without_attack(records.runs, curves, level, ratio)
    return f"{found}{clean} ({where[0].upper()}{where[1:]}.)"


def _without_attack(runs: pd.DataFrame, curves: pd.DataFrame, level: float, ratio: str) -> str:
    """The clean difference at the same sparsity, and the share of the clean accuracy that stays."""
    part = depths(curves[(curves.kind == "pgd") & curves.ratio.isin(["dense", ratio])])
    means = part.set_index(["model", "sparsity", "level"])["mean"]
    sparsity = part.sparsity.max()
    models = [
        m for m in part.model.unique() if {(m, 0.0, 0.0), (m, sparsity, 0.0)} <= set(means.index)
    ]
    if not models:
        return ""
    found = sparse_minus_dense(depths(runs), column("pgd", 0.0), 100.0)
    found = found[(found.ratio == ratio) & (found.sparsity == sparsity)]
    clean = listing(plus_minus(c.difference, c.low, c.high) for c in found.itertuples())
    kept = [
        listing(f"{means[m, s, level] / means[m, s, 0.0]:.0%}".replace("%", " %") for m in models)
        for s in (0.0, sparsity)
    ]
    return (
        f" On the same images without an attack the difference is {clean} points. Of its mean "
        f"accuracy there dense keeps {kept[0]} under the attack, {LABELS[ratio]} {kept[1]}."
    )
