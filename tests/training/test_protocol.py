"""What is fixed before training: masks, data order and learning rates."""

import pytest
import torch
from conftest import tiny

from randprune_core.config import RunConfig
from randprune_core.data import loading
from randprune_core.datasets import DATASETS
from randprune_core.models import build_model
from randprune_core.pruning import masks, saliency
from randprune_core.pruning.layers import maskable_weights
from randprune_core.training.protocol import (
    attack_images,
    draw_masks,
    epoch_plan,
    learning_rate,
    pgd_images,
)
from randprune_core.training.train import train


@pytest.fixture(scope="module")
def digits():
    return loading.load_dataset("digits")


def equal(first: dict, second: dict) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


def test_a_dense_run_has_no_masks_and_no_zero_weights(unmeasured, digits):
    config = tiny(ratio="dense", sparsity=0.0, epochs=1)
    assert draw_masks(config, build_model("resnet-8"), digits) == {}
    run = train(config, "cpu")
    assert run.masks == {} and masks.model_sparsity(run.model) == 0


@pytest.mark.parametrize("ratio", ["snip", "grasp"])
def test_a_criterions_ratio_keeps_its_counts_and_redraws_its_places(digits, ratio):
    model = build_model("resnet-8", seed=0)
    config = {"ratio": ratio, "sparsity": 0.5, "train_images": 600}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = draw_masks(tiny(**config, mask_source="own"), model, digits)
    redrawn = draw_masks(tiny(**config), model, digits)
    counts = masks.mask_counts(own)
    assert all(counts.values())
    assert counts == masks.mask_counts(redrawn)
    partly = [name for name, mask in own.items() if 0 < counts[name] < mask.numel()]
    assert partly and not any(torch.equal(own[name], redrawn[name]) for name in partly)
    assert equal(before, model.state_dict())
    for mask_seed, same in ((0, True), (1, False)):
        repeated = draw_masks(tiny(**config, seed_mask=mask_seed), model, digits)
        assert equal(repeated, redrawn) == same


def test_snips_own_mask_is_the_top_of_its_scores_on_the_first_batch_of_the_run(digits):
    config = tiny(ratio="snip", sparsity=0.8, mask_source="own", batch_size=64)
    model = build_model("resnet-8", seed=0)
    order = epoch_plan(config, 0)[0][:64]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in DATASETS["digits"].normalization)
    images = (digits.train_images[order].float() / 255 - mean) / std
    scores = saliency.snip_scores(model, images, digits.train_labels[order])
    drawn = draw_masks(config, model, digits)
    total = sum(weight.numel() for weight in maskable_weights(model).values())
    assert sum(masks.mask_counts(drawn).values()) == round(0.2 * total)
    differing = sum(
        int((drawn[name] != mask).sum()) for name, mask in masks.top_k_masks(scores, 0.8).items()
    )
    assert differing <= 4  # the pixels are normalised in another order of operations here


def test_grasp_says_which_class_has_too_few_images(digits):
    with pytest.raises(ValueError, match=r"class 0 has \d+ images, but 25"):
        draw_masks(tiny(ratio="grasp", train_images=100), build_model("resnet-8"), digits)


def test_an_epochs_plan_visits_every_image_once_and_differs_from_the_next():
    config = RunConfig(train_images=1_000)
    order, offsets, mirrored = epoch_plan(config, 0)
    assert torch.equal(order.sort().values, torch.arange(1_000))
    assert offsets.shape == (1_000, 2) and offsets.min() == 0 and offsets.max() == 8
    assert 0.4 < mirrored.float().mean() < 0.6
    assert not torch.equal(order, epoch_plan(config, 1)[0])
    _, offsets, mirrored = epoch_plan(tiny(train_images=1_000), 0)
    assert not mirrored.any()  # a mirrored digit is none
    assert offsets.max() == 4


def test_the_learning_rate_falls_tenfold_at_epochs_80_and_120_of_160():
    config = RunConfig()
    rates = [learning_rate(config, epoch) for epoch in range(160)]
    assert rates[:80] == [0.1] * 80
    assert rates[80:120] == pytest.approx([0.01] * 40)
    assert rates[120:] == pytest.approx([0.001] * 40)


@pytest.mark.parametrize(
    ("epochs", "rates"),
    [(1, [1]), (2, [1, 0.1]), (4, [1, 1, 0.1, 0.01]), (5, [1, 1, 1, 0.1, 0.01])],
)
def test_the_milestones_of_short_schedules_fall_on_whole_epochs(epochs, rates):
    config = RunConfig(epochs=epochs, lr=1.0)
    assert [learning_rate(config, epoch) for epoch in range(epochs)] == pytest.approx(rates)


def test_a_full_run_is_attacked_on_all_test_images_and_another_on_a_tenth():
    assert attack_images(RunConfig(train_images=45_000), 10_000) == 10_000
    assert attack_images(RunConfig(train_images=10_000), 10_000) == 1_000
    assert attack_images(RunConfig(epochs=1), 10_000) == 1_000
    assert (
        attack_images(
            RunConfig(dataset="digits", train_images=DATASETS["digits"].train_images), 360
        )
        == 360
    )
    assert attack_images(tiny(), 360) == 100
    assert attack_images(tiny(), 60) == 60


def test_pgd_at_1_255_attacks_all_images_of_a_run_of_full_length():
    assert pgd_images(RunConfig(train_images=5_000), 10_000) == {"1": 10_000}
    assert pgd_images(RunConfig(train_images=5_000, epochs=159), 10_000) == {}
