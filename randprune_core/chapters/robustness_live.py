"""Two small networks trained on the spot and attacked, so that single images can be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..config import RunConfig
from ..metrics.attacks import pgd
from ..metrics.predict import predict_logits
from ..models import with_normalization
from ..presentation.theme import LABELS, WIDTH, use_theme
from ..sweeps.profiles import PROFILES
from ..training import engine
from ..training.train import fit

EPSILON = 8 / 255


@dataclass(frozen=True)
class Attacked:
    """A network's test images before and after PGD, and what it says of them.

    `images` and `perturbed` are (n, 3, h, w) in [0, 1], `targets` classes (n,); `before` and
    `after` are pairs of its answers (n,) and its confidence in these.
    """

    name: str
    epsilon: float
    images: np.ndarray
    perturbed: np.ndarray
    targets: np.ndarray
    before: tuple[np.ndarray, np.ndarray]
    after: tuple[np.ndarray, np.ndarray]

    def says(self, place: int, clean: bool = False) -> str:
        """The answer and its confidence, `8, 97 %`; with the name for the clean image."""
        answer, sure = (part[place] for part in (self.before if clean else self.after))
        return f"{self.name + ': ' if clean else ''}{answer}, {100 * sure:.0f} %"


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
        perturbed = pgd(model, images, targets, epsilon, epsilon / 4, 10, seed=0)
        answers = [predict_logits(model, batch).softmax(1).max(1) for batch in (images, perturbed)]
        pictures = [batch.cpu().numpy() for batch in (images, perturbed, targets)]
        said = [(best.indices.cpu().numpy(), best.values.cpu().numpy()) for best in answers]
        found.append(Attacked(name, epsilon, *pictures, *said))
    return found


def choose(examples: Sequence[Attacked], count: int = 3) -> list[int]:
    """The first images that all networks get right and the attack turns for at least one.

    Where there are too few of them, the first other images fill up.
    """
    right = np.all([example.before[0] == example.targets for example in examples], axis=0)
    turned = np.any([example.after[0] != example.targets for example in examples], axis=0)
    wanted = np.flatnonzero(right & turned)
    return [*wanted, *np.flatnonzero(~(right & turned))][:count]


def example_figure(examples: Sequence[Attacked], places: Sequence[int]) -> Figure:
    """A row a test image: as it is, then for each network its perturbation and what it then says.

    Perturbations are amplified: black is −ε, white +ε, mid-grey no change. Wrong answers are bold.
    """
    use_theme()
    shape, size = (len(places), 1 + 2 * len(examples)), (WIDTH, 1.55 * len(places) + 0.4)
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained")
    for row, place in zip(axes, places, strict=True):
        clean = "\n".join(example.says(place, clean=True) for example in examples)
        _show(row[0], examples[0].images[place], clean)
        for example, change, attacked in zip(examples, row[1::2], row[2::2], strict=True):
            moved = example.perturbed[place] - example.images[place]
            _show(change, 0.5 + moved / (2 * example.epsilon), "")
            right = example.after[0][place] == example.targets[place]
            weight = "normal" if right else "bold"
            _show(attacked, example.perturbed[place], example.says(place), weight)
    axes[0, 0].set_title("test image")
    for position, example in enumerate(examples):
        axes[0, 1 + 2 * position].set_title(f"{example.name}:\nchange")
        axes[0, 2 + 2 * position].set_title(f"{example.name}:\nattacked")
    return figure


def _show(axis: Axes, pixels: np.ndarray, text: str, weight: str = "normal") -> None:
    axis.imshow(np.clip(pixels.transpose(1, 2, 0), 0, 1), interpolation="nearest")
    axis.set_xlabel(text, fontsize=8, weight=weight)
    axis.set(xticks=[], yticks=[])
