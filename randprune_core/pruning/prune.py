"""Prune any network at random in one call, and keep what is pruned at zero while it trains.

handle = prune(model, ratio="erk", sparsity=0.9, seed=0)
handle.attach(optimizer)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ..config import check_sparsity
from ..precision import plain_tensors
from ..seeds import layer_generator
from .layers import DEFAULT_TYPES, Layer, describe, maskable_layers, matching, warn_of_the_rest
from .masks import Masks, apply_masks, assert_masked, draw, mask_counts, warn_of_classes
from .ratios import ShapeRatio, kept_count, refill_empty, sparsities_of

if TYPE_CHECKING:
    import pandas as pd


class Pruned:
    """A pruned network, as `prune` returns it: `model`, and its `masks` and `weights` by name.

    Masks are bool, True = kept, as in `random_masks`. `kept` and `total` count weights, `sparsity`
    and `layer_sparsities` are shares that are pruned, `report` is a table of all parameters.
    `attach(optimizer)` keeps what is pruned at zero through training; `apply()` sets it to zero
    once, `check()` raises RuntimeError where it is not.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, nn.Parameter], masks: Masks):
        self.model, self.weights, self.masks = model, dict(weights), masks
        self.apply()

    def __repr__(self) -> str:
        kept, total = self.kept, self.total
        return f"<Pruned: {kept:,} of {total:,} weights kept in {len(self.masks)} layers>"

    @property
    def kept(self) -> int:
        """Weights that are kept."""
        return sum(mask_counts(self.masks).values())

    @property
    def total(self) -> int:
        """Weights of the layers that have a mask."""
        return sum(mask.numel() for mask in self.masks.values())

    @property
    def sparsity(self) -> float:
        """The share of these weights that is pruned, in [0, 1)."""
        return 1 - self.kept / self.total

    @property
    def layer_sparsities(self) -> dict[str, float]:
        """The share that is pruned of every layer, in [0, 1)."""
        return {name: 1 - int(mask.sum()) / mask.numel() for name, mask in self.masks.items()}

    @property
    def report(self) -> pd.DataFrame:
        """`describe` of the network with two more columns: `kept` weights and `sparsity`."""
        table = describe(self.model, types=(), include=list(self.masks))
        kept = mask_counts(self.masks)
        table["kept"] = table["layer"].map(kept).fillna(table["parameters"]).astype(int)
        table["sparsity"] = 1 - table["kept"] / table["parameters"].clip(lower=1)
        return table

    def apply(self) -> None:
        """Set every pruned weight to zero."""
        apply_masks(self.model, self.masks, weights=self.weights)

    def check(self) -> None:
        """Raise RuntimeError, naming the layer, if a pruned weight is not exactly zero."""
        assert_masked(self.model, self.masks, weights=self.weights)

    def attach(self, optimizer: Optimizer) -> Attached:
        """Keep pruned weights and their momentum at exactly zero through the optimizer's steps.

        Two hooks do it. When the gradient of a weight has been added up in `backward`, its pruned
        places become zero, so that clipping and norms see the sparse network only. After each
        `optimizer.step()` the pruned weights, and whatever the optimizer keeps of their shape
        (momentum, the moments of Adam), are set to zero: that holds for any rule, for weight
        decay, GradScaler, accumulation, `torch.compile` and DistributedDataParallel, before or
        after which it may be called. It keeps references to the parameters; attach again where
        they are replaced by others.

        Returns a handle whose `remove()` takes the hooks away. Raises ValueError for something
        without `register_step_post_hook` and for an optimizer that has none of the weights.
        """
        if not hasattr(optimizer, "register_step_post_hook"):
            raise ValueError(
                f"{type(optimizer).__name__} is no torch.optim.Optimizer: call apply() of this "
                "handle after each of its steps"
            )
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        held = {name: w for name, w in self.weights.items() if id(w) in stepped}
        if not held:
            raise ValueError(
                f"the optimizer has none of the {len(self.weights)} pruned weights: make it from "
                "the parameters of the network that was pruned"
            )
        hooks = [self._mask_gradient(name, weight) for name, weight in held.items()]

        def hold(optimizer: Optimizer, *_) -> None:
            hold_at_zero(held, self._masks_at(held), optimizer.state)

        hooks.append(optimizer.register_step_post_hook(hold))
        hold(optimizer)
        return Attached(hooks)

    def _mask_gradient(self, name: str, weight: nn.Parameter) -> RemovableHandle:
        def hook(weight: Tensor) -> None:
            weight.grad.masked_fill_(~self._masks_at({name: weight})[name], 0.0)

        return weight.register_post_accumulate_grad_hook(hook)

    def _masks_at(self, weights: Mapping[str, Tensor]) -> Masks:
        """The masks on the devices of their weights, where a network may have moved to."""
        for name, weight in weights.items():
            if self.masks[name].device != weight.device:
                self.masks[name] = self.masks[name].to(weight.device)
        return self.masks


class Attached:
    """The hooks of `Pruned.attach`."""

    def __init__(self, hooks: Sequence[RemovableHandle]):
        self.hooks = hooks

    def remove(self) -> None:
        """Take the hooks away: the optimizer may then move every weight."""
        for hook in self.hooks:
            hook.remove()


@torch.no_grad()
def hold_at_zero(
    weights: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    state: Mapping[Tensor, MutableMapping[str, object]],
) -> None:
    """Set pruned weights to zero, and what an optimizer's `state` keeps for each of them.

    Filled and not multiplied, so that no NaN and no -0.0 is left.
    """
    for name, weight in weights.items():
        pruned = ~masks[name]
        weight.masked_fill_(pruned, 0.0)
        if weight in state:
            for value in state[weight].values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    value.masked_fill_(pruned, 0.0)


def prune(
    model: nn.Module,
    ratio: str | ShapeRatio = "erk",
    sparsity: float = 0.9,
    seed: int = 0,
    *,
    keep: Mapping[str, float] | None = None,
    types: Iterable[str | type[nn.Module]] = DEFAULT_TYPES,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    inputs: Tensor | None = None,
    targets: Tensor | None = None,
) -> Pruned:
    """Prune a network at random, in place: exactly `round((1 - sparsity) n)` of n weights stay.

    `ratio` is one of `RATIOS` or a function of (shapes, sparsity), as `layer_sparsities` takes it;
    `snip` and `grasp` score the weights on `inputs` and `targets`. `keep` gives chosen layers a
    sparsity of their own in [0, 1), by name or pattern, and the ratio shares out what they leave of
    the budget: `keep={"conv1": 0, "fc": 0}` for dense ends. `types`, `include` and `exclude`
    choose the layers (`maskable_weights`).

    Whole numbers of weights come from the ratio by largest remainder, at least one a layer. Each
    layer draws with its own generator from `seed` and its name, as in `random_masks`. Raises
    ValueError where no layer can be pruned, for a name that fits none, and where the budget cannot
    be met: fewer weights than layers, or `keep` uses it up.
    """
    layers = maskable_layers(model, types, include, exclude)
    weights = {name: layer.weight for name, layer in layers.items()}
    if not weights:
        raise ValueError(
            "no layer to prune: the network has none of the types; describe(model) says what it has"
        )
    warn_of_the_rest(model, weights)
    fixed = _fixed(layers, keep or {})
    others = {name: weight for name, weight in weights.items() if name not in fixed}
    total = sum(weight.numel() for weight in weights.values())
    budget = max(1, round((1 - check_sparsity(sparsity)) * total))
    left, rest = budget - sum(fixed.values()), sum(weight.numel() for weight in others.values())
    if not len(others) <= left <= rest:
        raise ValueError(
            f"sparsity {sparsity:g} keeps {budget:,} of {total:,} weights, of which "
            f"{sum(fixed.values()):,} are fixed by keep: that leaves {left:,} for the other "
            f"{len(others)} layer(s), which take {len(others):,} to {rest:,}; change one of the two"
        )
    if others:
        found = sparsities_of(ratio, model, 1 - left / rest, others, inputs, targets)
        fixed |= _largest_remainder(others, found, left)
    masks = _draw(weights, fixed, seed)
    warn_of_classes(masks)
    return Pruned(model, weights, masks)


def _fixed(layers: Mapping[str, Layer], keep: Mapping[str, float]) -> dict[str, int]:
    """Kept weights of the layers that `keep` names."""
    fixed: dict[str, int] = {}
    for pattern, sparsity in keep.items():
        for name in matching(layers, pattern):
            fixed[name] = kept_count(sparsity, layers[name].weight.numel(), name)
    return fixed


def _largest_remainder(
    weights: Mapping[str, Tensor], sparsities: Mapping[str, float], budget: int
) -> dict[str, int]:
    """Whole numbers of kept weights that add up to the budget, at least one a layer."""
    ideal = {
        name: (1 - check_sparsity(s)) * weights[name].numel() for name, s in sparsities.items()
    }
    kept = {name: min(int(count), weights[name].numel()) for name, count in ideal.items()}
    order = sorted(kept, key=lambda name: kept[name] - ideal[name])  # largest remainder first
    for _ in range(2):  # a ratio that misses the budget by more than its remainders
        for name in order:
            if sum(kept.values()) < budget and kept[name] < weights[name].numel():
                kept[name] += 1
    kept = refill_empty(kept)
    if sum(kept.values()) != budget:
        raise ValueError(
            f"the ratio keeps {sum(ideal.values()):,.0f} weights, and the budget is {budget:,}: it "
            "must give sparsities that meet the budget"
        )
    return kept


@plain_tensors()
def _draw(weights: Mapping[str, Tensor], kept: Mapping[str, int], seed: int) -> Masks:
    masks = {
        name: draw(weight.numel(), kept[name], layer_generator(seed, name)).view(weight.shape)
        for name, weight in weights.items()
    }
    return {name: mask.to(weights[name].device) for name, mask in masks.items()}
