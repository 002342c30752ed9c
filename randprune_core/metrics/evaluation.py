"""All metrics of a trained network: as a table for any network, as the `test` entry of a record."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..arguments import whole_number
from . import calibration
from .attacks import fgsm_from_sign, gaussian_noise, gradient_sign, pgd_from_start, random_start
from .classification import accuracy, bin_columns, error_of_bins, negative_log_likelihood
from .inputs import checked_logits, class_indices
from .ood import (
    auroc_standard_error,
    average_precision,
    energy,
    fpr_at_95_tpr,
    max_softmax,
    ood_auroc,
    roc_curve,
    score_histogram,
)
from .predict import predict_logits

if TYPE_CHECKING:
    import pandas as pd

# The keys of the record; an epsilon is in grey levels of 255, a sigma a share of the pixel range.
FGSM_EPSILONS = ("1", "2", "4", "8")
PGD_EPSILONS = ("0.5", "1", "2", "8")
PGD_STEPS = 10
NOISE_SIGMAS = ("0.04", "0.08", "0.12")


def evaluate(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    ood_sets: Mapping[str, torch.Tensor] = MappingProxyType({}),
    attack_images: int = 1_000,
    seed: int = 0,
    extended: bool = False,
) -> "pd.DataFrame":
    """Every metric of the book for any network that gives logits, one row each.

    model: takes pixels in [0, 1] (`with_normalization` makes one that does), gives (n, classes).
    images: (n, channels, height, width), uint8 or float in [0, 1]; targets: (n,) class indices;
    ood_sets: out-of-distribution images by name. The first `attack_images` are attacked and get
    noise (0: none); `seed` draws the noise and the start of PGD.

    Columns `metric`, `setting` (what was done to the images, or the out-of-distribution set),
    `value` and `n`, the images that the value rests on. Metrics: accuracy, nll, ece (15 equal
    bins); auroc and fpr95 by maximum softmax probability, auroc_energy; accuracy under FGSM, PGD-10
    and Gaussian noise. `extended` adds those of `evaluate_logits`. Shares are in [0, 1]. The
    network is left as it was. Raises ValueError for images, targets or logits that cannot be.
    """
    attack_images = whole_number(attack_images, "attack_images", least=0)
    logits = predict_logits(model, images).cpu()
    ood_logits = {name: predict_logits(model, out).cpu() for name, out in ood_sets.items()}
    table = evaluate_logits(logits, targets, ood_logits=ood_logits, extended=extended)
    if not attack_images:
        return table
    targets = class_indices(targets, *logits.shape).cpu()[:attack_images]
    few = _pixels(images[:attack_images])
    right = logits.argmax(1)[:attack_images] == targets
    found = _shifted(model, few, targets, seed)
    pgd = {key: _pgd(model, few, targets, right, key, seed) for key in PGD_EPSILONS}
    rows = [("accuracy", "clean, of the attacked", int(right.sum()) / len(right), len(right))]
    rows += [_accuracy_row(f"fgsm {key}/255", part) for key, part in found["fgsm"].items()]
    rows += [_accuracy_row(f"pgd {key}/255", part) for key, part in pgd.items()]
    rows += [_accuracy_row(f"noise {key}", part) for key, part in found["noise"].items()]
    return _table([*table.itertuples(index=False, name=None), *rows])


def evaluate_logits(
    logits: torch.Tensor,
    targets: torch.Tensor,
    *,
    ood_logits: Mapping[str, torch.Tensor] = MappingProxyType({}),
    extended: bool = False,
) -> "pd.DataFrame":
    """`evaluate` without attacks and noise, from logits (n, classes) and class indices (n,).

    `ood_logits` are those of out-of-distribution images, by name. `extended` adds ece_classwise,
    ece_equal_mass and ece_temperature (see `metrics.calibration`), and by maximum softmax
    probability aupr, with the known images as the positive class, aupr_ood_positive and
    fpr95_ood_positive, with the others.
    """
    logits = torch.as_tensor(logits).cpu()
    targets = class_indices(targets, *checked_logits(logits).shape).cpu()
    probs, n = logits.double().softmax(1), len(logits)
    rows = [
        ("accuracy", "clean", accuracy(logits, targets), n),
        ("nll", "clean", negative_log_likelihood(logits, targets), n),
        ("ece", "clean", error_of_bins(bin_columns(probs, targets)), n),
    ]
    if extended:
        rows += [
            ("ece_classwise", "clean", calibration.classwise_error(probs, targets), n),
            ("ece_equal_mass", "clean", calibration.equal_mass_error(probs, targets), n),
            ("ece_temperature", "clean", calibration.error_after_scaling(logits, targets), n),
        ]
    for name, out in ood_logits.items():
        out = checked_logits(torch.as_tensor(out), f"logits of {name}").cpu()
        known, other, both = max_softmax(logits), max_softmax(out), n + len(out)
        rows += [
            ("auroc", name, ood_auroc(known, other), both),
            ("auroc_energy", name, ood_auroc(energy(logits), energy(out)), both),
            ("fpr95", name, fpr_at_95_tpr(known, other), both),
        ]
        if extended:
            rows += [
                ("aupr", name, average_precision(known, other), both),
                ("aupr_ood_positive", name, average_precision(-other, -known), both),
                ("fpr95_ood_positive", name, fpr_at_95_tpr(-other, -known), both),
            ]
    return _table(rows)


def _table(rows: list[tuple]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows, columns=["metric", "setting", "value", "n"])


def _accuracy_row(setting: str, found: Mapping[str, float | int]) -> tuple:
    return "accuracy", setting, found["accuracy"], found["n"]


def _pixels(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


def record_entry(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    ood_sets: Mapping[str, torch.Tensor],
    attack_images: int,
    seed: int = 0,
    pgd_images: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Any]:
    """The `test` entry of a record: every metric of the book, as plain numbers for JSON.

    model: takes [0, 1] pixels. images: uint8 NCHW test images; targets: (n,); ood_sets: uint8 NCHW
    by name; attacks and noise use the first `attack_images` test images (all, if there are fewer),
    PGD at an epsilon named in `pgd_images` (keys as in `PGD_EPSILONS`) as many as stand there.
    `clean` is the accuracy on just these images, the curves' value at epsilon and sigma 0.
    Float32 with TF32 off throughout. An empty calibration bin has confidence and accuracy None.
    """
    attack_images = whole_number(attack_images, "attack_images", least=1)
    logits = predict_logits(model, images).cpu()
    targets = class_indices(targets, *logits.shape).cpu()
    bins = bin_columns(logits.double().softmax(1), targets)
    rows = zip(*(column.tolist() for column in bins.values()), strict=True)
    right = logits.argmax(1) == targets
    clean = right[:attack_images]
    few, few_targets = images[:attack_images].float() / 255, targets[:attack_images]
    shifted = _shifted(model, few, few_targets, seed)
    counts = {key: pgd_images.get(key, attack_images) for key in PGD_EPSILONS}
    return {
        "accuracy": accuracy(logits, targets),
        "nll": negative_log_likelihood(logits, targets),
        "ece": error_of_bins(bins),
        "n": len(images),
        "bins": [
            {name: None if value != value else value for name, value in zip(bins, row, strict=True)}
            for row in rows
        ],
        "ood": {
            name: _ood_metrics(logits, predict_logits(model, out_images).cpu())
            for name, out_images in ood_sets.items()
        },
        "clean": {"accuracy": int(clean.sum()) / len(clean), "n": len(clean)},
        "fgsm": shifted["fgsm"],
        "pgd": {
            key: _pgd(model, images[:n].float() / 255, targets[:n], right[:n], key, seed)
            for key, n in counts.items()
        },
        "noise": shifted["noise"],
    }


def _ood_metrics(in_logits: torch.Tensor, out_logits: torch.Tensor) -> dict[str, Any]:
    in_scores, out_scores = max_softmax(in_logits), max_softmax(out_logits)
    return {
        "auroc": ood_auroc(in_scores, out_scores),
        "auroc_se": auroc_standard_error(in_scores, out_scores),
        "fpr95": fpr_at_95_tpr(in_scores, out_scores),
        "auroc_energy": ood_auroc(energy(in_logits), energy(out_logits)),
        "n": len(out_logits),
        "n_in": len(in_logits),
        "roc": roc_curve(in_scores, out_scores),
        "histogram": score_histogram(in_scores, out_scores),
    }


def _shifted(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, seed: int
) -> dict[str, dict[str, dict[str, float | int]]]:
    """Accuracy under FGSM and under noise; images float in [0, 1]."""
    n = len(images)

    def measured(perturbed: torch.Tensor) -> dict[str, float | int]:
        return {"accuracy": accuracy(predict_logits(model, perturbed), targets), "n": n}

    sign = gradient_sign(model, images, targets)
    return {
        "fgsm": {
            key: measured(fgsm_from_sign(images, sign, float(key) / 255)) for key in FGSM_EPSILONS
        },
        "noise": {key: measured(gaussian_noise(images, float(key), seed)) for key in NOISE_SIGMAS},
    }


def _pgd(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    right: torch.Tensor,
    key: str,
    seed: int,
) -> dict[str, float | int]:
    """Accuracy under PGD (step epsilon/4, random start) at one of `PGD_EPSILONS`.

    Only images that are classified `right` as they are get attacked: the ball holds the image
    itself, so that a misclassified one counts as broken (as in Croce and Hein 2020, arXiv
    2003.01690). Each keeps the random start that it has in `pgd` over all images.
    """
    n, epsilon = len(images), float(key) / 255
    if not right.any():
        return {"accuracy": 0.0, "n": n}
    start = random_start(images, epsilon, seed)[right]
    attacked = pgd_from_start(
        model, images[right], targets[right], start, epsilon, epsilon / 4, PGD_STEPS
    )
    still_right = predict_logits(model, attacked).argmax(1).cpu() == targets[right]
    return {"accuracy": int(still_right.sum()) / n, "n": n}
