"""Accuracy, likelihood and calibration of predictions.

Shares are fractions in [0, 1], never percent.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from ..arguments import whole_number
from .inputs import checked_logits, checked_probabilities, class_indices

if TYPE_CHECKING:
    import pandas as pd


def accuracy(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Share of rows of `logits` (n, classes) whose largest entry is at `targets` (n,).

    Raises ValueError for logits that are not finite or of one class, and for labels that are no
    class.
    """
    logits, targets = _checked(logits, targets)
    return (logits.argmax(1) == targets).double().mean().item()


def negative_log_likelihood(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean negative log-likelihood in nats, in float64; logits (n, classes), targets (n,).

    Raises ValueError as `accuracy`.
    """
    logits, targets = _checked(logits, targets)
    return F.cross_entropy(logits.double(), targets).item()


def calibration_bins(
    probs: torch.Tensor, targets: torch.Tensor, n_bins: int = 15
) -> "pd.DataFrame":
    """Reliability diagram: confidence and accuracy in `n_bins` equal-width bins of the confidence.

    probs: (n, classes) in [0, 1], each row with a sum of 1 (within 0.001; 0.01 in 16 bits);
    targets: (n,) integers. One row a bin (lower, upper],
    columns lower, upper, count, confidence, accuracy, the last two the means over the bin's
    predictions and NaN in an empty bin. Raises ValueError for other input.
    Guo et al. 2017, arXiv 1706.04599, section 2.
    """
    import pandas as pd

    return pd.DataFrame(bin_columns(probs, targets, n_bins))


def bin_columns(
    probs: torch.Tensor, targets: torch.Tensor, n_bins: int = 15
) -> dict[str, np.ndarray]:
    """The columns of `calibration_bins`, without the second that it takes to load pandas."""
    probs = checked_probabilities(probs)
    targets = class_indices(targets, *probs.shape)
    n_bins = whole_number(n_bins, "n_bins", least=1)
    confidence, prediction = (value.cpu() for value in probs.detach().max(1))
    correct = (prediction == targets.cpu()).double().numpy()
    edges = np.arange(n_bins + 1) / n_bins
    # Edges in the confidences' own precision: float32 0.2 is *on* the edge 0.2, not above it.
    inner = torch.from_numpy(edges[1:-1]).to(confidence.dtype)
    index = torch.searchsorted(inner, confidence.contiguous(), right=False).numpy()
    count = np.bincount(index, minlength=n_bins)
    filled = np.where(count, count, np.nan)
    return {
        "lower": edges[:-1],
        "upper": edges[1:],
        "count": count,
        "confidence": np.bincount(index, confidence.double().numpy(), n_bins) / filled,
        "accuracy": np.bincount(index, correct, n_bins) / filled,
    }


def expected_calibration_error(
    probs: torch.Tensor, targets: torch.Tensor, n_bins: int = 15
) -> float:
    """Mean `|accuracy - confidence|` over the bins of `calibration_bins`, weighted by count."""
    return error_of_bins(bin_columns(probs, targets, n_bins))


def error_of_bins(bins: "Mapping[str, np.ndarray] | pd.DataFrame") -> float:
    """The expected calibration error of the bins that `calibration_bins` gives, in [0, 1]."""
    counts = np.asarray(bins["count"])
    gaps = np.abs(np.asarray(bins["accuracy"]) - np.asarray(bins["confidence"]))
    return float(np.nansum(gaps * counts) / counts.sum())  # NaN, in an empty bin, adds nothing


def overconfidence(bins: "pd.DataFrame") -> float:
    """Mean confidence minus accuracy over all images: above zero the network is too sure."""
    return float(((bins.confidence - bins.accuracy) * bins["count"]).sum() / bins["count"].sum())


def chance_error(bins: "pd.DataFrame") -> float:
    """The ECE that a perfectly calibrated network would show, in the mean, with these bins.

    Were every prediction of a bin right with probability c, the bin's confidence, its accuracy over
    m images would still be off by `sqrt(2/pi · c (1 - c) / m)` in the mean (normal approximation).
    """
    filled = bins[bins["count"] > 0]
    off = (2 / math.pi * filled.confidence * (1 - filled.confidence) / filled["count"]) ** 0.5
    return float((off * filled["count"]).sum() / filled["count"].sum())


def _checked(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels as int64 beside them; ValueError for what `inputs` refuses."""
    logits = checked_logits(logits)
    return logits, class_indices(targets, *logits.shape).to(logits.device)
