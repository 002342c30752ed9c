"""Metrics against scikit-learn, torchmetrics, brute force and hand-computed values."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import nn
from torch.nn import functional as F

from randprune_core.metrics.classification import (
    accuracy,
    calibration_bins,
    expected_calibration_error,
    negative_log_likelihood,
)
from randprune_core.metrics.gradient import gradient_norm
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

# Few distinct values, so that most draws hold ties within and across the sides.
tied_scores = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=30)


def random_probs(n: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probs = (3 * torch.randn(n, classes, generator=generator)).softmax(1)
    return probs, torch.randint(classes, (n,), generator=generator)


def two_class(confidences: list[float]) -> torch.Tensor:
    first = torch.tensor(confidences)
    return torch.stack([first, 1 - first], dim=1)


class TestCalibration:
    def test_confidence_exactly_one_falls_into_the_last_bin(self):
        probs, targets = two_class([1.0, 1.0, 1.0, 1.0]), torch.tensor([0, 0, 0, 1])
        bins = calibration_bins(probs, targets)
        assert len(bins) == 15
        assert bins["count"].tolist() == [0] * 14 + [4]
        assert (bins["confidence"].iloc[-1], bins["accuracy"].iloc[-1]) == (1.0, 0.75)
        assert expected_calibration_error(probs, targets) == 0.25

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_confidence_on_an_edge_falls_into_the_lower_bin(self, dtype):
        # Edges of 5 bins; float32 0.6 and 0.8 lie above their float64 namesakes.
        probs = torch.tensor([[0.6, 0.4], [0.8, 0.2], [0.8001, 0.1999]], dtype=dtype)
        bins = calibration_bins(probs, torch.zeros(3, dtype=torch.long), n_bins=5)
        assert bins["count"].tolist() == [0, 0, 1, 1, 1]

    def test_confidence_zero_falls_into_the_first_bin(self):
        bins = calibration_bins(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))
        assert bins["count"].tolist() == [2] + [0] * 14

    def test_empty_bins_hold_nan_and_add_nothing_to_the_error(self):
        probs, targets = two_class([0.9, 0.9]), torch.tensor([0, 1])
        bins = calibration_bins(probs, targets, n_bins=2)
        assert math.isnan(bins["confidence"][0]) and math.isnan(bins["accuracy"][0])
        assert expected_calibration_error(probs, targets, 2) == pytest.approx(0.4)

    def test_error_weighs_bins_by_their_count(self):
        # (0.5, 0.75]: confidence 0.7, accuracy 1; (0.75, 1]: mean confidence 0.9, accuracy 1/3.
        probs = two_class([0.7, 0.8, 0.9, 1.0])
        error = expected_calibration_error(probs, torch.tensor([0, 0, 1, 1]), n_bins=4)
        assert error == pytest.approx((0.3 + 3 * (0.9 - 1 / 3)) / 4)

    @pytest.mark.parametrize("n_bins", [1, 10, 15])
    @pytest.mark.parametrize("classes", [2, 10])
    def test_error_equals_torchmetrics_away_from_confidence_one(self, classes, n_bins):
        oracle = pytest.importorskip("torchmetrics.functional.classification")
        for seed in range(5):
            probs, targets = random_probs(500, classes, seed)
            keep = probs.amax(1) < 0.9999
            probs, targets = probs[keep], targets[keep]
            expected = oracle.multiclass_calibration_error(probs, targets, classes, n_bins)
            error = expected_calibration_error(probs, targets, n_bins)
            assert error == pytest.approx(expected.item(), abs=1e-6)

    @given(seed=st.integers(0, 10**6), n=st.integers(1, 60), n_bins=st.integers(1, 20))
    @settings(max_examples=50, deadline=None)
    def test_bins_are_a_partition(self, seed, n, n_bins):
        probs, targets = random_probs(n, 4, seed)
        bins = calibration_bins(probs, targets, n_bins)
        assert list(bins) == ["lower", "upper", "count", "confidence", "accuracy"]
        assert bins["count"].sum() == n
        assert bins["lower"].iloc[0] == 0 and bins["upper"].iloc[-1] == 1
        assert (bins["upper"][:-1].to_numpy() == bins["lower"][1:].to_numpy()).all()
        hits = (bins["accuracy"] * bins["count"]).sum() / n
        assert hits == pytest.approx(accuracy(probs, targets))
        filled = bins[bins["count"] > 0]
        assert (filled["confidence"] >= filled["lower"] - 1e-6).all()
        assert (filled["confidence"] <= filled["upper"] + 1e-6).all()

    def test_logits_are_refused(self):
        with pytest.raises(ValueError, match="softmax"):
            calibration_bins(torch.tensor([[3.0, -1.0]]), torch.tensor([0]))

    @pytest.mark.parametrize(
        ("probs", "targets", "n_bins"),
        [
            (torch.zeros(0, 3), torch.zeros(0), 15),
            (torch.zeros(2, 3), torch.zeros(3), 15),
            (torch.zeros(3), torch.zeros(3), 15),
            (torch.zeros(2, 3), torch.zeros(2), 0),
            (torch.full((2, 3), float("nan")), torch.zeros(2), 15),
        ],
    )
    def test_bad_input_is_refused(self, probs, targets, n_bins):
        with pytest.raises(ValueError):
            calibration_bins(probs, targets, n_bins)


class TestScores:
    def test_perfect_reversed_and_tied_scores(self):
        assert ood_auroc([2.0, 3.0], [0.0, 1.0]) == 1.0
        assert ood_auroc([0.0, 1.0], [2.0, 3.0]) == 0.0
        assert ood_auroc([1.0, 1.0], [1.0, 1.0, 1.0]) == 0.5

    @given(tied_scores, tied_scores)
    @settings(max_examples=100, deadline=None)
    def test_auroc_equals_scikit_learn_with_ties(self, inside, outside):
        labels = [1] * len(inside) + [0] * len(outside)
        expected = sklearn_metrics.roc_auc_score(labels, inside + outside)
        assert ood_auroc(inside, outside) == pytest.approx(expected, abs=1e-12)
        assert ood_auroc(torch.tensor(inside), np.array(outside)) == ood_auroc(inside, outside)

    @given(tied_scores, tied_scores)
    @settings(max_examples=100, deadline=None)
    def test_standard_error_equals_delong_by_pairs(self, inside, outside):
        i, o = np.array(inside)[:, None], np.array(outside)[None, :]
        wins = (i > o) + 0.5 * (i == o)
        variance = wins.mean(1).var(ddof=1) / len(inside) + wins.mean(0).var(ddof=1) / len(outside)
        assert auroc_standard_error(inside, outside) == pytest.approx(variance**0.5, abs=1e-12)

    def test_standard_error_equals_the_spread_over_redrawn_samples(self):
        rng = np.random.default_rng(0)
        draws = [(rng.normal(1, 1, 200), rng.normal(0, 1.5, 100)) for _ in range(1500)]
        spread = np.std([ood_auroc(*draw) for draw in draws])
        estimate = np.mean([auroc_standard_error(*draw) for draw in draws[:200]])
        assert estimate == pytest.approx(spread, rel=0.08)

    def test_fpr_by_hand(self):
        inside = np.arange(1.0, 21.0)  # 19 of 20 kept: the threshold is 2
        assert fpr_at_95_tpr(inside, [0.0, 1.0, 1.9, 2.0, 30.0]) == 0.4
        assert fpr_at_95_tpr([1.0], [0.0, 2.0]) == 0.5
        assert fpr_at_95_tpr([1.0, 1.0], [1.0, 1.0]) == 1.0

    @given(tied_scores, tied_scores)
    @settings(max_examples=100, deadline=None)
    def test_fpr_equals_scikit_learn_at_the_first_threshold_that_keeps_95(self, inside, outside):
        labels = [1] * len(inside) + [0] * len(outside)
        fpr, tpr, _ = sklearn_metrics.roc_curve(labels, inside + outside, drop_intermediate=False)
        kept = np.rint(tpr * len(inside)).astype(int) * 100 >= 95 * len(inside)
        assert fpr_at_95_tpr(inside, outside) == pytest.approx(fpr[kept][0])

    @pytest.mark.parametrize("bad", [[], [float("nan"), 1.0], [[1.0, 2.0]]])
    @pytest.mark.parametrize("metric", [ood_auroc, auroc_standard_error, fpr_at_95_tpr])
    def test_bad_scores_are_refused_on_either_side(self, metric, bad):
        with pytest.raises(ValueError, match="in-distribution"):
            metric(bad, [1.0, 2.0])
        with pytest.raises(ValueError, match="out-distribution"):
            metric([1.0, 2.0], bad)

    def test_standard_error_of_one_score_is_refused(self):
        with pytest.raises(ValueError, match="at least 2"):
            auroc_standard_error([1.0], [0.0, 2.0])

    def test_score_definitions_and_no_overflow(self):
        logits = torch.tensor([[math.log(3.0), 0.0], [1000.0, 0.0]])
        assert max_softmax(logits).tolist() == pytest.approx([0.75, 1.0])
        assert energy(logits).tolist() == pytest.approx([math.log(4.0), 1000.0])

    def test_confident_scores_do_not_tie(self):
        scores = max_softmax(torch.tensor([[20.0, 0.0], [25.0, 0.0]]))
        assert scores[0] < scores[1] < 1


def test_accuracy_and_nll_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0], [-1e4, 1e4]])
    targets = torch.tensor([0, 1, 1])
    assert accuracy(logits, targets) == pytest.approx(2 / 3)  # the tie goes to the first class
    expected = -(math.log(0.75) + math.log(0.5)) / 3
    assert negative_log_likelihood(logits, targets) == pytest.approx(expected)


class TestGradientNorm:
    def network(self):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)
        )
        F.cross_entropy(model(torch.rand(5, 3, 6, 6)), torch.arange(5) % 3).backward()
        generator = torch.Generator().manual_seed(0)
        masks = {
            name: torch.rand(model.get_parameter(name).shape, generator=generator) < 0.3
            for name in ("0.weight", "3.weight")
        }
        return model, masks

    def by_loop(self, model, masks):
        total = 0.0
        for name in ("0.weight", "3.weight"):
            gradient = model.get_parameter(name).grad.double().flatten().tolist()
            kept = [True] * len(gradient) if masks is None else masks[name].flatten().tolist()
            total += sum(g * g for g, keep in zip(gradient, kept, strict=True) if keep)
        return math.sqrt(total)

    def test_equals_a_float64_loop_over_conv_and_linear_weights(self):
        model, masks = self.network()
        assert gradient_norm(model, None) == pytest.approx(self.by_loop(model, None), rel=1e-12)
        assert gradient_norm(model, masks) == pytest.approx(self.by_loop(model, masks), rel=1e-12)
        assert gradient_norm(model, masks) < gradient_norm(model, None)

    def test_gradients_of_pruned_weights_biases_and_batch_norm_do_not_count(self):
        model, masks = self.network()
        before = gradient_norm(model, masks)
        for name, mask in masks.items():
            model.get_parameter(name).grad[~mask] = math.inf
        model[1].weight.grad += 1e6
        model[3].bias.grad += 1e6
        assert gradient_norm(model, masks) == before
        model[0].weight.grad[masks["0.weight"]] += 1.0
        assert gradient_norm(model, masks) != before

    def test_large_and_tiny_gradients_are_summed_in_float64(self):
        model, _ = self.network()
        for name in ("0.weight", "3.weight"):
            model.get_parameter(name).grad.fill_(1e-25)  # squares vanish in float32
        count = model[0].weight.numel() + model[3].weight.numel()
        assert gradient_norm(model, None) == pytest.approx(1e-25 * math.sqrt(count), rel=1e-6)

    def test_gradients_are_left_as_they_were(self):
        model, masks = self.network()
        before = {name: p.grad.clone() for name, p in model.named_parameters()}
        gradient_norm(model, masks)
        assert all(torch.equal(p.grad, before[name]) for name, p in model.named_parameters())

    def test_missing_gradient_and_misfit_masks_are_refused(self):
        model, masks = self.network()
        with pytest.raises(ValueError, match="3.weight"):
            gradient_norm(model, {"0.weight": masks["0.weight"]})
        with pytest.raises(ValueError, match="0.weight"):
            gradient_norm(model, {**masks, "0.weight": masks["0.weight"][:1]})
        model[3].weight.grad = None
        with pytest.raises(ValueError, match=r"3.weight.*backward"):
            gradient_norm(model, masks)


class TestRocCurve:
    @given(tied_scores, tied_scores)
    @settings(max_examples=50)
    def test_each_point_is_the_best_threshold_within_its_false_positive_rate(self, inside, outside):
        curve = roc_curve(inside, outside, points=11)
        labels = [1] * len(inside) + [0] * len(outside)
        fpr, tpr, _ = sklearn_metrics.roc_curve(labels, inside + outside, drop_intermediate=False)
        for rate, found in zip(curve["fpr"], curve["tpr"], strict=True):
            assert found == pytest.approx(tpr[fpr <= rate + 1e-9].max(), abs=1e-6)

    def test_it_runs_from_zero_to_one_and_separated_scores_reach_one_at_once(self):
        curve = roc_curve([3.0, 2.0], [1.0, 0.0])
        assert len(curve["fpr"]) == len(curve["tpr"]) == 101
        assert (curve["fpr"][0], curve["fpr"][-1]) == (0, 1)
        assert set(curve["tpr"]) == {1.0}
        assert roc_curve([0.0], [1.0])["tpr"] == [0.0] * 100 + [1.0]

    def test_histogram_counts_both_sides_and_the_ends(self):
        found = score_histogram([0.0, 0.5, 1.0], [0.49], n_bins=2)
        assert found == {"lower": [0.0, 0.5], "in": [1, 2], "out": [1, 0]}

    @pytest.mark.parametrize("function", [roc_curve, score_histogram])
    def test_no_scores_are_refused(self, function):
        with pytest.raises(ValueError, match="out-distribution scores"):
            function([0.5], [])


class TestPredictLogits:
    def test_uint8_and_float_agree_over_any_batch_size(self, fitted):
        model, images, _ = fitted
        expected = copy.deepcopy(model).eval()(images / 255).detach()
        for given_images in (images, images / 255):
            for batch_size in (7, 500):
                logits = predict_logits(model, given_images, batch_size)
                torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        assert logits.dtype == torch.float32 and not logits.requires_grad

    def test_batch_norm_and_mode_are_left_as_they_were(self, fitted):
        model, images, _ = fitted
        model.train()
        model[1].eval()
        before = copy.deepcopy(model.state_dict())
        predict_logits(model, images)
        assert model.training and model[0].training and not model[1].training
        assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
        model.train()

    def test_autocast_of_the_caller_does_not_reach_the_logits(self, fitted):
        model, images, _ = fitted
        expected = predict_logits(model, images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(predict_logits(model, images), expected)

    @pytest.mark.parametrize(
        ("images", "batch_size"),
        [
            (torch.full((2, 3, 6, 6), 255.0), 500),
            (torch.full((2, 3, 6, 6), -0.1), 500),
            (torch.zeros(2, 3, 6, 6, dtype=torch.int64), 500),
            (torch.zeros(0, 3, 6, 6), 500),
            (torch.zeros(2, 3, 6, 6), 0),
        ],
    )
    def test_bad_input_is_refused(self, fitted, images, batch_size):
        with pytest.raises(ValueError):
            predict_logits(fitted[0], images, batch_size)
