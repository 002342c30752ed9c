"""What a criterion costs, counted while it runs: passes, and operations beside a training step."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..config import RunConfig
from ..models import build_model
from ..pruning.saliency import GRASP_PER_CLASS, SCORES


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
    is a backward pass too), and `macs`, of convolutions. The images are noise; their size cancels
    where macs are compared.
    """
    model = build_model(config.model)
    count = 10 * GRASP_PER_CLASS if criterion == "grasp" else config.batch_size
    images = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    calls = {"forward": 0, "backward": 0}

    def seen(kind: str) -> None:
        calls[kind] += 1

    def passed(_module, _inputs, output: Tensor) -> None:
        seen("forward")
        output.register_hook(lambda _: seen("backward"))

    handle = model.register_forward_hook(passed)
    try:
        with _Convolutions() as counter:
            SCORES[criterion](model, images, torch.arange(count) % 10)
    finally:
        handle.remove()
    return {"images": count, **calls, "macs": counter.macs}


def costs(config: RunConfig) -> pd.DataFrame:
    """A row a criterion, for the network and training of `config`.

    Columns `criterion, images, forward, backward`; `steps`, its operations in those of a training
    step, a forward and a backward pass over one batch; `share` of those of the whole training,
    where a last batch that is not full counts by its images.
    """
    step = count_passes(config, "snip")["macs"]  # SNIP is the gradient of one such batch
    all_steps = config.epochs * config.train_images / config.batch_size
    rows = []
    for criterion in SCORES:
        found = count_passes(config, criterion)
        equal = found.pop("macs") / step
        rows.append({"criterion": criterion, **found, "steps": equal, "share": equal / all_steps})
    return pd.DataFrame(rows)
