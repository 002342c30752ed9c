"""Patterns of zeros side by side: accuracy from the records, sizes counted, times from a benchmark.

Times were measured once by `benchmarks/granularity.py` and are read from `results/benchmarks/`.
"""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from ..analysis.cells import differences, pairs_of_settings
from ..metrics.cost import cost, layer_macs
from ..models import build_model
from ..presentation.theme import COLOURS, LABELS, MARKERS, WIDTH, use_theme
from ..presentation.words import listing, model_label
from ..pruning.compact import compact
from ..pruning.layers import maskable_weights
from ..pruning.masks import apply_masks, random_masks
from ..pruning.ratios import layer_sparsities
from .shared.benchmarks import machines
from .shared.pruning_settings import settings_of
from .shared.records import Records
from .shared.tables import quantity_table

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
DEVICES = {"cpu": "CPU, one thread", "cuda": "GPU"}
MODES = {"training": "training step", "inference": "use"}


def unstructured_minus_others(records: Records, runs: pd.DataFrame) -> pd.DataFrame:
    """Unstructured minus each other pattern of the grid (see `cells.differences`)."""
    others = [name for name in settings_of(records) if name != "uniform"]
    return differences(runs, pairs_of_settings(runs, [("uniform", name) for name in others]))


def renamed(table: pd.DataFrame) -> pd.DataFrame:
    """A table of settings to read, with the names of this chapter."""
    if table.empty:
        return table
    table = table.assign(ratio=table.ratio.replace(LABELS["uniform"], NAMED["uniform"]))
    return table.rename(columns={"ratio": "pattern"})


# --- sizes, counted ------------------------------------------------------------------------------


def filter_pruned(name: str, sparsity: float = 0.5) -> tuple[nn.Module, dict]:
    """A network at initialisation with filter masks on, and the masks."""
    model = build_model(name)
    masks = random_masks(model, layer_sparsities("uniform", model, sparsity), 0, "filter")
    apply_masks(model, masks)
    return model, masks


def size_table(models: Iterable[str], sparsity: float = 0.5, side: int = 32) -> pd.DataFrame:
    """Weights and MACs of each network: dense, counted from its filter masks, and made compact."""
    rows = []
    for name in models:
        model, masks = filter_pruned(name, sparsity)
        small, counted = compact(model, masks), cost(model, masks, (3, side, side))
        weights = sum(weight.numel() for weight in maskable_weights(small).values())
        macs = sum(layer_macs(small, (3, side, side)).values())
        dense = [counted["dense_weights"], counted["dense_macs"]]
        rows.append(
            {
                "network": model_label(name),
                "weights": f"{dense[0]:,}",
                "kept by the masks": f"{counted['kept_weights'] / dense[0]:.1%}",
                "left when compact": f"{weights / dense[0]:.1%}",
                "million MACs": f"{dense[1] / 1e6:.1f}",
                "by the masks": f"{counted['mac_ratio']:.1%}",
                "when compact": f"{macs / dense[1]:.1%}",
            }
        )
    return pd.DataFrame(rows)


def largest_difference(name: str, sparsity: float = 0.5, images: int = 2) -> float:
    """How far masked and compact network are apart, relative to the largest output, in float64.

    Batch norm has made-up statistics, so that the constants of pruned filters are not zero.
    """
    draw = torch.Generator().manual_seed(0)
    model, masks = filter_pruned(name, sparsity)
    model = model.double().eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for value in (module.bias, module.running_mean):
                    value.copy_(torch.randn(value.shape, generator=draw))
        batch = torch.randn(images, 3, 32, 32, generator=draw).double()
        expected = model(batch)
        apart = (compact(model, masks)(batch) - expected).abs().max() / expected.abs().max()
    return float(apart)


# --- times, from the benchmark -------------------------------------------------------------------


def times_table(measured: pd.DataFrame) -> pd.DataFrame:
    """The measured times to read, relative to dense: medians, and the range of the repetitions.

    The device has a column where there is more than one.
    """
    rows = []
    for (device, model), part in measured.groupby(["device", "model"], sort=False):
        dense = part[part.case == "dense"].iloc[0]
        for row in part[part.case != "dense"].itertuples():
            entry = {"device": DEVICES[device], "network": model_label(model)}
            entry |= {"pattern": CASE_LABELS.get(row.case, row.case)}
            for mode, words in MODES.items():
                median, low, high = (
                    getattr(row, f"{mode}_{name}") for name in ("to_dense", "low", "high")
                )
                entry[words] = f"{median:.2f} ({low:.2f} to {high:.2f})"
            rows.append(entry | {"computed MACs": f"{row.macs / dense.macs:.0%}"})
    table = pd.DataFrame(rows)
    return table.drop(columns="device") if measured.device.nunique() == 1 else table


def times_caption(measured: pd.DataFrame, name: str = "granularity") -> str:
    """What stands above `times_table`: devices, repetitions and what the numbers are."""
    devices = listing(DEVICES[device] for device in measured.device.unique())
    counts = listing(dict.fromkeys(facts["repetitions"] for facts in machines(name).values()))
    return (
        f"Time of a step relative to the dense network ({devices or 'nothing is measured'}): "
        f"median of {counts or 'the'} repetitions, in brackets the fastest and the slowest of "
        "them. The last column is the share of the dense MACs that is really computed: networks "
        "with masks compute all of them."
    )


def plot_times(measured: pd.DataFrame) -> Figure:
    """Time of a step relative to dense, a dot a case: a row a device and network."""
    use_theme()
    rows = list(measured.groupby(["device", "model"], sort=False))
    size = (WIDTH, 0.7 + 1.35 * max(len(rows), 1))
    figure, axes = plt.subplots(
        max(len(rows), 1), 2, figsize=size, sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    figure.supxlabel("Time of a step, dense = 1", fontsize=9)
    if not rows:
        axes[0, 0].set_title("nothing is measured")
    for ((device, model), part), pair in zip(rows, axes, strict=False):
        for axis, (mode, words) in zip(pair, MODES.items(), strict=True):
            axis.set_title(f"{model_label(model)}, {DEVICES[device].split(',')[0]}: {words}")
            _draw_times(axis, part.set_index("case"), mode)
    axes[0, 0].set_yticks(range(len(CASES)), [CASE_LABELS.get(name, name) for name in CASES])
    axes[0, 0].set_ylim(len(CASES) - 0.5, -0.5)
    axes[0, 0].set_xlim(left=0)
    return figure


def _draw_times(axis: Axes, cases: pd.DataFrame, mode: str) -> None:
    axis.axvline(1, color=COLOURS["dense"], linewidth=1.2)
    for place, (case, setting) in enumerate(CASES.items()):
        row, colour = cases.loc[case], COLOURS[setting]
        marker = "*" if case == "compact" else MARKERS[setting]
        promised = {"marker": "|", "color": "#777777", "markersize": 12, "markeredgewidth": 1.5}
        axis.plot(row.macs / cases.loc["dense"].macs, place, linestyle="", **promised)
        reach = [row[f"{mode}_low"], row[f"{mode}_high"]]
        axis.plot(reach, [place] * 2, color=colour, linewidth=1.2)
        dot = {"color": colour, "marker": marker, "markeredgecolor": "white", "zorder": 3}
        dot["markersize"] = 13 if case == "compact" else 8
        axis.plot(row[f"{mode}_to_dense"], place, linestyle="", **dot)


def figure_table(records: Records, points: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Every accuracy (percent) and difference (points, unstructured minus this) that is drawn."""
    return quantity_table(records.origin, {"accuracy": points, "unstructured minus": others})
