"""How each claim of the paper is tested: which runs are compared, and against what threshold.

A test takes the runs of one profile and yields the `Part`s of its claims, numbered as in `claims`.
What is not recorded is a part too, undecided, that says what is lacking.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from .comparisons import (
    Cell,
    Cells,
    Part,
    at,
    cells,
    difference,
    levels,
    select,
    several,
    shrinking,
    sizes,
)
from .gradient_claims import gradient_flow
from .presentation.theme import LABELS
from .presentation.words import model_label
from .statistics import MARGINS, chance_limit

LARGE = {"depth": 56, "width": 24}
"""From this size on a network is one of the larger ones that claims 3, 6, 7 and 8 are about."""
SMALL_DEPTH = 32
"""Up to this depth a network is one of the small ones of claim 4."""
CLASSES = 10
"""Of CIFAR-10, which the claims are about."""
_BETTER, _WORSE = ("erk", "snip"), ("uniform", "uniform_plus")


# ---------------------------------------------------------------- 1 and 2: depth and width


def _gap_with_size(runs: pd.DataFrame) -> Iterator[Part]:
    values = select(runs, "accuracy", 100)
    for claim, family in ((1, "depth"), (2, "width")):
        for level in (0.5, 0.9):
            yield shrinking(
                Part(claim, f"sparsity {level:g}", f"points per doubling of the {family}"),
                _paired_gaps(values, level),
                family,
                f"the gap between dense and ERK at sparsity {level:g} shrinks by",
                f"no two {family}s have dense and ERK runs at sparsity {level:g}",
            )


def _paired_gaps(values: pd.DataFrame, level: float) -> pd.DataFrame:
    """Dense minus ERK for every model and seed that has both: `model, seed, value, ids`."""
    random = values[values.source == "random"]
    sparse = random[(random.ratio == "erk") & np.isclose(random.sparsity.astype(float), level)]
    dense = random[random.ratio == "dense"]
    pairs = dense.merge(sparse, on=["model", "seed"], suffixes=("", "_sparse"))
    ids = list(zip(pairs.id, pairs.id_sparse, strict=True))
    return pairs.assign(value=pairs.value - pairs.value_sparse, ids=ids)


# ---------------------------------------------------------------- 3, 6, 7, 8: large networks


def _matches_dense(runs: pd.DataFrame) -> Iterator[Part]:
    values = select(runs, "accuracy", 100)
    sparse = at(cells(values, "erk"), 0.5)  # the hardest of the sparsities of the claim
    part = Part(3, "", "points", threshold=-MARGINS["points"])
    yield from _against_dense(part, cells(values, "dense"), sparse, "accuracy at sparsity 0.5")


def _no_worse(runs: pd.DataFrame) -> Iterator[Part]:
    ood, pgd = "ood.cifar100.auroc", "pgd.1.accuracy"
    delong = runs.get(f"{ood}_se", math.nan)
    share = runs.get(pgd, pd.Series(dtype=float))
    binomial = np.sqrt(share * (1 - share) / runs.get("pgd.1.n", math.nan))
    for claim, unit, what, values in (
        (6, "ECE", "calibration error", select(runs, "ece")),
        (7, "AUROC", "out-of-distribution AUROC", select(runs, ood, 1, delong)),
        (8, "points", "accuracy under PGD at 1/255", select(runs, pgd, 100, binomial)),
    ):
        part = Part(claim, "", unit, threshold=-MARGINS[unit])
        floor = chance_limit(runs["pgd.1.n"].min(), CLASSES) if claim == 8 and len(values) else 0.0
        yield from _against_dense(part, cells(values, "dense"), cells(values, "erk"), what, floor)


def _against_dense(
    part: Part, dense: Cells, sparse: Cells, what: str, floor: float = 0.0
) -> Iterator[Part]:
    """ERK against dense in the deepest and in the widest network, over all their sparsities.

    Nothing is compared where no network is above the `floor`.
    """
    done = set()
    for family, name in (("depth", "deepest"), ("width", "widest")):
        found = sizes({model for model, _ in sparse if (model, 0.0) in dense}, family)
        if len(found) < 2:
            lacking = f"no two {family}s have dense and ERK runs with {what}"
            yield replace(part, part=name, lacking=lacking)
            continue
        model = _largest(dense, sparse, found, LARGE[family])
        if model in done:
            continue
        done.add(model)
        mine = {key: cell for key, cell in sparse.items() if key[0] == model}
        keys = several(mine)
        sides = {"ERK": [mine[key] for key in keys], "dense": [dense[model, 0.0]]}
        lacking = _too_small(model, found[model], family)
        if not lacking:
            lacking = _on_the_floor(sides, floor)
        if part.claim == 6:  # of the error less is better
            sides = dict(reversed(sides.items()))
        label, place = model_label(model), levels(level for _, level in keys)
        compared = f"In {label} ({place}) {' minus '.join(sides)} in {what} is"
        part_of = replace(part, part=f"{name}, {label}", lacking=lacking)
        yield difference(part_of, *sides.values(), compared)


def _largest(dense: Cells, sparse: Cells, found: dict[str, int], least: int) -> str:
    """The largest model; a smaller one that is large enough, where only that has several seeds."""

    def seeds(model: str) -> int:
        most = max(len(cell) for (name, _), cell in sparse.items() if name == model)
        return min(most, len(dense[model, 0.0]))

    decisive = [model for model in found if found[model] >= least and seeds(model) > 1]
    return max(decisive or found, key=found.get)


def _too_small(model: str, size: int, family: str) -> str:
    if size >= LARGE[family]:
        return ""
    return (
        f"{model_label(model)} is the largest recorded, and the claim is about larger networks "
        f"({family} {LARGE[family]} and more)"
    )


def _on_the_floor(sides: dict[str, list[Cell]], floor: float) -> str:
    means = [np.mean(cell.values) for side in sides.values() for cell in side]
    if max(means) > floor:
        return ""
    return f"no network keeps more than {floor:.1f} % of its images, which guessing might keep too"


# ---------------------------------------------------------------- 4 and 5: ratios


def _ratio_matters(runs: pd.DataFrame) -> Iterator[Part]:
    values = select(runs, "accuracy", 100)
    values = values[values.sparsity >= 0.7]
    yield from _order(values)
    yield from _spread(values)


def _order(values: pd.DataFrame) -> Iterator[Part]:
    """Claim 4, first half: which ratio is better in the smallest network."""
    for better in _BETTER:
        for worse in _WORSE:
            names = [LABELS[better], LABELS[worse]]
            part = Part(4, " over ".join(names), "points")
            first, second = cells(values, better), cells(values, worse)
            both = {key: first[key] for key in first if key in second}
            found = sizes({model for model, _ in both}, "depth")
            if not found or min(found.values()) > SMALL_DEPTH:
                lacking = f"no network up to depth {SMALL_DEPTH} has {' and '.join(names)} runs"
                yield replace(part, lacking=f"{lacking} at one sparsity from 0.7 on")
                continue
            model = min(found, key=found.get)
            keys = several({key: cell for key, cell in both.items() if key[0] == model}, second)
            label, place = model_label(model), levels(level for _, level in keys)
            compared = f"In {label} ({place}) {' minus '.join(names)} in accuracy is"
            yield difference(part, [first[k] for k in keys], [second[k] for k in keys], compared)


def _spread(values: pd.DataFrame) -> Iterator[Part]:
    """Claim 4, second half: best minus worst ratio of a seed, against size."""
    values = values[values.ratio.isin(_BETTER + _WORSE) & (values.source == "random")]
    for family in ("depth", "width"):
        table, ratios, place = _spreads(values, family)
        yield shrinking(
            Part(4, f"spread with {family}", f"points per doubling of the {family}"),
            table,
            family,
            f"the spread between {ratios} ({place}) shrinks by",
            f"no two {family}s have ERK and Uniform runs at one sparsity from 0.7 on",
        )


def _spreads(values: pd.DataFrame, family: str) -> tuple[pd.DataFrame, str, str]:
    """Best minus worst ratio by model and seed: `model, value, ids`; the ratios, the sparsities.

    A model counts if it has ERK and Uniform, a ratio and a sparsity if every such model has them.
    """
    has = {model: set(part.ratio) for model, part in values.groupby("model")}
    models = set(sizes([m for m in has if {"erk", "uniform"} <= has[m]], family))
    values = values[values.model.isin(models)]
    ratios = set.intersection(*(has[model] for model in models)) if models else set()
    values = values[values.ratio.isin(ratios)]
    shared = [set(part.sparsity) for _, part in values.groupby(["model", "ratio"])]
    shown = set.intersection(*shared) if shared else set()
    rows, complete = [], len(ratios) * len(shown)
    for (model, _), seed in values[values.sparsity.isin(shown)].groupby(["model", "seed"]):
        if len(seed) == complete:
            by_level = seed.groupby("sparsity").value
            width = (by_level.max() - by_level.min()).mean()
            rows.append([model, width, tuple(seed.id)])
    names = " and ".join(LABELS[ratio] for ratio in LABELS if ratio in ratios)
    table = pd.DataFrame(rows, columns=["model", "value", "ids"])
    return table, names.replace(" and ", ", ", max(len(ratios) - 2, 0)), levels(shown)


def _as_good(runs: pd.DataFrame) -> Iterator[Part]:
    """Claim 5 on CIFAR-10: ERK against what SNIP and GraSP give, over all networks."""
    values = select(runs, "accuracy", 100)
    first = cells(values, "erk")
    for source, kind in (("random", "ratio"), ("own", "mask")):
        for ratio in ("snip", "grasp"):
            name = f"{LABELS[ratio].removesuffix(' ratio')} {kind}"
            part = Part(5, f"ERK and {name}", "points", threshold=-MARGINS["points"])
            second = cells(values, ratio, source)
            if not (keys := several(first, second)):
                lacking = f"no network has ERK and {name} runs at one sparsity"
                yield replace(part, lacking=lacking)
                continue
            models, place = {model for model, _ in keys}, levels(level for _, level in keys)
            count = f"{len(models)} network{'s' * (len(models) > 1)}"
            compared = f"Over {count} ({place}) ERK minus {name} in accuracy is"
            yield difference(part, [first[k] for k in keys], [second[k] for k in keys], compared)


TESTS = {
    (1, 2): _gap_with_size,
    (3,): _matches_dense,
    (4,): _ratio_matters,
    (5,): _as_good,
    (6, 7, 8): _no_worse,
    (9, 10): gradient_flow,
}
"""What tests which claims; claim 11 has no records that could test it."""
