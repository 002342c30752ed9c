"""Layer-wise sparsity ratios: rules that turn one global sparsity into one sparsity per layer.

Each ratio is a pure function of `(shapes, sparsity)`, where `shapes` maps layer names to weight
shapes in module order (`out, in, kh, kw` for a convolution, `out, in` for a linear layer). None
of them needs a network, so that all can be checked by hand. The two ratios of a criterion, `snip`
and `grasp`, need one and go through `layer_sparsities`. `register` adds a ratio of one's own.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from .. import registry
from ..config import RATIOS, check_sparsity

if TYPE_CHECKING:
    from torch import Tensor, nn

Shapes = Mapping[str, Sequence[int]]
ShapeRatio = Callable[[Shapes, float], dict[str, float]]

# Uniform+ never prunes the last linear layer below this density (Gale et al. 2019).
LAST_LAYER_MIN_DENSITY = 0.2


def dense(shapes: Shapes, sparsity: float = 0.0) -> dict[str, float]:
    """Sparsity 0 in every layer, the unpruned network; raises ValueError for any other sparsity."""
    _check(shapes, sparsity)
    if sparsity != 0:
        raise ValueError(
            f"ratio 'dense' cannot give sparsity {sparsity:g}: it keeps every weight, from layer "
            f"{next(iter(shapes))!r} on; ask for sparsity 0 or for another ratio"
        )
    return dict.fromkeys(shapes, 0.0)


def uniform(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """The global sparsity, in [0, 1), in every layer; raises ValueError outside that range."""
    _check(shapes, sparsity)
    return dict.fromkeys(shapes, float(sparsity))


def uniform_plus(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Uniform with the first convolution dense and the last linear layer at density 0.2 or more.

    Every other layer has density d, the last linear layer `max(0.2, d)`, and d is solved so that
    the global budget is exact. `sparsity` is the global one, in [0, 1). Raises ValueError, naming
    the layer, where the protected layers alone use up the budget. Source: Gale et al. 2019, arXiv
    1902.09574, for which layers are protected; the exact budget is this project's.
    """
    sizes = _check(shapes, sparsity)
    first, last = first_conv(shapes), last_linear(shapes)
    rest = sum(sizes.values()) - sizes[first]
    budget = (1 - sparsity) * sum(sizes.values()) - sizes[first]
    if budget <= 0:
        raise _cannot_give("uniform_plus", first, "it stays dense", sizes, sizes[first], sparsity)
    density = last_density = budget / rest
    if density < LAST_LAYER_MIN_DENSITY:
        last_density = LAST_LAYER_MIN_DENSITY
        budget -= last_density * sizes[last]
        if budget <= 0 or rest == sizes[last]:
            held = math.ceil(sizes[first] + last_density * sizes[last])
            why = f"it stays at density {last_density:g} and {first!r} dense"
            raise _cannot_give("uniform_plus", last, why, sizes, held, sparsity)
        density = budget / (rest - sizes[last])
    return {name: 1 - {first: 1.0, last: last_density}.get(name, density) for name in shapes}


def erk(shapes: Shapes, sparsity: float, *, power: float = 1.0) -> dict[str, float]:
    """Erdős–Rényi-Kernel: densities in proportion to `(sum(shape) / prod(shape)) ** power`.

    The shape is that of the weight itself, whatever the layer:

    - convolution (out, in, k, ...) of any dimensions: `(out + in + k + ...) / (out in k ...)`, and
      the same for a transposed one, whose first two dimensions are exchanged;
    - grouped and depthwise convolution: `in` is the channels of one group, as in the weight, so
      that a depthwise one (C, 1, 3, 3) has (C + 7) / (9 C) and is soon dense; RigL's MobileNets
      keep depthwise layers dense and outside the budget, which is `exclude=` here;
    - linear, recurrent, attention and embedding weights (a, b): `(a + b) / (a b)`, where the
      stacked projections of attention and the stacked gates count as the one matrix that they are.

    A layer whose density would pass 1 is pinned dense and the others are solved again, so that the
    global budget is exact. `power` below 1 makes densities more alike, 0 makes them equal. Raises
    ValueError for a sparsity, the global one, outside [0, 1), and a power that is no number >= 0.
    Source: Mocanu et al. 2018 (Erdős–Rényi), Evci et al. 2020 (kernel, arXiv 1911.11134; the power
    is an option of their code).
    """
    if not 0 <= power < math.inf:
        raise ValueError(f"power {power!r} is no number from 0 on: give 1 for ERK itself")
    sizes = _check(shapes, sparsity)
    kept = {name: sum(shapes[name]) for name in shapes}
    if power != 1:
        kept = {name: size * (kept[name] / size) ** power for name, size in sizes.items()}
    return _in_proportion(kept, sizes, sparsity)


def er(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Erdős–Rényi: the density of a layer is in proportion to `(n_out + n_in) / (n_out n_in)`.

    `n_out` and `n_in` are the first two dimensions of the weight; the kernel does not count.
    Otherwise as `erk`. Source: Mocanu et al. 2018, for convolutions as in RigL's code.
    """
    sizes = _check(shapes, sparsity)
    kept = {
        name: sizes[name] * sum(shape[:2]) / math.prod(shape[:2]) for name, shape in shapes.items()
    }
    return _in_proportion(kept, sizes, sparsity)


def _in_proportion(
    kept: Mapping[str, float], sizes: Mapping[str, int], sparsity: float
) -> dict[str, float]:
    """Sparsities of layers that keep weights in proportion to `kept`, at most all they have."""
    budget = (1 - sparsity) * sum(sizes.values())
    pinned = set() if sparsity else set(sizes)
    # Pinning a layer only raises the scale of the others, so a pinned layer never has to be freed
    # again and all layers above 1 can be pinned at once.
    while free := [name for name in sizes if name not in pinned]:
        left = budget - sum(sizes[name] for name in pinned)
        scale = left / sum(kept[name] for name in free)
        densities = {name: scale * kept[name] / sizes[name] for name in free}
        over = {name for name, density in densities.items() if density >= 1}
        if not over:
            return {name: 0.0 if name in pinned else 1 - densities[name] for name in sizes}
        pinned |= over
    return dict.fromkeys(sizes, 0.0)


def erk_plus(shapes: Shapes, sparsity: float) -> dict[str, float]:
    """Last linear layer dense, `erk` on the other layers with what is left of the budget.

    `sparsity` is the global one, in [0, 1). Raises ValueError, naming the last layer, where that
    layer alone exceeds the budget. Source: the paper.
    """
    sizes = _check(shapes, sparsity)
    if sparsity == 0:
        return dict.fromkeys(shapes, 0.0)
    last = last_linear(shapes)
    rest = sum(sizes.values()) - sizes[last]
    budget = (1 - sparsity) * sum(sizes.values()) - sizes[last]
    if budget <= 0:
        raise _cannot_give("erk_plus", last, "it stays dense", sizes, sizes[last], sparsity)
    others = {name: shape for name, shape in shapes.items() if name != last}
    solved = erk(others, 1 - budget / rest)
    return {name: solved.get(name, 0.0) for name in shapes}


SHAPE_RATIOS: dict[str, ShapeRatio] = {
    "dense": dense,
    "uniform": uniform,
    "uniform_plus": uniform_plus,
    "erk": erk,
    "erk_plus": erk_plus,
}
"""Ratios that need nothing but shapes; `snip` and `grasp`, the others of `RATIOS`, need data."""


def register(name: str, function: Callable[[Shapes, float], Mapping[str, float]]) -> None:
    """Make a ratio of one's own known by a name, to `RunConfig`, sweeps and figures.

    `function(shapes, sparsity)` gives every layer of `shapes` a sparsity in [0, 1), together the
    global one within a weight a layer, or raises `ValueError`. The hash of its code
    (`registry.code_hash`) is part of a run's config: edited code makes another run. Raises
    `ValueError` for a name that is taken, or no function.
    """
    registry.add("ratio", name, function, built_in=name in RATIOS)


def unregister(name: str) -> None:
    """Forget a registered ratio; its records stay. Raises `ValueError` for any other name."""
    registry.remove("ratio", name)


def shape_ratio(name: str) -> Callable[[Shapes, float], dict[str, float]] | None:
    """The function of one of `SHAPE_RATIOS` or of a registered ratio; None for another name."""
    if (entry := registry.find("ratio", name)) is None:
        return SHAPE_RATIOS.get(name)

    def checked(shapes: Shapes, sparsity: float) -> dict[str, float]:
        sizes = _check(shapes, sparsity)
        found = entry.function(shapes, sparsity)
        if not isinstance(found, Mapping):
            raise ValueError(f"ratio {name!r} gives a {type(found).__name__}, not a dict")
        kept, total = sum(kept_counts(shapes, found).values()), sum(sizes.values())
        if abs(kept - (1 - sparsity) * total) > len(shapes):
            raise ValueError(
                f"ratio {name!r} keeps {kept:,} of {total:,} weights, and the budget of sparsity "
                f"{sparsity:g} is {round((1 - sparsity) * total):,}: scale its densities"
            )
        return {layer: float(found[layer]) for layer in shapes}

    return checked


def layer_sparsities(
    ratio: str | ShapeRatio,
    model: nn.Module,
    sparsity: float,
    *,
    weights: Mapping[str, nn.Parameter] | None = None,
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    chunk_size: int | None = None,
) -> dict[str, float]:
    """Sparsity of every maskable layer of `model`, in module order, under a ratio.

    `ratio` is one of `RATIOS`, a registered one, or a function of (shapes, sparsity) that gives
    a sparsity for each layer.
    `sparsity` is the global one, in [0, 1), over `weights`: all of `maskable_weights(model)` unless
    others were chosen with its arguments. `snip` and `grasp` score the weights on one batch
    (`inputs` N×C×H×W, `targets` N class indices; `chunk_size` as in `snip_scores`), keep the
    best over the whole network and return each layer's pruned fraction. A layer that the criterion
    empties gets one weight, taken from the layer that keeps most, so that the total stays exact.
    Masks keep a whole number of weights a layer and at least one: a RuntimeWarning gives both
    numbers where that moves the total by more than 1 % of the budget.
    Raises ValueError for an unknown ratio, a sparsity out of range, a budget that the ratio cannot
    meet, or a criterion without its batch.
    """
    from .layers import maskable_weights

    if weights is None:
        weights = maskable_weights(model)
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    found = sparsities_of(ratio, model, sparsity, weights, inputs, targets, chunk_size)
    sizes = _sizes(shapes)
    kept = sum(kept_counts(shapes, found).values())
    warn_of_budget(kept, (1 - check_sparsity(sparsity)) * sum(sizes.values()), sum(sizes.values()))
    return found


def sparsities_of(
    ratio: str | ShapeRatio,
    model: nn.Module,
    sparsity: float,
    weights: Mapping[str, nn.Parameter],
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
    chunk_size: int | None = None,
) -> dict[str, float]:
    """`layer_sparsities` without its warning of masks that cannot keep a fraction of a weight."""
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    if callable(ratio):
        found = ratio(shapes, sparsity)
        check_names(shapes, found, "sparsities of the ratio")
        return found
    check_ratio(ratio)
    if function := shape_ratio(ratio):
        return function(shapes, sparsity)
    return _criterion_sparsities(ratio, model, weights, sparsity, inputs, targets, chunk_size)


def _criterion_sparsities(
    ratio: str,
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    sparsity: float,
    inputs: Tensor | None,
    targets: Tensor | None,
    chunk_size: int | None,
) -> dict[str, float]:
    """`layer_sparsities` of the ratios that score weights on data."""
    sizes = _check({name: tuple(weight.shape) for name, weight in weights.items()}, sparsity)
    if inputs is None or targets is None:
        raise ValueError(f"ratio {ratio!r} scores weights on data: give inputs= and targets=")
    from .saliency import SCORES, global_top_k

    scores = SCORES[ratio](model, inputs, targets, chunk_size=chunk_size, weights=weights)
    kept = {name: int(mask.sum()) for name, mask in global_top_k(scores, sparsity).items()}
    kept = refill_empty(kept)
    return {name: 1 - kept[name] / sizes[name] for name in sizes}


BUDGET_TOLERANCE = 0.01
"""Share of the budget by which whole numbers of weights may miss it without a warning."""


def warn_of_budget(kept: int, budget: float, total: int, stacklevel: int = 3) -> None:
    """Warn, with both numbers, where masks keep another number of weights than the budget is.

    `budget` need not be whole; that it is rounded to whole weights is no reason to warn.
    """
    whole = max(round(budget), 1)
    if abs(kept - whole) > BUDGET_TOLERANCE * budget:
        warnings.warn(
            f"masks keep {kept:,} of {total:,} weights, and the budget is {whole:,}: each layer "
            "keeps a whole number of weights (or filters) and at least one",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


def refill_empty(kept: Mapping[str, int]) -> dict[str, int]:
    """The same total with at least one weight in every layer, taken one by one from the fullest.

    Where there are fewer weights than layers, every layer gets one and the total grows to that.
    """
    filled = dict(kept)
    for name in [name for name, count in filled.items() if count == 0]:
        fullest = max(filled, key=filled.__getitem__)
        if filled[fullest] > 1:
            filled[fullest] -= 1
        filled[name] = 1
    return filled


def kept_counts(shapes: Shapes, sparsities: Mapping[str, float]) -> dict[str, int]:
    """Weights that a redrawn mask keeps in each layer: `round((1 - sparsity) * n)`, at least 1.

    Raises ValueError where the names differ or a sparsity lies outside [0, 1).
    """
    sizes = _sizes(shapes)
    check_names(sizes, sparsities, "sparsities")
    return {name: kept_count(sparsities[name], sizes[name], name) for name in sizes}


def kept_count(sparsity: float, total: int, name: str = "layer") -> int:
    """Kept ones of `total` weights (or filters) at `sparsity` in [0, 1): exact, at least 1."""
    try:
        density = 1 - check_sparsity(sparsity)
    except ValueError as error:
        raise ValueError(f"layer {name!r}: {error}") from None
    return max(1, round(density * total))


def first_conv(shapes: Shapes) -> str:
    """Name of the first layer with a weight of 3 to 5 dimensions; ValueError where there is none.

    Those are the convolutions over one to three dimensions.
    """
    return _layer_with(shapes, (3, 4, 5), "convolution", 0)


def last_linear(shapes: Shapes) -> str:
    """Name of the last layer with a 2-d weight; ValueError where there is none."""
    return _layer_with(shapes, (2,), "linear layer", -1)


def check_ratio(ratio: str) -> None:
    """Raise ValueError with the known names unless `ratio` is in `RATIOS` or registered."""
    if ratio not in RATIOS and registry.find("ratio", ratio) is None:
        known = ", ".join((*RATIOS, *registry.names("ratio")))
        raise ValueError(f"unknown ratio {ratio!r}: known are {known}")


def check_names(expected: Mapping[str, object], given: Mapping[str, object], what: str) -> None:
    """Raise ValueError, naming layers, unless `given` has the layer names of `expected`."""
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    for problem, names in (("lack", missing), ("name an unknown", unknown)):
        if names:
            raise ValueError(
                f"{what} {problem} layer {names[0]!r} ({len(names)} in all); give exactly the "
                f"{len(expected)} layers of maskable_weights(model)"
            )


def _check(shapes: Shapes, sparsity: float) -> dict[str, int]:
    check_sparsity(sparsity)
    return _sizes(shapes)


def _sizes(shapes: Shapes) -> dict[str, int]:
    if not shapes:
        raise ValueError("no layer to prune: shapes is empty, give at least one weight shape")
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    for name in sizes:
        if not shapes[name] or any(length < 1 for length in shapes[name]):
            raise ValueError(f"layer {name!r} has shape {tuple(shapes[name])} and no weight")
    return sizes


def _layer_with(shapes: Shapes, dimensions: Sequence[int], kind: str, position: int) -> str:
    names = [name for name, shape in shapes.items() if len(shape) in dimensions]
    if not names:
        listed = " or ".join(map(str, dimensions))
        raise ValueError(f"no {kind} ({listed}-d weight) among layers {', '.join(shapes)}")
    return names[position]


def _cannot_give(
    ratio: str, layer: str, why: str, sizes: Mapping[str, int], held: int, sparsity: float
) -> ValueError:
    total = sum(sizes.values())
    return ValueError(
        f"ratio {ratio!r} cannot reach sparsity {sparsity:g}: layer {layer!r} cannot give enough "
        f"({why}; that holds {held:,} weights and the budget is {round((1 - sparsity) * total):,} "
        f"of {total:,}); ask for less than {1 - held / total:.4f} or for another ratio"
    )
