"""What each figure is drawn from: models, ratios, sparsities and seeds for each profile.

`sweeps.grid` turns an entry into runs. A new figure is one line in `FIGURES`. The runs of profile
`mini` are planned as a whole, in `TIERS`: its figures show what of the plan falls into their grid.
"""

from itertools import count

from .config import RATIOS

PROFILES = {
    "quick": {
        "dataset": "digits",
        "variant": "original",
        "train_images": 1_000,
        "epochs": 4,
        "batch_size": 50,
    },
    "mini": {"dataset": "cifar10", "train_images": 5_000, "image_size": 16},
    "cpu": {"dataset": "cifar10", "train_images": 10_000, "epochs": 16},
    "paper": {"dataset": "cifar10", "precision": "bfloat16"},
}
"""What sets a profile apart from the protocol's defaults.

`mini` is the paper's experiment with less data: its networks have as many weights for each training
image as the paper's, and it keeps the paper's schedule, so that they fit what they are trained on.

The precision is fixed so that the records of one figure compare: `paper` trains in bfloat16, which
every GPU of its class has, and the others in float32, which every processor has.
"""

_DENSE, _HALF, _NINE = (
    {"ratio": "dense"},
    {"ratio": "erk", "sparsity": 0.5},
    {"ratio": "erk", "sparsity": 0.9},
)
_MAIN = (_DENSE, _HALF, _NINE)
_OWN_MASKS = tuple({"ratio": ratio, "mask_source": "own"} for ratio in ("snip", "grasp"))
_PATTERNS = tuple({"ratio": "uniform", "granularity": g} for g in ("filter", "2:4", "4:8"))
_SCENARIOS = tuple({"ratio": "erk", "when": when} for when in ("during", "after"))
_SCENARIOS += tuple({"ratio": "erk", "method": rule} for rule in ("set", "rigl"))


def _at(sparsity: float, *settings: dict) -> tuple[dict, ...]:
    return tuple(setting | {"sparsity": sparsity} for setting in settings)


def _ratios(*names: str) -> tuple[dict, ...]:
    return tuple({"ratio": name} for name in names)


def _cells(models, settings) -> tuple[dict, ...]:
    return tuple({"model": model} | setting for model in models for setting in settings)


_LARGE_FIRST = ("resnet-20-32", "resnet-32", "resnet-20", "resnet-20-8", "resnet-8")
_TWO = ("resnet-20", "resnet-8")
_OTHER_RATIOS = _ratios("uniform", "uniform_plus", "snip")

TIERS = {
    "T1": {"seeds": (0, 1, 2), "cells": _cells(_LARGE_FIRST, _MAIN)},
    "T2": {
        "seeds": (0, 1, 2),
        "cells": _cells(_TWO, _at(0.9, *_OTHER_RATIOS, *_ratios("grasp"), *_OWN_MASKS)),
    },
    "T3": {
        "seeds": (0, 1, 2),
        "cells": _cells(_TWO, _at(0.5, *_ratios("uniform"), *_PATTERNS) + _at(0.9, *_SCENARIOS)),
    },
    "T4": {"seeds": (3, 4), "cells": _cells(_LARGE_FIRST, _MAIN)},
    "T5": {
        "seeds": (0, 1, 2),
        "cells": _cells(("resnet-56",), _MAIN)
        + _cells(("resnet-20-32", "resnet-32"), _at(0.9, *_OTHER_RATIOS))
        + _cells(("resnet-14", "resnet-20-4"), _MAIN),
    },
}
"""All runs of profile `mini`, in the order to train them: tier by tier, in a tier seed by seed, so
that a picture is complete early, and for a seed as listed, the longest first.

ERK+ is not among them: where the ratios are compared, ERK keeps the last layer dense as ERK+ does,
and both draw the same mask.
"""


def _plan() -> dict[tuple, int]:
    places, plan = count(), {}
    for tier in TIERS.values():
        for seed in tier["seeds"]:
            for cell in tier["cells"]:
                named = {name: value for name, value in cell.items() if name not in _KEY}
                key = (cell["model"], ":".join(named.values()), cell.get("sparsity", 0.0), seed)
                plan[key] = next(places)
    return plan


_KEY = ("model", "sparsity")
PLAN = _plan()
"""Place in the order by model, setting (`config.setting`), sparsity and seed."""

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


def _mini(models, ratios, sparsities=(0.5, 0.9), seeds=(0, 1, 2, 3, 4), extra=()) -> dict:
    """What of the plan of `mini` falls into this grid."""
    grid = {"models": models, "ratios": ratios, "sparsities": sparsities, "seeds": seeds}
    return {"mini": grid | {"planned": True} | ({"extra": extra} if extra else {})}


_THREE = ("resnet-20", "resnet-56", "resnet-110")
_MINI_DEPTHS = ("resnet-8", "resnet-14", "resnet-20", "resnet-32", "resnet-56")
_MINI_WIDTHS = ("resnet-20-4", "resnet-20-8", "resnet-20", "resnet-20-32")
_MINI_ALL = (*_MINI_DEPTHS, "resnet-20-4", "resnet-20-8", "resnet-20-32")
_MINI_TWO = ("resnet-8", "resnet-20")
_VGG, _LEVELS = ("vgg-16", "vgg-19"), (0.5, 0.8, 0.9)
_OTHERS = _small(("resnet-8", "vgg-11"), _PAIR)
_OTHERS["quick"] |= {"sparsities": (0.9,)}  # a VGG on digits takes a minute a run


def _on_cifar100(cpu: dict, paper: dict) -> dict:
    grids = {"cpu": cpu["cpu"], "paper": paper["paper"]}
    return {profile: grid | {"dataset": "cifar100"} for profile, grid in grids.items()}


def _beyond_accuracy() -> dict:
    small, paper = _small(_SMALL, _PAIR), _paper(_DEPTHS + _WIDTHS, _FIVE)
    return small | paper | _mini(_MINI_ALL, _PAIR)


FIGURES = {
    "depth": _small(_SMALL, _FOUR) | _paper(_DEPTHS, _FIVE) | _mini(_MINI_DEPTHS, _FIVE),
    "width": _small(_SMALL_WIDTHS, _PAIR) | _paper(_WIDTHS, _FIVE) | _mini(_MINI_WIDTHS, _FIVE),
    "calibration": _beyond_accuracy(),
    "ood": _beyond_accuracy(),
    "robustness": _beyond_accuracy(),
    "gradient_flow": _small(_SMALL, ("dense", "erk", "snip"))
    | _paper(_THREE, ("dense", "erk", "snip"), (0.5,))
    | _mini(("resnet-8", "resnet-20", "resnet-32"), ("dense", "erk", "snip")),
    "methods": _compare(_OWN_MASKS, RATIOS, (_HIGH, (0.5, 0.9)), _SMALL, _THREE)
    | _mini(_MINI_TWO, ("dense", *_FIVE[1:], "grasp"), (0.9,), (0, 1, 2), _OWN_MASKS),
    "granularity": _compare(_PATTERNS, ("dense", "uniform"), ((0.5,), (0.5,)), _MINI_TWO, _THREE)
    | _mini(_MINI_TWO, ("dense", "uniform"), (0.5,), (0, 1, 2), _PATTERNS),
    "when": _compare(_SCENARIOS, _PAIR, ((0.9,), (0.9,)), _MINI_TWO, _THREE[:2])
    | _mini(_MINI_TWO, _PAIR, (0.9,), (0, 1, 2), _SCENARIOS),
    "vgg": _OTHERS | _paper(("resnet-20", *_VGG), _FOUR, _LEVELS),
    "cifar100": _OTHERS | _on_cifar100(_OTHERS, _paper((*_THREE[:2], *_VGG), _FOUR, _LEVELS)),
}
"""The grid of each figure of the paper (1, 2, 3, 4, 17 and 6 top), per profile.

`extra` lists settings beside the ratios, as fields of `RunConfig`: own masks, granularities, rules.
`dataset` stands where it is not that of the profile; `planned` where only the runs of `TIERS` are
meant. A figure need not have a grid at every profile.
"""

CHAPTERS = {
    "01_layerwise_ratios": (),
    "02_depth": ("depth",),
    "03_width": ("width",),
    "04_calibration": ("calibration",),
    "05_ood": ("ood",),
    "06_robustness": ("robustness",),
    "08_methods": ("methods",),
    "09_granularity": ("granularity",),
    "10_when_to_prune": ("when",),
    "12_speed": (),
    "13_cifar100_and_vgg": ("vgg", "cifar100"),
}
"""The grids whose records a chapter reads. One that is not here may read any record: the gradient
flow looks at every run of its protocol, the scorecard at those of every claim."""

JUDGED = ("depth", "width")
"""The grids that every verdict reads beside its own: what varies between seeds is pooled there."""
