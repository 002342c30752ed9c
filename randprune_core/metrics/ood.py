"""Out-of-distribution detection: scores, the area under their ROC curve, its error.

Shares are fractions in [0, 1], never percent. A score is higher for in-distribution, everywhere.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..arguments import whole_number
from .inputs import checked_logits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def ood_auroc(in_scores: "ArrayLike", out_scores: "ArrayLike") -> float:
    """Area under the ROC curve: chance that an in-distribution score is the higher one.

    Scores are 1-D and higher for in-distribution; a tie counts half. Raises ValueError for empty
    input, NaN and infinity. Computed from mid-ranks (Mann-Whitney).
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

    Scores are 1-D and higher for in-distribution. Raises ValueError for empty input,
    NaN and infinity.
    """
    in_scores, out_scores = _scores(in_scores, "in"), _scores(out_scores, "out")
    kept = -(-95 * len(in_scores) // 100)  # ceil in whole numbers: 0.95 · n rounds in floats
    threshold = np.sort(in_scores)[len(in_scores) - kept]
    return float((out_scores >= threshold).mean())


def average_precision(in_scores: "ArrayLike", out_scores: "ArrayLike") -> float:
    """Area under the precision-recall curve with in-distribution as the positive class.

    The mean, over the in-distribution scores, of their share among all scores that are as high or
    higher, as scikit-learn's `average_precision_score`. Scores and errors as in `ood_auroc`.
    """
    rising_in, rising_out = np.sort(_scores(in_scores, "in")), np.sort(_scores(out_scores, "out"))
    above_in, above_out = (
        len(side) - np.searchsorted(side, rising_in) for side in (rising_in, rising_out)
    )
    return float((above_in / (above_in + above_out)).mean())


def roc_curve(in_scores: "ArrayLike", out_scores: "ArrayLike", points: int = 101) -> dict:
    """The ROC curve at evenly spaced false positive rates, as lists `fpr` and `tpr` from 0 to 1.

    `tpr` is the share of in-distribution scores above the lowest threshold that lets no more than
    that share of the OoD scores pass; scores of both sides that are equal join their points by a
    straight line, so that the area under the curve is `ood_auroc`. Scores as in `ood_auroc`. Raises
    ValueError for empty input, NaN and infinity.
    """
    in_scores, out_scores = _scores(in_scores, "in"), _scores(out_scores, "out")
    points = whole_number(points, "points", least=2)
    falling = np.append(np.sort(out_scores)[::-1], -np.inf)
    grid = np.linspace(0, 1, points)
    reached = grid * len(out_scores)
    thresholds = falling[np.floor(reached + 1e-9).astype(int)]
    rising_in, rising_out = np.sort(in_scores), falling[-2::-1]
    above, above_out = (
        len(side) - np.searchsorted(side, thresholds, side="right")
        for side in (rising_in, rising_out)
    )
    # OoD scores equal to the threshold pass together, and with them the other side's equals.
    equal, equal_out = (
        np.searchsorted(side, thresholds, side="right") - np.searchsorted(side, thresholds)
        for side in (rising_in, rising_out)
    )
    share = np.clip((reached - above_out) / np.maximum(equal_out, 1), 0, 1)
    passed = above + share * equal
    return {"fpr": grid.round(6).tolist(), "tpr": (passed / len(in_scores)).round(6).tolist()}


def score_histogram(in_scores: "ArrayLike", out_scores: "ArrayLike", n_bins: int = 20) -> dict:
    """How both sides' scores in [0, 1] spread over equal bins: lists `lower`, `in`, `out` (counts).

    Raises ValueError for empty input, NaN and infinity.
    """
    counts = {}
    n_bins = whole_number(n_bins, "n_bins", least=1)
    for side, scores in (("in", in_scores), ("out", out_scores)):
        counts[side] = np.histogram(_scores(scores, side), n_bins, range=(0, 1))[0].tolist()
    return {"lower": np.linspace(0, 1, n_bins + 1)[:-1].round(6).tolist(), **counts}


def max_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Maximum softmax probability (n,), float64 so that confident scores do not tie at 1.0.

    Higher = in-distribution. Raises ValueError for logits that are not finite or of one class.
    Hendrycks and Gimpel 2017, arXiv 1610.02136.
    """
    return checked_logits(logits).double().softmax(1).amax(1)


def energy(logits: torch.Tensor) -> torch.Tensor:
    """Negative free energy logsumexp(logits) at temperature 1, (n,), float64.

    Higher = in-distribution. Raises ValueError as `max_softmax`. Liu et al. 2020, arXiv 2010.03759.
    """
    return checked_logits(logits).double().logsumexp(1)


def _scores(values: "ArrayLike", side: str) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(
            f"{side}-distribution scores have shape {scores.shape} and {np.isnan(scores).sum()} "
            f"NaN, {np.isinf(scores).sum()} infinite; they must be 1-D, not empty and finite"
        )
    return scores


def _shares_beaten(in_scores: np.ndarray, out_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each score the share of the other side that it is on the right side of (ties half).

    The structural components of DeLong et al. 1988: both have the AUROC as mean.
    """

    def below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How many of the others are lower than each score, equal ones counted half."""
        others = np.sort(others)
        return sum(np.searchsorted(others, scores, side) for side in ("left", "right")) / 2

    beaten_by_in = below(in_scores, out_scores) / len(out_scores)
    return beaten_by_in, 1 - below(out_scores, in_scores) / len(in_scores)
