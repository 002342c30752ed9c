"""What the chapter on width adds to that on depth: filters as an axis, equal numbers of weights.

The gap to the dense network and the sentences on it are those of `gap_to_dense`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from ..analysis.cells import CELL, differences, recorded, summarise, turned
from ..config import RunConfig, parse_model_name
from ..presentation.plots import plot_gap_to_dense
from ..presentation.theme import LABELS
from ..presentation.words import listing, model_label, plus_minus
from .shared import gap_to_dense
from .shared.layers import weight_counts
from .shared.records import Records
from .shared.tables import accuracy_table

_PAIRS = [*CELL, "kept", "mean", "dense_model", "dense_weights", "dense_mean"]
_PAIRS += ["n", "difference", "low", "high"]


def widths(models: Iterable[str]) -> list[str]:
    """Filters of the first convolution as labels of an axis; names where the depths differ too."""
    parsed = [parse_model_name(model) for model in models]
    if len({(family, depth) for family, depth, _ in parsed}) == 1:
        return [str(width) for *_, width in parsed]
    return [model.removeprefix("resnet-") for model in models]


def network_table(configs: Iterable[RunConfig]) -> pd.DataFrame:
    """The networks of a grid to read: filters of the three stages, weights, fewest weights kept."""
    configs = list(configs)
    highest = max((config.sparsity for config in configs), default=0.0)
    counts = weight_counts(dict.fromkeys(config.model for config in configs))
    rows = []
    for model, total in counts.items():
        first = parse_model_name(model)[2]
        rows.append(
            {
                "network": model_label(model),
                "filters of the stages": listing([first, 2 * first, 4 * first]),
                "maskable weights": f"{total:,}",
                f"kept at sparsity {highest:g}": f"{round((1 - highest) * total):,}",
            }
        )
    return pd.DataFrame(rows)


def gap_figure(records: Records, gaps: pd.DataFrame) -> Figure:
    """The gap to dense against width, a panel a sparsity (see `plots.plot_gap_to_dense`)."""
    shown = gaps[gaps.sparsity.isin(gap_to_dense.panels(gaps))]
    figure = plot_gap_to_dense(
        shown, title=records.source(), xlabel="Filters in the first convolution of ResNet-20"
    )
    models = list(shown.model.unique())
    for axis in figure.get_axes() if models else ():
        axis.set_xticks(range(len(models)), widths(models))
    return figure


def equal_weights(runs: pd.DataFrame) -> pd.DataFrame:
    """Each sparse cell beside the narrowest dense network that has at least as many weights.

    Columns `model, ratio, sparsity, kept, mean, dense_model, dense_weights, dense_mean, n,
    difference, low, high`: accuracies in percent, `difference` sparse minus dense in points.
    Cells whose own dense network is the narrowest such are left out.
    """
    if runs.empty:
        return pd.DataFrame(columns=_PAIRS)
    counts = weight_counts(runs.model.unique())
    dense = [model for model, ratio, _ in recorded(runs) if ratio == "dense"]
    narrow = {}
    for model, ratio, sparsity in recorded(runs):
        kept = round((1 - sparsity) * counts[model])
        enough = [name for name in dense if kept <= counts[name] < counts[model]]
        if ratio != "dense" and enough:
            narrow[model, ratio, sparsity] = min(enough, key=counts.get)
    pairs = [((name, "dense", 0.0), cell) for cell, name in narrow.items()]
    means = summarise(runs).set_index(CELL)["mean"]
    rows = []
    for row in turned(differences(runs, pairs)).to_dict("records"):
        cell = tuple(row[name] for name in CELL)
        name = narrow[cell]
        row |= {"kept": round((1 - cell[2]) * counts[cell[0]]), "mean": means[cell]}
        row |= {"dense_model": name, "dense_weights": counts[name]}
        rows.append(row | {"dense_mean": means[name, "dense", 0.0]})
    return pd.DataFrame(rows, columns=_PAIRS)


def equal_weights_table(pairs: pd.DataFrame) -> pd.DataFrame:
    """`equal_weights` as a table to read."""
    rows = [
        {
            "wide and sparse": f"{model_label(row.model)}, {LABELS[row.ratio]} {row.sparsity:g}",
            "kept": f"{row.kept:,}",
            "accuracy": plus_minus(row.mean),
            "narrow and dense": model_label(row.dense_model),
            "weights": f"{row.dense_weights:,}",
            "its accuracy": plus_minus(row.dense_mean),
            "difference": plus_minus(row.difference, row.low, row.high),
        }
        for row in pairs.itertuples()
    ]
    return pd.DataFrame(rows)


def figure_table(records: Records, points: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """What the figures of the chapter draw (`accuracy_table`); a gap is dense minus sparse."""
    return accuracy_table(records.origin, points, gaps, "gap")
