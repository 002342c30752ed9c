"""The order in which runs are trained; those of `mini` and its control are planned as a whole."""

from collections.abc import Iterable, Sequence

from ..config import RunConfig, setting
from .profiles import CONTROL, PROFILES, in_control, in_profile

Cells = tuple[tuple[str, str, float], ...]
"""Model, setting (`config.setting`) and sparsity of each cell."""


def _cells(models: Sequence[str], settings: Iterable[tuple[str, float]]) -> Cells:
    settings = tuple(settings)
    return tuple((model, *setting) for model in models for setting in settings)


def _at(sparsity: float, *settings: str) -> tuple[tuple[str, float], ...]:
    return tuple((setting, sparsity) for setting in settings)


_LARGE_FIRST = ("resnet-20-32", "resnet-32", "resnet-20", "resnet-20-8", "resnet-8")
_TWO = ("resnet-20", "resnet-8")
_MAIN = (("dense", 0.0), ("erk", 0.5), ("erk", 0.9))
_OTHER_RATIOS = ("uniform", "uniform_plus", "snip")
_CRITERIA = ("grasp", "snip:own", "grasp:own")
_PATTERNS = ("uniform", "uniform:filter", "uniform:2:4", "uniform:4:8")
_SCENARIOS = ("erk:during", "erk:after", "erk:set", "erk:rigl")

TIERS = {
    "T1": {"seeds": (0, 1, 2), "cells": _cells(_LARGE_FIRST, _MAIN)},
    "T2": {"seeds": (0, 1, 2), "cells": _cells(_TWO, _at(0.9, *_OTHER_RATIOS, *_CRITERIA))},
    "T3": {
        "seeds": (0, 1, 2),
        "cells": _cells(_TWO, _at(0.5, *_PATTERNS) + _at(0.9, *_SCENARIOS)),
    },
    "control": {
        "seeds": (0, 1, 2),
        "cells": _cells(_TWO, (("dense", 0.0), ("erk", 0.9))),
        "train_images": tuple(amount["train_images"] for amount in CONTROL),
    },
    "T4": {"seeds": (3, 4), "cells": _cells(_LARGE_FIRST, _MAIN)},
    "T5": {
        "seeds": (0, 1, 2),
        "cells": _cells(("resnet-56",), _MAIN)
        + _cells(("resnet-20-32", "resnet-32"), _at(0.9, *_OTHER_RATIOS))
        + _cells(("resnet-14", "resnet-20-4"), _MAIN),
    },
}
"""All runs of profile `mini` and of its control, in the order to train them: tier by tier, in a
tier seed by seed, so that a picture is complete early, and for a seed as listed, the longest first.
`train_images` are those of the profile where a tier names none.

ERK+ is not among them: where the ratios are compared, ERK keeps the last layer dense as ERK+ does,
and both draw the same mask.
"""

_USUAL = (PROFILES["mini"]["train_images"],)
_PLANNED = [
    (*cell, seed, images)
    for tier in TIERS.values()
    for seed in tier["seeds"]
    for images in tier.get("train_images", _USUAL)
    for cell in tier["cells"]
]
PLAN = {key: number for number, key in enumerate(_PLANNED)}
"""Place in the order by model, setting, sparsity, seed and number of training images."""

_RATIO_RANK = {"dense": 0, "erk": 0, "uniform": 1, "snip": 1, "uniform_plus": 2}
_SPARSITY_RANK = {0.0: 0, 0.9: 0, 0.8: 1, 0.5: 1, 0.7: 2}


def place(config: RunConfig) -> int | None:
    """Place of a run of `mini` or its control in the plan, None for any other."""
    if not (in_profile(config, "mini") or in_control(config)):
        return None
    cell = config.model, setting(config), config.sparsity
    return PLAN.get((*cell, config.seed_init, config.train_images))


def in_order(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Runs in the order to train them: first seeds first, dense and ERK before the other ratios,
    few sparsities of every model before all sparsities of one, small models before large ones.

    Runs of profile `mini` and of its control come first, in the order of `TIERS`.
    """

    def rank(config: RunConfig):
        if (planned := place(config)) is not None:
            return (-1, planned)
        return (
            config.seed_init,
            _RATIO_RANK.get(config.ratio, 3) + _SPARSITY_RANK.get(config.sparsity, 3),
            _RATIO_RANK.get(config.ratio, 3),
        )

    return sorted(configs, key=rank)
