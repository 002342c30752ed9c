"""What a network costs: parameters and multiply-accumulates (MACs), dense and sparse.

A kept weight of a convolution is used once at every output position and a kept weight of a linear
layer once, so that the sparse MACs of a layer are its kept weights times its output positions.
These are arithmetic counts: a processor without sparse kernels saves none of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..datasets import DATASETS
from ..models import build_model, maskable_weights
from ..pruning.ratios import check_names


def layer_macs(model: nn.Module, input_shape: Sequence[int]) -> dict[str, int]:
    """MACs of every maskable layer for one image of `input_shape` (C, H, W), in module order.

    Only convolutions and linear layers count. Their output sizes come from one forward pass of a
    black image in evaluation mode, which leaves the model as it was. Raises ValueError unless
    `input_shape` has three positive sizes.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape is {tuple(input_shape)}, but must be (channels, height, width)"
        )
    weights = maskable_weights(model)
    positions = dict.fromkeys(weights, 0)

    def count(name: str, weight: Tensor):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            # The batch has one image, so this is the number of output positions.
            positions[name] += output.numel() // weight.shape[0]

        return hook

    # `torch.utils.flop_counter` gives the same sum for ResNet-20, in 10 ms instead of 3, and loads
    # PyTorch's compiler, which nothing here needs.
    handles = [
        model.get_submodule(name.rpartition(".")[0]).register_forward_hook(count(name, weight))
        for name, weight in weights.items()
    ]
    modes = {module: module.training for module in model.modules()}
    parameter = next(iter(weights.values()))
    image = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
    try:
        model.eval()  # batch norm must not learn from this image
        with torch.no_grad():
            model(image)
    finally:
        for module, mode in modes.items():
            module.training = mode
        for handle in handles:
            handle.remove()
    return {name: positions[name] * weight.numel() for name, weight in weights.items()}


@lru_cache
def network_macs(model: str, dataset: str = "cifar10", image_size: int | None = None) -> int:
    """MACs of a dense network, by its name, for one image of a data set of small images."""
    side = image_size or DATASETS[dataset].side
    # Not on device meta: that imports torch._inductor, which takes longer than the network.
    with torch.random.fork_rng(devices=[]):
        network = build_model(model, DATASETS[dataset].classes)
    return sum(layer_macs(network, (3, side, side)).values())


def work(config: RunConfig) -> int:
    """MACs of a run's forward passes in training, to which its time is in proportion."""
    macs = network_macs(config.model, config.dataset, config.image_size)
    return macs * config.train_images * config.epochs


def cost(
    model: nn.Module, kept: Mapping[str, Tensor | int], input_shape: Sequence[int]
) -> dict[str, int | float]:
    """Parameters and MACs of `model` for one image of `input_shape` (C, H, W).

    `kept` gives every maskable layer its mask or its number of kept weights. Returns

    - `dense_parameters`, `kept_parameters`: all parameters; biases and batch norm always stay;
    - `dense_weights`, `kept_weights`, `sparsity`: over the maskable weights only;
    - `dense_macs`, `sparse_macs`, `mac_ratio`: MACs and sparse over dense, in [0, 1].

    Raises ValueError where the layer names differ or a count lies outside [0, n].
    """
    weights = maskable_weights(model)
    check_names(weights, kept, "kept counts")
    counts = {name: int(torch.as_tensor(kept[name]).sum()) for name in weights}
    for name, weight in weights.items():
        if not 0 <= counts[name] <= weight.numel():
            raise ValueError(
                f"layer {name!r} cannot keep {counts[name]} of its {weight.numel()} weights"
            )
    macs = layer_macs(model, input_shape)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    dense, alive = sum(weight.numel() for weight in weights.values()), sum(counts.values())
    # Exact in integers: MACs of a layer are a multiple of its number of weights.
    sparse_macs = sum(macs[name] // weights[name].numel() * counts[name] for name in weights)
    return {
        "dense_parameters": parameters,
        "kept_parameters": parameters - dense + alive,
        "dense_weights": dense,
        "kept_weights": alive,
        "sparsity": 1 - alive / dense,
        "dense_macs": sum(macs.values()),
        "sparse_macs": sparse_macs,
        "mac_ratio": sparse_macs / sum(macs.values()),
    }
