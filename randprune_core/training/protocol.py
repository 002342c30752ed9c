"""What the protocol fixes of a run before it trains: its masks, data order and learning rates.

Everything here follows from the config alone (and the data), is drawn on the CPU and is therefore
the same for every device.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .. import models
from ..config import RunConfig, is_built_in
from ..data import loading
from ..datasets import DATASETS, padding
from ..precision import plain_tensors
from ..pruning import masks, ratios, saliency
from ..seeds import generator

_SALIENCY_CHUNK = 250  # bounds the memory of GraSP's second derivatives


IMAGENET = {"model": "wide_resnet50_2", "batch_size": 4 * 192, "lr": 0.4, "weight_decay": 1e-4}
"""What Table 1 sets for ImageNet, dense and sparse, beside the epochs."""

IMAGENET_EPOCHS = {True: (90, (30, 60, 80)), False: (100, (30, 60, 90))}
"""Epochs, and those after which the rate falls, by whether the network is dense (Table 1)."""

WARM_UP_EPOCHS = 5
LABEL_SMOOTHING = 0.1
"""On ImageNet only, as in the authors' code."""


def imagenet_recipe(ratio: str) -> dict:
    """The fields of Table 1's recipe for ImageNet; a dense network has fewer epochs."""
    return IMAGENET | {"epochs": IMAGENET_EPOCHS[ratio == "dense"][0]}


def learning_rate(config: RunConfig, epoch: int) -> float:
    """Learning rate of an epoch (from 0), by Table 1.

    Divided by 10 at 1/2 and at 3/4 of the epochs. On ImageNet at 30, 60 and 80 of 90 epochs when
    dense, 30, 60 and 90 of 100 when sparse, after `WARM_UP_EPOCHS` in which it rises in equal
    steps; a run of another length keeps these proportions. A milestone that is no whole number of
    epochs takes effect with the first epoch after it.
    """
    if config.dataset != "imagenet":
        passed = sum(epoch >= share * config.epochs for share in (0.5, 0.75))
        return config.lr / 10**passed
    whole, milestones = IMAGENET_EPOCHS[config.ratio == "dense"]
    passed = sum(epoch * whole >= milestone * config.epochs for milestone in milestones)
    warm_up = WARM_UP_EPOCHS * config.epochs // whole
    return config.lr / 10**passed * min((epoch + 1) / max(warm_up, 1), 1.0)


def check_single_images(
    config: RunConfig, model: nn.Module, sizes: Sequence[int], side: int
) -> None:
    """Refuse, before training, a batch of one image that the network's batch norm cannot take.

    Batch norm needs more than one number a channel: a batch of one image has but one wherever the
    image is down to one pixel. Raises ValueError that names the layer. `sizes` are the images of
    each step, `side` the pixels a side.
    """
    if 1 not in sizes:
        return
    single = []

    def note(name: str):
        def hook(module: nn.Module, inputs: tuple) -> None:
            if inputs[0].numel() == inputs[0].shape[1]:
                single.append(name)

        return hook

    kind = nn.modules.batchnorm._BatchNorm
    norms = [(name, module) for name, module in model.named_modules() if isinstance(module, kind)]
    handles = [module.register_forward_pre_hook(note(name)) for name, module in norms]
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()(next(model.parameters()).new_zeros(1, 3, side, side))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    if single:
        raise ValueError(
            f"train_images {config.train_images} and batch_size {config.batch_size} give a batch "
            f"of 1 image, and batch norm {single[0]!r} of {config.model} would get one number a "
            f"channel at {side} pixels: choose numbers that leave no single image"
        )


def check_logits(config: RunConfig, model: nn.Module, side: int, num_classes: int) -> None:
    """Raise ValueError, before training, unless a registered network gives a logit a class."""
    if is_built_in("model", config.model):
        return
    image = next(model.parameters(), torch.empty(0)).new_zeros(1, 3, side, side)
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            logits = model.eval()(image)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"model {config.model!r} does not take images of shape (n, 3, {side}, {side}): {reason}"
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode
    found = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    if found != (1, num_classes):
        raise ValueError(
            f"model {config.model!r} gives {found} for one image, not logits of shape "
            f"(1, {num_classes})"
        )


def attack_images(config: RunConfig, test_images: int) -> int:
    """How many test images are attacked: all after a full run, the first tenth after another.

    A run is full when it has all training images of its data set (`DATASETS`) and the epochs
    of the protocol: attacking 10,000 images takes a CPU longer than an epoch of training. The tenth
    is at least 100 images, and 1,000 for CIFAR.
    """
    full_data = config.train_images >= DATASETS[config.dataset].train_images
    if full_data and config.epochs >= RunConfig.epochs:
        return test_images
    return min(test_images, max(test_images // 10, 100))


def pgd_images(config: RunConfig, test_images: int) -> dict[str, int]:
    """At which epsilons PGD attacks more images than `attack_images` says, and how many.

    At 1/255, which the claim on robustness is about, a run of the protocol's epochs is attacked on
    all test images, however few it trains on: with 1,000 images the sampling error of one accuracy,
    1.5 points, would hide what the claim is about.
    """
    return {"1": test_images} if config.epochs >= RunConfig.epochs else {}


@plain_tensors()
def epoch_order(config: RunConfig, epoch: int) -> Tensor:
    """The order in which an epoch (from 0) takes the training images, a permutation."""
    draw = generator(config.seed_data, "epoch", epoch)
    return torch.randperm(config.train_images, generator=draw)


@plain_tensors()
def epoch_plan(config: RunConfig, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
    """What one epoch (from 0) does with its n images: order (n,), crops (n, 2), mirrored (n,).

    The order is a permutation; a crop is its top and left corner in [0, 2 · padding]; digits are
    never mirrored.
    """
    draw = generator(config.seed_data, "epoch", epoch)
    order = torch.randperm(config.train_images, generator=draw)
    reach = 2 * padding(config.dataset, config.image_size) + 1
    offsets = torch.randint(0, reach, (config.train_images, 2), generator=draw)
    mirrored = torch.rand(config.train_images, generator=draw) < 0.5
    if not DATASETS[config.dataset].mirrored:
        mirrored = torch.zeros_like(mirrored)
    return order, offsets, mirrored


@plain_tensors()
def draw_masks(config: RunConfig, model: nn.Module, dataset: loading.Dataset) -> dict[str, Tensor]:
    """The masks of a run, before it trains; {} for a dense one.

    SNIP looks at the first `batch_size` images of the run's data order, GraSP at 25 images of each
    class, both without augmentation and at the initial weights.
    """
    return masks_from(config, model, lambda: _saliency_batch(config, dataset))


def masks_from(
    config: RunConfig,
    model: nn.Module,
    saliency_batch: Callable[[], tuple[Tensor, Tensor]],
    chunk_size: int = _SALIENCY_CHUNK,
) -> dict[str, Tensor]:
    """`draw_masks` for any data: `saliency_batch` gives a criterion its normalised inputs, targets.

    It is called for SNIP and GraSP only; `chunk_size` images are scored at a time.
    """
    if config.ratio == "dense":
        return {}
    inputs = targets = None
    if config.ratio in saliency.SCORES:
        inputs, targets = saliency_batch()
    if config.mask_source == "own":
        score = saliency.SCORES[config.ratio]
        return masks.top_k_masks(
            score(model, inputs, targets, chunk_size=chunk_size), config.sparsity
        )
    sparsities = ratios.layer_sparsities(
        config.ratio,
        model,
        config.sparsity,
        inputs=inputs,
        targets=targets,
        chunk_size=chunk_size,
    )
    return masks.random_masks(model, sparsities, config.seed_mask, config.granularity)


def _saliency_batch(config: RunConfig, dataset: loading.Dataset) -> tuple[Tensor, Tensor]:
    """Images and labels on the CPU, where masks are drawn, wherever the data set lies."""
    training, _ = dataset.split(config.train_images)
    labels = dataset.train_labels[training].cpu()
    index = saliency_places(config, labels, dataset.num_classes)
    images = dataset.train_images[training].cpu()[index]
    return models.Normalization(dataset.name)(images), labels[index]


def saliency_places(config: RunConfig, labels: Tensor, num_classes: int) -> Tensor:
    """The training images that a criterion looks at, by their places among `labels`."""
    if config.ratio == "grasp":
        per_class = saliency.GRASP_PER_CLASS
        return saliency.class_balanced_batch(labels, per_class, config.seed_data, num_classes)
    return epoch_order(config, 0)[: config.batch_size]
