"""Metrics against scikit-learn, torchmetrics, brute force and hand-computed values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from randprune_core.metrics.classification import (
    accuracy,
    calibration_bins,
    expected_calibration_error,
    negative_log_likelihood,
)


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


def test_accuracy_and_nll_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0], [-1e4, 1e4]])
    targets = torch.tensor([0, 1, 1])
    assert accuracy(logits, targets) == pytest.approx(2 / 3)  # the tie goes to the first class
    expected = -(math.log(0.75) + math.log(0.5)) / 3
    assert negative_log_likelihood(logits, targets) == pytest.approx(expected)
