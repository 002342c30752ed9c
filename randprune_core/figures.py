"""What each figure is drawn from: models, ratios, sparsities and seeds for each profile.

`sweeps.grid` turns an entry into runs. A new figure is one line in `FIGURES`.
"""

from .config import RATIOS

PROFILES = {
    "quick": {
        "dataset": "digits",
        "variant": "original",
        "train_images": 1_000,
        "epochs": 4,
        "batch_size": 50,
    },
    "cpu": {"dataset": "cifar10", "train_images": 10_000, "epochs": 16},
    "paper": {"dataset": "cifar10", "precision": "bfloat16"},
}
"""What sets a profile apart from the protocol's defaults.

The precision is fixed so that the records of one figure compare: `quick` and `cpu` train in
float32, which every processor has, and `paper` in bfloat16, which every GPU of its class has.
"""

_SMALL = ("resnet-8", "resnet-14", "resnet-20")
_DEPTHS = ("resnet-20", "resnet-32", "resnet-44", "resnet-56", "resnet-110")
_SMALL_WIDTHS = ("resnet-20-4", "resnet-20-8", "resnet-20")
_WIDTHS = ("resnet-20-8", "resnet-20", "resnet-20-24", "resnet-20-32")
_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_HIGH = (0.8, 0.9)
_PAIR = ("dense", "erk")
_FIVE = ("dense", "erk", "uniform", "uniform_plus", "snip")
_FOUR = ("dense", "erk", "uniform", "snip")


def _small(models, ratios, sparsities=_HIGH, seeds=(0, 1, 2)) -> dict:
    """The same grid for `quick` (one seed) and `cpu`."""
    grid = {"models": models, "ratios": ratios, "sparsities": sparsities, "seeds": seeds}
    return {"quick": grid | {"seeds": (0,)}, "cpu": grid}


def _paper(models, ratios, sparsities=_TENTHS, seeds=(0, 1, 2)) -> dict:
    grid = {"models": models, "ratios": ratios, "sparsities": sparsities, "seeds": seeds}
    return {"paper": grid}


def _compare(extra, ratios, sparsities, cpu, paper) -> dict:
    """A grid with settings beside the ratios; `quick` has the first network and last sparsity."""
    small, large = (
        {"models": models, "ratios": ratios, "sparsities": levels, "seeds": (0, 1, 2)}
        for models, levels in ((cpu, sparsities[0]), (paper, sparsities[1]))
    )
    quick = {"models": cpu[:1], "sparsities": sparsities[0][-1:], "seeds": (0,)}
    grids = {"quick": small | quick, "cpu": small, "paper": large}
    return {profile: grid | {"extra": extra} for profile, grid in grids.items()}


_THREE = ("resnet-20", "resnet-56", "resnet-110")
_OWN_MASKS = tuple({"ratio": ratio, "mask_source": "own"} for ratio in ("snip", "grasp"))
_PATTERNS = tuple({"ratio": "uniform", "granularity": g} for g in ("filter", "2:4", "4:8"))
_SCENARIOS = tuple({"ratio": "erk", "when": when} for when in ("during", "after"))
_SCENARIOS += tuple({"ratio": "erk", "method": rule} for rule in ("set", "rigl"))
_VGG, _LEVELS = ("vgg-16", "vgg-19"), (0.5, 0.8, 0.9)
_OTHERS = _small(("resnet-8", "vgg-11"), _PAIR)
_OTHERS["quick"] |= {"sparsities": (0.9,)}  # a VGG on digits takes a minute a run


def _on_cifar100(cpu: dict, paper: dict) -> dict:
    grids = {"cpu": cpu["cpu"], "paper": paper["paper"]}
    return {profile: grid | {"dataset": "cifar100"} for profile, grid in grids.items()}


FIGURES = {
    "depth": _small(_SMALL, _FOUR) | _paper(_DEPTHS, _FIVE),
    "width": _small(_SMALL_WIDTHS, _PAIR) | _paper(_WIDTHS, _FIVE),
    "calibration": _small(_SMALL, _PAIR) | _paper(_DEPTHS + _WIDTHS, _FIVE),
    "ood": _small(_SMALL, _PAIR) | _paper(_DEPTHS + _WIDTHS, _FIVE),
    "robustness": _small(_SMALL, _PAIR) | _paper(_DEPTHS + _WIDTHS, _FIVE),
    "gradient_flow": _small(_SMALL, ("dense", "erk", "snip"))
    | _paper(_THREE, ("dense", "erk", "snip"), (0.5,)),
    "methods": _compare(_OWN_MASKS, RATIOS, (_HIGH, (0.5, 0.9)), _SMALL, _THREE),
    "granularity": _compare(
        _PATTERNS, ("dense", "uniform"), ((0.5,), (0.5,)), ("resnet-8", "resnet-20"), _THREE
    ),
    "when": _compare(_SCENARIOS, _PAIR, ((0.9,), (0.9,)), ("resnet-8", "resnet-20"), _THREE[:2]),
    "vgg": _OTHERS | _paper(("resnet-20", *_VGG), _FOUR, _LEVELS),
    "cifar100": _OTHERS | _on_cifar100(_OTHERS, _paper((*_THREE[:2], *_VGG), _FOUR, _LEVELS)),
}
"""The grid of each figure of the paper (1, 2, 3, 4, 17 and 6 top), per profile.

`extra` lists settings beside the ratios, as fields of `RunConfig`: own masks, granularities, rules.
`dataset` stands where it is not that of the profile.
"""
