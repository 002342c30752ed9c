"""The data of the results explorer: every recorded test metric by network, setting and sparsity.

The page draws what stands here and computes nothing: means, intervals, labels, colours and markers
are made here, from the records, `statistics` and `theme`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import fields

import pandas as pd

from ..analysis.cells import chance_limit, summarise
from ..config import SEEDS, RunConfig
from ..datasets import DATASETS
from ..presentation import foreign
from ..presentation.theme import COLOURS, LABELS, MARKERS
from ..presentation.words import data_label, model_label
from ..sweeps.profiles import PROFILES, PURPOSE, in_control, in_profile

_NETWORK = ["model", "ratio", "sparsity", "mask_source", "granularity", "method", "when"]
PROTOCOL = [field.name for field in fields(RunConfig) if field.name not in (*_NETWORK, *SEEDS)]
"""What the runs of one curve have in common: data, schedule and optimiser."""

_METRICS = (
    # key, group, label, scale, digits, better
    (r"accuracy", "Accuracy", "Test accuracy (%)", 100, 2, "higher"),
    (r"best_validation\.accuracy", "Accuracy", "Test accuracy, best validation epoch (%)")
    + (100, 2, "higher"),
    (r"ece", "Calibration", "ECE (15 bins)", 1, 4, "lower"),
    (r"nll", "Calibration", "NLL (nats)", 1, 3, "lower"),
    (r"ood\.(\w+)\.auroc", "OoD images", "AUROC, MSP ({})", 1, 4, "higher"),
    (r"ood\.(\w+)\.auroc_energy", "OoD images", "AUROC, energy ({})", 1, 4, "higher"),
    (r"ood\.(\w+)\.fpr95", "OoD images", "FPR@95, MSP ({}, %)", 100, 1, "lower"),
    (
        r"ood\.(\w+)\.fpr95_ood_positive",
        "OoD images",
        "FPR@95, OoD positive, MSP ({}, %)",
        100,
        1,
        "lower",
    ),
    (r"clean\.accuracy", "Attacks and noise", "Accuracy, no attack (%)", 100, 1, "higher"),
    (r"fgsm\.([\d.]+)\.accuracy", "Attacks and noise", "Accuracy, FGSM, ε = {}/255 (%)")
    + (100, 1, "higher"),
    (r"pgd\.([\d.]+)\.accuracy", "Attacks and noise", "Accuracy, PGD, ε = {}/255 (%)")
    + (100, 1, "higher"),
    (r"noise\.([\d.]+)\.accuracy", "Attacks and noise", "Accuracy, noise, σ = {} (%)")
    + (100, 1, "higher"),
)
_NO_METRIC = re.compile(r"(.*\.)?(n|n_in|epoch|auroc_se)")


def script(runs: pd.DataFrame) -> str:
    """The data as a script that sets `window.RANDPRUNE`: read from a file, without a server."""
    return f"window.RANDPRUNE = {foreign.script(explorer_data(runs))};\n"


def explorer_data(runs: pd.DataFrame) -> dict:
    """`styles` by setting, and `sets`: one a protocol and copy of the data, the fullest first.

    A set has `label, purpose, models, settings, sparsities, metrics`. A metric has `key, group,
    label, better, digits, images, floor` (percent up to which guessing cannot be excluded, under an
    attack), `note` and `cells`, each `[model, setting, sparsity, n, mean, low, high]` with indices
    into `models` and `settings`; one seed has no `low` and `high`. Runs whose three seeds differ
    are left out: they do not vary all that the others of their cell vary.
    """
    if not runs.empty:
        runs = runs[(runs.seed_init == runs.seed_mask) & (runs.seed_init == runs.seed_data)]
    sets = [_set(label, part) for label, part in protocols(runs)]
    shown = {setting for entry in sets for setting in entry["settings"]}
    return {"styles": {name: style(name) for name in _ordered(shown)}, "sets": sets}


def protocols(runs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The runs of each protocol and copy of the data with a label, those with most runs first."""
    if runs.empty:
        return
    groups = [part for _, part in runs.groupby(PROTOCOL, sort=False)]
    for part in sorted(groups, key=len, reverse=True):
        config = RunConfig(**part.iloc[0][PROTOCOL].to_dict())
        name = _profile(config) or "no profile"
        about = f"{config.train_images:,} images, {config.epochs} epochs"
        label = f"{name}: {data_label(config)}, {about}"
        if not _profile(config):
            label += f", batch {config.batch_size}, learning rate {config.lr:g}"
            label += f", weight decay {config.weight_decay:g}, {config.precision}"
        yield label, part


def _profile(config: RunConfig) -> str:
    """The profile of a config, or that it is a control of one; "" for another schedule."""
    default = RunConfig()
    optimiser = ("lr", "momentum", "nesterov", "weight_decay")
    if any(getattr(config, name) != getattr(default, name) for name in optimiser):
        return ""
    if in_control(config):
        return "control of mini"
    return next((name for name in PROFILES if in_profile(config, name)), "")


def _set(label: str, runs: pd.DataFrame) -> dict:
    runs = runs.assign(ratio=runs.setting)
    size = "cost.dense_weights"
    order = runs.sort_values(size, kind="stable") if size in runs else runs
    models, settings = list(order.model.unique()), _ordered(set(runs.setting))
    found = [_metric(key, runs, models, settings) for key in metric_keys(runs)]
    return {
        "label": label,
        "purpose": PURPOSE.get(label.partition(":")[0], "its schedule is that of no profile"),
        "models": [model_label(model) for model in models],
        "settings": settings,
        "sparsities": sorted(float(value) for value in runs.sparsity.unique() if value),
        "metrics": found,
    }


def metric_keys(runs: pd.DataFrame) -> list[str]:
    """The columns of the runs that are test metrics, in the order in which they are offered."""
    other = {"run_id", "setting", *(field.name for field in fields(RunConfig))}
    keys = [
        key
        for key in runs.select_dtypes("number")
        if key not in other
        and not key.startswith(("cost.", "provenance."))
        and not _NO_METRIC.fullmatch(key)
        and runs[key].notna().any()
    ]

    def rank(key: str) -> tuple:
        place, found = _described(key)
        level = found[1] if found and found.re.groups else ""
        number = float(level) if re.fullmatch(r"[\d.]+", level) else 0.0
        return place, number, key

    return sorted(keys, key=rank)


def _described(key: str) -> tuple[int, re.Match | None]:
    """The place of a key in `_METRICS` and its match; the end and None for an unknown key."""
    for place, (pattern, *_) in enumerate(_METRICS):
        if found := re.fullmatch(pattern, key):
            return place, found
    return len(_METRICS), None


def _metric(key: str, runs: pd.DataFrame, models: list[str], settings: list[str]) -> dict:
    place, found = _described(key)
    _, group, label, scale, digits, better = (
        _METRICS[place] if found else (key, "Other", key, 1, 4, "")
    )
    known = runs[runs[key].notna()]
    cells = []
    for cell in summarise(known, key, scale).to_dict("records"):
        numbers = [cell["mean"], cell["low"], cell["high"]]
        at = [models.index(cell["model"]), settings.index(cell["ratio"]), cell["sparsity"]]
        cells.append([*at, cell["n"], *(round(x, 6) for x in numbers if math.isfinite(x))])
    counts = known.get(key.rpartition(".")[0] + ".n" if "." in key else "n")
    counts = [] if counts is None else sorted({int(n) for n in counts.dropna()})
    return {
        "key": key,
        "group": group,
        "label": label.format(*found.groups()) if found else label,
        "better": better,
        "digits": digits,
        "images": " or ".join(f"{n:,}" for n in counts),
        "floor": _floor(key, known, counts),
        "note": _note(key, known),
        "cells": cells,
    }


def _floor(key: str, runs: pd.DataFrame, counts: list[int]) -> float | None:
    dataset = runs.dataset.iloc[0]
    known = dataset in DATASETS and dataset != "imagenet"
    if not counts or not known or not key.startswith(("fgsm.", "pgd.", "noise.")):
        return None
    return round(float(chance_limit(counts[0], DATASETS[dataset].classes)), 2)


def _note(key: str, runs: pd.DataFrame) -> str:
    if (error := f"{key}_se") not in runs:
        return ""
    return (
        "Intervals are over seeds. The finite number of images adds a standard error of about "
        f"{runs[error].mean():.3f} to each value (DeLong)."
    )


def _ordered(settings: set[str]) -> list[str]:
    """Settings in the order of the theme; those it does not know come last."""
    known = list(LABELS)
    return sorted(
        settings, key=lambda name: (name not in LABELS, name in LABELS and known.index(name), name)
    )


def style(setting: str) -> dict:
    """Label, colour and marker of a setting: those of the theme, else those of its ratio.

    `marker` is an SVG path in units of the marker's size, "" for none; `filled` tells whether it
    has an inside.
    """
    from matplotlib.markers import MarkerStyle

    ratio = setting if setting in COLOURS else setting.partition(":")[0]
    look = {"label": LABELS.get(setting, setting), "colour": COLOURS[ratio]}
    if not MARKERS[ratio]:
        return look | {"marker": "", "filled": False}
    marker = MarkerStyle(MARKERS[ratio])
    path = marker.get_path().transformed(marker.get_transform())
    letters = {path.MOVETO: "M", path.LINETO: "L", path.CURVE3: "Q", path.CURVE4: "C"}
    parts = []
    for vertices, code in path.iter_segments(simplify=False):
        if code == path.CLOSEPOLY:
            parts.append("Z")
            continue
        points = vertices.reshape(-1, 2) * (1, -1)  # SVG counts y downwards
        parts.append(letters[code] + " ".join(f"{x:.3f},{y:.3f}" for x, y in points))
    return look | {"marker": "".join(parts), "filled": bool(marker.is_filled())}
