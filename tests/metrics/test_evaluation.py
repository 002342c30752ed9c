"""The `test` entry of a record against the single metrics and attacks that it is made of."""

import copy
import json

import pytest
import torch

from randprune_core.metrics.attacks import fgsm, gaussian_noise, pgd
from randprune_core.metrics.classification import (
    accuracy,
    expected_calibration_error,
    negative_log_likelihood,
)
from randprune_core.metrics.evaluation import record_entry
from randprune_core.metrics.ood import (
    auroc_standard_error,
    energy,
    fpr_at_95_tpr,
    max_softmax,
    ood_auroc,
    roc_curve,
    score_histogram,
)
from randprune_core.metrics.predict import predict_logits


@pytest.fixture(scope="module")
def entry(fitted):
    model, images, targets = fitted
    return record_entry(model, images, targets, {"dark": images[:50] // 3}, attack_images=180)


def test_entry_has_every_key_and_survives_strict_json(entry):
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    clean = ["accuracy", "nll", "ece", "n", "bins", "ood", "clean"]
    assert list(entry) == [*clean, "fgsm", "pgd", "noise"]
    assert list(entry["fgsm"]) == ["1", "2", "4", "8"]
    assert list(entry["pgd"]) == ["0.5", "1", "2", "8"]
    assert list(entry["noise"]) == ["0.04", "0.08", "0.12"]
    assert len(entry["bins"]) == 15
    empty = [row for row in entry["bins"] if row["count"] == 0]
    assert empty and all(row["confidence"] is row["accuracy"] is None for row in empty)
    attacked = [*entry["fgsm"].values(), *entry["pgd"].values(), *entry["noise"].values()]
    assert all(cell["n"] == 180 and 0 <= cell["accuracy"] <= 1 for cell in attacked)


def test_clean_metrics_are_those_of_the_single_functions(entry, fitted):
    model, images, targets = fitted
    logits = predict_logits(model, images)
    out = predict_logits(model, images[:50] // 3)
    assert entry["n"] == 240
    assert entry["accuracy"] == accuracy(logits, targets)
    assert entry["nll"] == negative_log_likelihood(logits, targets)
    assert entry["ece"] == expected_calibration_error(logits.double().softmax(1), targets)
    dark = entry["ood"]["dark"]
    assert (dark["n"], dark["n_in"]) == (50, 240)
    assert dark["auroc"] == ood_auroc(max_softmax(logits), max_softmax(out))
    assert dark["auroc_se"] == auroc_standard_error(max_softmax(logits), max_softmax(out))
    assert dark["fpr95"] == fpr_at_95_tpr(max_softmax(logits), max_softmax(out))
    assert dark["auroc_energy"] == ood_auroc(energy(logits), energy(out))
    assert dark["roc"] == roc_curve(max_softmax(logits), max_softmax(out))
    assert dark["histogram"] == score_histogram(max_softmax(logits), max_softmax(out))


def test_attacks_and_noise_are_those_of_the_single_functions(entry, fitted):
    model, images, targets = fitted
    x, y = images[:180] / 255, targets[:180]
    right = predict_logits(model, x).argmax(1) == y
    assert entry["clean"] == {"accuracy": pytest.approx(right.double().mean().item()), "n": 180}
    assert 0.5 < entry["clean"]["accuracy"] < 1  # some are misclassified as they are
    for key, cell in entry["fgsm"].items():
        attacked = fgsm(model, x, y, float(key) / 255)
        assert cell["accuracy"] == accuracy(predict_logits(model, attacked), y)
    for key, cell in entry["pgd"].items():
        epsilon = float(key) / 255
        attacked = pgd(model, x, y, epsilon, epsilon / 4, 10, seed=0)
        still = (predict_logits(model, attacked).argmax(1) == y) & right
        assert cell["accuracy"] == pytest.approx(still.double().mean().item())
    for key, cell in entry["noise"].items():
        noisy = gaussian_noise(x, float(key), seed=0)
        assert cell["accuracy"] == accuracy(predict_logits(model, noisy), y)
    assert entry["pgd"]["8"]["accuracy"] < entry["pgd"]["0.5"]["accuracy"]


def test_entry_repeats_bit_for_bit_and_leaves_the_network_untouched(entry, fitted):
    model, images, targets = fitted
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    again = record_entry(model, images, targets, {"dark": images[:50] // 3}, attack_images=180)
    assert again == entry
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_more_attack_images_than_images_uses_all_and_says_so(fitted):
    model, images, targets = fitted
    entry = record_entry(model, images[:20], targets[:20], {}, attack_images=1000)
    assert entry["ood"] == {}
    assert entry["pgd"]["8"]["n"] == entry["noise"]["0.04"]["n"] == 20


def test_network_that_is_never_right_has_robust_accuracy_zero(fitted):
    model, images, _ = fitted
    wrong = (predict_logits(model, images).argmax(1) + 1) % 3
    entry = record_entry(model, images, wrong, {}, attack_images=20)
    assert entry["accuracy"] == entry["pgd"]["0.5"]["accuracy"] == 0


def test_no_attack_images_are_refused(fitted):
    with pytest.raises(ValueError, match="attack_images is 0"):
        record_entry(*fitted, {}, attack_images=0)


def test_pgd_attacks_more_images_at_the_epsilon_that_is_named(fitted):
    model, images, targets = fitted
    entry = record_entry(model, images, targets, {}, attack_images=20, pgd_images={"1": 200})
    assert [cell["n"] for cell in entry["pgd"].values()] == [20, 200, 20, 20]
    assert entry["fgsm"]["1"]["n"] == entry["clean"]["n"] == 20
    x, y = images[:200] / 255, targets[:200]
    attacked = pgd(model, x, y, 1 / 255, 1 / 255 / 4, 10, seed=0)
    right = predict_logits(model, x).argmax(1) == y
    still = (predict_logits(model, attacked).argmax(1) == y) & right
    assert entry["pgd"]["1"]["accuracy"] == pytest.approx(still.double().mean().item())
