"""ROC curves and score histograms of a few runs, read from their records.

A record may hold, for its OoD set, `roc` = {fpr, tpr} and `histogram` = {lower, in, out} of the
maximum softmax probability. Where it does not, one point of its ROC curve is known: FPR@95.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..analysis.cells import CELL
from ..config import run_id
from ..presentation.plots import ratio_handle, ratio_style
from ..presentation.theme import COLOURS, LABELS, WIDTH, use_theme
from ..presentation.words import listing, model_label
from ..records.store import find_records
from .shared.records import Records

_CURVES = ["model", "ratio", "sparsity", "seed", "kind", "x", "y"]


def curve_records(records: Records) -> list[dict]:
    """The records whose ROC curves are shown: dense and sparse, smallest and largest model.

    Of each model the first seed of the dense network and of ERK (else of the first other ratio) at
    its highest sparsity. Only models that have both count.
    """
    runs = records.runs
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


def curve_note(curves: pd.DataFrame) -> str:
    """Which of the shown runs have a recorded ROC curve and a histogram, in one sentence."""
    runs = curves.groupby(CELL, sort=False).kind.agg(set)
    if runs.empty:
        return "No model has a dense and a sparse run whose scores could be shown."
    known = runs[[{"roc", "in", "out"} <= kinds for kinds in runs]]
    if known.empty:
        return (
            f"None of these {len(runs)} runs has a recorded curve or histogram, so that nothing is "
            "drawn here: of each ROC curve one point is known, the one where FPR@95 is read."
        )
    if len(known) == len(runs):
        return f"Each of the {len(runs)} runs shown has its recorded curve and histogram."
    names = listing(_name(*cell) for cell in runs.index.difference(known.index, sort=False))
    return (
        f"{len(known)} of the {len(runs)} runs shown have a recorded curve and histogram; of "
        f"{names} only the point is drawn."
    )


def _name(model: str, ratio: str, sparsity: float) -> str:
    level = "" if ratio == "dense" else f" {sparsity:g}"
    return f"{model_label(model)} {LABELS[ratio]}{level}"


def curve_figure(curves: pd.DataFrame, title: str = "") -> Figure:
    """ROC curves of `curve_table`, a column a model, and below them the histograms of each run.

    Without any curve the axes show the corner of the points alone.
    """
    use_theme()
    models = list(curves.model.unique())
    ratios = list(curves.ratio.unique())
    below = ratios if "in" in set(curves.kind) else []
    corner = 0.0 if len(models) == 0 or "roc" in set(curves.kind) else _corner(curves)
    size = (WIDTH, 3.3 + 1.5 * len(below))
    heights = {"height_ratios": [2.6, *(1.2 for _ in below)]}
    figure, axes = plt.subplots(
        1 + len(below),
        max(len(models), 1),
        figsize=size,
        squeeze=False,
        layout="constrained",
        gridspec_kw=heights,
    )
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    for column, model in zip(axes.T, models, strict=False):
        part = curves[curves.model == model]
        _draw_roc(column[0], part, corner)
        column[0].set_title(model_label(model))
        for axis, ratio in zip(column[1:], below, strict=True):
            _draw_histogram(axis, part[part.ratio == ratio], ratio)
    if not models:
        axes[0, 0].set_title("no run is recorded")
    for axis in axes[1:, :1].ravel():
        axis.set_ylabel("Share of images")
    axes[0, 0].set_ylabel("Known images accepted")
    handles = [ratio_handle(ratio) for ratio in ratios]
    handles.append(Line2D([], [], color="#777777", linestyle=":", label="guessing"))
    if below:
        grey = {"facecolor": "#BBBBBB", "edgecolor": "none", "label": "known"}
        handles += [Patch(**grey), Patch(fill=False, edgecolor="#777777", label="OoD")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _corner(points: pd.DataFrame) -> float:
    """Where the axes begin that show points alone: a tenth or more below the lowest of them."""
    return max(0.0, math.floor(10 * min(points.x.min(), points.y.min()) - 1) / 10)


def _draw_roc(axis: Axes, part: pd.DataFrame, corner: float) -> None:
    axis.plot([0, 1], [0, 1], color="#777777", linestyle=":", linewidth=1)
    axis.axhline(0.95, color="#777777", linewidth=0.6)
    for ratio, run in part.groupby("ratio", sort=False):
        curve, point = run[run.kind == "roc"], run[run.kind == "point"]
        axis.plot(curve.x, curve.y, color=COLOURS[ratio], linewidth=1.4)
        style = ratio_style(ratio, hollow=False) | {"linestyle": "none", "markersize": 6}
        axis.plot(point.x, point.y, **style | {"marker": style["marker"] or "D"})
    axis.set(xlim=(corner, 1), ylim=(corner, 1.02 - 0.02 * corner), xlabel="OoD images accepted")


def _draw_histogram(axis: Axes, run: pd.DataFrame, ratio: str) -> None:
    sides = {side: run[run.kind == side] for side in ("in", "out")}
    sparsity = "" if ratio == "dense" else f" {run.sparsity.iloc[0]:g}"
    absent = ": not recorded" if sides["in"].empty else ""
    axis.set_title(f"{LABELS[ratio]}{sparsity}{absent}", loc="left", fontsize=9)
    axis.set(xlim=(0, 1), xlabel="Maximum softmax probability")
    if not absent:
        known, unknown = ((part.y, [*part.x, 1.0]) for part in sides.values())
        axis.stairs(*known, color=COLOURS[ratio], fill=True, alpha=0.35)
        axis.stairs(*unknown, color=COLOURS[ratio], linewidth=1.3)
