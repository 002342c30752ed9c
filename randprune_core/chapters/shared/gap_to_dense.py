"""What the gap to the dense network does with the size of a network, as a table; its panels."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ...presentation.theme import LABELS
from ...presentation.words import model_label, plus_minus


def direction_table(changes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Changes of the gap by source, as a table to read (see `cells.gap_change`)."""
    rows = []
    for source, frame in changes.items():
        for row in frame.sort_values("sparsity", kind="stable").to_dict("records"):
            ends = [model_label(row[end]).removeprefix("ResNet-") for end in ("first", "last")]
            limits = (row["change"], row["low"], row["high"])
            rows.append(
                {
                    "source": f"{source}, {ends[0]} to {ends[1]}",
                    "sparsity": f"{row['sparsity']:g}",
                    "ratio": LABELS[row["ratio"]],
                    "first gap": plus_minus(row["first_gap"]),
                    "last gap": plus_minus(row["last_gap"]),
                    "change": plus_minus(*limits).replace(" ", "\u00a0"),  # one line in its cell
                }
            )
    return pd.DataFrame(rows)


def panels(gaps: pd.DataFrame, fixed: float = 0.5, most: int = 2) -> list[float]:
    """Sparsities worth a panel: one that the paper's claim names, and the highest recorded."""
    recorded = sorted(gaps.sparsity.unique()) or [0.8, 0.9]
    return sorted({fixed, *recorded[-most:]})
