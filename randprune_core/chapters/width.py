"""What the chapter on width adds to that on depth: equal numbers of weights."""

from __future__ import annotations

import pandas as pd

from ..analysis.cells import CELL, differences, recorded, turned
from ..analysis.layers import weight_counts

_PAIRS = [*CELL, "kept", "dense_model", "dense_weights", "n", "difference", "low", "high"]


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
