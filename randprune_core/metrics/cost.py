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
from ..pruning.compact import compact
from ..pruning.ratios import check_names


def layer_macs(model: nn.Module, input_shape: Sequence[int]) -> dict[str, int]:
    """MACs of every maskable layer for one image of `input_shape` (C, H, W), in module order.

    Convolutions and linear layers count, and the projections of `nn.MultiheadAttention`: those into
    it under the names of their weights, which cannot be masked; its products of activations do not.
    Output sizes come from a forward pass of a black image in evaluation mode, which leaves the
    model as it was. A layer that the pass does not use has 0. Raises ValueError, naming the layer,
    where the pass uses a weight without calling its module, and unless `input_shape` has three
    positive sizes.
    """
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape is {tuple(input_shape)}, but must be (channels, height, width)"
        )
    weights = maskable_weights(model)
    attention = {n: m for n, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()  # batch norm must not learn from this image
        found = {}
        if not attention:
            with torch.no_grad():
                found, _ = _counted(model, input_shape, weights, {})
        if not all(found.get(name) for name in weights):
            # With gradients: no fast path of PyTorch goes around the modules, and a weight that is
            # used has one.
            found = _with_gradients(model, input_shape, weights, attention)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return found


def _with_gradients(model, input_shape, weights, attention) -> dict[str, int]:
    before = {weight: weight.requires_grad for weight in weights.values()}
    try:
        for weight in weights.values():
            weight.requires_grad_(True)
        with torch.inference_mode(False), torch.enable_grad():
            found, output = _counted(model, input_shape, weights, attention)
            unknown = [name for name in weights if not found[name]]
            used = _used(output, [weights[name] for name in unknown])
    finally:
        for weight, needed in before.items():
            weight.requires_grad_(needed)
    for name, is_used in zip(unknown, used, strict=True):
        if is_used:
            raise ValueError(
                f"layer {name!r} cannot be counted: its weight is used without a call of its module"
            )
    return found


def _used(output: object, weights: Sequence[Tensor]) -> list[bool]:
    """Which of the weights the output depends on."""
    parts = output.values() if isinstance(output, Mapping) else output
    parts = [output] if isinstance(output, Tensor) else list(parts)
    total = sum(part.sum() for part in parts if isinstance(part, Tensor) and part.requires_grad)
    if not weights or not isinstance(total, Tensor):
        return [False] * len(weights)
    return [g is not None for g in torch.autograd.grad(total, weights, allow_unused=True)]


def _counted(model, input_shape, weights, attention) -> tuple[dict[str, int], object]:
    """MACs by layer of one pass of a black image, and what the network puts out."""
    macs = dict.fromkeys(weights, 0)

    def count(name: str, weight: Tensor):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            # The batch has one image, so this is the number of output positions.
            macs[name] += output.numel() // weight.shape[0] * weight.numel()

        return hook

    def count_attention(name: str):
        def hook(module: nn.Module, inputs: tuple, named: dict, output: object) -> None:
            for part, number in _attention_macs(module, *_query_key_value(inputs, named)).items():
                key = f"{name}.{part}" if name else part
                macs[key] = macs.get(key, 0) + number

        return hook

    # `torch.utils.flop_counter` gives the same sum for ResNet-20, in 10 ms instead of 3, and loads
    # PyTorch's compiler, which nothing here needs.
    handles = [
        model.get_submodule(name.rpartition(".")[0]).register_forward_hook(count(name, weight))
        for name, weight in weights.items()
    ]
    handles += [
        module.register_forward_hook(count_attention(name), with_kwargs=True)
        for name, module in attention.items()
    ]
    parameter = next(iter(weights.values()))
    image = torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)
    try:
        output = model(image)
    finally:
        for handle in handles:
            handle.remove()
    return macs, output


def _query_key_value(inputs: tuple, named: dict) -> list[Tensor]:
    given = dict(zip(("query", "key", "value"), inputs, strict=False)) | named
    return [given[name] for name in ("query", "key", "value")]


def _attention_macs(module: nn.MultiheadAttention, query, key, value) -> dict[str, int]:
    """MACs of the projections of one call: each weight once a token that goes through it."""
    size = module.embed_dim
    tokens = [part.numel() // part.shape[-1] for part in (query, key, value)]
    into = [
        count * size * part.shape[-1]
        for count, part in zip(tokens, (query, key, value), strict=True)
    ]
    found = {"out_proj.weight": tokens[0] * size * size}
    if module.in_proj_weight is not None:
        return found | {"in_proj_weight": sum(into)}
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    return found | dict(zip(names, into, strict=True))


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
    sparse_macs += sum(
        macs[name] for name in macs if name not in weights
    )  # of attention, not masked
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


def filter_cost(
    model: nn.Module, masks: Mapping[str, Tensor], input_shape: Sequence[int]
) -> dict[str, int | float]:
    """The cost of a filter-pruned network both ways: with its zeros, and without them.

    `cost` of the masks, and `compact_parameters`, `compact_weights` and `compact_macs` of the small
    dense network that puts out the same (`pruning.compact`): it lacks the inputs of pruned filters
    too. Masks and errors as in `compact`.
    """
    small = compact(model, masks)
    return cost(model, masks, input_shape) | {
        "compact_parameters": sum(parameter.numel() for parameter in small.parameters()),
        "compact_weights": sum(weight.numel() for weight in maskable_weights(small).values()),
        "compact_macs": sum(layer_macs(small, input_shape).values()),
    }
