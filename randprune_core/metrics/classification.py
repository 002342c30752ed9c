"""Accuracy, likelihood and calibration of predictions.

Shares are fractions in [0, 1], never percent.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    import pandas as pd


def accuracy(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Share of rows of `logits` (n, classes) whose largest entry is at `targets` (n,)."""
    _check_predictions(logits, targets, "logits")
    return (logits.argmax(1) == targets.to(logits.device)).double().mean().item()


def negative_log_likelihood(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean negative log-likelihood in nats, in float64; logits (n, classes), targets (n,)."""
    _check_predictions(logits, targets, "logits")
    return F.cross_entropy(logits.double(), targets.to(logits.device).long()).item()


def calibration_bins(
    probs: torch.Tensor, targets: torch.Tensor, n_bins: int = 15
) -> "pd.DataFrame":
    """Reliability diagram: confidence and accuracy in `n_bins` equal-width bins of the confidence.

    probs: (n, classes) in [0, 1]; targets: (n,). One row a bin (lower, upper], a confidence of 0
    falls into the first; columns lower, upper, count, confidence, accuracy, the last two the means
    over the bin's predictions and NaN in an empty bin. Raises ValueError for other input.
    Guo et al. 2017, arXiv 1706.04599, section 2.
    """
    import pandas as pd

    probs, targets = torch.as_tensor(probs), torch.as_tensor(targets)
    _check_predictions(probs, targets, "probs")
    if n_bins < 1:
        raise ValueError(f"n_bins is {n_bins}; at least 1 bin is needed")
    low, high = (value.item() for value in probs.aminmax())
    if not (low >= 0 and high <= 1 + 1e-6):
        raise ValueError(
            f"probs range from {low:g} to {high:g}; they must lie in [0, 1]: "
            "apply softmax to logits first"
        )
    confidence, prediction = (value.cpu() for value in probs.detach().max(1))
    correct = (prediction == targets.cpu()).double().numpy()
    edges = np.arange(n_bins + 1) / n_bins
    # Edges in the confidences' own precision: float32 0.2 is *on* the edge 0.2, not above it.
    inner = torch.from_numpy(edges[1:-1]).to(confidence.dtype)
    index = torch.searchsorted(inner, confidence.contiguous(), right=False).numpy()
    count = np.bincount(index, minlength=n_bins)
    filled = np.where(count, count, np.nan)
    return pd.DataFrame(
        {
            "lower": edges[:-1],
            "upper": edges[1:],
            "count": count,
            "confidence": np.bincount(index, confidence.double().numpy(), n_bins) / filled,
            "accuracy": np.bincount(index, correct, n_bins) / filled,
        }
    )


def expected_calibration_error(
    probs: torch.Tensor, targets: torch.Tensor, n_bins: int = 15
) -> float:
    """Mean |accuracy - confidence| over the bins of `calibration_bins`, weighted by their count."""
    return error_of_bins(calibration_bins(probs, targets, n_bins))


def error_of_bins(bins: "pd.DataFrame") -> float:
    """The expected calibration error of the bins that `calibration_bins` gives, in [0, 1]."""
    gaps = (bins["accuracy"] - bins["confidence"]).abs()  # NaN, in an empty bin, adds nothing
    return float((gaps * bins["count"]).sum() / bins["count"].sum())


def _check_predictions(rows: torch.Tensor, targets: torch.Tensor, name: str) -> None:
    if rows.dim() != 2 or not len(rows) or targets.shape != rows.shape[:1]:
        raise ValueError(
            f"{name} have shape {tuple(rows.shape)} and targets {tuple(targets.shape)}; "
            "they must be (n, classes) and (n,) with n at least 1"
        )
