"""Networks without whole filters, masked and compact, and the times that each pattern takes.

Times were measured once by `benchmarks/granularity.py` and are read from `results/benchmarks/`.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..metrics.cost import cost, layer_macs
from ..models import build_model
from ..presentation import foreign
from ..presentation.theme import COLOURS, LABELS, MARKERS, WIDTH, use_theme
from ..presentation.words import model_label
from ..pruning.compact import compact
from ..pruning.layers import maskable_weights
from ..pruning.masks import apply_masks, random_masks
from ..pruning.ratios import layer_sparsities

NAMED = LABELS | {"uniform": "unstructured"}
"""The settings of this chapter, whose ratio is always Uniform."""
CASES = {
    "unstructured": "uniform",
    "2:4": "uniform:2:4",
    "4:8": "uniform:4:8",
    "filter": "uniform:filter",
    "compact": "uniform:filter",
}
"""The cases of the benchmark beside `dense`, with the setting whose colour they have."""
CASE_LABELS = {"filter": "filters, masked", "compact": "filters, compact"}
_DENSE = {"color": COLOURS["dense"], "linewidth": 1.2}
_COMPUTED = {"marker": "|", "color": "#777777", "markersize": 12, "markeredgewidth": 1.5}
_COMPUTED |= {"linestyle": "none"}
MODES = {"training": "training step", "inference": "prediction"}


def sizes(name: str, sparsity: float = 0.5, side: int = 32) -> dict[str, float]:
    """What is left of a network without its pruned filters.

    `weights` and `macs` of the dense network, and `compact_weights` and `compact_macs` of the
    compact one as shares of them.
    """
    model = build_model(name)
    masks = random_masks(model, layer_sparsities("uniform", model, sparsity), 0, "filter")
    apply_masks(model, masks)
    small, dense = compact(model, masks), cost(model, masks, (3, side, side))
    weights, macs = dense["dense_weights"], dense["dense_macs"]
    left = sum(weight.numel() for weight in maskable_weights(small).values())
    computed = sum(layer_macs(small, (3, side, side)).values())
    shares = {"compact_weights": left / weights, "compact_macs": computed / macs}
    return {"weights": weights, "macs": macs} | shares


def plot_times(measured: pd.DataFrame) -> Figure:
    """Time of a step relative to dense, in rows by case: panels by processor and network.

    A marker is the median of the repetitions, its bar reaches from the fastest to the slowest.
    """
    use_theme()
    rows = list(measured.groupby(["processor", "model"], sort=False))
    size = (WIDTH, 1 + 1.35 * max(len(rows), 1))
    figure, axes = plt.subplots(
        max(len(rows), 1), 2, figsize=size, sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    figure.supxlabel("Time of a step, dense = 1", fontsize=9)
    for ((processor, model), part), pair in zip(rows, axes, strict=False):
        for axis, (mode, words) in zip(pair, MODES.items(), strict=True):
            title = f"{model_label(model)}, {processor}: {words}"
            axis.set_title(foreign.plain(title), fontsize=9)
            _draw_times(axis, part.set_index("case"), mode)
    axes[0, 0].set_yticks(range(len(CASES)), [CASE_LABELS.get(name, name) for name in CASES])
    axes[0, 0].set_ylim(len(CASES) - 0.5, -0.5)
    axes[0, 0].set_xlim(left=0)
    handles = [Line2D([], [], label=LABELS["dense"], **_DENSE)]
    handles.append(Line2D([], [], label="share of the MACs that is computed", **_COMPUTED))
    handles.append(Line2D([], [], label="fastest to slowest", color=COLOURS["uniform"]))
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _draw_times(axis: Axes, cases: pd.DataFrame, mode: str) -> None:
    axis.axvline(1, **_DENSE)
    for place, (case, setting) in enumerate(CASES.items()):
        row, colour = cases.loc[case], COLOURS[setting]
        marker = "*" if case == "compact" else MARKERS[setting]
        if row.macs < cases.loc["dense"].macs:
            axis.plot(row.macs / cases.loc["dense"].macs, place, **_COMPUTED)
        reach = [row[f"{mode}_low"], row[f"{mode}_high"]]
        axis.plot(reach, [place] * 2, color=colour, linewidth=1.2)
        dot = {"color": colour, "marker": marker, "markeredgecolor": "white", "zorder": 3}
        dot["markersize"] = 13 if case == "compact" else 8
        axis.plot(row[f"{mode}_to_dense"], place, linestyle="", **dot)
