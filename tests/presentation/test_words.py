"""Names and numbers as the text writes them."""

import math

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


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Intel(R) Xeon(R) Processor", "Intel Xeon"),
        ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "Intel Core i7-8700 @ 3.20GHz"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"),
        ("CPU", "CPU"),
    ],
)
def test_processors_are_named_without_the_marks_of_their_makers(name, label):
    assert words.processor_label(name) == label


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ([1, 2, 3], "1, 2 and 3")]
)
def test_listing_joins_with_commas_and_an_and(items, text):
    assert words.listing(items) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0022, 3, "0.003"),
        (0.003, 3, "0.003"),
        (5.1, 0, "6"),
        (5.0, 0, "5"),
        (0.1 + 0.2, 1, "0.3"),
        (-0.25, 1, "−0.2"),
        (math.nan, 1, "–"),
    ],
)
def test_a_bound_is_rounded_up(value, digits, text):
    assert words.at_most(value, digits) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((62.54, math.nan, math.nan), "62.5 ○"),
        ((62.54, 62.04, 63.04), "62.5 ± 0.5"),
        ((-1.26,), "−1.3"),
        ((-0.01,), "0.0"),
        ((-0.01, -0.03, 0.01, 2), "−0.01 ± 0.02"),
        ((math.nan, math.nan, math.nan), "–"),
        ((math.nan,), "–"),
    ],
)
def test_plus_minus_has_half_of_the_interval_or_marks_one_seed(numbers, text):
    assert words.plus_minus(*numbers) == text.replace(" ", "\u00a0")
