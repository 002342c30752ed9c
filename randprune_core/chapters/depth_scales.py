"""What three scales say of the same contrasts: `mini`, the former `cpu` and the paper; the control.

The runs are those that are recorded, whatever the parameters of the chapter; none is trained. The
axis that the scales share is the weights for each training image: maskable weights of the dense
network over the number of training images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from ..analysis import published
from ..analysis.cells import CELL, Cells, cells_of, differences, gap_to_dense, turned
from ..analysis.intervals import Estimate
from ..config import RunConfig, run_id
from ..presentation.theme import LABELS, in_order
from ..presentation.words import model_label, plus_minus
from ..records.store import find_records
from ..records.table import records_to_frame
from ..sweeps.coverage import missing, shown_variant
from ..sweeps.grids import grid
from .shared.layers import weight_counts

SPARSITIES = (0.9, 0.5)
HIGH = 0.9
FIGURES = ("depth", "width", "methods")
"""The grids of both profiles that have a ratio of the paper's figure."""
SETTINGS = ("dense", "erk", "snip", "uniform_plus", "uniform")
"""Those of the paper's figure."""
PAPER_IMAGES = 45_000
_NONE = Estimate(math.nan, math.nan, math.nan, 0)
_POINTS = ["scale", "images", "weights", *CELL, "dense", "n", "value", "low", "high"]
SCALES = ("mini", "control", "cpu", "paper")
"""The scales in the order of every table; the control is one of `mini`."""


# ---------------------------------------------------------------- records


def collect() -> dict[str, pd.DataFrame]:
    """The recorded runs of `mini`, `cpu` and the control, each run once (columns as `load_runs`).

    `fitted` is the accuracy in percent on the augmented training images of the last epoch.
    """
    frames = {
        name: _frame(config for figure in FIGURES for config in _grid(figure, name))
        for name in ("mini", "cpu")
    }
    return frames | {"control": _frame(control())}


def together(runs: pd.DataFrame, scales: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The runs of a chapter and of all scales in one frame, each once."""
    frames = [frame for frame in (runs, *scales.values()) if len(frame)]
    whole = pd.concat(frames, ignore_index=True) if frames else runs
    return whole.drop_duplicates("run_id", ignore_index=True)


def control() -> list[RunConfig]:
    """The runs of the control, on the copy of the data that `mini` is recorded on."""
    return _grid("control", "mini")


def missing_control() -> int:
    """How many runs of the control are not recorded."""
    return len(missing(control()))


def _grid(figure: str, profile: str) -> list[RunConfig]:
    return grid(figure, profile, variant=shown_variant(figure, profile))


def _frame(configs: Iterable[RunConfig]) -> pd.DataFrame:
    found = find_records({run_id(config): config for config in configs}.values())
    fitted = [100 * record["history"]["train_accuracy"][-1] for record in found]
    return records_to_frame(found).assign(fitted=fitted)


# ---------------------------------------------------------------- points


def gaps(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Dense minus sparse in points at the two sparsities, a row a cell, small networks first.

    Columns `scale, images, weights` (for each training image)`, model, ratio, sparsity, dense` (its
    accuracy in percent)`, n, value, low, high`. The limits of the paper's points are its reading
    errors; it has no `n`.
    """
    parts = {}
    for key, part in _by(runs):
        dense = 100 * part[part.ratio == "dense"].groupby("model").accuracy.mean()
        parts[key] = _with_dense(gap_to_dense(part), dense)
    paper = published.figure1()
    dense = paper[paper.ratio == "dense"].set_index("model")["mean"]
    parts["paper", PAPER_IMAGES] = _with_dense(published.gap_to_dense(paper), dense)
    table = _together(parts)
    return table[table.sparsity.isin(SPARSITIES)].reset_index(drop=True)


def _with_dense(gaps: pd.DataFrame, dense: pd.Series) -> pd.DataFrame:
    return gaps.rename(columns={"gap": "value"}).assign(dense=gaps.model.map(dense))


def ratio_differences(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Each other ratio minus ERK at sparsity 0.9, in points, with the columns of `gaps`."""
    parts = {}
    for (scale, images), part in _by(runs):
        others = part[(part.sparsity == HIGH) & ~part.ratio.isin(["dense", "erk"])]
        cells = others[CELL].drop_duplicates().itertuples(index=False, name=None)
        pairs = [((cell[0], "erk", HIGH), cell) for cell in cells]
        found = turned(differences(part, pairs)).rename(columns={"difference": "value"})
        parts[scale, images] = found
    points = published.figure1()
    points = points[points.sparsity == HIGH]
    erk = points[points.ratio == "erk"].set_index("model")
    others = points[points.ratio != "erk"]
    value = others["mean"] - others.model.map(erk["mean"])
    reach = others.error + others.model.map(erk.error)
    parts["paper", PAPER_IMAGES] = others[CELL].assign(
        value=value, low=value - reach, high=value + reach
    )
    return _together(parts)


def _by(runs: Mapping[str, pd.DataFrame]) -> Iterable[tuple[tuple[str, int], pd.DataFrame]]:
    """The runs with the settings of the paper's figure, by scale and number of training images."""
    for scale, frame in runs.items():
        for images, part in frame[frame.setting.isin(SETTINGS)].groupby("train_images"):
            yield (scale, int(images)), part


def _together(parts: Mapping[tuple[str, int], pd.DataFrame]) -> pd.DataFrame:
    tables = [part.assign(scale=s, images=n) for (s, n), part in parts.items() if len(part)]
    table = pd.concat(tables).reindex(columns=_POINTS)
    weights = table.model.map(weight_counts(table.model.unique())) / table.images
    order = table.assign(weights=weights, rank=table.scale.map(SCALES.index))
    return order.sort_values(["rank", "weights"], kind="stable", ignore_index=True)[_POINTS]


def gap_of(points: pd.DataFrame, scale: str, model: str) -> tuple[float, float]:
    """The gap of ERK at 0.9 in points and as percent of the errors of dense; NaN for none."""
    wanted = (points.scale == scale) & (points.model == model) & (points.sparsity == HIGH)
    for row in points[wanted & (points.ratio == "erk")].itertuples():
        return row.value, 100 * row.value / (100 - row.dense)
    return math.nan, math.nan


def largest_gap(points: pd.DataFrame, scale: str, sparsity: float) -> float:
    """The largest gap of ERK among the networks of a scale; NaN for none."""
    wanted = (points.scale == scale) & (points.sparsity == sparsity) & (points.ratio == "erk")
    return float(points[wanted].value.max())


def mean_difference(ratios: pd.DataFrame, scale: str, ratio: str) -> float:
    """Mean over the networks of a scale of `ratio_differences`; NaN where there is none."""
    return float(ratios[(ratios.scale == scale) & (ratios.ratio == ratio)].value.mean())


def fitted(runs: pd.DataFrame) -> tuple[float, float]:
    """Least and most that the dense networks of a scale fit their training images, in percent."""
    means = runs[runs.ratio == "dense"].groupby("model").fitted.mean()
    return float(means.min()), float(means.max())


# ---------------------------------------------------------------- contrasts


def falls(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """By how many points the gap of ERK falls for each doubling of the weights per image.

    Least squares over the networks of a scale, each counting alike: a contrast of cell means.
    Columns `scale, sparsity, networks, n, value, low, high`; the paper's limits are what its
    reading errors allow.
    """
    rows, points = [], gaps(runs)
    cells = {scale: cells_of(part) for (scale, _), part in _by(runs)}
    for scale in ("mini", "cpu", "paper"):
        for sparsity in SPARSITIES:
            part = points[
                (points.scale == scale) & (points.sparsity == sparsity) & (points.ratio == "erk")
            ]
            shares = _slope(dict(zip(part.model, part.weights, strict=True)))
            if scale == "paper":
                value = sum(shares[row.model] * row.value for row in part.itertuples())
                reach = sum(
                    abs(shares[row.model]) * (row.high - row.value) for row in part.itertuples()
                )
                found = Estimate(value, value - reach, value + reach, math.nan)
            else:
                found = _contrast(cells.get(scale), _gap_weights(shares, sparsity))
            rows.append([scale, sparsity, len(part), found.n, *found[:3]])
    columns = ["scale", "sparsity", "networks", "n", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def fall_of(slopes: pd.DataFrame, scale: str, sparsity: float = HIGH) -> Estimate:
    """A row of `falls` by its scale."""
    row = slopes.set_index(["scale", "sparsity"]).loc[(scale, sparsity)]
    return _estimate(row)


def _estimate(row: Mapping) -> Estimate:
    return Estimate(row["value"], row["low"], row["high"], row["n"])


def control_contrasts(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What the control says of ERK at 0.9: `kind`, `compared` and an interval, in points.

    The first row is the difference of two networks at nearly equal weights per image (31 and 27),
    which is near zero if these decide. The others are the fall of the gap for each doubling of the
    weights per image, once because the network changes and for two networks because the images do;
    they are one number if the weights per image decide. Values are NaN where a cell is not
    recorded, and all of them without any run of the control.
    """
    own = runs["control"]
    whole = pd.concat([runs["mini"], own]) if len(runs["mini"]) and len(own) else own
    plain = whole[whole.setting.isin(SETTINGS)]
    cells = cells_of(plain.assign(model=[*zip(plain.model, plain.train_images, strict=True)]))
    weights = weight_counts(["resnet-8", "resnet-20"])

    def slope(*places):
        return _slope({place: weights[place[0]] / place[1] for place in places})

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
        found = _contrast(cells, _gap_weights(shares, HIGH))
        rows.append([kind, compared, found.n, *found[:3]])
    return pd.DataFrame(rows, columns=["kind", "compared", "n", "value", "low", "high"])


def _slope(weights: Mapping[object, float]) -> dict:
    """The share of each network in the fall for each doubling of its weights (least squares)."""
    logs = np.log2(list(weights.values()))
    away = logs - logs.mean() if len(logs) else logs
    return dict(zip(weights, -away / (away**2).sum() if len(logs) > 1 else away, strict=True))


def _gap_weights(shares: Mapping[object, float], sparsity: float) -> dict[tuple, float]:
    dense = {(model, "dense", 0.0): share for model, share in shares.items()}
    return dense | {(model, "erk", sparsity): -share for model, share in shares.items()}


def _contrast(cells: Cells | None, weights: Mapping[tuple, float]) -> Estimate:
    known = cells is not None and len(weights) > 2 and set(weights) <= set(cells.values)
    return cells.contrast(weights) if known else _NONE


# ---------------------------------------------------------------- to read


def scale_rows(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a scale to read: accuracies of its dense networks, its gaps and how they fall."""
    points, slopes, rows = gaps(runs), falls(runs), []
    for scale in ("mini", "cpu", "paper"):
        erk = points[(points.scale == scale) & (points.ratio == "erk")]
        row = {"scale": scale, "weights per image": _span(erk.weights, 0)}
        row["dense, test (%)"] = _span(erk.dense)
        ends = pd.Series(fitted(runs[scale]) if scale in runs else (), dtype=float)
        row["dense, training (%)"] = _span(ends)
        for sparsity in SPARSITIES:
            row[f"gap at {sparsity:g}"] = _span(erk[erk.sparsity == sparsity].value)
            row[f"fall at {sparsity:g}"] = written(fall_of(slopes, scale, sparsity), 2)
        rows.append(row)
    return pd.DataFrame(rows)


def ratio_rows(table: pd.DataFrame) -> pd.DataFrame:
    """`ratio_differences` to read: a row a network, a column a ratio."""
    rows = {}
    for cell in table.to_dict("records"):
        row = rows.setdefault((cell["scale"], cell["model"]), {"scale": cell["scale"]})
        row["network"] = model_label(cell["model"])
        row["weights per image"] = plus_minus(cell["weights"], digits=0)
        row[cell["ratio"]] = written(_estimate(cell))
    ratios = in_order(table.ratio)
    columns = ["scale", "network", "weights per image", *ratios]
    shown = pd.DataFrame(list(rows.values()), columns=columns).fillna("–")
    return shown.rename(columns={ratio: f"{LABELS[ratio]} − ERK" for ratio in ratios})


def control_rows(contrasts: pd.DataFrame) -> pd.DataFrame:
    """`control_contrasts` to read; no row where one of its runs is not recorded."""
    names = {"difference": "difference of the gaps", "fall": "fall per doubling"}
    known = contrasts[contrasts.value.notna()].to_dict("records")
    return pd.DataFrame(
        [
            {"what": names[row["kind"]], "where": row["compared"]}
            | {"points": written(_estimate(row), 2)}
            for row in known
        ]
    )


def written(found: Estimate, digits: int = 1) -> str:
    """Value and half of its interval; ○ marks one seed, a dash what is not recorded."""
    if math.isnan(found.value):
        return "–"
    text = plus_minus(*found[:3], digits) + " ○" * int(found.n == 1)
    return text.replace(" ", "\u00a0")


def _span(values: pd.Series, digits: int = 1) -> str:
    """The values of the first and of the last network that has one."""
    known = values.dropna()
    ends = [plus_minus(value, digits=digits) for value in (*known[:1], *known[1:][-1:])]
    return "\u00a0to\u00a0".join(ends) or "–"


def figure_table(points: pd.DataFrame, ratios: pd.DataFrame) -> pd.DataFrame:
    """Every number of the section that belongs to a cell, one row each, by `quantity`."""
    parts = {"gap": points, "minus_erk": ratios}
    table = pd.concat([part.assign(quantity=name) for name, part in parts.items()])
    names = {"scale": "source", "images": "train_images", "weights": "weights_per_image"}
    columns = ["source", "quantity", *CELL, "train_images", "weights_per_image", "n", "value"]
    return table.rename(columns=names)[[*columns, "low", "high"]]
