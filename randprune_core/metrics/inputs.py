"""What the metrics accept: logits, probabilities and labels that can be what they are said to be.

A wrong input gives a wrong number without a word, so that each is refused in one line.
"""

import torch

SUM_TOLERANCE = {torch.float64: 1e-3, torch.float32: 1e-3, torch.float16: 1e-2}
"""How far a row of probabilities may be from a sum of 1; bfloat16 as float16."""


def checked_logits(logits: torch.Tensor, name: str = "logits") -> torch.Tensor:
    """`logits` as a tensor; ValueError unless floating point, finite, (n, classes >= 2), n >= 1."""
    logits = torch.as_tensor(logits)
    if logits.dim() != 2 or not len(logits) or logits.shape[1] < 2:
        raise ValueError(
            f"{name} have shape {tuple(logits.shape)}; they must be (n, classes) with n at least 1 "
            "and at least two classes, a column each"
        )
    if not logits.is_floating_point():
        raise ValueError(f"{name} are {logits.dtype}; they must be floating point")
    if bad := int((~torch.isfinite(logits)).any(1).sum()):
        raise ValueError(f"{bad} of {len(logits)} rows of {name} hold NaN or an infinite number")
    return logits


def checked_probabilities(probs: torch.Tensor) -> torch.Tensor:
    """`probs` as a tensor; ValueError unless each row lies in [0, 1] and sums to 1.

    The sum may differ from 1 by 0.001, for 16-bit numbers by 0.01. Else as `checked_logits`.
    """
    probs = checked_logits(probs, "probs")
    low, high = (value.item() for value in probs.aminmax())
    if not (low >= 0 and high <= 1 + 1e-6):
        raise ValueError(
            f"probs range from {low:g} to {high:g}; they must lie in [0, 1]: "
            "apply softmax to logits first"
        )
    tolerance = SUM_TOLERANCE.get(probs.dtype, SUM_TOLERANCE[torch.float16])
    sums = probs.double().sum(1)
    off = sums[(sums - 1).abs().argmax()].item()
    if abs(off - 1) > tolerance:
        raise ValueError(
            f"a row of probs sums to {off:g}; each row must sum to 1, within {tolerance:g}"
        )
    return probs


def class_indices(targets: torch.Tensor, rows: int, classes: int | None = None) -> torch.Tensor:
    """`targets` as int64 of shape (rows,), on their device; any integer kind is accepted.

    Raises ValueError for another shape, for numbers that are no integers and, where the number of
    `classes` is given, for a label outside of them.
    """
    targets = torch.as_tensor(targets)
    whole = not (targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool)
    # An empty list is float32, and holds no label that could be wrong.
    if targets.shape != (rows,) or (rows and not whole):
        raise ValueError(
            f"targets are {targets.dtype} of shape {tuple(targets.shape)}; they must be class "
            f"indices (integers) of shape ({rows},), one for each row"
        )
    targets = targets.long()
    if classes is not None and rows:
        low, high = (int(value) for value in targets.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(
                f"targets lie in [{low}, {high}], but there are {classes} classes: labels must lie "
                f"in [0, {classes - 1}]"
            )
    return targets
