"""Calibration from the recorded bins of the confidence: signed error, chance, diagrams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..analysis import claim_runs
from ..analysis.cells import CELL, sparse_minus_dense, summarise
from ..config import run_id
from ..metrics.classification import chance_error, error_of_bins, overconfidence
from ..presentation.theme import COLOURS, LABELS, MARKERS, WIDTH, use_theme
from ..presentation.words import data_label, model_label, number
from ..records.store import find_record
from .shared.gap_to_dense import by_size
from .shared.records import Records
from .shared.tables import named

_PERFECT = {"color": "#777777", "linewidth": 1, "linestyle": (0, (3, 2))}
_DISTANCE = {"alpha": 0.35, "linewidth": 4}
_BINS = ["lower", "upper", "count", "confidence", "accuracy"]
_RUN = [*CELL, "seed_init"]


def record_bins(record: Mapping) -> pd.DataFrame:
    """The calibration bins of a record: lower, upper, count, confidence, accuracy (NaN: empty)."""
    return pd.DataFrame(record["test"]["bins"], columns=_BINS).astype(float)


def run_bins(records: Records, run_ids: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The bins of some of the runs and of those of the pool by run id, from their full records."""
    pool = claim_runs.pool(records.profile, records.variant)
    configs = {run_id(config): config for config in [*records.configs, *pool]}
    return {name: record_bins(find_record(configs[name])) for name in run_ids}


def with_bins(records: Records) -> Records:
    """The records with `overconfidence` and `chance` (of the ECE), small networks first."""
    bins = run_bins(records, records.read().run_id)
    columns = {"overconfidence": overconfidence, "chance": chance_error}
    found = pd.DataFrame({name: {i: f(bins[i]) for i in bins} for name, f in columns.items()})
    pool = None if records.pool is None else records.pool.join(found, on="run_id")
    return replace(records, runs=by_size(records.runs.join(found, on="run_id")), pool=pool)


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
    first = runs.sort_values("seed_init", kind="stable").drop_duplicates(CELL)
    rows = first.set_index(CELL, drop=False).rename_axis(index=[None] * 3)
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


def reliability_figure(records: Records, bins: pd.DataFrame) -> Figure:
    """Accuracy against confidence by bin, the images of each bin below; `bins`: `chosen_bins`.

    A column of diagrams a network, dense above sparse. A pale bar joins each point with the
    diagonal, the thin one is Wilson's interval.
    """
    use_theme()
    cells = list(bins.groupby(CELL, sort=False))
    models = max(1, len(cells) // 2)
    look = {"sharex": True, "sharey": "row", "squeeze": False, "layout": "constrained"}
    look |= {"figsize": (WIDTH, 6.9), "gridspec_kw": {"height_ratios": [2.2, 0.8] * 2}}
    figure, axes = plt.subplots(4, models, **look)
    title = f"Profile {records.profile}: {data_label(records.configs[0])}; each diagram is one run"
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    for place, ((model, ratio, sparsity), part) in enumerate(cells):
        diagram, counts = axes[2 * (place % 2) :, place // 2][:2]
        _draw_diagram(diagram, part, ratio)
        name = f"{LABELS[ratio]} {sparsity:g}" if sparsity else LABELS[ratio]
        diagram.set_title(f"{model_label(model)}, {name}, seed {part.seed_init.iloc[0]}")
        centres, width = (part.lower + part.upper) / 2, part.upper - part.lower
        counts.bar(centres, part["count"], 0.85 * width, color=COLOURS[ratio], linewidth=0)
    for diagram, counts in axes[:, 0].reshape(-1, 2):
        diagram.set(xlim=(0, 1), ylim=(0, 1), ylabel="Accuracy")
        diagram.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        counts.set_ylabel("Images")
    figure.align_ylabels(axes[:, 0])
    for counts in axes[-1]:
        counts.set_xlabel("Confidence")
    grey = {"color": "#777777"}
    handles = [Line2D([], [], label="perfect calibration", **_PERFECT)]
    handles.append(Line2D([], [], label="distance from it", **grey | _DISTANCE))
    handles.append(Line2D([], [], label="95 % interval of a bin", linewidth=1, **grey))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_diagram(axis: Axes, bins: pd.DataFrame, ratio: str) -> None:
    from scipy.stats import binomtest  # which takes a second to import

    axis.plot([0, 1], [0, 1], zorder=1, **_PERFECT)
    filled = bins[bins["count"] > 0]
    x, y = filled.confidence.to_numpy(), filled.accuracy.to_numpy()
    axis.vlines(x, np.minimum(x, y), np.maximum(x, y), color=COLOURS[ratio], **_DISTANCE)
    counts = filled["count"].astype(int)
    tests = [binomtest(round(share * n), n) for share, n in zip(y, counts, strict=True)]
    low, high = np.array([test.proportion_ci(method="wilson") for test in tests]).reshape(-1, 2).T
    look = {"elinewidth": 1, "capsize": 2, "linestyle": "none", "markersize": 4}
    look |= {"color": COLOURS[ratio], "marker": MARKERS[ratio] or "o", "clip_on": False}
    axis.errorbar(x, y, yerr=np.maximum([y - low, high - y], 0), **look)  # rounding, at 0 or 1
    off = number(overconfidence(bins), 3)
    words = f"ECE {error_of_bins(bins):.3f}\nconf. − acc. {off}"
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    axis.text(0.97, 0.05, words, transform=axis.transAxes, ha="right", va="bottom", bbox=box)


def figure_table(records: Records) -> pd.DataFrame:
    """Every number by cell that the chapter draws or lists: fractions, the NLL in nats.

    `records` are `with_bins`. Columns `source, model, ratio, sparsity, n`, then `ece`, `nll` and
    `difference` (ECE, sparse minus dense), each with `_low` and `_high`, the 95 % interval over
    seeds, then the means of `overconfidence` and `chance`.
    """
    runs, table = records.runs, summarise(records.runs)[[*CELL, "n"]]
    for name, cells, value in (
        ("ece", summarise(runs, "ece", 1.0, records.pool), "mean"),
        ("nll", summarise(runs, "nll", 1.0, records.pool), "mean"),
        ("difference", sparse_minus_dense(runs, "ece", pool=records.pool), "difference"),
    ):
        table = table.merge(named(cells, value, name), on=CELL, how="left")
    for name in ("overconfidence", "chance"):
        right = summarise(runs, name, 1.0)[[*CELL, "mean"]].rename(columns={"mean": name})
        table = table.merge(right, on=CELL, how="left")
    table.insert(0, "source", records.origin)
    return table
