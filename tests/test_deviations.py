"""What the page of deviations says of this project is what the code does."""

import re

import pytest

from randprune_core import paths
from randprune_core.config import RunConfig
from randprune_core.datasets import DATASETS
from randprune_core.models import build_model
from randprune_core.pruning.ratios import kept_count
from randprune_core.training.protocol import WARM_UP_EPOCHS, imagenet_recipe, learning_rate

PAGE = (paths.BOOK / "deviations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        r"\.2023, \.1994, \.2010 \[R\]",
        r"CIFAR-100 are padded with zeros.*By reflection both",
        r"bias of the last layer of a ResNet starts uniform.*At zero",
        r"\(e \+ 1\) / \(w \+ 1\).*\(e \+ 1\) / w",
        r"two halves of its batch, sorted by class.*classes take turns",
        r"rounded down.*Rounded to the nearest",
        r"Xavier",
        r"all 50,000 training images.*45,000",
        r"fan-out.*fan-in",
        r"OpenOOD and pytorch-ood take the OoD images as positive",
    ],
)
def test_a_deviation_is_listed_with_both_sides_in_one_row(words):
    assert any(re.search(words, line) for line in PAGE.splitlines() if line.startswith("|"))


def test_our_side_of_the_rows_is_what_the_code_does():
    std = DATASETS["cifar10"].normalization[1]
    assert ", ".join(f"{value:.4f}"[1:] for value in std) in PAGE
    assert not build_model("resnet-8").linear.bias.any()
    assert not build_model("vgg-11").linear.bias.any()
    config = RunConfig(dataset="imagenet", train_images=9_000, **imagenet_recipe("dense"))
    assert config.nesterov and learning_rate(config, 0) == pytest.approx(0.4 / WARM_UP_EPOCHS)
    assert learning_rate(config, WARM_UP_EPOCHS - 1) == pytest.approx(0.4)
    assert kept_count(0.5, 7) == round(3.5) and kept_count(0.25, 5) == 4  # 3.75
