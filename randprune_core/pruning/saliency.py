"""Saliency scores at initialisation: SNIP and GraSP, higher = keep, and the best of them.

Both criteria run the network once on real data in training mode, in float32, and leave the model
as they found it: weights, buffers, gradients, modes and the global generators. What a network draws
in training mode (dropout) it draws from torch's default generators, which start from `DRAWS` for
each pass over the batch: equal scores for equal arguments, and GraSP's two passes drop the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import BoolTensor, Tensor, nn
from torch.func import functional_call

from ..arguments import whole_number
from ..config import check_sparsity
from ..precision import full_precision, plain_tensors
from ..seeds import plain_generator
from .layers import unwrapped, weights_of

# Wang et al. 2020 divide the logits by it, so that the softmax at initialisation stays smooth.
GRASP_TEMPERATURE = 200.0
GRASP_PER_CLASS = 25

DRAWS = 0
"""The seed of what a network draws while it is scored."""


def snip_scores(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    chunk_size: int | None = None,
    weights: Mapping[str, nn.Parameter] | None = None,
) -> dict[str, Tensor]:
    """SNIP: `|w * dL/dw|` of the mean cross-entropy on one batch, per maskable weight.

    `inputs` is N×C×H×W as the model takes it, `targets` N class indices. With `chunk_size`
    the batch is run in near-equal parts of at most that many images, to bound memory; batch norm
    then normalises each part by itself. `weights` are those to score, all of
    `maskable_weights(model)` unless others were chosen with its arguments. The network is in
    training mode; what it draws, as in dropout, follows from a fixed seed and not from the global
    generators. Scores have the shapes of the weights, float32, >= 0. Raises ValueError where
    the batch does not fit.
    Source: Lee et al. 2019, arXiv 1810.02340.
    """
    model = unwrapped(model)
    with _scoring(model, inputs) as state:
        leaves = _leaves(weights_of(model, weights))
        gradients = _gradients(model, leaves, state, _chunks(inputs, targets, chunk_size), 1.0)
        return {
            name: (weight.detach() * gradient).abs()
            for (name, weight), gradient in zip(leaves.items(), gradients, strict=True)
        }


def grasp_scores(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    chunk_size: int | None = None,
    weights: Mapping[str, nn.Parameter] | None = None,
) -> dict[str, Tensor]:
    """GraSP: `w * Hg`, with gradient g and Hessian H of the loss over the maskable weights.

    GraSP keeps the weights with the lowest `-w * Hg`; the sign is turned so that higher = keep,
    and scores may be negative. The loss is the mean cross-entropy of the logits divided by 200.
    Arguments, shapes and errors as in `snip_scores`; use `class_balanced_batch` for
    the batch. Source: Wang et al. 2020, arXiv 2002.07376.
    """
    model = unwrapped(model)
    with _scoring(model, inputs) as state:
        leaves = _leaves(weights_of(model, weights))
        chunks = _chunks(inputs, targets, chunk_size)
        gradients = _gradients(model, leaves, state, chunks, GRASP_TEMPERATURE)
        product = [torch.zeros_like(gradient) for gradient in gradients]
        _restart_draws(inputs.device)
        for images, labels in chunks:
            share = len(labels) / len(targets)
            loss = share * _loss(model, leaves, state, images, labels, GRASP_TEMPERATURE)
            graph = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
            # d/dw of <dL/dw, g> with g held fixed is Hg: no Hessian is ever formed.
            inner = sum((a * b).sum() for a, b in zip(graph, gradients, strict=True))
            for total, part in zip(product, _grad(inner, leaves), strict=True):
                total += part
        return {
            name: weight.detach() * part
            for (name, weight), part in zip(leaves.items(), product, strict=True)
        }


SCORES: dict[str, Callable[..., dict[str, Tensor]]] = {"snip": snip_scores, "grasp": grasp_scores}


@plain_tensors()
def class_balanced_batch(
    labels: Tensor, per_class: int = GRASP_PER_CLASS, seed: int = 0, num_classes: int | None = None
) -> Tensor:
    """Indices of `per_class` random images of every class, the classes taking turns.

    `labels` holds N class indices; `num_classes` defaults to the largest label plus one.
    Because the classes take turns, every run of `num_classes` indices is balanced too. Returns
    int64 on the CPU. Raises ValueError, naming the class, where one has too few images.
    """
    labels = torch.as_tensor(labels).cpu()
    per_class = whole_number(per_class, "per_class")
    if per_class < 1 or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"a class-balanced batch needs per_class >= 1 and a vector of labels, not "
            f"per_class={per_class} and labels of shape {tuple(labels.shape)}"
        )
    generator = plain_generator(seed)
    rows = []
    for label in range(num_classes or int(labels.max()) + 1):
        indices = (labels == label).nonzero().flatten()
        if len(indices) < per_class:
            raise ValueError(
                f"class {label} has {len(indices)} images, but {per_class} a class are asked for; "
                "lower per_class or give more training images"
            )
        rows.append(indices[torch.randperm(len(indices), generator=generator)[:per_class]])
    return torch.stack(rows, dim=1).flatten()


@plain_tensors()
def global_top_k(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, BoolTensor]:
    """Where the highest scores of the whole network are: what `masks.top_k_masks` keeps.

    Exactly `round((1 - sparsity) * n)` of all n places, at least one; of equal scores the earlier.
    Raises ValueError for no scores, NaN scores or a sparsity out of range.
    """
    check_sparsity(sparsity)
    if not scores:
        raise ValueError("no scores: give one tensor for each maskable weight")
    for name, score in scores.items():
        if torch.isnan(score).any():
            raise ValueError(f"scores of layer {name!r} hold NaN; check its weights and the batch")
    flat = torch.cat([score.detach().flatten() for score in scores.values()])
    kept = max(1, round((1 - sparsity) * len(flat)))
    # A sort of all weights is slower, and topk promises no order among equal scores.
    threshold = flat.kthvalue(len(flat) - kept + 1).values
    mask = flat > threshold
    ties = (flat == threshold).nonzero().flatten()
    mask[ties[: kept - int(mask.sum())]] = True
    parts = mask.split([score.numel() for score in scores.values()])
    return {
        name: part.view(score.shape).clone()
        for (name, score), part in zip(scores.items(), parts, strict=True)
    }


def _leaves(weights: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    # Fresh leaves that share the storage: neither .grad nor requires_grad of the model is touched.
    return {name: weight.detach().float().requires_grad_() for name, weight in weights.items()}


def _loss(
    model: nn.Module,
    weights: dict[str, Tensor],
    state: dict[str, Tensor],
    images: Tensor,
    labels: Tensor,
    temperature: float,
) -> Tensor:
    logits = functional_call(model, {**state, **weights}, (images.float(),))
    if not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
        raise ValueError(
            f"targets lie in [{int(labels.min())}, {int(labels.max())}], but the model has "
            f"{logits.shape[1]} classes; build it with num_classes of the data set"
        )
    return F.cross_entropy(logits / temperature, labels)


def _grad(output: Tensor, weights: dict[str, Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        output, list(weights.values()), allow_unused=True, materialize_grads=True
    )


def _gradients(
    model: nn.Module,
    weights: dict[str, Tensor],
    state: dict[str, Tensor],
    chunks: list[tuple[Tensor, Tensor]],
    temperature: float,
) -> list[Tensor]:
    total = [torch.zeros_like(weight) for weight in weights.values()]
    count = sum(len(labels) for _, labels in chunks)
    _restart_draws(chunks[0][0].device)
    for images, labels in chunks:
        loss = _loss(model, weights, state, images, labels, temperature) * (len(labels) / count)
        for sum_, part in zip(total, _grad(loss, weights), strict=True):
            sum_ += part
    return total


def _chunks(inputs: Tensor, targets: Tensor, chunk_size: int | None) -> list[tuple[Tensor, Tensor]]:
    if not len(inputs) or targets.ndim != 1 or len(inputs) != len(targets):
        raise ValueError(
            f"inputs of shape {tuple(inputs.shape)} and targets of shape {tuple(targets.shape)} "
            "make no batch; give N images and N class indices, N >= 1"
        )
    if chunk_size is not None:  # None: no split
        chunk_size = whole_number(chunk_size, "chunk_size", least=1)
    # Tensors of the caller's inference mode cannot be differentiated through; copies can.
    inputs, targets = (x.clone() if x.is_inference() else x for x in (inputs, targets))
    parts = -(-len(inputs) // (chunk_size or len(inputs)))
    return list(zip(inputs.tensor_split(parts), targets.long().tensor_split(parts), strict=True))


def _restart_draws(device: torch.device) -> None:
    # Not `torch.manual_seed`: it would reach the generators of devices that are not restored.
    torch.random.default_generator.manual_seed(DRAWS)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(DRAWS)


@contextmanager
def _scoring(model: nn.Module, inputs: Tensor) -> Iterator[dict[str, Tensor]]:
    """Training mode on copied buffers; yields the parameters and buffers to call the model with."""
    if any(weight.is_inference() for weight in model.parameters()):
        raise ValueError(
            "the network was made in torch.inference_mode, and no gradient passes through it: "
            "build or copy it outside"
        )
    modes = {module: module.training for module in model.modules()}
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    try:
        model.train()
        with (
            torch.inference_mode(False),
            plain_tensors(),
            torch.random.fork_rng(devices),
            full_precision(inputs.device.type),
            torch.enable_grad(),
        ):
            yield _state(model)
    finally:
        for module, mode in modes.items():
            module.training = mode


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters, shared, and copies of the buffers, by name; float32."""
    state = {name: value.detach().float() for name, value in model.named_parameters()}
    for name, value in model.named_buffers():
        state[name] = value.float().clone() if value.is_floating_point() else value.clone()
    return state
