"""ROC curves and score histograms of a few runs, read from their records.

A record may hold, for its OoD set, `roc` = {fpr, tpr} and `histogram` = {lower, in, out} of the
maximum softmax probability. Where it does not, one point of its ROC curve is known: FPR@95.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..config import run_id
from ..presentation.plots import ratio_handle, ratio_style
from ..presentation.theme import COLOURS, LABELS, WIDTH, use_theme
from ..presentation.words import model_label
from ..records.store import find_records
from .shared.gap_to_dense import by_size
from .shared.records import Records

_CURVES = ["model", "ratio", "sparsity", "seed", "kind", "x", "y"]


def curve_records(records: Records) -> list[dict]:
    """The records whose ROC curves are shown: dense and sparse, smallest and largest model.

    Of each model the first seed of the dense network and of ERK (else of the first other ratio) at
    its highest sparsity. Only models that have both count.
    """
    runs = by_size(records.runs)
    sparse = runs[runs.ratio == "erk"] if "erk" in set(runs.ratio) else runs[runs.ratio != "dense"]
    dense = set(runs.model[runs.ratio == "dense"])
    models = [model for model in sparse.model.unique() if model in dense]
    chosen = []
    for model in dict.fromkeys([*models[:1], *models[-1:]]):
        part = sparse[sparse.model == model].sort_values("sparsity", kind="stable")
        highest = part[part.sparsity == part.sparsity.max()]
        first = runs[(runs.model == model) & (runs.ratio == "dense")]
        chosen += [first.run_id.iloc[0], highest.run_id.iloc[0]]
    configs = {run_id(config): config for config in records.configs}
    return find_records(configs[name] for name in chosen)


def curve_table(found: Iterable[Mapping]) -> pd.DataFrame:
    """What the ROC figure draws of records, one row a point: `model, ratio, sparsity, seed, kind`.

    `kind` says what `x` and `y` are: `point` the FPR@95 and 0.95, `roc` a false- and a
    true-positive rate, `in` and `out` the left edge of a bin of the maximum softmax probability and
    the share of known and of OoD images in it. Records without a curve have their point alone.
    """
    rows = []
    for record in found:
        config = record["config"]
        key = [config["model"], config["ratio"], config["sparsity"], config["seed_init"]]
        for entry in list(record["test"].get("ood", {}).values())[:1]:
            rows.append([*key, "point", entry["fpr95"], 0.95])
            curve, counts = entry.get("roc", {}), entry.get("histogram", {})
            pairs = zip(curve.get("fpr", ()), curve.get("tpr", ()), strict=True)
            rows += [[*key, "roc", *pair] for pair in pairs]
            for side in ("in", "out"):
                total = sum(counts.get(side, ()))
                pairs = zip(counts.get("lower", ()), counts.get(side, ()), strict=True)
                rows += [[*key, side, edge, count / total] for edge, count in pairs]
    return pd.DataFrame(rows, columns=_CURVES)


def curve_figure(curves: pd.DataFrame, title: str = "") -> Figure:
    """ROC curves of `curve_table`, a column a model, and below them the histograms of each run.

    Runs without a recorded curve are left out; nothing is drawn where none has one.
    """
    use_theme()
    cells = curves.groupby(["model", "ratio"])
    curves = curves[cells.kind.transform(lambda kinds: "roc" in set(kinds)).astype(bool)]
    models, ratios = list(curves.model.unique()), list(curves.ratio.unique())
    heights = [2.6, *(1.2 for _ in ratios)]
    figure = plt.figure(figsize=(WIDTH, 0.7 + sum(heights)), layout="constrained")
    if not models:
        return figure
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    axes = figure.subplots(len(heights), len(models), squeeze=False, height_ratios=heights)
    for column, model in zip(axes.T, models, strict=True):
        part = curves[curves.model == model]
        _draw_roc(column[0], part)
        column[0].set_title(model_label(model))
        for axis, ratio in zip(column[1:], ratios, strict=True):
            if (part.ratio == ratio).any():
                _draw_histogram(axis, part[part.ratio == ratio], ratio)
            else:
                axis.remove()
    axes[0, 0].set_ylabel("Known images accepted")
    for axis in axes[1:, 0]:
        axis.set_ylabel("Share of images")
    grey = {"facecolor": "#BBBBBB", "edgecolor": "none", "label": "known images"}
    handles = [ratio_handle(ratio) for ratio in ratios]
    handles.append(Line2D([], [], color="#777777", linestyle=":", label="guessing"))
    handles += [Patch(**grey), Patch(fill=False, edgecolor="#777777", label="unknown images")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _draw_roc(axis: Axes, part: pd.DataFrame) -> None:
    axis.plot([0, 1], [0, 1], color="#777777", linestyle=":", linewidth=1)
    axis.axhline(0.95, color="#777777", linewidth=0.6)
    for ratio, run in part.groupby("ratio", sort=False):
        curve, point = run[run.kind == "roc"], run[run.kind == "point"]
        axis.plot(curve.x, curve.y, color=COLOURS[ratio], linewidth=1.4)
        style = ratio_style(ratio, hollow=False) | {"linestyle": "none", "markersize": 6}
        axis.plot(point.x, point.y, **style | {"marker": style["marker"] or "D"})
    axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Unknown images accepted")


def _draw_histogram(axis: Axes, run: pd.DataFrame, ratio: str) -> None:
    known, unknown = (run[run.kind == side] for side in ("in", "out"))
    known, unknown = ((part.y, [*part.x, 1.0]) for part in (known, unknown))
    axis.stairs(*known, color=COLOURS[ratio], fill=True, alpha=0.35)
    axis.stairs(*unknown, color=COLOURS[ratio], linewidth=1.3)
    sparsity = "" if ratio == "dense" else f" {run.sparsity.iloc[0]:g}"
    axis.set_title(f"{LABELS[ratio]}{sparsity}", loc="left", fontsize=9)
    axis.set(xlim=(0, 1), xlabel="Maximum softmax probability")
