"""Metrics and attacks refuse what cannot be logits, probabilities or labels, and take all kinds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import nn

from randprune_core.arguments import whole_number
from randprune_core.metrics import classification, ood
from randprune_core.metrics.attacks import fgsm, gaussian_noise, pgd
from randprune_core.metrics.evaluation import record_entry
from randprune_core.metrics.predict import predict_logits
from randprune_core.models import build_model, with_normalization
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.masks import random_masks
from randprune_core.pruning.saliency import class_balanced_batch, snip_scores

CLASSES, ROWS = 4, 6
OF_PROBS = {
    "bins": classification.calibration_bins,
    "ece": classification.expected_calibration_error,
}
OF_LOGITS = {
    "accuracy": classification.accuracy,
    "nll": classification.negative_log_likelihood,
    "msp": lambda logits, targets: ood.max_softmax(logits),
    "energy": lambda logits, targets: ood.energy(logits),
}
WITH_LABELS = {**OF_PROBS, "accuracy": OF_LOGITS["accuracy"], "nll": OF_LOGITS["nll"]}
NOT_FINITE = [float("nan"), float("inf"), float("-inf")]
INTEGERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


def batch(seed: int = 0, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(ROWS, CLASSES, generator=generator).to(dtype)
    return logits, torch.randint(CLASSES, (ROWS,), generator=generator)


class Fixed(nn.Module):
    """A network that puts out the mean pixel times given numbers, and `bad` in one place."""

    def __init__(self, classes: int = CLASSES, bad: float | None = None):
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(-1, 1, classes))
        self.bad = bad

    def forward(self, x):
        logits = x.flatten(1).mean(1, keepdim=True) * self.scale
        if self.bad is not None:
            logits = torch.cat([logits[:, :-1], torch.full_like(logits[:, -1:], self.bad)], 1)
        return logits


def pictures(n: int = 3) -> torch.Tensor:
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(1))


ATTACKS = {
    "fgsm": lambda model, x, y: fgsm(model, x, y, 0.1),
    "pgd": lambda model, x, y: pgd(model, x, y, 0.1, 0.05, 2, seed=0),
}


@pytest.mark.parametrize("metric", [*OF_PROBS, *OF_LOGITS])
def test_one_column_is_refused(metric):
    with pytest.raises(ValueError, match="two classes"):
        {**OF_PROBS, **OF_LOGITS}[metric](torch.ones(3, 1), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("metric", OF_PROBS)
@given(row=st.integers(0, ROWS - 1), factor=st.floats(0, 0.99))
@settings(max_examples=25, deadline=None)
def test_a_row_that_does_not_sum_to_one_is_refused(metric, row, factor):
    logits, targets = batch()
    probs = logits.softmax(1)
    probs[row] *= factor
    with pytest.raises(ValueError, match="sum to 1"):
        OF_PROBS[metric](probs, targets)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rounded_probabilities_of_many_classes_pass(dtype):
    logits = 3 * torch.randn(50, 1000, generator=torch.Generator().manual_seed(0))
    classification.calibration_bins(logits.softmax(1).to(dtype), torch.zeros(50, dtype=torch.int32))


@pytest.mark.parametrize("metric", WITH_LABELS)
@given(row=st.integers(0, ROWS - 1), label=st.sampled_from([-100, -1, CLASSES, 255]))
@settings(max_examples=20, deadline=None)
def test_a_label_outside_the_classes_is_refused(metric, row, label):
    logits, targets = batch()
    targets[row] = label
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\]"):
        WITH_LABELS[metric](logits.softmax(1), targets)


@pytest.mark.parametrize("metric", WITH_LABELS)
@pytest.mark.parametrize("kind", [torch.float32, torch.bool, torch.complex64])
def test_labels_that_are_no_integers_are_refused(metric, kind):
    logits, targets = batch()
    with pytest.raises(ValueError, match="class indices"):
        WITH_LABELS[metric](logits.softmax(1), targets.clamp(max=1).to(kind))


@pytest.mark.parametrize("metric", [*OF_PROBS, *OF_LOGITS])
@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("place", [(0, 0), (ROWS - 1, CLASSES - 1)])
def test_numbers_that_are_not_finite_are_refused(metric, value, place):
    logits, targets = batch()
    logits[place] = value
    with pytest.raises(ValueError, match="NaN or an infinite"):
        {**OF_PROBS, **OF_LOGITS}[metric](logits, targets)


@pytest.mark.parametrize("function", ["ood_auroc", "fpr_at_95_tpr", "auroc_standard_error"])
@pytest.mark.parametrize("value", NOT_FINITE)
def test_scores_that_are_not_finite_are_refused(function, value):
    for sides in (([0.0, value], [1.0, 2.0]), ([1.0, 2.0], [0.0, value])):
        with pytest.raises(ValueError, match="finite"):
            getattr(ood, function)(*sides)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("value", NOT_FINITE)
def test_attacks_refuse_a_network_whose_logits_are_not_finite(attack, value):
    with pytest.raises(ValueError, match="NaN or an infinite"):
        ATTACKS[attack](Fixed(bad=value), pictures(), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("label", [-1, CLASSES, 1000])
def test_attacks_refuse_labels_outside_the_classes(attack, label):
    with pytest.raises(ValueError, match="classes"):
        ATTACKS[attack](Fixed(), pictures(), torch.tensor([0, 1, label]))


def test_evaluate_refuses_labels_outside_the_classes():
    with pytest.raises(ValueError, match="labels must lie in"):
        record_entry(Fixed(), pictures(), torch.tensor([0, 1, CLASSES]), {}, attack_images=3)


@pytest.mark.parametrize("kind", INTEGERS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_every_integer_kind_gives_the_value_of_scikit_learn(kind, seed):
    logits, targets = batch(seed)
    for labels in (targets.to(kind), targets.to(kind).numpy()):
        accuracy = sklearn_metrics.accuracy_score(targets, logits.argmax(1))
        assert classification.accuracy(logits, labels) == pytest.approx(accuracy)
        probs = logits.double().softmax(1)
        nll = sklearn_metrics.log_loss(targets, probs, labels=range(CLASSES))
        assert classification.negative_log_likelihood(logits, labels) == pytest.approx(nll)
        ece = classification.expected_calibration_error(probs, targets)
        assert classification.expected_calibration_error(probs, labels) == ece


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_take_every_integer_kind(attack, kind):
    targets = torch.tensor([0, 1, 2])
    expected = ATTACKS[attack](Fixed(), pictures(), targets)
    assert torch.equal(ATTACKS[attack](Fixed(), pictures(), targets.to(kind)), expected)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, torch.tensor])
def test_numpy_integers_serve_where_integers_are_promised(kind):
    x, y = pictures(), torch.tensor([0, 1, 2])
    calls = {
        "pgd": lambda n: pgd(Fixed(), x, y, 0.1, 0.05, steps=n, seed=n),
        "noise": lambda n: gaussian_noise(x, 0.1, seed=n),
        "weights": lambda n: build_model("resnet-8-2", num_classes=n, seed=n).linear.weight,
        "masks": lambda n: random_masks(nn.Linear(5, 5), {"weight": 0.5}, seed=n)["weight"],
        "batch": lambda n: class_balanced_batch(y % 2, per_class=n - 2, seed=n, num_classes=2),
        "logits": lambda n: predict_logits(Fixed(), x, batch_size=n),
        "bins": lambda n: torch.tensor(
            classification.calibration_bins(batch()[0].softmax(1), batch()[1], n)["count"].values
        ),
    }
    for name, call in calls.items():
        assert torch.equal(call(kind(3)), call(3)), name


@pytest.mark.parametrize("value", [True, np.True_, 2.0, "2", None, 0, -1, np.float64(3), [1, 2]])
def test_what_is_no_whole_number_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^steps is .* whole number of at least 1$"):
        whole_number(value, "steps", least=1)


def network(kind: torch.dtype) -> nn.Module:
    model = build_model("resnet-8-4", seed=1).to(kind)
    return with_normalization(model, "cifar10")


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_networks_of_other_kinds_are_measured_attacked_and_scored(kind):
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    y = torch.arange(4)
    expected = predict_logits(network(torch.float64), x)
    assert expected.dtype == torch.float64
    logits = predict_logits(network(kind), x)
    assert logits.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    tolerance = {torch.float64: 0, torch.float16: 0.02, torch.bfloat16: 0.1}[kind]
    torch.testing.assert_close(logits.double(), expected, rtol=0, atol=tolerance)
    scale = (fgsm(network(torch.float64), x, y, 0.02) - x).sign()
    for attacked in (
        fgsm(network(kind), x, y, 0.02),
        pgd(network(kind), x, y, 0.02, 0.02, 1, seed=0),
    ):
        assert attacked.dtype == torch.float32 and (attacked - x).abs().max() <= 0.02
    same = ((fgsm(network(kind), x, y, 0.02) - x).sign() == scale).double().mean()
    assert same > (0.99 if kind == torch.float64 else 0.8)
    scores = snip_scores(network(kind).model, x, y)
    assert set(scores) == set(maskable_weights(network(kind).model))
    assert all(torch.isfinite(score).all() for score in scores.values())


def test_a_network_of_another_kind_of_weights_is_refused():
    model = Fixed()
    model.scale = nn.Parameter(torch.ones(CLASSES, dtype=torch.complex64))
    with pytest.raises(ValueError, match="complex64; allowed are float32"):
        predict_logits(model, pictures())


def test_inference_mode_of_the_caller_changes_nothing():
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    y, model = torch.arange(4), network(torch.float32)
    calls = {
        "logits": lambda x, y: predict_logits(model, x),
        "fgsm": lambda x, y: fgsm(model, x, y, 0.02),
        "pgd": lambda x, y: pgd(model, x, y, 0.02, 0.01, 2, seed=0, restarts=2),
        "snip": lambda x, y: snip_scores(model.model, x, y)["conv1.weight"],
    }
    for name, call in calls.items():
        expected = call(x, y)
        with torch.inference_mode():
            assert torch.equal(call(x, y), expected), name
            assert torch.equal(call(x.clone(), y.clone()), expected), name
            built = build_model("resnet-8-4", seed=1)
        assert not built.conv1.weight.is_inference()


def test_a_network_made_in_inference_mode_is_refused_by_attacks_and_scores():
    with torch.inference_mode():
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, CLASSES))
    y = torch.zeros(3, dtype=torch.long)
    for call in (*ATTACKS.values(), snip_scores):
        with pytest.raises(ValueError, match="inference_mode"):
            call(model, pictures(), y)
    assert predict_logits(model, pictures()).shape == (3, CLASSES)
