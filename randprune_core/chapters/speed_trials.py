"""Chapter 12: two questions about the step itself, answered by benchmarks of their own.

Does a compiler make it faster, and does training in bfloat16 cost accuracy?
"""

from __future__ import annotations

import pandas as pd

from ..analysis.intervals import Estimate, mean_interval
from ..presentation.theme import LABELS
from ..presentation.words import model_label, plus_minus

_WHERE = {"cpu": "the CPU", "cuda": "the GPU"}
_CELL = ["device", "model", "ratio", "sparsity"]


def compiled_table(compiled: pd.DataFrame) -> pd.DataFrame:
    """Speed of the step as it is and compiled, to read (benchmark `compiled`)."""
    ways = {"eager": "as it is", "compiled": "torch.compile"}
    rows = [
        [
            row.device,
            row.threads,
            ways[row.case],
            f"{row.first_epoch_seconds:.1f}",
            f"{row.images_per_second:,.0f}",
            f"{row.ratio_to_eager:.2f}",
        ]
        for row in compiled.itertuples()
    ]
    columns = ["device", "threads", "network", "seconds of the first steps"]
    return pd.DataFrame(rows, columns=[*columns, "images per second", "times as it is"])


def precision_cells(trained: pd.DataFrame) -> list[tuple[tuple, pd.DataFrame, Estimate]]:
    """Each cell with its pairs of runs and bfloat16 minus float32 in points of accuracy.

    A pair is one seed in both precisions, percent correct. The interval is Student's over the
    differences of the pairs; there is none for one pair. A cell without a pair is left out.
    """
    found = []
    for cell, part in trained.groupby(_CELL, sort=False):
        pairs = 100 * part.pivot(index="seed", columns="precision", values="accuracy")
        pairs = pairs.reindex(columns=["float32", "bfloat16"]).dropna()
        if len(pairs):
            found.append((cell, pairs, mean_interval(pairs.bfloat16 - pairs.float32)))
    return found


def precision_table(trained: pd.DataFrame) -> pd.DataFrame:
    """Test accuracy in both precisions and the difference of the pairs, to read."""
    rows = []
    for (device, model, ratio, sparsity), pairs, change in precision_cells(trained):
        means = [plus_minus(*mean_interval(pairs[name])[:3]) for name in pairs]
        network = [device, model_label(model), LABELS[ratio], f"{sparsity:g}", len(pairs)]
        rows.append([*network, *means, plus_minus(*change[:3])])
    columns = ["device", "network", "ratio", "sparsity", "seeds", "float32", "bfloat16"]
    return pd.DataFrame(rows, columns=[*columns, "difference"])
