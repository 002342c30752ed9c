"""Random pruning beside SNIP's and GraSP's own masks: differences, and what a criterion costs.

What a criterion costs is counted while it runs: passes through the network, and the operations of
convolutions beside those of one training step.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from math import ceil

import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..analysis.cells import differences, pairs_of_settings
from ..config import RATIOS, RunConfig, image_side
from ..models import build_model
from ..presentation.theme import LABELS
from ..presentation.words import listing
from ..pruning.masks import random_masks
from ..pruning.ratios import SHAPE_RATIOS, layer_sparsities
from ..pruning.saliency import GRASP_PER_CLASS, SCORES
from .shared.pruning_settings import settings_of
from .shared.records import Records
from .shared.tables import quantity_table

OWN = (("snip:own", "snip"), ("grasp:own", "grasp"))
"""A criterion's own mask, and the random mask of the same layer-wise sparsities."""


def erk_minus_others(records: Records, runs: pd.DataFrame) -> pd.DataFrame:
    """ERK minus each other sparse setting of the grid (see `cells.differences`).

    By network, then by setting, in the order of the table of accuracies.
    """
    names = [name for name in settings_of(records) if name != "erk"]
    table = differences(runs, pairs_of_settings(runs, [("erk", name) for name in names]))
    places = {name: place for place, name in enumerate([*runs.model.unique(), *LABELS])}
    return table.sort_values(
        ["model", "ratio"], key=lambda column: column.map(places), kind="stable", ignore_index=True
    )


def own_minus_redrawn(runs: pd.DataFrame) -> pd.DataFrame:
    """A criterion's own mask minus the mask redrawn at its ratio; `ratio` names the own mask."""
    table = differences(runs, pairs_of_settings(runs, OWN))
    return table.assign(ratio=table.ratio + ":own")


def _batch(config: RunConfig, criterion: str, side: int) -> tuple[Tensor, Tensor]:
    """Noise of the size of the batch that a run gives a criterion; what it shows costs nothing."""
    count = 10 * GRASP_PER_CLASS if criterion == "grasp" else config.batch_size
    draw = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, side, side, generator=draw), torch.arange(count) % 10


class _Convolutions(TorchDispatchMode):
    """Counts the multiply-accumulates of all convolutions, forwards and backwards, while it is on.

    PyTorch's own `FlopCounterMode` gives the same and takes seconds to be imported.
    """

    macs = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.convolution.default:
            images, weight, transposed = args[0], args[1], args[6]
            self.macs += (images if transposed else result).numel() * weight[0].numel()
        elif function is torch.ops.aten.convolution_backward.default:
            above, weight, wanted = args[0], args[2], args[10]
            self.macs += sum(wanted[:2]) * above.numel() * weight[0].numel()
        return result


def count_passes(config: RunConfig, criterion: str, side: int = 16) -> dict[str, int]:
    """What `snip` or `grasp` does with the network of a run: counted while it does it.

    `images` of its batch, `forward` and `backward` passes over them (a derivative of a derivative
    is a backward pass too), and `macs`, of convolutions. The size of an image cancels where they
    are compared.
    """
    model, (images, labels) = build_model(config.model), _batch(config, criterion, side)
    calls = {"forward": 0, "backward": 0}

    def count(kind: str) -> None:
        calls[kind] += 1

    def passed(_module, _inputs, output: Tensor) -> None:
        count("forward")
        output.register_hook(lambda _: count("backward"))

    handle = model.register_forward_hook(passed)
    try:
        with _Convolutions() as counter:
            SCORES[criterion](model, images, labels)
    finally:
        handle.remove()
    return {"images": len(images), **calls, "macs": counter.macs}


def costs(config: RunConfig) -> pd.DataFrame:
    """A row a criterion, for the network and training of `config`.

    Columns `criterion, images, forward, backward`; `steps`, its operations in those of a training
    step, a forward and a backward pass over one batch; `share` of all steps of the training.
    """
    step = count_passes(config, "snip")["macs"]  # SNIP is the gradient of one such batch
    all_steps = config.epochs * ceil(config.train_images / config.batch_size)
    rows = []
    for criterion in SCORES:
        found = count_passes(config, criterion)
        equal = found.pop("macs") / step
        rows.append({"criterion": criterion, **found, "steps": equal, "share": equal / all_steps})
    return pd.DataFrame(rows)


def cost_table(found: pd.DataFrame) -> pd.DataFrame:
    """`costs` to read, below the ratios that cost nothing."""
    columns = ["images", "forward passes", "backward passes", "in training steps"]
    free = listing(LABELS[ratio] for ratio in SHAPE_RATIOS if ratio != "dense")
    rows = [{"masks": free} | dict.fromkeys(columns, "0") | {"of the training": "0 %"}]
    for row in found.itertuples():
        numbers = [f"{row.images}", f"{row.forward}", f"{row.backward}", f"{row.steps:.1f}"]
        name = f"{LABELS[row.criterion]} and {LABELS[f'{row.criterion}:own']}"
        share = {"of the training": f"{100 * row.share:.2f} %"}
        rows.append({"masks": name} | dict(zip(columns, numbers, strict=True)) | share)
    return pd.DataFrame(rows)


def seconds_table(config: RunConfig, sparsity: float = 0.9) -> pd.DataFrame:
    """Seconds that the masks of each ratio take on this machine, for the network of `config`.

    From the built network to its masks, for ratios that need data from a batch on the CPU.
    """
    model, rows = build_model(config.model), []
    for ratio in RATIOS[1:]:
        images, labels = _batch(config, ratio, image_side(vars(config)))
        data = {"inputs": images, "targets": labels} if ratio in SCORES else {}
        started = time.perf_counter()
        random_masks(model, layer_sparsities(ratio, model, sparsity, **data))
        rows.append({"ratio": LABELS[ratio], "seconds": f"{time.perf_counter() - started:.3f}"})
    return pd.DataFrame(rows)


def smallest(configs: Iterable[RunConfig]) -> RunConfig:
    """The first run of a grid, whose network is the smallest."""
    return next(iter(configs))


def figure_table(
    records: Records, points: pd.DataFrame, others: pd.DataFrame, own: pd.DataFrame
) -> pd.DataFrame:
    """Every number that the figures draw: accuracies in percent, differences in points."""
    parts = {"accuracy": points, "ERK minus this": others, "own minus redrawn": own}
    return quantity_table(records.origin, parts)
