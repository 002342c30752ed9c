"""The `test` entry of a record against the single metrics and attacks that it is made of."""

import copy
import json

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import nn

from randprune_core.metrics import calibration
from randprune_core.metrics.attacks import fgsm, gaussian_noise, pgd
from randprune_core.metrics.classification import (
    accuracy,
    expected_calibration_error,
    negative_log_likelihood,
)
from randprune_core.metrics.evaluation import evaluate, evaluate_logits, record_entry
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
    repeated = record_entry(model, images, targets, {"dark": images[:50] // 3}, attack_images=180)
    assert repeated == entry
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


# --- the table for any network ---


def values(table) -> dict:
    assert list(table.columns) == ["metric", "setting", "value", "n"]
    assert not table.duplicated(["metric", "setting"]).any()
    return {(row.metric, row.setting): (row.value, row.n) for row in table.itertuples()}


def test_the_table_has_every_number_of_the_entry_of_a_record(entry, fitted):
    model, images, targets = fitted
    table = evaluate(model, images, targets, ood_sets={"dark": images[:50] // 3}, attack_images=180)
    found, dark = values(table), entry["ood"]["dark"]
    expected = {(name, "clean"): (entry[name], 240) for name in ("accuracy", "nll", "ece")}
    expected |= {(name, "dark"): (dark[name], 290) for name in ("auroc", "auroc_energy", "fpr95")}
    expected["accuracy", "clean, of the attacked"] = tuple(entry["clean"].values())
    for kind, unit in (("fgsm", "/255"), ("pgd", "/255"), ("noise", "")):
        for key, cell in entry[kind].items():
            expected["accuracy", f"{kind} {key}{unit}"] = (cell["accuracy"], 180)
    assert found == expected


@pytest.mark.parametrize("wrap", ["float", "layer", "norm", "trained"])
def test_any_network_that_gives_logits_is_taken_and_left_as_it_was(fitted, wrap):
    _, images, targets = fitted
    torch.manual_seed(0)
    network = {
        "float": nn.Sequential(nn.Flatten(), nn.Linear(108, 3)).double(),
        "layer": nn.Sequential(nn.Conv2d(3, 3, 6), nn.Flatten(), nn.Dropout(0.5)),
        "norm": nn.Sequential(nn.Flatten(2), nn.LayerNorm(36), nn.Flatten(), nn.Linear(108, 3)),
        "trained": fitted[0],
    }[wrap]
    before = copy.deepcopy(network.state_dict())
    network.train()
    random = torch.get_rng_state()
    first = evaluate(network, images, targets, attack_images=30)
    assert network.training and torch.equal(torch.get_rng_state(), random)
    assert all(
        torch.equal(a, b)
        for a, b in zip(before.values(), network.state_dict().values(), strict=True)
    )
    again = evaluate(network, images.float() / 255, targets, attack_images=30)
    assert first.value.tolist() == pytest.approx(again.value.tolist(), abs=1e-6)


def test_without_attacks_it_is_the_table_of_its_logits(fitted):
    model, images, targets = fitted
    dark = images[:50] // 3
    table = evaluate(
        model, images, targets, ood_sets={"dark": dark}, attack_images=0, extended=True
    )
    logits = {"logits": predict_logits(model, images), "targets": targets}
    other = {"dark": predict_logits(model, dark)}
    assert table.equals(evaluate_logits(**logits, ood_logits=other, extended=True))


def test_the_extended_table_against_scikit_learn_and_by_hand(fitted):
    model, images, targets = fitted
    logits, out = predict_logits(model, images), predict_logits(model, images[:50] // 3)
    plain = values(evaluate_logits(logits, targets, ood_logits={"dark": out}))
    found = values(evaluate_logits(logits, targets, ood_logits={"dark": out}, extended=True))
    assert {key: found[key] for key in plain} == plain
    known = np.array([1] * 240 + [0] * 50)
    scores = torch.cat([logits, out]).double().softmax(1).amax(1).numpy()
    for name, labels, values_ in (("", known, scores), ("_ood_positive", 1 - known, -scores)):
        precision = sklearn_metrics.average_precision_score(labels, values_)
        fpr, tpr, _ = sklearn_metrics.roc_curve(labels, values_, drop_intermediate=False)
        assert found[f"aupr{name}", "dark"][0] == pytest.approx(precision)
        assert found[f"fpr95{name}", "dark"][0] == pytest.approx(fpr[tpr >= 0.95].min())
    probs = logits.double().softmax(1)
    for name, function in (
        ("classwise", calibration.classwise_error),
        ("equal_mass", calibration.equal_mass_error),
    ):
        assert found[f"ece_{name}", "clean"] == (function(probs, targets), 240)
    scaled = calibration.error_after_scaling(logits, targets)
    assert found["ece_temperature", "clean"] == (scaled, 240)


@pytest.mark.parametrize("change", ["label", "images", "logits", "attack_images", "ood"])
def test_what_cannot_be_evaluated_is_refused(fitted, change):
    model, images, targets = fitted
    ood = {"dark": images[:5]}
    if change == "label":
        targets = targets + 1
    elif change == "images":
        images = images.float()
    elif change == "logits":
        model = nn.Sequential(nn.Flatten(), nn.Linear(108, 1))
    elif change == "ood":
        ood = {"dark": images[:0]}
    count = -1 if change == "attack_images" else 10
    with pytest.raises(ValueError) as caught:
        evaluate(model, images, targets, ood_sets=ood, attack_images=count)
    assert "\n" not in str(caught.value)
