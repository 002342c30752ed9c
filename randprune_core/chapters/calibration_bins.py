"""What the recorded bins of the confidence say: reliability diagrams, over-confidence, chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..config import run_id
from ..metrics.classification import error_of_bins
from ..presentation.theme import COLOURS, LABELS, MARKERS, WIDTH, use_theme
from ..presentation.words import data_label, model_label, plus_minus
from ..records.store import find_record
from .shared.records import Records

_BINS = ["lower", "upper", "count", "confidence", "accuracy"]
_RUN = ["model", "ratio", "sparsity", "seed_init"]
_Z = 1.959964  # of the standard normal distribution, for 95 %


def record_bins(record: Mapping) -> pd.DataFrame:
    """The calibration bins of a record: lower, upper, count, confidence, accuracy (NaN: empty)."""
    return pd.DataFrame(record["test"]["bins"], columns=_BINS).astype(float)


def overconfidence(bins: pd.DataFrame) -> float:
    """Mean confidence minus accuracy over all images: above zero the network is too sure."""
    return float(((bins.confidence - bins.accuracy) * bins["count"]).sum() / bins["count"].sum())


def chance_error(bins: pd.DataFrame) -> float:
    """The ECE that a perfectly calibrated network would show, in the mean, with these bins.

    Were every prediction of a bin right with probability c, the bin's confidence, its accuracy over
    m images would still be off by `sqrt(2/pi · c (1 - c) / m)` in the mean (normal approximation).
    """
    filled = bins[bins["count"] > 0]
    off = np.sqrt(2 / np.pi * filled.confidence * (1 - filled.confidence) / filled["count"])
    return float((off * filled["count"]).sum() / filled["count"].sum())


def wilson(accuracy: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's 95 % interval of a share measured on `count` images, its ends in [0, 1]."""
    centre = (accuracy + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    spread = accuracy * (1 - accuracy) / count + _Z**2 / (4 * count**2)
    reach = _Z * np.sqrt(spread) / (1 + _Z**2 / count)
    return centre - reach, centre + reach


def run_bins(records: Records, run_ids: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The bins of some of the recorded runs by run id, read from their full records."""
    configs = {run_id(config): config for config in records.configs}
    return {name: record_bins(find_record(configs[name])) for name in run_ids}


def with_bins(records: Records) -> pd.DataFrame:
    """The runs with what only their bins tell: columns `overconfidence` and `chance` (of the ECE).

    In the order of the runs.
    """
    bins = list(run_bins(records, records.runs.run_id).values())
    return records.runs.assign(
        overconfidence=[overconfidence(table) for table in bins],
        chance=[chance_error(table) for table in bins],
    )


def chosen_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the reliability diagrams: dense and sparse, smallest and largest network.

    Of the networks with a dense and a sparse run, by their maskable weights. Sparse is ERK, or the
    first other ratio where there is no ERK, at the highest sparsity that most networks have. Each
    is the run with the lowest seed. Empty where there is no such network.
    """
    sparse = runs[(runs.ratio != "dense") & runs.model.isin(runs.model[runs.ratio == "dense"])]
    if sparse.empty:
        return runs[:0]
    ratio = "erk" if "erk" in set(sparse.ratio) else sparse.ratio.iloc[0]
    counts = sparse[sparse.ratio == ratio].groupby("sparsity").model.nunique()
    sparsity = max(counts[counts == counts.max()].index)
    found = sparse[(sparse.ratio == ratio) & (sparse.sparsity == sparsity)]
    found = found.sort_values("cost.dense_weights", kind="stable")
    models = dict.fromkeys([found.model.iloc[0], found.model.iloc[-1]])
    first = runs.sort_values("seed_init", kind="stable").drop_duplicates(_RUN[:3])
    rows = first.set_index(_RUN[:3], drop=False).rename_axis(index=[None] * 3)
    cells = [(m, *cell) for m in models for cell in (("dense", 0.0), (ratio, sparsity))]
    return rows.loc[cells].reset_index(drop=True)


def chosen_bins(records: Records) -> pd.DataFrame:
    """The bins of `chosen_runs`, one row a bin.

    Columns `model, ratio, sparsity, seed_init, lower, upper, count, confidence, accuracy`, the last
    two NaN where a bin is empty.
    """
    chosen = chosen_runs(records.runs)
    bins = run_bins(records, chosen.run_id)
    parts = [
        bins[run.run_id].assign(**{name: getattr(run, name) for name in _RUN})
        for run in chosen.itertuples()
    ]
    return pd.concat(parts)[_RUN + _BINS] if parts else pd.DataFrame(columns=_RUN + _BINS)


def diagram_table(records: Records) -> pd.DataFrame:
    """The networks of the diagrams as a table to read: accuracy, confidence, ECE and chance."""
    chosen = chosen_runs(records.runs)
    rows = []
    for run, bins in zip(
        chosen.to_dict("records"), run_bins(records, chosen.run_id).values(), strict=True
    ):
        off = plus_minus(overconfidence(bins), digits=3)
        rows.append(
            {
                "network": f"{model_label(run['model'])}, {_kind(run['ratio'], run['sparsity'])}",
                "seed": run["seed_init"],
                "accuracy": f"{run['accuracy']:.3f}",
                "confidence − accuracy": off,
                "ECE": f"{run['ece']:.3f}",
                "by chance": f"{chance_error(bins):.3f}",
                "NLL": f"{run['nll']:.3f}",
            }
        )
    return pd.DataFrame(rows)


def reliability_figure(records: Records, bins: pd.DataFrame) -> Figure:
    """Accuracy against confidence by bin, the images of each bin below; `bins`: `chosen_bins`.

    A row of diagrams a network, dense left and sparse right. A thin line joins each point with the
    diagonal, the bar is Wilson's interval.
    """
    use_theme()
    cells = list(bins.groupby(_RUN[:3], sort=False))
    rows = max(1, len(cells) // 2)
    heights = [2.2, 0.8] * rows
    size = (WIDTH, sum(heights) + 0.6)
    grid = {"height_ratios": heights}
    figure, axes = plt.subplots(
        2 * rows, 2, figsize=size, gridspec_kw=grid, sharex=True, sharey="row", layout="constrained"
    )
    data = data_label(records.configs[0])
    title = f"Profile {records.profile}: {data}, one run a diagram"
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    if not cells:
        axes[0, 0].set_title("no run is recorded")
    for place, (cell, part) in enumerate(cells):
        row, column = 2 * (place // 2), place % 2
        _draw_diagram(axes[row, column], part, cell[1])
        axes[row, column].set_title(
            f"{model_label(cell[0])}, {_kind(*cell[1:])}, seed {part.seed_init.iloc[0]}"
        )
        centres, width = (part.lower + part.upper) / 2, part.upper - part.lower
        colour = {"color": COLOURS[cell[1]], "linewidth": 0}
        axes[row + 1, column].bar(centres, part["count"], 0.85 * width, **colour)
    for row in range(0, 2 * rows, 2):
        axes[row, 0].set_ylabel("Accuracy")
        axes[row + 1, 0].set_ylabel("Images")
        axes[row, 0].set(xlim=(0, 1), ylim=(0, 1))
        axes[row, 0].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    figure.align_ylabels(axes[:, 0])
    figure.supxlabel("Confidence", fontsize=9)
    return figure


def _kind(ratio: str, sparsity: float) -> str:
    return LABELS[ratio] if ratio == "dense" else f"{LABELS[ratio]} {sparsity:g}"


def _draw_diagram(axis: Axes, bins: pd.DataFrame, ratio: str) -> None:
    axis.plot([0, 1], [0, 1], color="#777777", linewidth=1, linestyle=(0, (3, 2)), zorder=1)
    filled = bins[bins["count"] > 0]
    x, y = filled.confidence.to_numpy(), filled.accuracy.to_numpy()
    axis.vlines(x, np.minimum(x, y), np.maximum(x, y), color=COLOURS[ratio], alpha=0.35, lw=4)
    low, high = wilson(y, filled["count"].to_numpy())
    bars = {"elinewidth": 1, "capsize": 2, "linestyle": "none", "markersize": 4}
    marker = MARKERS[ratio] or "o"
    reach = np.maximum([y - low, high - y], 0)  # rounding, at an accuracy of 0 or 1
    axis.errorbar(x, y, yerr=reach, color=COLOURS[ratio], marker=marker, **bars)
    off = plus_minus(overconfidence(bins), digits=3)
    words = f"ECE {error_of_bins(bins):.3f}\nconf. − acc. {off}"
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    axis.text(0.97, 0.05, words, transform=axis.transAxes, ha="right", va="bottom", bbox=box)
