"""Names and numbers as the text writes them."""

import pytest
from matplotlib import pyplot as plt

from randprune_core.presentation import words


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("resnet-20", "ResNet-20"),
        ("resnet-20-8", "ResNet-20-8"),
        ("vgg-16", "VGG-16"),
        ("resnet50", "ResNet-50"),
        ("wide_resnet50_2", "Wide ResNet-50-2"),
    ],
)
def test_model_names_are_written_as_in_the_text(name, label):
    assert words.model_label(name) == label
