"""Which weights of a network can be pruned, for any `nn.Module`, and what is left out.

A layer goes by the name of its parameter in the network itself: wrappers (`DataParallel`,
`DistributedDataParallel`, `torch.compile`) add nothing to it, so that a wrapped network gets the
masks of the bare one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

if TYPE_CHECKING:  # it takes a quarter of the time that torch takes: training does without
    import pandas as pd

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "conv_transpose": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    "linear": (nn.Linear,),
    "attention": (nn.MultiheadAttention,),
    "embedding": (nn.Embedding, nn.EmbeddingBag),
    "recurrent": (nn.RNNBase, nn.RNNCellBase),
}
"""The kinds of layers that can be pruned, by the names that `types` takes."""

DEFAULT_TYPES = ("conv", "conv_transpose", "linear", "attention")
"""What is pruned unless others are asked for; the output projection of attention is linear."""

OUTSIDE_BUDGET = 0.1
"""Share of a network's weights that may stay outside the budget without a warning."""


@dataclass
class Layer:
    """One weight that can be pruned, and the modules that hold it.

    `owners` are pairs of a module and the parameter's name in it; a tied weight has several, and
    all of its `names`.
    """

    weight: nn.Parameter
    names: list[str] = field(default_factory=list)
    owners: list[tuple[nn.Module, str]] = field(default_factory=list)


def maskable_layers(
    model: nn.Module,
    types: Iterable[str | type[nn.Module]] = DEFAULT_TYPES,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> dict[str, Layer]:
    """The layers of `maskable_weights`, with the modules that hold them; without its warning."""
    types, include, exclude = _several(types), _several(include), _several(exclude)
    kinds = _classes(types)
    names: list[str] = []
    found: dict[int, nn.Parameter] = {}
    for path, module in named_modules(model):
        own = [name for name, _ in module.named_parameters(recurse=False)]
        weights = _weight_names(module) if isinstance(module, kinds) else []
        for attribute in dict.fromkeys([*own, *weights]):
            names.append(name := _join(path, attribute))
            if _fits(name, exclude):
                continue
            if attribute in weights or (
                _fits(name, include) and (module._parameters[attribute].ndim > 1 or name in include)
            ):
                parameter = _own_parameter(module, attribute, name)
                found[id(parameter)] = parameter
    _check_patterns(include, exclude, names)
    layers = layers_with(model, found.values())
    # A weight that is shared is excluded by any of its names.
    return {
        name: layer
        for name, layer in layers.items()
        if not any(_fits(each, exclude) for each in layer.names)
    }


def maskable_weights(
    model: nn.Module,
    types: Iterable[str | type[nn.Module]] = DEFAULT_TYPES,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> dict[str, nn.Parameter]:
    """Every weight that can be pruned, by parameter name, in module order.

    `types` are kinds of layers (`KINDS`) or classes of modules: convolutions of one to three
    dimensions, transposed ones, linear layers and the projections of `nn.MultiheadAttention`
    unless others are asked for; "embedding" and "recurrent" are there by choice. The first
    convolution, the 1x1 shortcuts and the last layer are among them; biases and normalisation are
    not. `include` adds and `exclude` removes by name: of a parameter ("head.weight"), of a
    module with all in it ("head"), or a pattern ("blocks.*.mlp.*").

    There is one entry for a parameter: a weight that several layers share stands under its first
    name. A RuntimeWarning says where more than a tenth of the network's weights (parameters of two
    or more dimensions) are not chosen; `describe` lists them. Raises ValueError, with the name, for
    a weight that is computed from other parameters (weight norm, spectral norm, parametrizations,
    `torch.nn.utils.prune`), since editing it would change nothing, for a layer whose shape is not
    known yet, and for an unknown kind or a name that fits nothing.
    """
    layers = maskable_layers(model, types, include, exclude)
    weights = {name: layer.weight for name, layer in layers.items()}
    warn_of_the_rest(model, weights)
    return weights


def weights_of(
    model: nn.Module, weights: Mapping[str, nn.Parameter] | None
) -> Mapping[str, nn.Parameter]:
    """The weights that a caller chose, or else those of `maskable_weights`, without its warning."""
    if weights is not None:
        return weights
    return {name: layer.weight for name, layer in maskable_layers(model).items()}


def effective_weights(model: nn.Module) -> list[Tensor]:
    """What the layers of the default types compute with, each once, computed weights included."""
    kinds = _classes(list(DEFAULT_TYPES))
    found = {
        id(weight): weight
        for _, module in named_modules(model)
        if isinstance(module, kinds)
        for weight in (getattr(module, name) for name in _weight_names(module))
    }
    return list(found.values())


def layers_with(model: nn.Module, weights: Iterable[nn.Parameter]) -> dict[str, Layer]:
    """The layers of `weights`, in their order, each by its first name in the network."""
    found = {id(weight): Layer(weight) for weight in weights}
    for path, module in named_modules(model):
        for attribute, parameter in module.named_parameters(recurse=False):
            if layer := found.get(id(parameter)):
                layer.names.append(_join(path, attribute))
                layer.owners.append((module, attribute))
    return {layer.names[0]: layer for layer in found.values()}


def warn_of_the_rest(
    model: nn.Module, weights: Mapping[str, nn.Parameter], stacklevel: int = 3
) -> None:
    """Warn where more than `OUTSIDE_BUDGET` of a network's weights are not among `weights`."""
    chosen = {id(weight) for weight in weights.values()}
    all_weights = {n: p for n, p in model.named_parameters() if not is_lazy(p) and p.ndim >= 2}
    left = {name: w.numel() for name, w in all_weights.items() if id(w) not in chosen}
    total = sum(weight.numel() for weight in all_weights.values())
    if sum(left.values()) > OUTSIDE_BUDGET * total:
        largest = sorted(left, key=left.__getitem__, reverse=True)[:3]
        warnings.warn(
            f"{100 * sum(left.values()) / total:.0f} % of the weights stay dense and outside the "
            f"budget, most of them in {', '.join(largest)}; choose them with types= or include=, "
            "describe(model) lists all",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


def describe(
    model: nn.Module,
    types: Iterable[str | type[nn.Module]] = DEFAULT_TYPES,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> pd.DataFrame:
    """A row for each parameter of a network: can it be pruned, and if not, why.

    Columns: `layer` (its name), `type` (the module's class), `shape`, `parameters` (how many),
    `share` (of all parameters), `maskable`, `why_not` (empty where it is maskable) and `tied_to`
    (further names of the same parameter). Arguments as in `maskable_weights`.
    """
    import pandas as pd

    types, exclude = _several(types), _several(exclude)
    computed = _computed(model, _classes(types), exclude)
    layers = maskable_layers(model, types, include, [*exclude, *computed])
    chosen = {id(layer.weight): layer for layer in layers.values()}
    rows: dict[int, dict] = {}
    for path, module in named_modules(model):
        for attribute, parameter in module.named_parameters(recurse=False):
            name = _join(path, attribute)
            if id(parameter) in rows:
                rows[id(parameter)]["tied_to"].append(name)
                continue
            layer = chosen.get(id(parameter))
            lazy = is_lazy(parameter)
            rows[id(parameter)] = {
                "layer": name,
                "type": type(module).__name__,
                "shape": () if lazy else tuple(parameter.shape),
                "parameters": 0 if lazy else parameter.numel(),
                "maskable": layer is not None,
                "why_not": "" if layer else _why_not(name, module, parameter, computed, exclude),
                "tied_to": [],
            }
    columns = ["layer", "type", "shape", "parameters", "maskable", "why_not", "tied_to"]
    table = pd.DataFrame(list(rows.values()), columns=columns)
    table["tied_to"] = table["tied_to"].map(", ".join)
    table.insert(4, "share", table["parameters"] / max(table["parameters"].sum(), 1))
    return table


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside of `DataParallel`, `DistributedDataParallel` and `torch.compile`."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model._orig_mod
        else:
            return model


def named_modules(model: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Every module by each of its names, wrappers left out; a shared module comes several times."""
    model = unwrapped(model)
    yield path, model
    for name, child in model._modules.items():
        if child is not None:
            yield from named_modules(child, _join(path, name))


def matching(layers: Mapping[str, Layer], pattern: str) -> list[str]:
    """The layers that a name or pattern of a user means; ValueError where there is none."""
    found = [
        name
        for name, layer in layers.items()
        if any(_matches(each, pattern) for each in layer.names)
    ]
    if not found:
        raise ValueError(f"no layer is called {pattern!r}: there are {', '.join(layers)}")
    return found


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(_matches(name, pattern) for pattern in patterns)


def _matches(name: str, pattern: str) -> bool:
    return (
        fnmatchcase(name, pattern)
        or name.startswith(f"{pattern}.")
        or fnmatchcase(name.removesuffix(".weight"), pattern)
    )


def _check_patterns(include: list[str], exclude: list[str], names: list[str]) -> None:
    for what, patterns in (("include", include), ("exclude", exclude)):
        for pattern in patterns:
            if not any(_fits(name, [pattern]) for name in names):
                raise ValueError(f"{what} names {pattern!r}, which no parameter is called")


def _several(given: Iterable) -> list:
    return [given] if isinstance(given, str | type) else list(given)


def _classes(types: list[str | type[nn.Module]]) -> tuple[type[nn.Module], ...]:
    classes: list[type[nn.Module]] = []
    for kind in types:
        if isinstance(kind, type) and issubclass(kind, nn.Module):
            classes.append(kind)
        elif kind in KINDS:
            classes.extend(KINDS[kind])
        else:
            raise ValueError(
                f"unknown type of layer {kind!r}: give {', '.join(KINDS)} or a class of modules"
            )
    return tuple(classes)


def _weight_names(module: nn.Module) -> list[str]:
    """The names that the prunable weights of a module have in it."""
    if isinstance(module, nn.MultiheadAttention):
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        return [name for name in names if getattr(module, name, None) is not None]
    if isinstance(module, nn.RNNBase):
        return [name for name in module._flat_weights_names if name.startswith("weight_")]
    if isinstance(module, nn.RNNCellBase):
        return ["weight_ih", "weight_hh"]
    return ["weight"]


def _own_parameter(module: nn.Module, attribute: str, name: str) -> nn.Parameter:
    parameter = module._parameters.get(attribute)
    if parameter is None:
        raise ValueError(
            f"weight {name!r} is no parameter of its own but is computed from others (weight norm, "
            "spectral norm, a parametrization, or pruning by torch.nn.utils.prune): remove that "
            "first, or leave the layer out with exclude="
        )
    if parameter.ndim < 2 and not is_lazy(parameter):
        raise ValueError(
            f"{name!r} has shape {tuple(parameter.shape)}: only weights of two or more dimensions "
            "can be pruned"
        )
    if is_lazy(parameter):
        raise ValueError(
            f"weight {name!r} has no shape yet: run one batch through the network first"
        )
    return parameter


def _computed(
    model: nn.Module, kinds: tuple[type[nn.Module], ...], exclude: list[str]
) -> list[str]:
    """Names of the weights that `maskable_weights` refuses."""
    refused = []
    for path, module in named_modules(model):
        for attribute in _weight_names(module) if isinstance(module, kinds) else ():
            parameter = module._parameters.get(attribute)
            if parameter is None or is_lazy(parameter):
                refused.append(_join(path, attribute))
    return refused


def _why_not(
    name: str,
    module: nn.Module,
    parameter: nn.Parameter,
    computed: list[str],
    exclude: list[str],
) -> str:
    if is_lazy(parameter):
        return "no shape yet"
    if _fits(name, exclude):
        return "excluded"
    for weight in computed:
        place, _, attribute = weight.rpartition(".")
        if name.startswith((f"{weight}_", _join(place, f"parametrizations.{attribute}."))):
            return f"{weight} is computed from it"
    if parameter.ndim < 2:
        return "biases and scales are not pruned"
    kind = next((kind for kind, classes in KINDS.items() if isinstance(module, classes)), None)
    return f"{kind}: not among the types" if kind else "no type of layer that is pruned"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
