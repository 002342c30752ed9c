"""Budgets that whole weights miss, and classes that are cut off, are said with their numbers."""

import re
import warnings
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from randprune_core.models import build_model
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.masks import mask_counts, random_masks, top_k_masks
from randprune_core.pruning.ratios import layer_sparsities

BUDGET = r"masks keep ([\d,]+) of ([\d,]+) weights, and the budget is ([\d,]+)"


def messages(call) -> tuple[object, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, [str(each.message) for each in caught]


def numbers(texts: list[str]) -> list[tuple[int, ...]]:
    found = (re.search(BUDGET, text) for text in texts)
    return [tuple(int(n.replace(",", "")) for n in m.groups()) for m in found if m]


def stack(*widths: int) -> nn.Sequential:
    return nn.Sequential(*[nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)])


def test_the_minimum_of_one_weight_a_layer_is_said_with_both_numbers():
    model = build_model("resnet-20")
    expected = [(38, 270_896, 27)]
    found, said = messages(lambda: layer_sparsities("uniform", model, 0.9999))
    assert numbers(said) == expected
    masks, said = messages(lambda: random_masks(model, found))
    assert numbers(said) == expected and sum(mask_counts(masks).values()) == 38


def test_rounding_that_adds_up_over_many_layers_is_said():
    model = nn.Sequential(*[nn.Linear(3, 1) for _ in range(100)])
    found, said = messages(lambda: layer_sparsities("uniform", model, 0.5))
    assert numbers(said) == [(200, 300, 150)]
    assert numbers(messages(lambda: random_masks(model, found))[1]) == [(200, 300, 150)]


@given(
    widths=st.lists(st.integers(1, 12), min_size=3, max_size=6),
    sparsity=st.fractions(0, Fraction(99, 100), max_denominator=100),
    ratio=st.sampled_from(["uniform", "erk"]),
)
@settings(max_examples=80, deadline=None)
def test_a_warning_stands_exactly_where_more_than_one_percent_is_missed(widths, sparsity, ratio):
    model = stack(*widths)
    found, said = messages(lambda: layer_sparsities(ratio, model, float(sparsity)))
    masks = messages(lambda: random_masks(model, found))[0]
    kept = sum(mask_counts(masks).values())
    total = sum(weight.numel() for weight in maskable_weights(model).values())
    budget = (1 - sparsity) * total
    off = abs(kept - max(round(float(budget)), 1)) * 100
    if abs(off - budget) > 1e-6:  # not at the edge, where a float decides
        assert bool(numbers(said)) == (off > budget)
    assert all(n[:2] == (kept, total) and abs(n[2] - budget) <= 1 for n in numbers(said))


@pytest.mark.parametrize("name", ["resnet-8", "resnet-20", "resnet-20-4", "vgg-11"])
@pytest.mark.parametrize("ratio", ["uniform", "uniform_plus", "erk", "erk_plus"])
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_the_paper_s_sparsities_meet_their_budget_without_a_word(name, ratio, sparsity):
    with torch.device("meta"):
        model = build_model(name)
    assert messages(lambda: layer_sparsities(ratio, model, sparsity))[1] == []


def test_whole_filters_that_miss_the_budget_are_said():
    model = build_model("resnet-20")
    sparsities = layer_sparsities("uniform", model, 0.9)
    masks, said = messages(lambda: random_masks(model, sparsities, 0, "filter"))
    assert numbers(said) == [(sum(mask_counts(masks).values()), 270_896, 27_090)]


def cut_off(mask: torch.Tensor) -> list[int]:
    return [row for row in range(len(mask)) if not any(mask[row].flatten().tolist())]


@given(
    seed=st.integers(0, 50),
    sparsity=st.floats(0, 0.99),
    granularity=st.sampled_from(["filter", "unstructured"]),
)
@settings(max_examples=30, deadline=None)
def test_random_masks_name_every_class_that_is_cut_off(seed, sparsity, granularity):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 7))
    sparsities = dict.fromkeys(maskable_weights(model), sparsity)
    masks, said = messages(lambda: random_masks(model, sparsities, seed, granularity))
    cut = cut_off(masks["2.weight"])
    said = [text for text in said if "classes" in text]
    if not cut:
        assert said == []
        return
    listed = ", ".join(map(str, cut))
    assert said[0].startswith(
        f"layer '2.weight' leaves {len(cut)} of 7 classes without a weight: {listed};"
    )


def test_filter_masks_at_99_percent_leave_classes_without_a_weight_and_say_so():
    model = build_model("resnet-8")
    sparsities = layer_sparsities("uniform", model, 0.99)
    masks, said = messages(lambda: random_masks(model, sparsities, 0, "filter"))
    assert len(cut_off(masks["linear.weight"])) >= 4
    assert any("'linear.weight' leaves" in text for text in said)


def test_top_k_masks_name_the_classes_and_an_emptied_layer_once():
    scores = {"conv.weight": torch.ones(2, 2, 1, 1), "linear.weight": torch.zeros(3, 2)}
    scores["linear.weight"][1] = 2.0
    said = messages(lambda: top_k_masks(scores, 0.4))[1]
    (text,) = said
    assert text.startswith("layer 'linear.weight' leaves 2 of 3 classes without a weight: 0, 2;")
    scores["linear.weight"][:] = 0.0
    said = messages(lambda: top_k_masks(scores, 0.7))[1]
    assert len(said) == 1 and "without a weight: linear.weight" in said[0]


def test_a_network_without_a_linear_layer_has_no_class_to_name():
    model = nn.Conv2d(3, 4, 3)
    assert messages(lambda: random_masks(model, {"weight": 0.9}))[1] == []


def test_warnings_point_at_the_caller():
    model = stack(4, 4, 7)
    with pytest.warns(RuntimeWarning) as caught:
        random_masks(model, layer_sparsities("uniform", model, 0.97))
    assert {each.filename for each in caught} == {__file__}
