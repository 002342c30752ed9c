"""The engine: train one network under fixed masks and measure it.

`train(config)` returns the measured part of a record (layers, cost, history, test). It keeps the
paper's protocol (Table 1), can be stopped at any epoch and goes on from its checkpoint with the
same result to the last bit on a CPU.
"""

import hashlib
import math
import os
import time
from contextlib import nullcontext
from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from . import data, masks, metrics, models, paths, ratios, saliency
from .config import TRAIN_IMAGES, RunConfig, run_id
from .cost import cost
from .evaluation import evaluate
from .precision import full_float32

GRADIENT_SLICES = 10
FINE_EPOCHS = 5
INITIAL_BATCHES = 10
SALIENCY_CHUNK = 250  # bounds the memory of GraSP's second derivatives


class TrainingFailed(RuntimeError):
    """The loss is no longer a finite number, so that there is nothing to go on with."""


class OutOfTime(RuntimeError):
    """The deadline has passed; the state after the last full epoch is in the checkpoint."""


def pick_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA when there is one, else the CPU. Raises `ValueError` for what is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not name.startswith("cuda"):
        raise ValueError(f"device {name!r} is not known: choose auto, cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: no CUDA device is available here; choose cpu")
    return torch.device(name)


def generator(seed: int, *role) -> torch.Generator:
    """A CPU generator of its own for one role of one seed, independent of all the others."""
    text = repr((seed, *role)).encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)


def learning_rate(config: RunConfig, epoch: int) -> float:
    """Learning rate of an epoch (from 0): divided by 10 at 1/2 and at 3/4 of the epochs (Table 1).

    A milestone that is no whole number of epochs takes effect with the first epoch after it.
    """
    passed = sum(epoch >= share * config.epochs for share in (0.5, 0.75))
    return config.lr / 10**passed


def attack_images(config: RunConfig, test_images: int) -> int:
    """How many test images are attacked: all after a full run, the first tenth after another.

    A run is full when it has all training images of its data set (`TRAIN_IMAGES`) and the epochs
    of the protocol: attacking 10,000 images takes a CPU longer than an epoch of training. The tenth
    is at least 100 images, and 1,000 for CIFAR.
    """
    full_data = config.train_images >= TRAIN_IMAGES[config.dataset]
    if full_data and config.epochs >= RunConfig.epochs:
        return test_images
    return min(test_images, max(test_images // 10, 100))


def draw_masks(config: RunConfig, model: nn.Module, dataset: data.Dataset) -> dict[str, Tensor]:
    """The masks of a run, before it trains; {} for a dense one.

    SNIP looks at the first `batch_size` images of the run's data order, GraSP at 25 images of each
    class, both without augmentation and at the initial weights.
    """
    if config.ratio == "dense":
        return {}
    inputs = targets = None
    if config.ratio in ("snip", "grasp"):
        inputs, targets = _saliency_batch(config, dataset)
    if config.mask_source == "own":
        score = saliency.SCORES[config.ratio]
        return masks.top_k_masks(
            score(model, inputs, targets, chunk_size=SALIENCY_CHUNK), config.sparsity
        )
    sparsities = ratios.layer_sparsities(
        config.ratio,
        model,
        config.sparsity,
        inputs=inputs,
        targets=targets,
        chunk_size=SALIENCY_CHUNK,
    )
    return masks.random_masks(model, sparsities, config.seed_mask, config.granularity)


def _saliency_batch(config: RunConfig, dataset: data.Dataset) -> tuple[Tensor, Tensor]:
    training, _ = dataset.split(config.train_images)
    labels = dataset.train_labels[training]
    if config.ratio == "grasp":
        index = saliency.class_balanced_batch(
            labels, saliency.GRASP_PER_CLASS, config.seed_data, dataset.num_classes
        )
    else:
        index = _epoch_plan(config, dataset.name, 0)[0][: config.batch_size]
    index = index.to(labels.device)
    return _normalize(dataset.train_images[training][index], dataset.name), labels[index]


def _normalize(images: Tensor, name: str) -> Tensor:
    """uint8 pixels to normalised float32, as `models.with_normalization` does with [0, 1]."""
    mean, std = (torch.tensor(v, device=images.device) for v in models.NORMALIZATION[name])
    scale, shift = 1 / (255 * std), mean / std
    return images.float().mul_(scale.view(1, -1, 1, 1)).sub_(shift.view(1, -1, 1, 1))


def _memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Channels last, which is the fastest, wherever it is safe.

    On a CPU oneDNN writes past its buffers in the backward pass of a strided 1x1 convolution with
    fewer input channels than a vector register holds numbers, and the process aborts: seen with
    torch 2.15 and AVX2, whose registers hold 8; those of AVX-512 hold 16.
    """
    risky = device.type == "cpu" and any(
        module.kernel_size == (1, 1) and module.stride != (1, 1) and module.in_channels < 16
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    )
    return torch.contiguous_format if risky else torch.channels_last


def _epoch_plan(config: RunConfig, name: str, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Order, crop offsets and flips of one epoch, drawn on the CPU for every device alike."""
    draw = generator(config.seed_data, "epoch", epoch)
    order = torch.randperm(config.train_images, generator=draw)
    reach = 2 * data.PADDING[name] + 1
    offsets = torch.randint(0, reach, (config.train_images, 2), generator=draw)
    mirrored = torch.rand(config.train_images, generator=draw) < 0.5
    if name not in data.FLIPPED:
        mirrored = torch.zeros_like(mirrored)
    return order, offsets, mirrored


class Run:
    """The state of one run in training: network, masks, optimiser, history, best validation."""

    def __init__(self, config: RunConfig, dataset: data.Dataset, device: torch.device):
        self.config, self.device = config, device
        self.dataset = dataset.to(device)
        self.training, self.validation = dataset.split(config.train_images)
        model = models.build_model(config.model, dataset.num_classes, config.seed_init)
        self.masks = draw_masks(config, model, dataset)
        if self.masks:
            masks.apply_masks(model, self.masks)
        self.memory_format = _memory_format(model, device)
        self.model = model.to(device, memory_format=self.memory_format)
        self.masks = {name: mask.to(device) for name, mask in self.masks.items()}
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.epoch = 0
        self.history = _empty_history()
        self.best = {"epoch": 0, "validation_accuracy": -1.0, "weights": {}}

    @property
    def checkpoint(self):
        """Where this run keeps its state between epochs."""
        return paths.checkpoint_path(run_id(self.config))

    def save(self):
        """Write the state after a full epoch, atomically."""
        state = {
            "config": asdict(self.config),
            "fingerprint": self.dataset.fingerprint,
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "masks": self.masks,
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(f".{os.getpid()}.tmp")
        try:
            torch.save(state, partial)
            partial.replace(self.checkpoint)
        finally:
            partial.unlink(missing_ok=True)

    def resume(self) -> bool:
        """Go on from the checkpoint when there is one of this config and data that can be read."""
        if not self.checkpoint.exists():
            return False
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            if state["config"] != asdict(self.config):
                return False
            if state["fingerprint"] != self.dataset.fingerprint:
                return False
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except Exception:  # a checkpoint that a full disk cut short is worth no more than none
            return False
        self.masks, self.epoch = state["masks"], state["epoch"]
        self.history, self.best = state["history"], state["best"]
        return True


def _empty_history() -> dict:
    columns = ("epoch", "lr", "train_loss", "train_accuracy")
    columns += ("validation_loss", "validation_accuracy")
    history = {name: [] for name in columns}
    return history | {"gradient_norm_at_init": None, "gradient_norm": {"epoch": [], "norm": []}}


def train(
    config: RunConfig,
    device: str = "auto",
    *,
    progress: bool = False,
    deadline: float | None = None,
) -> dict:
    """Train one run to its last epoch and measure it; the network itself is not kept.

    `deadline` is a `time.time()`: the first full epoch that ends after it is checkpointed and
    `OutOfTime` raised. Returns {layers, cost, history, test, data}. Raises `TrainingFailed` when
    the loss is not finite and `DataError` when the data is not there.
    """
    data.load_dataset(config.dataset, config.variant)
    ood_images = data.load_ood_images(config.dataset)  # before training: nothing is lost later
    run = _train_to_the_end(config, device, progress, deadline)
    with full_float32():
        result = _measure(run, ood_images)
    run.checkpoint.unlink(missing_ok=True)
    return result


def fit(config: RunConfig, device: str = "auto", *, progress: bool = False) -> "Run":
    """Train one run to its last epoch and return it, not measured: `model`, `masks`, `history`.

    For a study of the network itself; nothing is recorded. Raises what `train` raises.
    """
    run = _train_to_the_end(config, device, progress, None)
    run.checkpoint.unlink(missing_ok=True)
    return run


def _train_to_the_end(config, device, progress: bool, deadline: float | None) -> "Run":
    dataset = data.load_dataset(config.dataset, config.variant)
    with full_float32():
        run = Run(config, dataset, pick_device(device))
        if not run.resume():
            run.history["gradient_norm_at_init"] = initial_gradient_norm(run)
        _train_epochs(run, progress, deadline)
    return run


def _train_epochs(run: Run, progress: bool, deadline: float | None) -> None:
    config = run.config
    steps = math.ceil(config.train_images / config.batch_size)
    padded = data.pad_for_crops(
        run.dataset.train_images[run.training], data.PADDING[run.dataset.name]
    )
    bar = tqdm(
        total=config.epochs * steps,
        initial=run.epoch * steps,
        desc=f"{config.model} {config.ratio} {config.sparsity:g}",
        unit="step",
        disable=None if progress else True,  # None: shown on a terminal only
    )
    with bar:
        while run.epoch < config.epochs:
            _train_epoch(run, padded, bar)
            if run.masks:
                masks.assert_masked(run.model, run.masks)
            _validate(run)
            bar.set_postfix(validation=f"{run.history['validation_accuracy'][-1]:.1%}")
            run.save()
            if deadline is not None and time.time() > deadline and run.epoch < config.epochs:
                raise OutOfTime(f"stopped after epoch {run.epoch} of {config.epochs}")


def _train_epoch(run: Run, padded: Tensor, bar: tqdm) -> None:
    """One pass over the training images; pruned weights get no gradient and so stay zero."""
    config, device, model = run.config, run.device, run.model
    side = run.dataset.train_images.shape[-1]
    labels = run.dataset.train_labels[run.training]
    plan = [part.to(device) for part in _epoch_plan(config, run.dataset.name, run.epoch)]
    order, offsets, mirrored = (part.split(config.batch_size) for part in plan)
    rate = learning_rate(config, run.epoch)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    weights = models.maskable_weights(model)
    prunable = list(weights.values())
    pruned = [weights[name] for name in run.masks]
    keep = [run.masks[name].to(weights[name].dtype) for name in run.masks]
    mixed = config.precision == "bfloat16"
    losses, hits, norms = [], [], []
    model.train()
    for index, offset, mirror in zip(order, offsets, mirrored, strict=True):
        images = data.augment(padded, index, offset, mirror, side)
        images = images.contiguous(memory_format=run.memory_format)  # most often it is already
        with torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext():
            logits = model(_normalize(images, run.dataset.name))
        loss = F.cross_entropy(logits.float(), labels[index])
        loss.backward()
        if pruned:
            torch._foreach_mul_([weight.grad for weight in pruned], keep)
        gradients = [weight.grad for weight in prunable]
        norms.append(torch.stack(torch._foreach_norm(gradients)).norm())
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach() * len(index))
        hits.append((logits.detach().argmax(1) == labels[index]).sum())
        bar.update()
    run.epoch += 1
    _note_epoch(run, rate, torch.stack(losses), torch.stack(hits), torch.stack(norms))


def _note_epoch(run: Run, rate: float, losses: Tensor, hits: Tensor, norms: Tensor) -> None:
    count = run.config.train_images
    loss = losses.double().sum().item() / count
    if not math.isfinite(loss):
        raise TrainingFailed(f"the loss became {loss} in epoch {run.epoch}")
    history = run.history
    history["epoch"].append(run.epoch)
    history["lr"].append(rate)
    history["train_loss"].append(loss)
    history["train_accuracy"].append(hits.sum().item() / count)
    slices = min(GRADIENT_SLICES, len(norms)) if run.epoch <= FINE_EPOCHS else 1
    for number, part in enumerate(norms.double().tensor_split(slices), start=1):
        history["gradient_norm"]["epoch"].append(round(run.epoch - 1 + number / slices, 6))
        history["gradient_norm"]["norm"].append(part.mean().item())


def _validate(run: Run) -> None:
    """Loss and accuracy on the validation images, without augmentation, in float32."""
    model = models.with_normalization(run.model, run.dataset.name)
    logits = metrics.predict_logits(model, run.dataset.train_images[run.validation])
    labels = run.dataset.train_labels[run.validation]
    accuracy, loss = metrics.accuracy(logits, labels), F.cross_entropy(logits, labels).item()
    if not math.isfinite(loss):  # the last step of the epoch, whose loss nothing else would see
        raise TrainingFailed(f"the loss became {loss} at the end of epoch {run.epoch}")
    run.history["validation_loss"].append(loss)
    run.history["validation_accuracy"].append(accuracy)
    if accuracy > run.best["validation_accuracy"]:
        weights = {name: value.clone() for name, value in run.model.state_dict().items()}
        run.best = {"epoch": run.epoch, "validation_accuracy": accuracy, "weights": weights}


def initial_gradient_norm(run: Run) -> float:
    """Mean gradient norm over the first 10 batches of training images, before any step.

    In training mode, without augmentation, over unpruned conv and linear weights, in float32; the
    network is left as it was.
    """
    buffers = {name: value.clone() for name, value in run.model.named_buffers()}
    images = run.dataset.train_images[run.training].split(run.config.batch_size)
    labels = run.dataset.train_labels[run.training].split(run.config.batch_size)
    run.model.train()
    norms = []
    for batch, target in list(zip(images, labels, strict=True))[:INITIAL_BATCHES]:
        F.cross_entropy(run.model(_normalize(batch, run.dataset.name)), target).backward()
        norms.append(metrics.gradient_norm(run.model, run.masks or None))
        run.model.zero_grad(set_to_none=True)
    for name, value in run.model.named_buffers():
        value.copy_(buffers[name])
    return sum(norms) / len(norms)


def _measure(run: Run, ood_images: dict[str, Tensor]) -> dict:
    """All that a record says of the network after its last epoch."""
    dataset = run.dataset
    model = models.with_normalization(run.model, dataset.name)
    ood = {name: images.to(run.device) for name, images in ood_images.items()}
    test = evaluate(
        model,
        dataset.test_images,
        dataset.test_labels,
        ood,
        attack_images=attack_images(run.config, len(dataset.test_labels)),
    )
    run.model.load_state_dict(run.best["weights"])
    best = metrics.accuracy(metrics.predict_logits(model, dataset.test_images), dataset.test_labels)
    test["best_validation"] = {"epoch": run.best["epoch"], "accuracy": best}
    weights = models.maskable_weights(run.model)
    totals = {name: weight.numel() for name, weight in weights.items()}
    kept = totals | masks.mask_counts(run.masks)
    layers = [
        {"name": name, "shape": list(weight.shape), "kept": kept[name], "total": totals[name]}
        for name, weight in weights.items()
    ]
    shape = tuple(dataset.test_images.shape[1:])
    return {
        "layers": layers,
        "cost": cost(run.model, kept, shape),
        "history": run.history,
        "test": test,
        "data": {
            "source": dataset.source,
            "variant": dataset.variant,
            "fingerprint": dataset.fingerprint,
            "train": run.config.train_images,
            "validation": len(dataset.train_labels[run.validation]),
            "test": len(dataset.test_labels),
            "ood": {name: len(images) for name, images in ood_images.items()},
        },
    }
