"""What the ratios do to single layers, as a figure, and where the masks of criteria overlap."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ..config import RunConfig
from ..data import loading
from ..models import build_model
from ..presentation.theme import COLOURS, LABELS, WIDTH, in_order, use_theme
from ..presentation.words import model_label
from ..pruning.masks import mask_counts, random_masks
from ..pruning.ratios import SHAPE_RATIOS, check_ratio, refill_empty
from ..training import protocol

CRITERIA = ("snip", "grasp")
SHADE = "#DDDDDD"


def split_ratios(ratios: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Ratios that need shapes only, and the criteria, which need data; None means all but dense.

    Where the list has none of a kind, all of that kind are taken. Raises ValueError for unknown
    names.
    """
    kinds = ([ratio for ratio in SHAPE_RATIOS if ratio != "dense"], list(CRITERIA))
    for ratio in ratios or ():
        check_ratio(ratio)
    return tuple([ratio for ratio in ratios or () if ratio in kind] or kind for kind in kinds)


def plot_densities(layers: pd.DataFrame) -> Figure:
    """The weights that each layer keeps, as steps, with a panel for each model.

    `layers` has `model, ratio, sparsity, position, layer, total, kept`, one global sparsity, and
    positions in module order from 1. Shortcuts are shaded. A thin dashed line is a ratio with a
    plus, which may lie on its plain one.
    """
    use_theme()
    models, ratios = list(layers.model.unique()), in_order(layers.ratio)
    plain, plus = {"linewidth": 2.5}, {"linewidth": 1.3, "linestyle": (0, (2, 1))}
    looks = {r: {"color": COLOURS[r]} | (plus if r.endswith("_plus") else plain) for r in ratios}
    size = {"figsize": (WIDTH, 1.9 * len(models) + 0.6), "layout": "constrained"}
    figure, axes = plt.subplots(len(models), 1, sharey=True, squeeze=False, **size)
    for axis, (model, part) in zip(axes[:, 0], layers.groupby("model", sort=False), strict=True):
        for place in part.position[part.layer.str.contains("shortcut|downsample")].unique():
            axis.axvspan(place - 0.5, place + 0.5, color=SHADE, linewidth=0)
        for ratio in in_order(part.ratio):
            line = part[part.ratio == ratio]
            kept = [*(100 * line.kept / line.total)]
            edges = [*(line.position - 0.5), line.position.max() + 0.5]
            axis.step(edges, [*kept, kept[-1]], where="post", zorder=3, **looks[ratio])
        title = f"{model_label(model)}, sparsity {part.sparsity.iloc[0]:g}"
        axis.set(yscale="log", xlim=(0.3, part.position.max() + 0.7), title=title)
        axis.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axis.minorticks_off()
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axis.grid(visible=False, axis="x")
    axes[0, 0].set_ylim(80 * (layers.kept / layers.total).min(), 130)
    axes[-1, 0].set_xlabel("Layer, from the image to the classes")
    figure.supylabel("Weights kept (%)", fontsize=9)
    handles = [Line2D([], [], label=LABELS[ratio], **looks[ratio]) for ratio in ratios]
    handles.append(Patch(color=SHADE, label="shortcut, 1 × 1"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
    return figure


def redraw_table(config: RunConfig) -> pd.DataFrame:
    """A criterion's own mask and its redraw, layer by layer, at the initial weights of a run.

    `config.ratio` is `snip` or `grasp`. Columns `position, layer, total, own` and `kept` (weights
    that each keeps), `shared` (kept by both) and `chance` (expected of two independent draws with
    these counts). The redraw gives a layer that the criterion empties one weight.
    """
    dataset = loading.load_dataset(config.dataset, config.variant, config.image_size)
    model = build_model(config.model, dataset.num_classes, config.seed_init)
    with warnings.catch_warnings():  # emptied layers are a column here, not a warning
        warnings.simplefilter("ignore", RuntimeWarning)
        own = protocol.draw_masks(replace(config, mask_source="own"), model, dataset)
    counts = mask_counts(own)
    kept = refill_empty(counts)
    sparsities = {layer: 1 - kept[layer] / mask.numel() for layer, mask in own.items()}
    redrawn = random_masks(model, sparsities, config.seed_mask)
    rows = []
    for position, (layer, mask) in enumerate(own.items(), start=1):
        left, total = int(redrawn[layer].sum()), mask.numel()
        shared, chance = int((mask & redrawn[layer]).sum()), counts[layer] * left / total
        rows.append([position, layer, total, counts[layer], left, shared, chance])
    columns = ["position", "layer", "total", "own", "kept", "shared", "chance"]
    return pd.DataFrame(rows, columns=columns)
