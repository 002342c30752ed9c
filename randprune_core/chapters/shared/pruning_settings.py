"""Networks that are made sparse in different ways, side by side: a dot plot of differences.

A setting is a ratio and what else is not the default (`config.setting`): `erk`, `snip:own`,
`uniform:2:4`. The data frames here have it in the column `ratio`.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...presentation.lines import BAND, one_seed_handle, ratio_style
from ...presentation.theme import COLOURS, LABELS, WIDTH, in_order, use_theme
from ...presentation.words import model_label

_SIZES = (7, 9, 11, 13)
"""Markers of networks, the smallest first."""


def plot_differences(
    table: pd.DataFrame,
    *,
    title: str,
    label: str,
    margin: float,
    named: Mapping[str, str] = LABELS,
) -> Figure:
    """Differences in rows by setting, in panels by sparsity; a larger network is a larger marker.

    `table` is as from `cells.differences`, small networks first. Only what is recorded has a row.
    The grey strip about zero is the `margin`, named in the key; a bar is an interval, and one seed,
    which has none, is hollow.
    """
    use_theme()
    models = list(table.model.unique())
    sizes = dict(zip(models, [*_SIZES, *_SIZES[-1:] * len(models)], strict=False))
    panels = list(table.groupby("sparsity", sort=True))[::-1]
    rows = [in_order(part.ratio) for _, part in panels] or [[]]
    heights = [len(names) + 1 for names in rows]
    figure, axes = plt.subplots(
        len(rows), 1, sharex=True, squeeze=False, height_ratios=heights, layout="constrained",
        figsize=(WIDTH, 0.9 + 0.36 * sum(heights)),
    )  # fmt: skip
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    for axis, names, (sparsity, part) in zip(axes[:, 0], rows, panels, strict=False):
        axis.axvline(0, color=COLOURS["dense"], linewidth=1)
        axis.axvspan(-margin, margin, **BAND)
        for cell in part.itertuples():
            aside = models.index(cell.model) - (len(models) - 1) / 2
            place = names.index(cell.ratio) + 0.5 * aside / max(len(models), 1)
            look = ratio_style(cell.ratio, hollow=False) | {"markersize": sizes[cell.model]}
            if np.isfinite(cell.low):
                axis.plot([cell.low, cell.high], [place] * 2, color=COLOURS[cell.ratio])
            else:
                hollow = {"markerfacecolor": "white", "markeredgecolor": COLOURS[cell.ratio]}
                look |= hollow | {"markeredgewidth": 1.4}
            axis.plot(cell.difference, place, **look | {"linestyle": ""})
        axis.set_yticks(range(len(names)), [named[name] for name in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_title(f"sparsity {sparsity:g}", loc="left")
    axes[-1, 0].set_xlabel(label)
    dot = {"marker": "o", "linestyle": "", "color": "#777777", "markeredgecolor": "white"}
    key = [Line2D([], [], label=model_label(m), markersize=sizes[m], **dot) for m in models]
    key = [*key[: len(key) * (len(key) > 1)], *[one_seed_handle()] * bool(table.low.isna().any())]
    key.append(Patch(label=f"margin ±{margin:g}", **BAND))
    figure.legend(handles=key, loc="outside lower center", ncols=5, frameon=False)
    return figure
