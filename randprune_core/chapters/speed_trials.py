"""Chapter 12: two questions about the step itself, answered by benchmarks of their own.

Does a compiler make it faster, and does training in bfloat16 cost accuracy?
"""

from __future__ import annotations

import pandas as pd

from ..analysis.intervals import Estimate, mean_interval
from ..presentation import foreign
from ..presentation.theme import LABELS
from ..presentation.words import listing, model_label, number, plus_minus

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


def compiled_sentence(compiled: pd.DataFrame) -> str:
    """What the compiler gains and costs, for each device and number of threads."""
    parts = []
    for (device, threads), part in compiled.groupby(["device", "threads"], sort=False):
        rows = part.set_index("case")
        eager, after = rows.loc["eager"], rows.loc["compiled"]
        waited = after.first_epoch_seconds - eager.first_epoch_seconds
        text = f"On {_WHERE[device]}"
        if device == "cpu":
            text += f" with {threads} thread{'s' if threads > 1 else ''}"
        text += (
            f" a compiled network trains {after.ratio_to_eager:.2f} times as many images a second, "
            f"after {waited:.0f} seconds of compiling"
        )
        if after.epochs_to_win_back > 0:
            text += f", which {after.epochs_to_win_back:.0f} epochs of 10,000 images win back"
        parts.append(f"{text}.")
    return " ".join(parts) or "What a compiler gains is not measured yet."


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


def precision_sentence(trained: pd.DataFrame) -> str:
    """What bfloat16 changes, and whether that can be told from chance."""
    parts = []
    for (device, model, ratio, sparsity), pairs, change in precision_cells(trained):
        network = f"{model_label(model)}, {LABELS[ratio]}"
        network += f" at {sparsity:g}" if sparsity else ""
        text = f"{network} ({foreign.text(device)}): {number(change.value, 2)} points"
        if change.n == 1:
            parts.append(f"{text} (one seed)")
            continue
        low, high = number(change.low, 2), number(change.high, 2)
        place = "is below" if change.high < 0 else "is above" if change.low > 0 else "contains"
        text += f" ({len(pairs)} seeds, 95 % interval {low} to {high}, which {place} zero)"
        parts.append(text)
    if not parts:
        return "What bfloat16 costs in accuracy is not measured yet."
    sentence = f"Accuracy in bfloat16 minus accuracy in float32 is for {listing(parts)}."
    emulated = trained[trained.arithmetic == "emulated"].device.unique()
    if len(emulated):
        sentence += (
            " The CPU of this measurement has no bfloat16 arithmetic: it was emulated, with "
            "operands and results of every convolution rounded to bfloat16 and sums in float32."
        )
    return sentence
