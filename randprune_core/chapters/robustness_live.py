"""Two small networks trained on the spot and attacked, so that single images can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..config import RunConfig
from ..metrics.attacks import pgd
from ..metrics.predict import predict_logits
from ..models import with_normalization
from ..presentation.theme import LABELS
from ..pruning.layers import maskable_weights
from ..pruning.masks import mask_counts
from ..sweeps.profiles import PROFILES
from ..training import engine
from ..training.train import fit

EPSILON = 8 / 255
STEPS = 10


@dataclass(frozen=True)
class Attacked:
    """A network's test images before and after PGD, and what it says of them.

    `images` and `perturbed` are (n, 3, h, w) in [0, 1]; `targets`, `before` and `after` classes
    (n,); `confidence_before` and `confidence_after` its probabilities of these.
    """

    name: str
    epsilon: float
    images: np.ndarray
    perturbed: np.ndarray
    targets: np.ndarray
    before: np.ndarray
    after: np.ndarray
    confidence_before: np.ndarray
    confidence_after: np.ndarray

    def is_right(self, place: int) -> bool:
        """Whether the network is right on the attacked image."""
        return bool(self.after[place] == self.targets[place])

    def says(self, place: int, clean: bool = False) -> str:
        """The answer and its confidence, `8, 97 %`; with the name for the clean image."""
        answer, sure = (
            (self.before, self.confidence_before) if clean else (self.after, self.confidence_after)
        )
        return f"{self.name + ': ' if clean else ''}{answer[place]}, {100 * sure[place]:.0f} %"


def train_networks(
    device: str = "auto", sparsity: float = 0.9, train_images: int = 800
) -> dict[str, engine.Run]:
    """ResNet-8 on digits, dense and with ERK, trained now and not recorded; a few seconds each."""
    common = PROFILES["quick"] | {"model": "resnet-8", "train_images": train_images}
    dense = RunConfig(**common)
    sparse = RunConfig(**common, ratio="erk", sparsity=sparsity)
    names = {"dense": dense, f"{LABELS['erk']} {sparsity:g}": sparse}
    return {name: fit(config, device) for name, config in names.items()}


def attack(
    networks: Mapping[str, engine.Run], epsilon: float = EPSILON, count: int = 100
) -> list[Attacked]:
    """The first test images under PGD (ten steps of epsilon / 4, random start), by network."""
    found = []
    for name, run in networks.items():
        model = with_normalization(run.model, run.dataset.name)
        images = run.dataset.test_images[:count].float() / 255
        targets = run.dataset.test_labels[:count]
        perturbed = pgd(model, images, targets, epsilon, epsilon / 4, STEPS, seed=0)
        answers = [predict_logits(model, batch).softmax(1).max(1) for batch in (images, perturbed)]
        pictures = [batch.cpu().numpy() for batch in (images, perturbed)]
        classes = [answer.indices.cpu().numpy() for answer in answers]
        sure = [answer.values.cpu().numpy() for answer in answers]
        truth = targets.cpu().numpy()
        found.append(Attacked(name, epsilon, *pictures, truth, *classes, *sure))
    return found


def choose(examples: Sequence[Attacked], count: int = 3) -> list[int]:
    """The first images that all networks get right and the attack turns for at least one.

    Where there are too few of them, the first other images fill up.
    """
    right = np.all([example.before == example.targets for example in examples], axis=0)
    turned = np.any([example.after != example.targets for example in examples], axis=0)
    wanted = np.flatnonzero(right & turned)
    return [*wanted, *np.flatnonzero(~(right & turned))][:count]


def facts(networks: Mapping[str, engine.Run], examples: Sequence[Attacked]) -> list[str]:
    """What holds on every machine: weights kept, masked weights zero, images inside the ball."""
    lines = []
    for (name, run), example in zip(networks.items(), examples, strict=True):
        weights = maskable_weights(run.model)
        total = sum(weight.numel() for weight in weights.values())
        kept = sum(mask_counts(run.masks).values()) if run.masks else total
        zero = all(not torch.any(weights[layer][~mask]) for layer, mask in run.masks.items())
        change = np.abs(example.perturbed.astype(float) - example.images).max()
        inside = bool(change <= example.epsilon) and example.perturbed.min() >= 0
        inside = bool(inside and example.perturbed.max() <= 1)
        lines.append(
            f"{name}: {kept:,} of {total:,} weights, masked weights zero: {zero}\n"
            f"  {len(example.images)} attacked images, all within ε and in [0, 1]: {inside}"
        )
    return lines


def accuracies(examples: Sequence[Attacked]) -> list[str]:
    """Accuracy before and after the attack; it differs between machines."""
    return [
        f"{example.name}: {np.mean(example.before == example.targets):.1%} of these images right, "
        f"{np.mean(example.after == example.targets):.1%} under attack"
        for example in examples
    ]
