"""What four scales say of the same contrasts: `mini`, `cpu`, ours at full size, the paper.

`full` are the runs of profile `paper`; `paper` are the points of the paper's figure; the control is
one of `mini`. The runs are those that are recorded, whatever the parameters of the chapter; none is
trained. The axis that the scales share is the weights for each training image: maskable weights of
the dense network over the number of training images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pandas as pd

from ..config import RunConfig, run_id
from ..presentation.words import model_label
from ..records.store import find_records
from ..records.table import records_to_frame
from ..sweeps.coverage import shown_variant
from ..sweeps.grids import grid
from . import published
from .cells import CELL, Cells, cells_of, differences, gap_to_dense, turned
from .claim_runs import pool_among
from .contrasts import fall
from .intervals import Estimate, contrast
from .layers import weight_counts

SPARSITIES = (0.9, 0.5)
HIGH = 0.9
FIGURES = ("depth", "width", "methods")
"""The grids of both profiles that have a ratio of the paper's figure."""
SETTINGS = ("dense", "erk", "snip", "uniform_plus", "uniform")
"""Those of the paper's figure."""
PAPER_IMAGES = 45_000
SCALES = ("mini", "control", "cpu", "full", "paper")
"""The scales in the order of every table."""
PROFILE_OF = {"mini": "mini", "cpu": "cpu", "full": "paper"}
_NONE = Estimate(math.nan, math.nan, math.nan, 0)
_POINTS = ["scale", "images", "weights", *CELL, "n", "value", "low", "high"]


# ---------------------------------------------------------------- records


def collect(*scales: str) -> dict[str, pd.DataFrame]:
    """The recorded runs of all scales or of those named, each once (columns as `load_runs`).

    `fitted` is the accuracy in percent on the augmented training images of the last epoch;
    `best_adds` the points of test accuracy that the epoch best on the validation images would add.
    """
    return {scale: _frame(configs(scale)) for scale in scales or SCALES[:-1]}


def control() -> list[RunConfig]:
    """The runs of the control, on the copy of the data that `mini` is recorded on."""
    return configs("control")


def configs(scale: str) -> list[RunConfig]:
    """The runs of a scale but the paper, recorded or not, each once."""
    profile = PROFILE_OF.get(scale, "mini")
    planned = (
        config
        for figure in (FIGURES if scale in PROFILE_OF else [scale])
        for config in grid(figure, profile, variant=shown_variant(figure, profile))
    )
    return [*{run_id(config): config for config in planned}.values()]


def _frame(configs: Iterable[RunConfig]) -> pd.DataFrame:
    found = find_records(configs)
    fitted = [100 * record["history"]["train_accuracy"][-1] for record in found]
    frame = records_to_frame(found)
    tests = frame.reindex(columns=["best_validation.accuracy", "accuracy"])  # also where none is
    best_adds = 100 * (tests["best_validation.accuracy"] - tests["accuracy"])
    return frame.assign(fitted=fitted, best_adds=best_adds)


# ---------------------------------------------------------------- points


def gaps(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Dense minus sparse in points at the two sparsities, a row a cell, small networks first.

    Columns `scale, images, weights` (for each training image)`, model, ratio, sparsity, n, value,
    low, high`. The limits of the paper's points are its reading errors; it has no `n`.
    """
    parts = {key: gap_to_dense(part, pool=pool) for key, part, pool in _by(runs)}
    parts["paper", PAPER_IMAGES] = published.gap_to_dense(published.figure1())
    table = _together({key: part.rename(columns={"gap": "value"}) for key, part in parts.items()})
    return table[table.sparsity.isin(SPARSITIES)].reset_index(drop=True)


def ratio_differences(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Each other ratio minus ERK at sparsity 0.9, in points, with the columns of `gaps`."""
    parts = {}
    for key, part, pool in _by(runs):
        others = part[(part.sparsity == HIGH) & ~part.ratio.isin(["dense", "erk"])]
        cells = others[CELL].drop_duplicates().itertuples(index=False, name=None)
        pairs = [((cell[0], "erk", HIGH), cell) for cell in cells]
        found = turned(differences(part, pairs, pool=pool))
        parts[key] = found.rename(columns={"difference": "value"})
    points = published.figure1()
    points = points[points.sparsity == HIGH]
    erk = points[points.ratio == "erk"].set_index("model")
    others = points[points.ratio != "erk"]
    value = others["mean"] - others.model.map(erk["mean"])
    reach = others.error + others.model.map(erk.error)
    limits = {"value": value, "low": value - reach, "high": value + reach}
    parts["paper", PAPER_IMAGES] = others[CELL].assign(**limits)
    return _together(parts)


def _by(runs: Mapping[str, pd.DataFrame]) -> Iterable[tuple]:
    """The runs with the settings of the paper's figure, by scale and images, and a pool."""
    for scale, frame in runs.items():  # the spread of the control is its own
        pool = None if scale == "control" else pool_among(frame, PROFILE_OF[scale])
        for images, part in frame[frame.setting.isin(SETTINGS)].groupby("train_images"):
            yield (scale, int(images)), part, pool


def _together(parts: Mapping[tuple[str, int], pd.DataFrame]) -> pd.DataFrame:
    tables = [part.assign(scale=s, images=n) for (s, n), part in parts.items() if len(part)]
    table = pd.concat(tables).reindex(columns=_POINTS)
    weights = table.model.map(weight_counts(table.model.unique())) / table.images
    order = table.assign(weights=weights, rank=table.scale.map(SCALES.index))
    return order.sort_values(["rank", "weights"], kind="stable", ignore_index=True)[_POINTS]


# ---------------------------------------------------------------- contrasts


def falls(runs: Mapping[str, pd.DataFrame], models: Iterable[str] | None = None) -> pd.DataFrame:
    """By how many points the gap of ERK falls for each doubling of the weights per image.

    Least squares over the networks of a scale, or those of `models`, each counting alike: a
    contrast of cell means.
    Columns `scale, sparsity, networks, n, value, low, high`, NaN where fewer than two networks are
    recorded; the paper's limits are what its reading errors allow.
    """
    rows, points = [], gaps(runs)
    points = points[(points.ratio == "erk") & (points.scale != "control")]
    points = points if models is None else points[points.model.isin([*models])]
    cells = {scale: cells_of(part, pool=pool) for (scale, _), part, pool in _by(runs)}
    for scale in (*PROFILE_OF, "paper"):
        for sparsity in SPARSITIES:
            part = points[(points.scale == scale) & (points.sparsity == sparsity)]
            shares = dict(zip(part.model, fall(part.weights), strict=True))
            if len(part) < 2:
                found = Estimate(math.nan, math.nan, math.nan, 0)
            elif scale == "paper":
                value = (part.model.map(shares) * part.value).sum()
                reach = (part.model.map(shares).abs() * (part.high - part.value)).sum()
                found = Estimate(value, value - reach, value + reach, math.nan)
            else:
                found = _contrast(cells.get(scale), _gap_weights(shares, sparsity))
            rows.append([scale, sparsity, len(part), found.n, *found[:3]])
    columns = ["scale", "sparsity", "networks", "n", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def control_contrasts(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What the control says of ERK at 0.9: `kind`, `compared` and an interval, in points.

    The first row is the difference of two networks at nearly equal weights per image (31 and 27),
    which is near zero if these decide. The others are the fall of the gap for each doubling of the
    weights per image, once because the network changes and for two networks because the images do,
    each over its own stretch of weights per image. The spread between seeds is pooled within each
    number of images, as in `gaps`: on fewer images runs scatter more. Values are NaN where a cell
    is not recorded, and all of them without any run of the control.
    """
    values, spreads = {}, {}
    for (_, images), part, pool in _by({scale: runs[scale] for scale in ("mini", "control")}):
        cells = cells_of(part, pool=pool)
        for (model, *rest), found in cells.values.items():
            values[(model, images), *rest] = found
            spreads[(model, images), *rest] = cells.spread
    weights = weight_counts(["resnet-8", "resnet-20"])

    def slope(*places):
        sizes = [weights[model] / images for model, images in places]
        return dict(zip(places, fall(sizes), strict=True))

    few, usual, many = 2_500, 5_000, 10_000
    equal = {("resnet-8", few): 1.0, ("resnet-20", many): -1.0}
    contrasts = [("difference", "ResNet-8 on 2,500 images minus ResNet-20 on 10,000", equal)]
    between = slope(("resnet-8", usual), ("resnet-20", usual))
    contrasts.append(("fall", "from ResNet-8 to ResNet-20, both on 5,000 images", between))
    for model in ("resnet-8", "resnet-20"):
        shares = slope(*((model, images) for images in (many, usual, few)))
        contrasts.append(("fall", f"{model_label(model)}, from 10,000 to 2,500 images", shares))
    rows = []
    for kind, compared, shares in contrasts:
        found, means = _NONE, _gap_weights(shares, HIGH)
        if len(runs["control"]) and set(means) <= set(values):
            groups, own = [values[cell] for cell in means], [spreads[cell] for cell in means]
            found = contrast(groups, list(means.values()), own)
        rows.append([kind, compared, found.n, *found[:3]])
    return pd.DataFrame(rows, columns=["kind", "compared", "n", "value", "low", "high"])


def _gap_weights(shares: Mapping[object, float], sparsity: float) -> dict[tuple, float]:
    dense = {(model, "dense", 0.0): share for model, share in shares.items()}
    return dense | {(model, "erk", sparsity): -share for model, share in shares.items()}


def _contrast(cells: Cells | None, weights: Mapping[tuple, float]) -> Estimate:
    known = cells is not None and len(weights) > 2 and set(weights) <= set(cells.values)
    return cells.contrast(weights) if known else _NONE
