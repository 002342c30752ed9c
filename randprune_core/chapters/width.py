"""What the chapter on width adds to that on depth: filters as an axis, equal numbers of weights."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ..analysis.cells import CELL, differences, recorded, turned
from ..analysis.layers import weight_counts
from ..config import parse_model_name
from ..presentation.words import model_label

_PAIRS = [*CELL, "kept", "dense_model", "dense_weights", "n", "difference", "low", "high"]


def widths(models: Iterable[str]) -> dict[str, str]:
    """Filters of the first convolution by model; its name where the depths differ too."""
    parsed = {model: parse_model_name(model) for model in models}
    if len({(family, depth) for family, depth, _ in parsed.values()}) == 1:
        return {model: str(width) for model, (*_, width) in parsed.items()}
    return {model: model_label(model).removeprefix("ResNet-") for model in parsed}


def equal_weights(runs: pd.DataFrame, pool: pd.DataFrame | None = None) -> pd.DataFrame:
    """Each sparse cell beside the narrowest dense network that has at least as many weights.

    Columns `model, ratio, sparsity, kept, dense_model, dense_weights, n, difference, low, high`:
    `difference` is sparse minus dense in points of accuracy, `pool` as in `cells.differences`.
    Cells whose own dense network is the narrowest such are left out.
    """
    counts = weight_counts(dict.fromkeys(runs.get("model", ())))
    own = runs.groupby(CELL)["cost.kept_weights"].first() if len(runs) else {}
    dense = [model for model, ratio, _ in recorded(runs) if ratio == "dense"]
    narrow = {}
    for model, ratio, sparsity in recorded(runs):
        kept = int(own[model, ratio, sparsity])
        enough = [name for name in dense if kept <= counts[name] < counts[model]]
        if ratio != "dense" and enough:
            narrow[model, ratio, sparsity] = (kept, min(enough, key=counts.get))
    pairs = [((name, "dense", 0.0), cell) for cell, (_, name) in narrow.items()]
    rows = []
    for row in turned(differences(runs, pairs, pool=pool)).to_dict("records"):
        kept, name = narrow[tuple(row[key] for key in CELL)]
        rows.append(row | {"kept": kept, "dense_model": name, "dense_weights": counts[name]})
    return pd.DataFrame(rows, columns=_PAIRS)
