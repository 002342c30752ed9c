"""ROC curves of a few runs, read from their records.

A record may hold, for its OoD set, `roc` = {fpr, tpr} and `histogram` = {lower, in, out} of the
maximum softmax probability. Where it does not, one point of its ROC curve is known: FPR@95.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..config import run_id
from ..presentation.lines import ratio_style
from ..presentation.theme import COLOURS, LABELS, WIDTH, in_order, use_theme
from ..presentation.words import model_label
from ..records.store import find_records
from .shared.gap_to_dense import by_size
from .shared.records import Records

_GUESSING = {"color": "#777777", "linestyle": ":", "linewidth": 1}
_ACCEPTED = {"color": "#777777", "linewidth": 0.6}
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
    """The ROC curves of `curve_table`, a panel a model; none is drawn where none is recorded."""
    use_theme()
    models = list(curves.model[curves.kind == "roc"].unique())
    figure = plt.figure(figsize=(WIDTH, 3.4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    axes = figure.subplots(1, len(models), squeeze=False, sharey=True)[0] if models else ()
    for axis, model in zip(axes, models, strict=True):
        axis.plot([0, 1], [0, 1], **_GUESSING)
        axis.axhline(0.95, **_ACCEPTED)
        for ratio, run in curves[curves.model == model].groupby("ratio", sort=False):
            curve, point = run[run.kind == "roc"], run[run.kind == "point"]
            axis.plot(curve.x, curve.y, color=COLOURS[ratio], linewidth=1.4)
            axis.plot(point.x, point.y, **_point(ratio) | {"linestyle": "none"})
        axis.set(xlim=(0, 1), ylim=(0, 1.02), title=model_label(model))
        axis.set_xlabel("Unknown images accepted")
    if models:
        axes[0].set_ylabel("Known images accepted")
        handles = [
            Line2D([], [], label=f"{LABELS[r]} {s:g}" if s else LABELS[r], **_point(r))
            for r in in_order(curves.ratio)
            for s in sorted(curves.sparsity[curves.ratio == r].unique())
        ]
        handles.append(Line2D([], [], label="95 % of the known images", **_ACCEPTED))
        handles.append(Line2D([], [], label="guessing", **_GUESSING))
        key = {"loc": "outside lower center", "ncols": len(handles), "frameon": False}
        figure.legend(handles=handles, **key)
    return figure


def _point(ratio: str) -> dict:
    """How the FPR@95 of one run is drawn: an outline, through which another shows."""
    style = ratio_style(ratio, hollow=False) | {"markersize": 6, "linewidth": 1.4}
    outline = {"markerfacecolor": "none", "markeredgecolor": style["color"], "markeredgewidth": 1.4}
    return style | outline | {"marker": style["marker"] or "D"}
