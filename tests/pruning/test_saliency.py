"""SNIP and GraSP: edge cases, independent float64 oracles, and a model left as it was found."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from randprune_core.models import build_model, with_normalization
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.saliency import SCORES, class_balanced_batch, grasp_scores, snip_scores


class SmoothNet(nn.Module):
    """Twice differentiable everywhere, so that finite differences can serve as the oracle."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(torch.tanh(self.bn(self.conv(x))).mean(dim=(2, 3)))


def smooth_net(classes=3):
    torch.manual_seed(1)
    return SmoothNet(classes)


def batch(size=12, classes=3, side=6, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 3, side, side, generator=generator), torch.arange(size) % classes


def flat_loss(model, inputs, targets, temperature):
    """Cross-entropy as a float64 function of one flat vector of the maskable weights."""
    model = copy.deepcopy(model).double().train()
    shapes = [weight.shape for weight in maskable_weights(model).values()]

    def loss(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        weights = {
            name: part.view(shape)
            for name, part, shape in zip(maskable_weights(model), parts, shapes, strict=True)
        }
        logits = torch.func.functional_call(model, weights, (inputs.double(),))
        return F.cross_entropy(logits / temperature, targets)

    model.requires_grad_(False)
    weights = [weight.flatten() for weight in maskable_weights(model).values()]
    return loss, torch.cat(weights)


def finite_gradient(function, vector, step=1e-6):
    gradient = torch.zeros_like(vector)
    for i in range(len(vector)):
        offset = torch.zeros_like(vector)
        offset[i] = step
        gradient[i] = (function(vector + offset) - function(vector - offset)) / (2 * step)
    return gradient.detach()


def flat(scores):
    return torch.cat([score.flatten() for score in scores.values()]).double()


def relative_error(actual, expected):
    return float((actual - expected).norm() / expected.norm())


def snapshot(model):
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        [p.requires_grad for p in model.parameters()],
        [module.training for module in model.modules()],
        torch.get_rng_state(),
    )


def assert_same(before, after):
    assert before[0].keys() == after[0].keys()
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    for old, new in zip(before[1], after[1], strict=True):
        assert (old is None and new is None) or torch.equal(old, new)
    assert before[2:4] == after[2:4]
    assert torch.equal(before[4], after[4])


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize(
    ("inputs", "targets"),
    [
        (torch.zeros(0, 3, 6, 6), torch.zeros(0, dtype=torch.long)),
        (torch.zeros(4, 3, 6, 6), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(4, 3, 6, 6), torch.zeros(4, 3)),
    ],
    ids=["empty", "unequal", "one-hot"],
)
def test_scores_refuse_what_makes_no_batch(score, inputs, targets):
    with pytest.raises(ValueError, match="make no batch"):
        score(smooth_net(), inputs, targets)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("label", [-1, 3])
def test_scores_refuse_targets_beyond_the_classes_of_the_model(score, label):
    inputs, targets = batch()
    targets[0] = label
    with pytest.raises(ValueError, match="the model has 3 classes"):
        score(smooth_net(), inputs, targets)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_scores_refuse_an_empty_chunk(score):
    with pytest.raises(ValueError, match="chunk_size is 0"):
        score(smooth_net(), *batch(), chunk_size=0)


def test_snip_scores_match_finite_differences_in_float64():
    model, (inputs, targets) = smooth_net(), batch()
    loss, vector = flat_loss(model, inputs, targets, 1.0)
    expected = (vector * finite_gradient(loss, vector)).abs()
    assert relative_error(flat(snip_scores(model, inputs, targets)), expected) < 1e-4


def test_grasp_scores_match_an_explicit_hessian_in_float64():
    model, (inputs, targets) = smooth_net(), batch()
    loss, vector = flat_loss(model, inputs, targets, 200.0)
    hessian = torch.autograd.functional.hessian(loss, vector)
    gradient = finite_gradient(loss, vector)
    expected = vector * (hessian @ gradient)
    assert relative_error(flat(grasp_scores(model, inputs, targets)), expected) < 1e-3


def test_grasp_scores_predict_the_gradient_norm_after_pruning_a_weight():
    # First order: taking w away changes |g|^2 by -2 w * Hg = -2 * score, so that pruning the lowest
    # score must leave more gradient flow than pruning the highest one.
    model, (inputs, targets) = smooth_net(), batch()
    loss, vector = flat_loss(model, inputs, targets, 200.0)
    scores = flat(grasp_scores(model, inputs, targets))

    def squared_norm(shrunk):
        shrunk_vector = vector.clone()
        shrunk_vector[shrunk] *= 0.99
        return float(finite_gradient(loss, shrunk_vector).square().sum())

    whole = float(finite_gradient(loss, vector).square().sum())
    low, high = int(scores.argmin()), int(scores.argmax())
    assert scores[low] < 0 < scores[high]
    assert squared_norm(low) > whole > squared_norm(high)
    assert squared_norm(high) - whole == pytest.approx(-0.02 * float(scores[high]), rel=0.05)


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_scores_of_a_resnet_match_the_same_in_float64_and_training_mode(score):
    model, (inputs, targets) = build_model("resnet-8-8", num_classes=7), batch(14, 7, side=8)
    temperature = 1.0 if score is snip_scores else 200.0
    twin = copy.deepcopy(model).double().train()
    weights = list(maskable_weights(twin).values())
    loss = F.cross_entropy(twin(inputs.double()) / temperature, targets)
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    if score is snip_scores:
        expected = [(w * g).abs() for w, g in zip(weights, gradients, strict=True)]
    else:
        products = torch.autograd.grad(gradients, weights, [g.detach() for g in gradients])
        expected = [w * p for w, p in zip(weights, products, strict=True)]
    expected = torch.cat([part.detach().flatten() for part in expected])
    assert relative_error(flat(score(model.eval(), inputs, targets)), expected) < 1e-3


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("classes", [2, 100])
def test_scores_cover_every_maskable_weight_at_any_number_of_classes(score, classes):
    model = build_model("resnet-8-8", num_classes=classes)
    scores = score(model, *batch(classes, classes, side=8))
    weights = maskable_weights(model)
    assert list(scores) == list(weights)
    for name, weight in weights.items():
        assert scores[name].shape == weight.shape
        assert scores[name].dtype == torch.float32 and not scores[name].requires_grad
        assert torch.isfinite(scores[name]).all() and scores[name].any()


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_scores_leave_the_model_and_the_generators_as_they_were(score):
    model = build_model("resnet-8-8")
    model.eval()
    model.stage2.train()  # a mixed state must come back mixed
    model.conv1.weight.requires_grad_(False)
    model.linear.weight.grad = torch.full_like(model.linear.weight, 3.0)
    before = snapshot(model)
    with torch.no_grad():  # the caller's context must not matter either
        score(model, *batch(20, 10, side=8), chunk_size=7)
    assert_same(before, snapshot(model))


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_scores_restore_the_model_when_they_fail(score):
    model = build_model("resnet-8-8").eval()
    inputs, targets = batch(20, 10, side=8)
    before = snapshot(model)
    with pytest.raises(ValueError):
        score(model, inputs, targets + 90)
    assert_same(before, snapshot(model))


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_scores_do_not_depend_on_mode_running_statistics_or_autocast(score):
    model, data = smooth_net(), batch()
    expected = flat(score(model.train(), *data))
    model.eval()
    model.bn.running_mean += 5
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(flat(score(model, *data)), expected)


def test_scores_of_a_frozen_weight_are_not_zero():
    model, data = smooth_net(), batch()
    expected = snip_scores(model, *data)["conv.weight"]
    model.requires_grad_(False)
    assert torch.equal(snip_scores(model, *data)["conv.weight"], expected)


def test_scores_see_through_the_normalization_of_a_wrapped_model():
    model, data = build_model("resnet-8-8"), batch(10, 10, side=8)
    wrapped = snip_scores(with_normalization(model, "cifar10"), *data)
    assert list(wrapped) == [f"model.{name}" for name in maskable_weights(model)]


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_chunks_change_nothing_without_batch_norm(score):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3))
    data = batch(11)  # parts of 3, 3, 3 and 2: unequal, so the weighting is seen
    whole, parts = (flat(score(model, *data, chunk_size=size)) for size in (None, 3))
    assert relative_error(parts, whole) < 1e-4


def test_chunk_of_the_whole_batch_is_no_split():
    model, data = smooth_net(), batch()
    assert torch.equal(
        flat(snip_scores(model, *data, chunk_size=500)), flat(snip_scores(model, *data))
    )


def test_class_balanced_batch_has_every_class_equally_and_no_image_twice():
    labels = torch.arange(300) % 10
    indices = class_balanced_batch(labels, per_class=25, seed=3)
    assert torch.bincount(labels[indices]).tolist() == [25] * 10
    assert len(indices.unique()) == 250


def test_class_balanced_batch_takes_the_classes_in_turn():
    labels = torch.arange(60) % 5
    assert labels[class_balanced_batch(labels, 4)].tolist() == [0, 1, 2, 3, 4] * 4


def test_class_balanced_batch_is_fixed_by_its_seed_and_spares_the_global_generator():
    labels, state = torch.arange(300) % 10, torch.get_rng_state()
    first, repeated, other = (class_balanced_batch(labels, 5, seed) for seed in (1, 1, 2))
    assert torch.equal(first, repeated) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("classes", "short"), [(None, 1), (4, 1)])
def test_class_balanced_batch_raises_when_a_class_has_too_few_images(classes, short):
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 2])
    with pytest.raises(ValueError, match=f"class {short} has 1 images, but 3"):
        class_balanced_batch(labels, 3, num_classes=classes)


def test_class_balanced_batch_raises_when_a_class_is_absent():
    with pytest.raises(ValueError, match="class 2 has 0 images"):
        class_balanced_batch(torch.tensor([0, 1]), 1, num_classes=3)


@pytest.mark.parametrize(
    ("labels", "per_class"),
    [(torch.zeros(0), 1), (torch.zeros(3, 2), 1), (torch.zeros(3), 0)],
    ids=["empty", "matrix", "none-a-class"],
)
def test_class_balanced_batch_refuses_bad_arguments(labels, per_class):
    with pytest.raises(ValueError, match="class-balanced batch needs"):
        class_balanced_batch(labels.long(), per_class)
