"""Sparse minus dense for a measure of which more is better, in tables and sentences.

Whether sparse is no worse is decided in `claims` and shown by `verdicts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ...analysis.cells import gap_change, sparse_minus_dense
from ...presentation.theme import LABELS
from ...presentation.words import listing, model_label, plus_minus


def wide_table(
    differences: pd.DataFrame, sparsities: Sequence[float], digits: int = 1
) -> pd.DataFrame:
    """A row a model and ratio, a column a sparsity: the difference with its interval, to read."""
    rows: dict[tuple, dict] = {}
    levels = [level for level in sparsities if level in set(differences.sparsity)]
    for cell in differences[differences.sparsity.isin(levels)].to_dict("records"):
        start = {"network": model_label(cell["model"]), "ratio": LABELS[cell["ratio"]]}
        row = rows.setdefault(
            (cell["model"], cell["ratio"]), start | {f"{level:g}": "–" for level in levels}
        )
        value = plus_minus(cell["difference"], cell["low"], cell["high"], digits=digits)
        row[f"{cell['sparsity']:g}"] = value
    return pd.DataFrame(list(rows.values()))


def depths(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of models that differ in depth alone, `resnet-A`; all rows where no two do.

    A trend from the first model to the last has a meaning along one axis of size only.
    """
    plain = table[table.model.str.fullmatch(r"resnet-\d+").astype(bool)]
    return plain if plain.model.nunique() > 1 else table


def finding(
    runs: pd.DataFrame,
    value: str,
    what: str,
    *,
    scale: float = 1.0,
    digits: int = 1,
    ratio: str = "erk",
) -> str:
    """Sparse minus dense at the highest sparsity of `ratio`, and its change with size.

    `what` names the measure: `in OoD AUROC`, `points of accuracy`. Of the models those of `depths`.
    "" without any difference.
    """
    runs = depths(runs)
    differences = sparse_minus_dense(runs, value, scale)
    shown = differences[differences.ratio == ratio]
    shown = shown[shown.sparsity == shown.sparsity.max()]
    if shown.empty:
        return ""
    sparsity = shown.sparsity.iloc[0]
    values = listing(
        plus_minus(cell.difference, cell.low, cell.high, digits) for cell in shown.itertuples()
    )
    models = listing(model_label(model) for model in shown.model)
    changes = gap_change(runs, value, scale)
    changes = changes[(changes.ratio == ratio) & (changes.sparsity == sparsity)]
    trend = "".join(_trend(row, digits) for row in changes.to_dict("records"))
    alone = " One seed decides nothing." if (shown.n == 1).all() else ""
    return (
        f"At sparsity {sparsity:g}, {LABELS[ratio]} minus dense is {values} {what} for {models}."
        f"{trend}{alone}"
    )


def _trend(change: Mapping, digits: int) -> str:
    """How the difference changes with size; `change` is a row of `cells.gap_change`."""
    ends = f"From {model_label(change['first'])} to {model_label(change['last'])}"
    limits = (-change["change"], -change["high"], -change["low"])
    return f" {ends} the difference changes by {plus_minus(*limits, digits=digits)}."
