"""The data of the results explorer: every recorded metric by network, setting and sparsity.

The page draws what stands here and computes nothing: means, differences, intervals, labels, colours
and markers are made here, from the records, `analysis.cells` and `theme`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields

import numpy as np
import pandas as pd

from ..analysis import published
from ..analysis.cells import CELL, STATIC, chance_limit, gap_to_dense, summarise
from ..analysis.claim_runs import pool_among
from ..analysis.decisions import LARGE
from ..config import SEEDS, RunConfig
from ..datasets import DATASETS
from ..presentation import foreign
from ..presentation.theme import COLOURS, LABELS, MARKERS, in_order
from ..presentation.words import data_label, model_label
from ..sweeps.profiles import PROFILES, PURPOSE, in_control, in_profile

_NETWORK = ["model", "ratio", "sparsity", "mask_source", "granularity", "method", "when"]
PROTOCOL = [field.name for field in fields(RunConfig) if field.name not in (*_NETWORK, *SEEDS)]
"""What the runs of one curve have in common: data, schedule and optimiser."""

_METRICS = (
    # key, group, label, scale, digits, better
    (r"accuracy", "Accuracy", "Test accuracy (%)", 100, 1, "higher"),
    (r"best_validation\.accuracy", "Accuracy", "Test accuracy, best validation epoch (%)")
    + (100, 1, "higher"),
    (r"ece", "Calibration", "ECE (15 bins)", 1, 4, "lower"),
    (r"nll", "Calibration", "NLL (nats)", 1, 3, "lower"),
    (r"ood\.(\w+)\.auroc", "OoD images", "AUROC, max. softmax ({})", 1, 4, "higher"),
    (r"ood\.(\w+)\.auroc_energy", "OoD images", "AUROC, energy ({})", 1, 4, "higher"),
    (r"ood\.(\w+)\.fpr95", "OoD images", "FPR@95, max. softmax ({}, %)", 100, 1, "lower"),
    (
        r"ood\.(\w+)\.fpr95_ood_positive",
        "OoD images",
        "FPR@95, OoD as positive ({}, %)",
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
    (r"gradient\.initial", "Gradient norm", "Gradient norm before training", 1, 3, ""),
    (r"gradient\.first_epoch", "Gradient norm", "Gradient norm, mean of the first epoch", 1, 3, ""),
    (r"gradient\.last_epoch", "Gradient norm", "Gradient norm, mean of the last epoch", 1, 3, ""),
    (r"cost\.mac_ratio", "Cost", "MACs, share of the dense network's (%)", 100, 1, "lower"),
    (r"cost\.kept_weights", "Cost", "Kept weights", 1, 0, "lower"),
    (r"provenance\.seconds", "Cost", "Time of a run (s)", 1, 0, "lower"),
)
_NO_METRIC = re.compile(r"(.*\.)?(n|n_in|epoch|auroc_se)|(cost|provenance)\..*")
"""Columns of the runs that are no metric, unless `_METRICS` has them."""


def script(runs: pd.DataFrame, records: Iterable[Mapping] = ()) -> str:
    """The data as a script that sets `window.RANDPRUNE`: read from a file, without a server.

    `runs` are rows of `load_runs`; gradient norms are taken from the records of the same runs.
    """
    return f"window.RANDPRUNE = {foreign.script(explorer_data(with_gradients(runs, records)))};\n"


def with_gradients(runs: pd.DataFrame, records: Iterable[Mapping]) -> pd.DataFrame:
    """The runs with the columns `gradient.initial`, `.first_epoch` and `.last_epoch` (means).

    NaN where a record has no such norm; without any, the runs are returned as they are.
    """
    norms = {}
    for record in records:
        history = record["history"]
        curve = history.get("gradient_norm", {"epoch": [], "norm": []})
        first = [norm for epoch, norm in zip(*curve.values(), strict=True) if epoch < 1.05]
        norms[record["run_id"]] = {
            "gradient.initial": history.get("gradient_norm_at_init"),
            "gradient.first_epoch": np.mean(first) if first else None,
            "gradient.last_epoch": curve["norm"][-1] if first else None,
        }
    table = pd.DataFrame.from_dict(norms, orient="index", dtype=float)
    return runs.join(table, on="run_id") if norms else runs


def explorer_data(runs: pd.DataFrame) -> dict:
    """`styles` by setting, `metrics`, `paper`, and `sets`: one a protocol and copy of the data.

    The fullest set comes first. It has `key` (for an address), `label, purpose, models, settings,
    sparsities, paper` (whether the paper's points are of its data), and `measured`: by metric
    `images, note, floor` (percent up to which guessing cannot be excluded, under an attack),
    `value` and `gap`, dense minus sparse. Those two are lists of cells, each `[model, setting,
    sparsity, n, mean, [low, high], [[seed, value], ...]]` with indices into `models` and
    `settings`; one seed has no low and high. A seed of a gap is a pair of runs of one seed. Numbers
    are those of the chapters to the last bit, so that the page rounds them to the same digits.
    `metrics` have `key, group, label, better, digits`; `paper` has, by metric, `value` and `gap`
    of the paper: lists of `[model, setting, sparsity, mean, reading error]`.

    Runs whose three seeds differ are left out: they do not vary all that the others of their cell
    vary.
    """
    if not runs.empty:
        runs = runs[(runs.seed_init == runs.seed_mask) & (runs.seed_init == runs.seed_data)]
    sets = [_set(label, part) for label, part in protocols(runs)]
    shown = {setting for entry in sets for setting in entry["settings"]} | (
        {"erk"} if sets else set()
    )
    metrics = [_metric(key) for key in metric_keys(runs)] if sets else []
    styles = {name: style(name) for name in in_order(shown)}
    return {"styles": styles, "metrics": metrics, "paper": _paper(), "sets": sets}


def _paper() -> dict:
    """The points of Figure 1 of the paper, which are accuracies on CIFAR-10."""
    points = published.figure1()
    gaps = published.gap_to_dense(points).rename(columns={"gap": "mean"})
    return {
        "accuracy": {
            show: [
                [model_label(row.model), row.ratio, row.sparsity, row.mean, row.error]
                for row in table[[*CELL, "mean", "error"]].itertuples()
            ]
            for show, table in (("value", points), ("gap", gaps))
        }
    }


def protocols(runs: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The runs of each protocol and copy of the data with a label.

    Those of the profiles that decide claims come first, then those with most runs.
    """
    if runs.empty:
        return
    found = []
    for _, part in runs.groupby(PROTOCOL, sort=False):
        config = RunConfig(**part.iloc[0][PROTOCOL].to_dict())
        found.append((_profile(config), config, part))
    for name, config, part in sorted(found, key=lambda each: (each[0] not in LARGE, -len(each[2]))):
        about = f"{config.train_images:,} images, {config.epochs} epochs"
        label = f"{name or 'no profile'}: {data_label(config)}, {about}"
        if not name:
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
    models, settings = list(order.model.unique()), in_order(set(runs.setting))
    config, profile = runs.iloc[0], label.partition(":")[0]
    own = PROFILES.get(profile, {}).get("dataset") != config.dataset  # and so is its spread
    pool = None if own else pool_among(runs, profile)
    return {
        "key": _key(label, config),
        "label": label,
        "purpose": PURPOSE.get(profile, "its schedule is that of no profile"),
        "models": [model_label(model) for model in models],
        "settings": settings,
        "sparsities": sorted(float(value) for value in runs.sparsity.unique() if value),
        "paper": config.dataset == "cifar10",
        "measured": {
            key: _measured(key, runs, models, settings, pool) for key in metric_keys(runs)
        },
    }


def _key(label: str, config: pd.Series) -> str:
    """A name of a set that stays when others come, as an address has it."""
    profile = label.partition(":")[0]
    if profile in PROFILES:
        return f"{profile}-{config.dataset}-{config.variant}"
    return f"other-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def metric_keys(runs: pd.DataFrame) -> list[str]:
    """The columns of the runs that are metrics, in the order in which they are offered."""
    other = {"run_id", "setting", *(field.name for field in fields(RunConfig))}
    keys = [
        key
        for key in runs.select_dtypes("number")
        if key not in other
        and (_described(key)[1] or not _NO_METRIC.fullmatch(key))
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


def _metric(key: str) -> dict:
    found, (_, group, label, _, digits, better) = _facts(key)
    label = label.format(*found.groups()) if found else label
    return {"key": key, "group": group, "label": label, "better": better, "digits": digits}


def _facts(key: str) -> tuple[re.Match | None, tuple]:
    """The match of a key with a line of `_METRICS`, and that line or the one of an unknown key."""
    place, found = _described(key)
    return found, _METRICS[place] if found else (key, "Other", key, 1, 4, "")


def _measured(
    key: str,
    runs: pd.DataFrame,
    models: list[str],
    settings: list[str],
    pool: pd.DataFrame | None,
) -> dict:
    scale = _facts(key)[1][3]
    known = runs[runs[key].notna()]
    counts = known.get(key.rpartition(".")[0] + ".n" if "." in key else "n")
    counts = [] if counts is None else sorted({int(n) for n in counts.dropna()})
    columns = [*CELL, *STATIC, "seed_init", key]  # a frame of all columns is slow to group
    few, pool = known[columns], None if pool is None else pool[columns]
    values: dict[tuple, dict[int, float]] = {}
    for *cell, seed, value in few[[*CELL, "seed_init", key]].itertuples(index=False):
        values.setdefault(tuple(cell), {})[seed] = scale * value
    pairs = {
        cell: {seed: dense[seed] - value for seed, value in own.items() if seed in dense}
        for cell, own in values.items()
        if (dense := values.get((cell[0], "dense", 0.0)))
    }

    def cells(table: pd.DataFrame, seeds: Mapping[tuple, Mapping[int, float]]) -> list[list]:
        rows = []
        for model, setting, sparsity, n, mean, low, high in table.itertuples(index=False):
            ends = [end for end in (low, high) if math.isfinite(end)]
            each = seeds[model, setting, sparsity]
            rows.append(
                [models.index(model), settings.index(setting), sparsity, n, mean]
                + [ends, [[seed, each[seed]] for seed in sorted(each)]]
            )
        return rows

    return {
        "images": _images(key, known, counts),
        "floor": _floor(key, known, counts),
        "note": _note(key, known),
        "value": cells(summarise(few, key, scale, pool).drop(columns="std"), values),
        "gap": cells(gap_to_dense(few, key, scale, pool), pairs),
    }


def _images(key: str, runs: pd.DataFrame, counts: list[int]) -> str:
    """How many images a metric is measured on, in words; "" where it is on none."""
    in_distribution = f"{key.rpartition('.')[0]}.n_in"
    if not key.startswith("ood.") or in_distribution not in runs:
        return _either(counts)
    return f"{_either(runs[in_distribution].dropna())} known and {_either(counts)} unknown"


def _either(counts: Iterable[float]) -> str:
    return " or ".join(f"{n:,.0f}" for n in sorted(set(counts)))


def _floor(key: str, runs: pd.DataFrame, counts: list[int]) -> float | None:
    dataset = runs.dataset.iloc[0]
    known = dataset in DATASETS and dataset != "imagenet"
    if not counts or not known or not key.startswith(("fgsm.", "pgd.", "noise.")):
        return None
    return round(float(chance_limit(counts[0], DATASETS[dataset].classes)), 2)


def _note(key: str, runs: pd.DataFrame) -> str:
    if key == "provenance.seconds":
        return (
            "Times are those of the machine that trained, with what else it did; networks trained "
            "on different machines do not compare (see Provenance)."
        )
    if (error := f"{key}_se") not in runs:
        return ""
    return (
        "Intervals are over seeds. The finite number of images adds a standard error of about "
        f"{runs[error].mean():.3f} to the AUROC of a network (DeLong)."
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
