"""What a network costs: parameters and multiply-accumulates (MACs), dense and sparse.

A kept weight of a convolution is used once at every output position and a kept weight of a linear
layer once, so that the sparse MACs of a layer are its kept weights times its output positions.
These are arithmetic counts: a processor without sparse kernels saves none of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..datasets import DATASETS
from ..models import build_model
from ..pruning.compact import compact
from ..pruning.layers import KINDS, Layer, maskable_layers, weights_of
from ..pruning.ratios import check_names


def layer_macs(model: nn.Module, input_shape: Sequence[int] | Tensor) -> dict[str, int]:
    """MACs of every layer for one image of `input_shape` (C, H, W), in module order.

    A network that takes something else than images is given a batch of one example in place of the
    shape. Every kind of layer counts (`pruning.layers.KINDS`), maskable by default or not: its
    weight once for each position or token that it meets, and never for the look-up of an
    embedding. A weight that layers share counts for each of them. Products of activations, as in
    attention, do not. Sizes come from a forward pass of a black image in evaluation mode, which
    leaves the model as it was. A layer that the pass does not use has 0. Raises ValueError, naming
    the layer, where the pass uses a weight without calling its module, and unless `input_shape` has
    three positive sizes or is a batch of one.
    """
    example = _example(model, input_shape)
    layers = maskable_layers(model, types=KINDS)
    modes = {module: module.training for module in model.modules()}
    attention = any(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    try:
        model.eval()  # batch norm must not learn from this image
        found = {}
        if not attention:
            with torch.no_grad():
                found, _ = _counted(model, example, layers)
        if not all(found.get(name) or _only_looked_up(layer) for name, layer in layers.items()):
            # With gradients: no fast path of PyTorch goes around the modules, and a weight that is
            # used has one.
            found = _with_gradients(model, example, layers)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return found


def _example(model: nn.Module, input_shape: Sequence[int] | Tensor) -> Tensor:
    if isinstance(input_shape, Tensor):
        if input_shape.ndim < 2 or len(input_shape) != 1:
            raise ValueError(
                f"the example has shape {tuple(input_shape.shape)}: give a batch of one"
            )
        return input_shape
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape is {tuple(input_shape)}, but must be (channels, height, width); a "
            "network that takes no images is given a batch of one example"
        )
    parameter = next(model.parameters())
    return torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)


def _only_looked_up(layer: Layer) -> bool:
    return all(isinstance(module, KINDS["embedding"]) for module, _ in layer.owners)


def _with_gradients(
    model: nn.Module, example: Tensor, layers: Mapping[str, Layer]
) -> dict[str, int]:
    before = {layer.weight: layer.weight.requires_grad for layer in layers.values()}
    try:
        for weight in before:
            weight.requires_grad_(True)
        with torch.inference_mode(False), torch.enable_grad():
            found, output = _counted(model, example, layers)
            unknown = [
                name for name in layers if not found[name] and not _only_looked_up(layers[name])
            ]
            used = _used(output, [layers[name].weight for name in unknown])
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
    total = sum(part.sum() for part in _tensors(output) if part.requires_grad)
    if not weights or not isinstance(total, Tensor):
        return [False] * len(weights)
    return [g is not None for g in torch.autograd.grad(total, weights, allow_unused=True)]


def _tensors(output: object) -> list[Tensor]:
    """The tensors in what a network puts out."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, Mapping) else output
    return [t for part in parts for t in _tensors(part)] if isinstance(parts, Iterable) else []


def _counted(
    model: nn.Module, example: Tensor, layers: Mapping[str, Layer]
) -> tuple[dict[str, int], object]:
    """MACs by layer of one pass of an example, and what the network puts out."""
    macs = dict.fromkeys(layers, 0)
    names = {id(layer.weight): name for name, layer in layers.items()}

    def hook(module: nn.Module, inputs: tuple, named: dict, output: object) -> None:
        for weight, number in _macs_of_call(module, inputs, named, output):
            macs[names[id(weight)]] += number

    # `torch.utils.flop_counter` gives the same sum for ResNet-20, in 10 ms instead of 3, and loads
    # PyTorch's compiler, which nothing here needs.
    owners = {module: None for layer in layers.values() for module, _ in layer.owners}
    handles = [module.register_forward_hook(hook, with_kwargs=True) for module in owners]
    try:
        output = model(example)
    finally:
        for handle in handles:
            handle.remove()
    return macs, output


def _macs_of_call(
    module: nn.Module, inputs: tuple, named: dict, output: object
) -> list[tuple[Tensor, int]]:
    """MACs of each weight of a module in one call of it."""
    if isinstance(module, nn.MultiheadAttention):
        return _macs_of_attention(module, *_query_key_value(inputs, named))
    first = next(iter((*inputs, *named.values())))
    if isinstance(module, KINDS["embedding"]):
        return []
    if isinstance(module, KINDS["recurrent"]):
        data = getattr(first, "data", first)  # a packed sequence holds its tokens there
        tokens = data.numel() // module.input_size
        weights = [w for name, w in module.named_parameters() if name.startswith("weight_")]
        return [(weight, tokens * weight.numel()) for weight in weights]
    if isinstance(module, KINDS["conv_transpose"]):
        return [(module.weight, first.numel() // module.in_channels * module.weight.numel())]
    # The example is one, so that this is the number of output positions.
    return [(module.weight, output.numel() // len(module.weight) * module.weight.numel())]


def _query_key_value(inputs: tuple, named: dict) -> list[Tensor]:
    given = dict(zip(("query", "key", "value"), inputs, strict=False)) | named
    return [given[name] for name in ("query", "key", "value")]


def _macs_of_attention(
    module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor
) -> list[tuple[Tensor, int]]:
    """MACs of the projections of one call: each weight once a token that goes through it."""
    size = module.embed_dim
    tokens = [part.numel() // part.shape[-1] for part in (query, key, value)]
    into = [
        count * size * part.shape[-1]
        for count, part in zip(tokens, (query, key, value), strict=True)
    ]
    # Its module is not called: the product is a part of this call.
    out = (module.out_proj.weight, tokens[0] * size * size)
    if module.in_proj_weight is not None:
        return [(module.in_proj_weight, sum(into)), out]
    weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    return [*zip(weights, into, strict=True), out]


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
    model: nn.Module,
    kept: Mapping[str, Tensor | int],
    input_shape: Sequence[int] | Tensor,
    *,
    weights: Mapping[str, nn.Parameter] | None = None,
) -> dict[str, int | float]:
    """Parameters and MACs of `model` for one image of `input_shape` (C, H, W), or one example.

    `kept` gives every layer of `weights` its mask or its number of kept weights; they are those of
    `maskable_weights(model)` unless others were chosen with its arguments. Returns

    - `dense_parameters`, `kept_parameters`: all parameters; biases and batch norm always stay;
    - `dense_weights`, `kept_weights`, `sparsity`: over the maskable weights only;
    - `dense_macs`, `sparse_macs`, `mac_ratio`: MACs and sparse over dense, in [0, 1].

    Raises ValueError where the layer names differ or a count lies outside [0, n].
    """
    weights = weights_of(model, weights)
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
    sparse_macs += sum(macs[name] for name in macs if name not in weights)
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
        "compact_weights": sum(weight.numel() for weight in weights_of(small, None).values()),
        "compact_macs": sum(layer_macs(small, input_shape).values()),
    }
