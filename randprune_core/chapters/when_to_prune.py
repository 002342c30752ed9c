"""When to prune: scenarios beside the static mask as a figure, and masks that move, watched.

Runs are told apart by their setting (`config.setting`), which takes the place of the ratio:
`erk` is pruned before training and keeps its mask, `erk:after` is pruned after training, `erk:set`
moves its mask by SET. The time at which and the way in which a run is pruned are its *scenario*.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..config import RunConfig, setting
from ..presentation.plots import ratio_handle, ratio_style
from ..presentation.theme import COLOURS, WIDTH, in_order, use_theme
from ..pruning.dynamic import dropped_fraction

MOVING = ("set", "rigl")
LIVE = {"dataset": "digits", "model": "resnet-8", "ratio": "erk", "sparsity": 0.9}
LIVE |= {"epochs": 16, "train_images": 200, "batch_size": 50}
"""The run whose moving masks the chapter watches: small, trained where the chapter is executed."""
_THEIRS = {
    ("pruning", 1): ("gradual\npruning", "erk:during"),
    ("rigl", 1): ("RigL", "erk:rigl"),
    ("static", 2): ("static,\ntwice as long", "erk"),
}
"""What is drawn of the numbers of RigL's authors: method and length, name, and whose colour."""


def plot_over_static(ours: pd.DataFrame, theirs: pd.DataFrame, title: str) -> Figure:
    """Points of accuracy over a static mask before training, against sparsity.

    `theirs` is `published.rigl`, drawn hollow. `ours` is as from `cells.differences`, small
    networks first, drawn filled, larger for a larger network, and beside each other where they
    share a sparsity. The axis is logarithmic in what is kept.
    """
    use_theme()
    figure, axis = plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    axis.axhline(0, color=COLOURS["dense"], linewidth=1.2)
    ends = {"static": 0.0}
    for (method, training), (name, setting_name) in _THEIRS.items():
        line = theirs[(theirs.method == method) & (theirs.training == training)]
        look = ratio_style(setting_name, hollow=True) | {"markersize": 6}
        axis.plot(1 - line.sparsity, line.difference, **look)
        ends[name] = line.difference.iloc[-1]
    for name, height in ends.items():
        where = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        axis.annotate(name, (1, height), xycoords=("axes fraction", "data"), **where)
    models = list(ours.model.unique())
    for place, cell in enumerate(ours.itertuples()):
        x = (1 - cell.sparsity) * 1.15 ** (place - (len(ours) - 1) / 2)
        look = ratio_style(cell.ratio, hollow=False) | {"linestyle": ""}
        look["markersize"] = 7 + 3 * models.index(cell.model)
        axis.plot(x, cell.difference, **look)
        if np.isfinite(cell.low):
            axis.plot([x, x], [cell.low, cell.high], color=COLOURS[cell.ratio], linewidth=1.2)
    shown = sorted({*theirs.sparsity, *ours.sparsity})
    axis.set(xscale="log", xlabel="Sparsity", ylabel="Over the static mask (points)")
    axis.set_xticks([1 - sparsity for sparsity in shown], [f"{sparsity:g}" for sparsity in shown])
    axis.minorticks_off()
    axis.invert_xaxis()
    if len(ours):
        handles = [ratio_handle(name) for name in in_order(ours.ratio)]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def watch_rules() -> pd.DataFrame:
    """`watch_masks` of the small run of the chapter (`LIVE`) under each rule."""
    watched = [watch_masks(RunConfig(method=rule, **LIVE)) for rule in MOVING]
    return pd.concat(watched, ignore_index=True)


def watch_masks(config: RunConfig) -> pd.DataFrame:
    """Train a run on the CPU, record nothing, and note after each update how its masks have moved.

    Columns `ratio` (the setting), `epoch` (full epochs before the update), and fractions:
    `dropped` and `changed` of the kept weights, less where a weight was grown again at once, and
    `ever` of all weights that have been kept at any time.
    """
    import torch

    from ..precision import arithmetic
    from ..training.engine import Run

    def flat(run: Run) -> torch.Tensor:
        return torch.cat([mask.flatten() for mask in run.masks.values()])

    rows = []
    with arithmetic():
        run = Run(config, torch.device("cpu"))
        before = ever = flat(run)
        while run.epoch < config.epochs:
            dropped = dropped_fraction(config, run.epoch)
            run.start_epoch()
            now = flat(run)
            ever = ever | now
            if dropped:
                changed = int((now & ~before).sum()) / int(now.sum())
                share = int(ever.sum()) / len(ever)
                rows.append([setting(config), run.epoch, dropped, changed, share])
            before = now
            run.finish_epoch()
    return pd.DataFrame(rows, columns=["ratio", "epoch", "dropped", "changed", "ever"])
