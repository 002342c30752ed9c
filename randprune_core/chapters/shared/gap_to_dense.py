"""The gap to the dense network as pages show it: seed by seed, its panels, one table of values."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ...analysis.cells import CELL
from ...config import parse_model_name
from ...presentation.theme import LABELS, in_order
from ...presentation.words import model_label, plus_minus


def by_size(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the smallest network first, by its maskable weights."""
    return runs.sort_values("cost.dense_weights", kind="stable") if len(runs) else runs


def seeds(runs: pd.DataFrame, value: str = "accuracy", scale: float = 100.0) -> pd.DataFrame:
    """The runs one by one, `model, ratio, sparsity, value`, as `presentation.plots` draws them."""
    if runs.empty:
        return pd.DataFrame(columns=[*CELL, "value"])
    return runs[CELL].assign(value=scale * runs[value])


def seed_gaps(runs: pd.DataFrame, value: str = "accuracy", scale: float = 100.0) -> pd.DataFrame:
    """Dense minus sparse of runs with the same network and seed, with the columns of `seeds`.

    Such runs share initial weights and the order of the images.
    """
    if runs.empty:
        return seeds(runs)
    dense = runs[runs.ratio == "dense"].set_index(["model", "seed_init"])[value]
    sparse = runs[runs.ratio != "dense"].set_index(["model", "seed_init"])
    twins = dense.reindex(sparse.index)
    gaps = sparse[["ratio", "sparsity"]].assign(value=scale * (twins - sparse[value]))
    return gaps.dropna().reset_index()[[*CELL, "value"]]


def panels(gaps: pd.DataFrame, fixed: float = 0.5, most: int = 2) -> list[float]:
    """Sparsities worth a panel: one that the paper's claim names, and the highest recorded."""
    recorded = sorted(gaps.sparsity.unique()) or [0.8, 0.9]
    return sorted({fixed, *recorded[-most:]})


def sizes(models: Iterable[str], what: str) -> dict[str, int]:
    """The `depth` or the `width` of each model; empty where they differ in something else too."""
    place = ("family", "depth", "width").index(what)
    try:
        parsed = {model: parse_model_name(model) for model in models}
    except ValueError:  # a registered network, whose name says no size
        return {}
    others = {name[:place] + name[place + 1 :] for name in parsed.values()}
    return {model: name[place] for model, name in parsed.items()} if len(others) == 1 else {}


def beside_dense(
    points: pd.DataFrame, gaps: pd.DataFrame, digits: int = 1, what: str = "lost"
) -> pd.DataFrame:
    """One table of values and of gaps to dense: a row a network and ratio, columns by sparsity.

    `points` is `cells.summarise`, `gaps` has the columns `gap`, `low` and `high`; `what` heads
    them. A single ratio stands in the headings. ○ marks one seed, a dash what is not recorded.
    """
    values, lost = (
        {
            tuple(row[n] for n in CELL): plus_minus(row[column], row["low"], row["high"], digits)
            for row in table.to_dict("records")
        }
        for table, column in ((points, "mean"), (gaps, "gap"))
    )
    sparse = points[points.ratio != "dense"]
    levels, ratios = sorted(sparse.sparsity.unique()), in_order(sparse.ratio)
    at = LABELS[ratios[0]] if len(ratios) == 1 else "at"
    rows = []
    for model in sparse.model.unique():
        for ratio in in_order(sparse.ratio[sparse.model == model]):
            row = {"network": model_label(model)}
            row |= {"ratio": LABELS[ratio]} if len(ratios) > 1 else {}
            row["dense"] = values.get((model, "dense", 0.0), "–")
            row |= {f"{at} {s:g}": values.get((model, ratio, s), "–") for s in levels}
            row |= {f"{what} at {s:g}": lost.get((model, ratio, s), "–") for s in levels}
            rows.append(row)
    return pd.DataFrame(rows)
