"""What the ratios do to single layers: the last one, and where the masks of criteria overlap."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ..config import RunConfig, check_sparsity
from ..data import loading
from ..models import build_model, meta_model
from ..presentation.theme import LABELS
from ..presentation.words import model_label
from ..pruning.masks import mask_counts, random_masks
from ..pruning.ratios import SHAPE_RATIOS, check_ratio, last_linear, refill_empty
from ..training import protocol
from .shared.layers import kept_or_none, weight_shapes

CRITERIA = ("snip", "grasp")


def split_ratios(ratios: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Ratios that need shapes only, and the criteria, which need data; None means all but dense.

    Where the list has none of a kind, all of that kind are taken. Raises ValueError for unknown
    names.
    """
    kinds = ([ratio for ratio in SHAPE_RATIOS if ratio != "dense"], list(CRITERIA))
    for ratio in ratios or ():
        check_ratio(ratio)
    return tuple([ratio for ratio in ratios or () if ratio in kind] or kind for kind in kinds)


def last_layer_table(
    models: Iterable[str], classes: Iterable[int], sparsities: Iterable[float]
) -> pd.DataFrame:
    """Sparsity of the last layer under ERK: a row a model and number of classes, columns globally.

    ERK+ keeps that layer dense: where a value is 0, the two ratios are the same. NaN where ERK+
    cannot meet the budget, because its last layer alone exceeds it.
    """
    sparsities = [check_sparsity(sparsity) for sparsity in sparsities]
    classes = list(classes)
    rows = {}
    for model in models:
        for number in classes:
            shapes = weight_shapes(meta_model(model, number))
            erk = [SHAPE_RATIOS["erk"](shapes, s)[last_linear(shapes)] for s in sparsities]
            possible = [kept_or_none("erk_plus", shapes, s) is not None for s in sparsities]
            row = [round(e, 9) if p else math.nan for e, p in zip(erk, possible, strict=True)]
            rows[f"{model_label(model)}, {number:,}"] = row
    columns = pd.Index([f"{sparsity:g}" for sparsity in sparsities], name="Global sparsity")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.rename_axis(index="Network, number of classes")


def redraw_table(config: RunConfig) -> pd.DataFrame:
    """A criterion's own mask and its redraw, layer by layer, at the initial weights of a run.

    `config.ratio` is `snip` or `grasp`. Columns `position, layer, total, own` and `redrawn` (kept
    weights), `shared` (kept by both) and `chance` (expected of two independent draws with these
    counts). The redraw gives a layer that the criterion empties one weight.
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
        left = int(redrawn[layer].sum())
        shared = int((mask & redrawn[layer]).sum())
        chance = counts[layer] * left / mask.numel()
        rows.append([position, layer, mask.numel(), counts[layer], left, shared, chance])
    columns = ["position", "layer", "total", "own", "redrawn", "shared", "chance"]
    return pd.DataFrame(rows, columns=columns)


def overlap_table(redraws: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """How much of each criterion's own mask the redraw keeps, as a table to read."""
    rows = []
    for ratio, table in redraws.items():
        own = table.own.sum()
        rows.append(
            {
                "criterion": LABELS[ratio].removesuffix(" ratio"),
                "kept weights": f"{own:,}",
                "layers emptied": f"{(table.own == 0).sum()} of {len(table)}",
                "kept by both masks": f"{table.shared.sum() / own:.1%}",
                "chance": f"{table.chance.sum() / own:.1%}",
            }
        )
    return pd.DataFrame(rows)


def with_criteria(
    layers: pd.DataFrame, redraws: Mapping[str, pd.DataFrame], model: str, sparsity: float
) -> pd.DataFrame:
    """Layer sparsities of Uniform and ERK and of the criteria's ratios, for one figure."""
    chosen = (layers.model == model) & (layers.sparsity == sparsity)
    part = layers[chosen & layers.ratio.isin(["uniform", "erk"])]
    parts = [part.assign(sparsity=part.layer_sparsity)]
    for ratio, table in redraws.items():
        found = table.assign(model=model, ratio=ratio, sparsity=1 - table.redrawn / table.total)
        parts.append(found)
    return pd.concat(parts)[["model", "ratio", "position", "sparsity"]]
