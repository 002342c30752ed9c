"""Further calibration errors against torchmetrics, pandas, LBFGS and values by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from randprune_core.metrics.calibration import (
    HOTTEST,
    classwise_error,
    equal_mass_error,
    error_after_scaling,
    fit_temperature,
)
from randprune_core.metrics.classification import expected_calibration_error

SIZES = [(40, 2, 0), (300, 5, 1), (1_000, 10, 2), (2, 3, 3)]


@pytest.fixture(params=SIZES, ids=str)
def case(request):
    """Logits that are too sharp by a factor of 2, and labels drawn from the calibrated ones."""
    n, classes, seed = request.param
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return 2 * logits, targets


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_classwise_error_is_the_mean_of_torchmetrics_binary_errors(case, n_bins):
    logits, targets = case
    probs = logits.softmax(1)
    errors = [
        binary_calibration_error(
            probs[:, label].clone(), (targets == label).int(), n_bins=n_bins
        ).item()
        for label in range(probs.shape[1])
    ]
    assert classwise_error(probs, targets, n_bins) == pytest.approx(np.mean(errors), abs=1e-6)


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_equal_mass_error_is_that_of_pandas_quantile_bins(case, n_bins):
    logits, targets = case
    probs = logits.softmax(1)
    confidence, prediction = (part.numpy() for part in probs.max(1))
    ranks = pd.Series(confidence).rank(method="first") - 1
    bins = np.searchsorted(np.arange(1, n_bins) / n_bins * len(ranks), ranks, side="right")
    frame = pd.DataFrame({"bin": bins, "gap": (prediction == targets.numpy()) - confidence})
    expected = frame.groupby("bin").gap.sum().abs().sum() / len(frame)
    assert equal_mass_error(probs, targets, n_bins) == pytest.approx(expected, abs=1e-12)


def test_equal_mass_error_does_not_depend_on_the_order_of_equal_confidences():
    probs = torch.tensor([[0.7, 0.3]] * 6 + [[0.1, 0.9]] * 4, dtype=torch.float64)
    targets = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
    by_hand = (6 * abs(0.5 - 0.7) + 4 * abs(1 - 0.9)) / 10
    for order in (torch.arange(10), torch.arange(9, -1, -1), torch.randperm(10)):
        assert equal_mass_error(probs[order], targets[order], 5) == pytest.approx(by_hand)


def test_temperature_is_the_one_that_lbfgs_finds(case):
    logits, targets = case
    if len(logits) < 10:
        pytest.skip("two rows have no least loss")
    inverse = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([inverse], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(logits * inverse, targets)
        loss.backward()
        return loss

    optimiser.step(closure)
    assert fit_temperature(logits, targets) == pytest.approx(1 / inverse.item(), rel=1e-4)


def test_temperature_undoes_a_factor_and_ends_at_its_bounds():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 4, generator=generator)
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(3 * logits, targets) == pytest.approx(3, rel=0.05)
    certain = torch.eye(3)
    assert 1 / HOTTEST <= fit_temperature(certain, torch.arange(3)) < 0.05
    assert fit_temperature(-certain, torch.arange(3)) == pytest.approx(HOTTEST, rel=1e-3)


def test_error_after_scaling_fits_on_one_half_and_judges_the_other(case):
    logits, targets = case
    halves = [slice(0, None, 2), slice(1, None, 2)]
    scaled = torch.empty_like(logits)
    for own, other in (halves, halves[::-1]):
        scaled[own] = logits[own] / fit_temperature(logits[other], targets[other])
    expected = expected_calibration_error(scaled.softmax(1), targets)
    assert error_after_scaling(logits, targets) == pytest.approx(expected, abs=1e-12)
    if len(logits) == 1_000:  # it mends what is wrong with these logits
        assert expected < expected_calibration_error(logits.softmax(1), targets) / 2


def test_wrong_input_is_refused():
    probs, targets = torch.eye(3), torch.arange(3)
    for function in (classwise_error, equal_mass_error):
        for wrong in ((2 * probs, targets), (probs, targets + 1), (probs, targets[:2])):
            with pytest.raises(ValueError):
                function(*wrong)
        with pytest.raises(ValueError, match="n_bins"):
            function(probs, targets, 0)
    for wrong in ((probs, targets + 1), (probs * torch.nan, targets)):
        with pytest.raises(ValueError):
            fit_temperature(*wrong)
    with pytest.raises(ValueError, match="needs 2 rows"):
        error_after_scaling(probs[:1], targets[:1])
