"""What a ratio does to each layer of a network, without training: weights, MACs, overlap of masks.

Shapes are all that most of it needs, so that a network of any size costs milliseconds: it is built
on the meta device and holds no weights.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ..config import IMAGENET_MODELS, RunConfig, check_sparsity
from ..data import loading
from ..metrics.cost import layer_macs
from ..models import build_model, maskable_weights, meta_model
from ..presentation.theme import LABELS
from ..presentation.words import listing, model_label, plus_minus
from ..pruning.masks import mask_counts, random_masks
from ..pruning.ratios import SHAPE_RATIOS, check_ratio, kept_counts, last_linear, refill_empty
from ..training import protocol

CRITERIA = ("snip", "grasp")
_COLUMNS = ["model", "sparsity", "ratio", "position", "layer", "shape", "total", "kept", "macs"]


def split_ratios(ratios: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Ratios that need shapes only, and the criteria, which need data; None means all but dense.

    Where the list has none of a kind, all of that kind are taken. Raises ValueError for unknown
    names.
    """
    kinds = ([ratio for ratio in SHAPE_RATIOS if ratio != "dense"], list(CRITERIA))
    for ratio in ratios or ():
        check_ratio(ratio)
    return tuple([ratio for ratio in ratios or () if ratio in kind] or kind for kind in kinds)


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
    if unknown := [ratio for ratio in ratios if ratio not in SHAPE_RATIOS]:
        raise ValueError(f"ratio {unknown[0]!r} needs data: choose from {', '.join(SHAPE_RATIOS)}")
    for model in models:
        network = meta_model(model)
        side = 224 if model in IMAGENET_MODELS else 32
        macs = layer_macs(network, (3, side, side))
        shapes = {name: tuple(weight.shape) for name, weight in maskable_weights(network).items()}
        for sparsity in sparsities:
            for ratio in ratios:
                kept = _kept_or_none(ratio, shapes, sparsity)
                for position, layer in enumerate(kept or (), start=1):
                    shape = shapes[layer]
                    row = [model, sparsity, ratio, position, layer, shape, math.prod(shape)]
                    rows.append([*row, kept[layer], macs[layer]])
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.assign(layer_sparsity=1 - table.kept / table.total)


def _kept_or_none(ratio: str, shapes: Mapping, sparsity: float) -> dict[str, int] | None:
    try:
        return kept_counts(shapes, SHAPE_RATIOS[ratio](shapes, sparsity))
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
            weights = maskable_weights(meta_model(model, number))
            shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
            erk = [SHAPE_RATIOS["erk"](shapes, s)[last_linear(shapes)] for s in sparsities]
            possible = [_kept_or_none("erk_plus", shapes, s) is not None for s in sparsities]
            row = [round(e, 9) if p else math.nan for e, p in zip(erk, possible, strict=True)]
            rows[f"{model_label(model)}, {number:,}"] = row
    columns = pd.Index([f"{sparsity:g}" for sparsity in sparsities], name="Global sparsity")
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.rename_axis(index="Network, number of classes")


def pivot(budget: pd.DataFrame, cell) -> pd.DataFrame:
    """The budget table with a column a ratio, each cell made by `cell(row)`; a dash: impossible."""
    rows: dict[tuple, dict] = {}
    for row in budget.itertuples():
        entry = rows.setdefault((row.model, row.sparsity), {"network": model_label(row.model)})
        entry["sparsity"] = f"{row.sparsity:g}"
        entry[LABELS[row.ratio]] = cell(row)
    return pd.DataFrame(list(rows.values())).fillna("–")


def size_correlation(layers: pd.DataFrame, ratio: str, sparsity: float) -> dict[str, float]:
    """Spearman's correlation of layer size and layer sparsity by model, over layers not dense."""
    part = layers[(layers.ratio == ratio) & (layers.sparsity == sparsity)]
    pruned = part[part.kept < part.total]
    return {
        model: float(rows.total.corr(rows.layer_sparsity, method="spearman"))
        for model, rows in pruned.groupby("model", sort=False)
    }


def reading(budget: pd.DataFrame, layers: pd.DataFrame) -> list[str]:
    """What the tables say of ERK against Uniform, in sentences; [] where either is absent."""
    sentences = []
    for sparsity, part in budget.groupby("sparsity", sort=False):
        erk, uniform = (part[part.ratio == name].set_index("model") for name in ("erk", "uniform"))
        models = [model for model in erk.index if model in uniform.index]
        if models:
            times = [f"{erk.mac_ratio[m] / uniform.mac_ratio[m]:.2f}" for m in models]
            pinned = [f"{erk.pinned[m]} of {erk.layers[m]}" for m in models]
            sentences.append(
                f"At sparsity {sparsity:g}, ERK takes {listing(times)} times the MACs of Uniform "
                f"and leaves {listing(pinned)} layers dense, in "
                f"{listing(model_label(model) for model in models)}."
            )
    if sentences:
        correlations = size_correlation(layers, "erk", max(budget.sparsity))
        words = [f"{plus_minus(r, digits=2)} in {model_label(m)}" for m, r in correlations.items()]
        sentences.append(
            "ERK prunes large layers more: the rank correlation of a layer's number of weights "
            f"and its sparsity, over the layers that are not dense, is {listing(words)}."
        )
    return sentences


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
