"""Accuracy, calibration, out-of-distribution detection, gradient norm.

Shares are fractions in [0, 1], never percent. A score is higher for in-distribution, everywhere.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .attacks import check_images, frozen, to_device
from .models import maskable_weights
from .pruning.masks import validate_masks

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike


@torch.no_grad()
def predict_logits(model: nn.Module, images: torch.Tensor, batch_size: int = 500) -> torch.Tensor:
    """Logits of `images` in evaluation mode: float32, shape (n, classes), on the model's device.

    images: uint8 NCHW in 0..255 (divided by 255) or float in [0, 1], on any device. The module
    takes [0, 1] pixels and is left as it was. Raises ValueError for other dtypes or ranges.
    """
    if batch_size < 1 or not len(images):
        raise ValueError(
            f"batch_size is {batch_size} for {len(images)} images; both must be at least 1"
        )
    logits = []
    with frozen(model) as device:
        for batch in images.split(batch_size):
            batch = to_device(batch, device)
            if batch.dtype == torch.uint8:
                batch = batch.float() / 255
            check_images(batch)
            logits.append(model(batch).float())
    return torch.cat(logits)


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


def ood_auroc(in_scores: "ArrayLike", out_scores: "ArrayLike") -> float:
    """Area under the ROC curve: chance that an in-distribution score is the higher one.

    Scores are 1-D and higher for in-distribution; a tie counts half. Raises ValueError for empty
    input and NaN. Computed from mid-ranks (Mann-Whitney).
    """
    share_below_in, _ = _shares_beaten(_scores(in_scores, "in"), _scores(out_scores, "out"))
    return float(share_below_in.mean())


def auroc_standard_error(in_scores: "ArrayLike", out_scores: "ArrayLike") -> float:
    """Standard error of `ood_auroc` over draws of both samples (DeLong et al. 1988).

    Needs at least two scores on each side, else raises ValueError. It holds for this trained
    network; the spread over seeds is another matter.
    """
    in_scores, out_scores = _scores(in_scores, "in"), _scores(out_scores, "out")
    if min(len(in_scores), len(out_scores)) < 2:
        raise ValueError(
            f"{len(in_scores)} in- and {len(out_scores)} out-of-distribution scores; the standard "
            "error needs at least 2 of each"
        )
    parts = _shares_beaten(in_scores, out_scores)
    return float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)))


def fpr_at_95_tpr(in_scores: "ArrayLike", out_scores: "ArrayLike") -> float:
    """Share of OoD scores at or above the highest threshold that keeps 95 % of in-distribution.

    Scores are 1-D and higher for in-distribution. Raises ValueError for empty input and NaN.
    """
    in_scores, out_scores = _scores(in_scores, "in"), _scores(out_scores, "out")
    kept = -(-95 * len(in_scores) // 100)  # ceil in whole numbers: 0.95 · n rounds in floats
    threshold = np.sort(in_scores)[len(in_scores) - kept]
    return float((out_scores >= threshold).mean())


def roc_curve(in_scores: "ArrayLike", out_scores: "ArrayLike", points: int = 101) -> dict:
    """The ROC curve at evenly spaced false positive rates, as lists `fpr` and `tpr` from 0 to 1.

    `tpr` is the share of in-distribution scores above the lowest threshold that lets no more than
    that share of the OoD scores pass. Scores as in `ood_auroc`. Raises ValueError for empty input
    and NaN.
    """
    in_scores, out_scores = _scores(in_scores, "in"), _scores(out_scores, "out")
    falling = np.append(np.sort(out_scores)[::-1], -np.inf)
    grid = np.linspace(0, 1, points)
    thresholds = falling[np.floor(grid * len(out_scores) + 1e-9).astype(int)]
    passed = len(in_scores) - np.searchsorted(np.sort(in_scores), thresholds, side="right")
    return {"fpr": grid.round(6).tolist(), "tpr": (passed / len(in_scores)).round(6).tolist()}


def score_histogram(in_scores: "ArrayLike", out_scores: "ArrayLike", n_bins: int = 20) -> dict:
    """How both sides' scores in [0, 1] spread over equal bins: lists `lower`, `in`, `out` (counts).

    Raises ValueError for empty input and NaN.
    """
    counts = {}
    for side, scores in (("in", in_scores), ("out", out_scores)):
        counts[side] = np.histogram(_scores(scores, side), n_bins, range=(0, 1))[0].tolist()
    return {"lower": np.linspace(0, 1, n_bins + 1)[:-1].round(6).tolist(), **counts}


def max_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Maximum softmax probability (n,), float64 so that confident scores do not tie at 1.0.

    Higher = in-distribution. Hendrycks and Gimpel 2017, arXiv 1610.02136.
    """
    return logits.double().softmax(1).amax(1)


def energy(logits: torch.Tensor) -> torch.Tensor:
    """Negative free energy logsumexp(logits) at temperature 1, (n,), float64.

    Higher = in-distribution. Liu et al. 2020, arXiv 2010.03759.
    """
    return logits.double().logsumexp(1)


def gradient_norm(model: nn.Module, masks: Mapping[str, torch.Tensor] | None) -> float:
    """L2 norm of the `.grad` of unpruned conv and linear weights; `masks` None = dense.

    Call it after `backward()` and before the optimiser's step. Gradients of masked weights are not
    zero by themselves and are left out here. masks: boolean, by the names of `maskable_weights`.
    Raises ValueError for a weight without gradient and for masks that do not fit the network.
    """
    return gradient_norm_tensor(model, masks).item()


@torch.no_grad()
def gradient_norm_tensor(
    model: nn.Module, masks: Mapping[str, torch.Tensor] | None
) -> torch.Tensor:
    """`gradient_norm` as a float64 scalar on the model's device: no wait for the device."""
    if masks is not None:
        validate_masks(model, masks)
    norms = []
    for name, weight in maskable_weights(model).items():
        gradient = weight.grad
        if gradient is None:
            raise ValueError(f"weight '{name}' has no gradient; call loss.backward() first")
        if masks is not None:
            # Not a product: an infinite gradient of a pruned weight times 0 is NaN.
            gradient = gradient.masked_fill(~masks[name].to(gradient.device), 0)
        norms.append(torch.linalg.vector_norm(gradient, dtype=torch.float64))
    return torch.linalg.vector_norm(torch.stack(norms))


def _check_predictions(rows: torch.Tensor, targets: torch.Tensor, name: str) -> None:
    if rows.dim() != 2 or not len(rows) or targets.shape != rows.shape[:1]:
        raise ValueError(
            f"{name} have shape {tuple(rows.shape)} and targets {tuple(targets.shape)}; "
            "they must be (n, classes) and (n,) with n at least 1"
        )


def error_of_bins(bins: "pd.DataFrame") -> float:
    """The expected calibration error of the bins that `calibration_bins` gives, in [0, 1]."""
    gaps = (bins["accuracy"] - bins["confidence"]).abs()  # NaN, in an empty bin, adds nothing
    return float((gaps * bins["count"]).sum() / bins["count"].sum())


def _scores(values: "ArrayLike", side: str) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not scores.size or np.isnan(scores).any():
        raise ValueError(
            f"{side}-distribution scores have shape {scores.shape} and {np.isnan(scores).sum()} "
            "NaN; they must be 1-D, not empty and free of NaN"
        )
    return scores


def _shares_beaten(in_scores: np.ndarray, out_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each score the share of the other side that it is on the right side of (ties half).

    The structural components of DeLong et al. 1988: both have the AUROC as mean. A score's rank
    among all less its rank among its own side counts the other side's scores below it.
    """
    m, n = len(in_scores), len(out_scores)
    ranks = _mid_ranks(np.concatenate([in_scores, out_scores]))
    beaten_by_in = (ranks[:m] - _mid_ranks(in_scores)) / n
    below_out = (ranks[m:] - _mid_ranks(out_scores)) / m
    return beaten_by_in, 1 - below_out


def _mid_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, tied values sharing the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]
