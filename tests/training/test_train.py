"""Training: masks hold, seeds do what they say, an independent loop agrees."""

import math

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY, files_under, tiny

from randprune_core.config import RunConfig
from randprune_core.data import loading
from randprune_core.datasets import DATASETS
from randprune_core.metrics import predict
from randprune_core.models import build_model, with_normalization
from randprune_core.pruning import masks
from randprune_core.pruning.layers import maskable_weights
from randprune_core.training import engine
from randprune_core.training import train as train_module
from randprune_core.training.engine import Run, TrainingFailed
from randprune_core.training.protocol import draw_masks, epoch_plan
from randprune_core.training.train import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    return loading.load_dataset("digits")


def weights_of(run) -> dict:
    return {name: weight.detach() for name, weight in maskable_weights(run.model).items()}


def equal(first: dict, second: dict) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


def test_more_images_than_there_are_is_refused_before_training(store):
    with pytest.raises(ValueError, match=r"train_images 1400: digits has 1294 \(1437 less 143"):
        train(tiny(train_images=1_400), "cpu")
    assert files_under(store) == []


def test_a_loss_that_is_not_finite_fails_the_run(unmeasured):
    with pytest.raises(TrainingFailed, match=r"the loss became (nan|inf) in epoch \d"):
        train(tiny(lr=1e30, epochs=3), "cpu")


def test_weights_that_the_very_last_step_ruins_fail_the_run(unmeasured, store):
    with pytest.raises(TrainingFailed, match=r"the loss became (nan|inf) at the end of epoch 1"):
        train(tiny(lr=1e30, epochs=1, train_images=50), "cpu")
    assert files_under(store) == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ratio": "snip", "mask_source": "own"},
        {"ratio": "uniform", "sparsity": 0.5, "granularity": "2:4"},
        {"granularity": "filter", "sparsity": 0.5},
        {"nesterov": False, "momentum": 0.0},
    ],
)
def test_pruned_weights_are_exactly_zero_after_training_and_the_others_are_not(unmeasured, changes):
    run = train(tiny(**{"epochs": 1} | changes), "cpu")
    assert set(run.masks) == set(maskable_weights(run.model))
    for name, weight in weights_of(run).items():
        assert torch.count_nonzero(weight[~run.masks[name]]) == 0
        assert torch.all(weight[run.masks[name]] != 0)


def test_a_pruned_weight_that_is_not_zero_stops_the_run(unmeasured, monkeypatch):
    validate, seen = Run._validate, []

    def corrupt(run):
        validate(run)
        seen.append(run.epoch)
        weight = maskable_weights(run.model)["stage2.0.conv1.weight"]
        pruned = (~run.masks["stage2.0.conv1.weight"]).nonzero()[0]
        with torch.no_grad():
            weight[tuple(pruned)] = 1e-30

    monkeypatch.setattr(Run, "_validate", corrupt)
    with pytest.raises(RuntimeError, match=r"stage2\.0\.conv1\.weight.*not zero"):
        train(tiny(), "cpu")
    assert seen == [1]


def test_each_seed_changes_its_own_part_and_nothing_else(digits):
    def parts(**seeds):
        config = tiny(**seeds)
        model = build_model(config.model, 10, config.seed_init)
        run = Run(config, CPU)
        kept = {name: weights_of(run)[name][mask] for name, mask in run.masks.items()}
        dense = {name: w.detach()[run.masks[name]] for name, w in maskable_weights(model).items()}
        assert equal(kept, dense)  # masking moved no weight
        initial = {name: weight.detach() for name, weight in maskable_weights(model).items()}
        plan = dict(enumerate(epoch_plan(config, 0)))
        return initial, run.masks, plan

    base = parts()
    for changed, seed in enumerate(("seed_init", "seed_mask", "seed_data")):
        other = parts(**{seed: 1})
        same = [equal(a, b) for a, b in zip(base, other, strict=True)]
        assert same == [place != changed for place in range(3)], seed


def test_each_seed_changes_the_outcome_and_the_same_seeds_repeat_it(unmeasured):
    base = train(tiny(epochs=1), "cpu").history
    torch.manual_seed(99)
    assert train(tiny(epochs=1), "cpu").history == base
    losses = {base["train_loss"][0]}
    for seed in ("seed_init", "seed_mask", "seed_data"):
        losses.add(train(tiny(epochs=1, **{seed: 1}), "cpu").history["train_loss"][0])
    assert len(losses) == 4


def test_training_leaves_the_global_generator_alone(unmeasured):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    train(tiny(epochs=1), "cpu")
    assert torch.equal(torch.get_rng_state(), state)


def plain_loop(config: RunConfig, digits) -> dict:
    """The same protocol written plainly: torch.nn.utils.prune, one image augmented at a time.

    Channels last as in the engine: PyTorch's batch norm differs by 1e-5 between the two layouts,
    which flips the sign of single ReLU inputs, and that is far more than rounding.
    """
    model = build_model(config.model, 10, config.seed_init)
    if config.ratio != "dense":
        model = masks.to_torch_prune(model, draw_masks(config, model, digits))
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        foreach=False,
        fused=False,
    )
    assert config.epochs % 4 == 0
    milestones = [config.epochs // 2, config.epochs // 4 * 3]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)
    convs = [p for name, p in model.named_parameters() if p.ndim > 1]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in DATASETS["digits"].normalization)
    pixels = digits.train_images[: config.train_images].float() / 255
    seen = {"train_loss": [], "train_accuracy": [], "validation_loss": [], "norm": [], "lr": []}
    for epoch in range(config.epochs):
        order, offsets, _ = epoch_plan(config, epoch)
        model.train()
        loss_sum = right = 0
        seen["lr"].append(optimizer.param_groups[0]["lr"])
        for start in range(0, config.train_images, config.batch_size):
            crops = []
            for place in range(start, min(start + config.batch_size, config.train_images)):
                padded = F.pad(pixels[order[place]][None], (2, 2, 2, 2), mode="reflect")[0]
                top, left = offsets[place].tolist()
                crops.append(padded[:, top : top + 16, left : left + 16])
            labels = digits.train_labels[order[start : start + config.batch_size]]
            images = (torch.stack(crops) - mean) / std
            logits = model(images.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            seen["norm"].append(math.sqrt(sum(float(p.grad.square().sum()) for p in convs)))
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            right += int((logits.argmax(1) == labels).sum())
        schedule.step()
        model.eval()
        kept = config.train_images // 9
        with torch.no_grad():
            logits = model((digits.train_images[-kept:].float() / 255 - mean) / std)
        seen["train_loss"].append(loss_sum / config.train_images)
        seen["train_accuracy"].append(right / config.train_images)
        seen["validation_loss"].append(F.cross_entropy(logits, digits.train_labels[-kept:]).item())
    return {**seen, "logits": logits, "model": model}


@pytest.mark.parametrize(
    "changes",
    [{}, {"ratio": "dense", "sparsity": 0.0, "nesterov": False}],
    ids=["erk", "dense"],
)
def test_the_engine_equals_a_plain_pytorch_loop(unmeasured, digits, changes):
    # 105 images make a last batch of 5, which must weigh as 5 images and not as a whole batch.
    # They agree to 1e-6 here; the tolerances leave room for one ReLU that flips on another machine.
    # The weight decay is a hundredfold the usual, so that its absence would be seen.
    config = tiny(lr=0.005, weight_decay=0.05, epochs=4, train_images=105, **changes)
    expected = plain_loop(config, digits)
    run = train(config, "cpu")
    history = run.history
    for name in ("lr", "train_loss", "validation_loss"):
        assert history[name] == pytest.approx(expected[name], rel=1e-3), name
    assert history["train_accuracy"] == pytest.approx(expected["train_accuracy"], abs=1.5 / 105)
    # Three batches an epoch: every recorded norm is that of one batch, before its step. The plain
    # loop's gradients of pruned weights are zero, so these are norms over unpruned weights only.
    assert history["gradient_norm"]["norm"] == pytest.approx(expected["norm"], rel=2e-2)
    held_out = digits.train_images[run.batches.validation]
    model = with_normalization(run.model, "digits")
    logits = predict.predict_logits(model, held_out)
    torch.testing.assert_close(logits, expected["logits"], rtol=1e-3, atol=1e-3)
    plain = dict(expected["model"].named_modules())
    for name, weight in weights_of(run).items():
        other = plain[name.rpartition(".")[0]].weight.detach()
        assert (weight - other).norm() < 1e-3 * other.norm(), name


def test_the_history_has_ten_gradient_norms_an_epoch_for_five_epochs_and_then_one(unmeasured):
    config = tiny(train_images=48, batch_size=4, epochs=7, lr=0.01)
    history = train(config, "cpu").history
    assert history["epoch"] == [1, 2, 3, 4, 5, 6, 7]
    columns = set(history) - {"gradient_norm", "gradient_norm_at_init"}
    assert {len(history[name]) for name in columns} == {7}
    recorded = history["gradient_norm"]
    fine = [round(tenth / 10, 6) for tenth in range(1, 51)]
    assert recorded["epoch"] == [*fine, 6.0, 7.0]
    assert len(recorded["norm"]) == 52 and all(norm > 0 for norm in recorded["norm"])
    assert history["lr"] == pytest.approx([0.01] * 4 + [0.001] * 2 + [0.0001])


def test_an_epoch_of_fewer_than_ten_batches_has_one_norm_a_batch(unmeasured):
    history = train(tiny(epochs=1, train_images=90, batch_size=30), "cpu").history
    assert history["gradient_norm"]["epoch"] == pytest.approx([1 / 3, 2 / 3, 1], abs=1e-6)


def test_a_later_epochs_norm_is_the_mean_over_its_batches(unmeasured, monkeypatch):
    config = tiny(epochs=1, train_images=90, batch_size=30)
    one_by_one = train(config, "cpu").history["gradient_norm"]["norm"]
    monkeypatch.setattr(engine, "FINE_EPOCHS", 0)
    together = train(config, "cpu").history["gradient_norm"]
    assert together == {"epoch": [1.0], "norm": [pytest.approx(sum(one_by_one) / 3)]}


def test_the_initial_gradient_norm_is_over_unpruned_weights_of_the_first_batches(store, digits):
    run = Run(tiny(), CPU)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.note_initial_gradient_norm()
    found = run.history["gradient_norm_at_init"]
    assert equal(before, run.model.state_dict())
    assert all(p.grad is None for p in run.model.parameters())
    model = build_model("resnet-8")
    masks.apply_masks(model, run.masks)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in DATASETS["digits"].normalization)
    norms = []
    for start in range(0, 200, 50):
        images = (digits.train_images[start : start + 50].float() / 255 - mean) / std
        model.zero_grad()
        F.cross_entropy(model(images), digits.train_labels[start : start + 50]).backward()
        kept = [w.grad[run.masks[name]] for name, w in maskable_weights(model).items()]
        norms.append(torch.cat(kept).norm().item())
    assert found == pytest.approx(sum(norms) / 4, rel=1e-4)


def test_the_best_validation_epoch_is_the_first_of_the_best(unmeasured):
    run = train(tiny(epochs=3), "cpu")
    accuracies = run.history["validation_accuracy"]
    assert run.best["epoch"] == 1 + accuracies.index(max(accuracies))
    assert run.best["validation_accuracy"] == max(accuracies)


def test_bfloat16_trains_and_differs_from_float32_in_the_small(unmeasured):
    config = {"epochs": 1, "train_images": 32, "batch_size": 16, "lr": 0.01}
    full = train(tiny(**config), "cpu")
    mixed = train(tiny(**config, precision="bfloat16"), "cpu")
    assert mixed.history["gradient_norm_at_init"] == full.history["gradient_norm_at_init"]
    assert mixed.history["train_loss"] != full.history["train_loss"]
    assert mixed.history["train_loss"] == pytest.approx(full.history["train_loss"], rel=0.05)
    assert all(weight.dtype == torch.float32 for weight in maskable_weights(mixed.model).values())
    assert masks.model_sparsity(mixed.model) == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize("width", [1, 4])
def test_a_narrow_network_trains(unmeasured, width):
    run = train(tiny(model=f"resnet-8-{width}", sparsity=0.3, epochs=1, train_images=50), "cpu")
    assert math.isfinite(run.history["train_loss"][0])


def test_fit_returns_the_trained_network_and_records_nothing(store, trained):
    run = train_module.fit(tiny(), "cpu")
    assert run.history == trained.record["history"]
    masks.assert_masked(run.model, run.masks)
    assert files_under(store) == []


def test_training_again_gives_the_same_record_to_the_last_bit(trained, store):
    result = train(RunConfig(**TINY), "cpu")
    for section in ("layers", "cost", "history", "test"):
        assert result[section] == trained.record[section], section
