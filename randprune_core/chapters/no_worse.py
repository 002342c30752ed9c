"""Sparse minus dense for a measure of which more is better, and whether sparse is no worse.

"No worse" is non-inferiority with a margin that is fixed beforehand; one seed leaves it undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ..evidence import decide
from ..presentation.theme import LABELS
from ..presentation.words import listing, model_label, plus_minus
from ..statistics import gap_change, gap_to_dense
from .gap import direction


def sparse_minus_dense(runs: pd.DataFrame, value: str, scale: float = 1.0) -> pd.DataFrame:
    """`statistics.gap_to_dense` with its sign turned: positive where the sparse network is better.

    Columns `model, ratio, sparsity, n, difference, low, high`. Empty where the runs have no such
    column.
    """
    gaps = gap_to_dense(runs if value in runs else runs[:0], value, scale)
    turned = gaps.assign(difference=-gaps.gap, low=-gaps.high, high=-gaps.low)
    return turned[["model", "ratio", "sparsity", "n", "difference", "low", "high"]]


def reading(low: float, high: float, margin: float) -> str:
    """Whether a difference in [low, high] is no worse than `-margin`; NaN limits are one seed."""
    return "one seed" if pd.isna(low) else decide(low, high, -margin)


def verdict_table(
    differences: pd.DataFrame, margin: float, sparsities: Sequence[float], digits: int = 1
) -> pd.DataFrame:
    """A row a model and ratio, a column a sparsity: the difference and what it says, to read."""
    rows: dict[tuple, dict] = {}
    levels = [level for level in sparsities if level in set(differences.sparsity)]
    for cell in differences[differences.sparsity.isin(levels)].to_dict("records"):
        start = {"network": model_label(cell["model"]), "ratio": LABELS[cell["ratio"]]}
        row = rows.setdefault(
            (cell["model"], cell["ratio"]), start | {f"{level:g}": "–" for level in levels}
        )
        limits = (cell["low"], cell["high"])
        value = plus_minus(cell["difference"], *limits, digits=digits)
        row[f"{cell['sparsity']:g}"] = f"{value} ({reading(*limits, margin)})"
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
    margin: float,
    *,
    scale: float = 1.0,
    digits: int = 1,
    ratio: str = "erk",
) -> str:
    """Sparse minus dense at the highest sparsity of `ratio`, whether no worse, and its trend.

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
    text = f"At sparsity {sparsity:g}, {LABELS[ratio]} minus dense is {values} {what} for {models}."
    changes = gap_change(runs, value, scale)
    changes = changes[(changes.ratio == ratio) & (changes.sparsity == sparsity)]
    trend = "".join(_trend(row, digits) for row in changes.to_dict("records"))
    if (shown.n == 1).all():
        return f"{text}{trend} One seed decides nothing."
    words: dict[str, list[str]] = {}
    for cell in shown.itertuples():
        word, name = reading(cell.low, cell.high, margin), model_label(cell.model)
        if word == "one seed":
            word, name = "undecided", f"{name} (one seed)"
        words.setdefault(word, []).append(name)
    verdicts = listing(f"{word} for {listing(names)}" for word, names in words.items())
    claim = f"That the sparse network is no worse, with a margin of {margin:g}, is {verdicts}."
    return f"{text} {claim}{trend}"


def _trend(change: Mapping, digits: int) -> str:
    """How the difference changes with size; `change` is a row of `statistics.gap_change`."""
    first, last = model_label(change["first"]), model_label(change["last"])
    if pd.isna(change["low"]):
        word = "higher" if change["change"] < 0 else "not higher"
        return f" It is {word} in {last} than in {first}."
    words = {"shrinks": "it rises", "grows": "it falls", "undecided": "its trend is undecided"}
    limits = (-change["change"], -change["high"], -change["low"])
    word = words[direction(change["change"], change["low"], change["high"])]
    change = plus_minus(*limits, digits=digits)
    return f" From {first} to {last} the difference changes by {change}: {word}."
