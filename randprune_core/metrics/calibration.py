"""Calibration errors beside the book's: by class, in bins of equal mass, after temperature scaling.

Like the expected calibration error they are in [0, 1], zero for a calibrated network.
"""

import numpy as np
import torch

from ..arguments import whole_number
from .classification import expected_calibration_error
from .inputs import checked_logits, checked_probabilities, class_indices

HOTTEST = 100.0
"""The temperature of `fit_temperature` lies between its inverse and this."""


def classwise_error(probs: torch.Tensor, targets: torch.Tensor, n_bins: int = 15) -> float:
    """Mean over the classes of the calibration error of each class's own probability.

    probs (n, classes) and targets (n,) as in `calibration_bins`; all n probabilities of a class
    fall into `n_bins` equal-width bins (lower, upper], 0 in the first. Kull et al. 2019, arXiv
    1910.12656, equation 2.
    """
    probs = checked_probabilities(probs).detach().cpu().double().numpy()
    targets = class_indices(targets, *probs.shape).cpu().numpy()
    inner = np.arange(1, whole_number(n_bins, "n_bins", least=1)) / n_bins
    errors = [
        _error(np.searchsorted(inner, column), column, targets == label)
        for label, column in enumerate(probs.T)
    ]
    return float(np.mean(errors))


def equal_mass_error(probs: torch.Tensor, targets: torch.Tensor, n_bins: int = 15) -> float:
    """The calibration error of the largest probability, in bins of equally many predictions.

    Arguments as in `calibration_bins`. Edges are the confidences at the ranks k·n/`n_bins`; equal
    confidences share a bin, so that there may be fewer. Nguyen and O'Connor 2015, arXiv 1508.05154.
    """
    probs = checked_probabilities(probs).detach().cpu().double()
    targets = class_indices(targets, *probs.shape).cpu()
    n_bins = whole_number(n_bins, "n_bins", least=1)
    confidence, prediction = probs.max(1)
    values, n = confidence.numpy(), len(confidence)
    last = -(-np.arange(1, n_bins) * n // n_bins) - 1  # the rank of the highest value of each bin
    edges = np.unique(np.sort(values)[np.maximum(last, 0)])
    return _error(np.searchsorted(edges, values), values, (prediction == targets).numpy())


def fit_temperature(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """The temperature T at which softmax(logits / T) has the least negative log-likelihood.

    logits (n, classes), targets (n,); T in [1 / `HOTTEST`, `HOTTEST`]. Guo et al. 2017, arXiv
    1706.04599, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    logits = checked_logits(logits).detach().cpu().double()
    targets = class_indices(targets, *logits.shape).cpu()

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return torch.nn.functional.cross_entropy(scaled, targets).item()

    reach = np.log(HOTTEST)
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded", options={"xatol": 1e-8})
    return float(np.exp(found.x))


def error_after_scaling(logits: torch.Tensor, targets: torch.Tensor, n_bins: int = 15) -> float:
    """The expected calibration error after temperature scaling, with no further data.

    Rows with an even and with an odd number are scaled by the temperature that fits the other half
    best, so that no row is judged by a temperature that was fitted to it; needs two rows.
    """
    logits = checked_logits(logits).detach().cpu().double()
    targets = class_indices(targets, *logits.shape).cpu()
    if len(logits) < 2:
        raise ValueError("temperature scaling needs 2 rows of logits: 1 to fit and 1 to judge")
    scaled = logits.clone()
    for own, other in ((0, 1), (1, 0)):
        scaled[own::2] /= fit_temperature(logits[other::2], targets[other::2])
    return expected_calibration_error(scaled.softmax(1), targets, n_bins)


def _error(index: np.ndarray, confidence: np.ndarray, correct: np.ndarray) -> float:
    """Mean over all predictions of |accuracy - confidence| of the bin that each lies in."""
    gaps = np.bincount(index, correct - confidence)
    return float(np.abs(gaps).sum() / len(confidence))
