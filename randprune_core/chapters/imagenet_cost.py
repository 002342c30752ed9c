"""Chapter 11: the recipe for ImageNet, layer by layer what is kept, and what a training costs.

Nothing here needs data: a network of any size is built without its weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..config import RunConfig
from ..datasets import DATASETS
from ..models import meta_model
from ..presentation.theme import LABELS
from ..presentation.words import listing, model_label
from ..pruning.ratios import SHAPE_RATIOS
from ..training import protocol
from .shared.layers import budget_table, layer_table

MODEL = protocol.IMAGENET["model"]
SPARSITIES = (0.5, 0.9)
PROCESSES = 4
"""GPUs that share a batch in the paper."""

FLOPS = 1e14
"""Assumed of one GPU: operations a second that it keeps up in bfloat16 training."""

_SHAPES = ("uniform", "erk", "erk_plus")


def recipe_table() -> pd.DataFrame:
    """Table 1's recipe with what it leaves open, dense beside sparse, each row with its source."""
    common = protocol.IMAGENET
    both = protocol.IMAGENET_EPOCHS
    processes = common["batch_size"] // PROCESSES
    shared = [
        ("network", model_label(MODEL), "[T] [S]"),
        ("batch", f"{PROCESSES} × {processes}", "[T] [S]"),
        ("learning rate", f"{common['lr']:g}", "[T] [S]"),
        ("momentum", f"{RunConfig.momentum:g}", "[T] [S]"),
        ("weight decay", f"{common['weight_decay']:g}", "[T] [S]"),
        ("label smoothing", f"{protocol.LABEL_SMOOTHING:g}", "[R]"),
        ("warm-up epochs", f"{protocol.WARM_UP_EPOCHS}", "[R]"),
        ("warm-up", "in equal steps, one an epoch", "ours"),
        ("Nesterov momentum", "yes, as on CIFAR", "ours"),
        ("augmentation", "random crop of 8 to 100 %, scaled to 224 pixels; mirrored", "ours"),
        ("validation", "scaled to 256, the middle 224 pixels", "ours"),
    ]
    rows = [("epochs", f"{both[True][0]}", f"{both[False][0]}", "[T] [S]")]
    falls = [", ".join(map(str, both[dense][1])) for dense in (True, False)]
    rows.append(("learning rate ÷ 10 after", *falls, "[T] [S]"))
    rows += [(name, value, value, where) for name, value, where in shared]
    return pd.DataFrame(rows, columns=["setting", "dense", "sparse", "source"])


def layers(
    models: Sequence[str] | None, ratios: Sequence[str] | None, sparsities: Sequence[float] | None
) -> pd.DataFrame:
    """`layers.layer_table` of the chapter's networks, for the ratios that need shapes only."""
    chosen = [ratio for ratio in ratios or () if ratio in SHAPE_RATIOS and ratio != "dense"]
    return layer_table(models or [MODEL], chosen or _SHAPES, sparsities or SPARSITIES)


def cost_table(layers: pd.DataFrame) -> pd.DataFrame:
    """Parameters and MACs of an image, and what training takes, dense and under each ratio.

    Columns `model, ratio, sparsity, parameters, macs` (both kept; MACs of one image), `mac_ratio,
    epochs`, and `flop` of a training on dense kernels, which skip no zero.
    """
    rows = []
    for row in budget_table(layers).itertuples():
        network = meta_model(row.model)
        others = sum(parameter.numel() for parameter in network.parameters()) - row.total
        part = layers[(layers.model == row.model) & (layers.ratio == row.ratio)]
        dense = int(part[part.sparsity == row.sparsity].macs.sum())
        settings = [(row.ratio, row.sparsity, row.kept, row.mac_ratio)]
        if not any(found[:2] == [row.model, "dense"] for found in rows):
            settings.insert(0, ("dense", 0.0, row.total, 1.0))
        for ratio, sparsity, kept, share in settings:
            epochs = protocol.imagenet_recipe(ratio)["epochs"]
            # A multiply-accumulate is two operations; the backward pass takes twice the forward.
            flop = 6 * dense * DATASETS["imagenet"].train_images * epochs
            macs = round(dense * share)
            rows.append([row.model, ratio, sparsity, others + kept, macs, share, epochs, flop])
    names = ["model", "ratio", "sparsity", "parameters", "macs", "mac_ratio", "epochs", "flop"]
    return pd.DataFrame(rows, columns=names)


def show_costs(costs: pd.DataFrame) -> pd.DataFrame:
    """`cost_table` to read, with hours under the assumption on speed.

    The network has a column where there is more than one.
    """
    rows = []
    for row in costs.itertuples():
        hours = row.flop / FLOPS / 3600
        rows.append(
            {
                "network": model_label(row.model),
                "ratio": LABELS[row.ratio],
                "sparsity": f"{row.sparsity:g}",
                "million parameters": f"{row.parameters / 1e6:.2f}",
                "billion MACs": f"{row.macs / 1e9:.2f}",
                "of dense": f"{row.mac_ratio:.3f}",
                "epochs": f"{row.epochs}",
                "estimated GPU hours": f"{hours:.0f}",
                f"on {PROCESSES} GPUs": f"{hours / PROCESSES:.1f}",
            }
        )
    table = pd.DataFrame(rows)
    return table.drop(columns="network") if costs.model.nunique() == 1 else table


def cost_caption(costs: pd.DataFrame) -> str:
    """What stands above `show_costs`: the networks and the columns."""
    networks = listing(model_label(model) for model in costs.model.unique())
    return (
        f"{networks}: parameters and multiply-accumulates (MACs) of one image of 224 × 224 pixels "
        "that are kept, MACs as a share of dense, epochs, and estimated hours of training on one "
        f"GPU and on {PROCESSES}."
    )


def estimate(costs: pd.DataFrame) -> str:
    """What the hours rest on, in sentences."""
    dense = costs[costs.ratio == "dense"].iloc[0]
    rate = PROCESSES * FLOPS / (6 * dense.macs)
    return (
        "The hours are an estimate, not a measurement: six operations for each multiply-accumulate "
        f"of an image, forward and backward, at an assumed {FLOPS / 1e12:g} TFLOP a second for "
        f"each GPU. At that rate {PROCESSES} GPUs take {rate:,.0f} images a second, which the "
        "processors beside them have to decode. The measurements after training are not in it. "
        "Zeros save no time: dense kernels multiply by them too."
    )


def unequal(costs: pd.DataFrame) -> str:
    """What the longer schedule of the sparse networks amounts to."""
    dense, sparse = (protocol.imagenet_recipe(ratio)["epochs"] for ratio in ("dense", "erk"))
    words = [
        f"{row.mac_ratio * sparse / dense:.3f} under {LABELS[row.ratio]} at {row.sparsity:g}"
        for row in costs[costs.ratio == "erk"].itertuples()
    ]
    text = (
        f"**An unequal budget.** The sparse network has {sparse} epochs, the dense one {dense}: "
        f"{100 * (sparse / dense - 1):.1f} % more steps, and a later last fall of the rate. A "
        "sparse network that comes out ahead may owe it to them."
    )
    if words:
        text += (
            " Counted in multiply-accumulates on kept weights, its training is still the smaller "
            f"one: of the dense training it takes {listing(words)}."
        )
    return text
