"""What a ratio leaves of each layer of a network, counted from shapes alone: weights and MACs.

A network of any size costs milliseconds: it is built on the meta device and holds no weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd
from torch import nn

from ..config import IMAGENET_MODELS, check_sparsity
from ..metrics.cost import layer_macs
from ..models import meta_model
from ..presentation.theme import LABELS
from ..presentation.words import model_label
from ..pruning.layers import maskable_weights
from ..pruning.ratios import SHAPE_RATIOS, kept_counts, shape_ratio

_COLUMNS = ["model", "sparsity", "ratio", "position", "layer", "shape", "total", "kept", "macs"]


def layer_table(
    models: Iterable[str], ratios: Iterable[str], sparsities: Iterable[float]
) -> pd.DataFrame:
    """One row for each layer of each model under each ratio at each global sparsity.

    Columns `model, sparsity, ratio, position` (in module order, from 1), `layer, shape, total,
    kept`, dense `macs`, and `layer_sparsity`. A budget that a ratio cannot meet has no rows. Raises
    ValueError for unknown names, a ratio that needs data, or a sparsity out of [0, 1).
    """
    rows = []
    ratios, sparsities = list(ratios), [check_sparsity(sparsity) for sparsity in sparsities]
    if unknown := [ratio for ratio in ratios if shape_ratio(ratio) is None]:
        raise ValueError(f"ratio {unknown[0]!r} needs data: choose from {', '.join(SHAPE_RATIOS)}")
    for model in models:
        network = meta_model(model)
        side = 224 if model in IMAGENET_MODELS else 32
        macs = layer_macs(network, (3, side, side))
        shapes = weight_shapes(network)
        for sparsity in sparsities:
            for ratio in ratios:
                kept = kept_or_none(ratio, shapes, sparsity)
                for position, layer in enumerate(kept or (), start=1):
                    shape = shapes[layer]
                    row = [model, sparsity, ratio, position, layer, shape, math.prod(shape)]
                    rows.append([*row, kept[layer], macs[layer]])
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.assign(layer_sparsity=1 - table.kept / table.total)


def weight_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every maskable weight, in module order."""
    return {name: tuple(weight.shape) for name, weight in maskable_weights(network).items()}


def weight_counts(models: Iterable[str]) -> dict[str, int]:
    """Maskable weights of each network with 10 classes, from its shapes alone."""
    shapes = {model: weight_shapes(meta_model(model)) for model in models}
    return {model: sum(map(math.prod, found.values())) for model, found in shapes.items()}


def kept_or_none(ratio: str, shapes: Mapping, sparsity: float) -> dict[str, int] | None:
    """Kept weights of each layer under a ratio; None where it cannot meet the budget."""
    try:
        return kept_counts(shapes, shape_ratio(ratio)(shapes, sparsity))
    except ValueError:  # the sparsity was checked: the budget is what cannot be met
        return None


def budget_table(layers: pd.DataFrame) -> pd.DataFrame:
    """What `layer_table` adds up to for each model, sparsity and ratio.

    Columns `kept`, `total`, `off` (kept weights minus the exact budget), `pinned` and `layers`
    (layers left dense, and all), `mac_ratio` (MACs over dense MACs).
    """
    rows = []
    for key, part in layers.groupby(["model", "sparsity", "ratio"], sort=False):
        kept, total = int(part.kept.sum()), int(part.total.sum())
        macs = (part.macs // part.total * part.kept).sum() / part.macs.sum()
        pinned = int((part.kept == part.total).sum())
        off = kept - (1 - key[1]) * total
        rows.append([*key, kept, total, off, pinned, len(part), macs])
    columns = ["model", "sparsity", "ratio", "kept", "total", "off", "pinned", "layers"]
    return pd.DataFrame(rows, columns=[*columns, "mac_ratio"])


def pivot(budget: pd.DataFrame, cell) -> pd.DataFrame:
    """The budget table with a column a ratio, each cell made by `cell(row)`; a dash: impossible."""
    rows: dict[tuple, dict] = {}
    for row in budget.itertuples():
        entry = rows.setdefault((row.model, row.sparsity), {"network": model_label(row.model)})
        entry["sparsity"] = f"{row.sparsity:g}"
        entry[LABELS[row.ratio]] = cell(row)
    return pd.DataFrame(list(rows.values())).fillna("–")
