"""What each figure is drawn from: models, ratios, sparsities and seeds for each profile.

`grid` turns an entry into runs. A new figure is one line in `GRIDS`. The runs of profile
`mini` are planned as a whole, in `TIERS`: its figures show what of the plan falls into their grid.
"""

from collections.abc import Iterable, Sequence
from itertools import count

from ..config import RATIOS, RunConfig, check_name, config_to_dict, image_side, run_id, setting

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

PURPOSE = {
    "quick": "there to show that the machinery runs, and says nothing else",
    "mini": "the paper's experiment scaled down: its schedule, and about as many weights for each "
    "training image, on smaller images",
    "cpu": "a short schedule on fewer images: it shows a direction, not the paper's accuracies",
    "paper": "the paper's own schedule",
}
"""What a profile is good for, as the end of a sentence."""

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


GRIDS = {
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
    "07_gradient_flow": ("gradient_flow",),
    "08_methods": ("methods",),
    "09_granularity": ("granularity",),
    "10_when_to_prune": ("when",),
    "11_imagenet": (),
    "12_speed": (),
    "13_cifar100_and_vgg": ("vgg", "cifar100"),
    "14_scorecard": (
        "depth",
        "width",
        "calibration",
        "ood",
        "robustness",
        "gradient_flow",
        "methods",
    ),
}
"""The grids that a chapter shows; one that has no grid of `sweep` shows none."""

ANY_RUN = ("07_gradient_flow", "11_imagenet", "14_scorecard")
"""Chapters that read runs of other grids too: every run of a protocol, or of every claim."""

JUDGED = ("depth", "width")
"""The grids that every verdict reads beside its own: what varies between seeds is pooled there."""


def check_grid(figure: str, profile: str) -> None:
    """Raise `ValueError` unless both are known and the figure has a grid at the profile."""
    check_name("figure", figure, GRIDS)
    check_name("profile", profile, PROFILES)
    if profile not in GRIDS[figure]:
        raise ValueError(
            f"figure {figure!r} has no runs at profile {profile!r}: it has "
            f"{', '.join(GRIDS[figure])}"
        )


def grid(
    figure: str,
    profile: str,
    *,
    models: Sequence[str] | None = None,
    ratios: Sequence[str] | None = None,
    sparsities: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    variant: str = "original",
) -> list[RunConfig]:
    """The runs behind a figure at a profile, dense first; lists replace the figure's own.

    `variant` is the copy of the data, where the profile does not fix it; `coverage.shown_variant`
    gives the one that is recorded. A seed sets initialisation, mask and data order alike.
    Raises `ValueError` for an unknown figure, profile or name, or a sparsity out of range.
    """
    check_grid(figure, profile)
    default = GRIDS[figure][profile]
    models = default["models"] if models is None else models
    ratios = default["ratios"] if ratios is None else ratios
    sparsities = default["sparsities"] if sparsities is None else sparsities
    seeds = default["seeds"] if seeds is None else seeds
    common = PROFILES[profile] | {"dataset": dataset_of(figure, profile)}
    common.setdefault("variant", variant)
    settings = [{"ratio": ratio} for ratio in ratios]
    settings += [extra for extra in default.get("extra", ()) if extra["ratio"] in ratios]
    configs = {}
    for model in models:
        for chosen in settings:
            for sparsity in (0.0,) if chosen["ratio"] == "dense" else sparsities:
                for seed in seeds:
                    config = RunConfig(
                        model=model,
                        sparsity=sparsity,
                        seed_init=seed,
                        seed_mask=seed,
                        seed_data=seed,
                        **chosen,
                        **common,
                    )
                    if not default.get("planned") or _wanted(config, default):
                        configs[run_id(config)] = config
    return list(configs.values())


def _place(config: RunConfig) -> int | None:
    """Place of a run of `mini` in the plan, None for one that is not planned."""
    return PLAN.get((config.model, setting(config), config.sparsity, config.seed_init))


def _wanted(config: RunConfig, default: dict) -> bool:
    """Whether a run is planned, or was asked for with a value that its figure does not have."""
    own = (
        (config.model, default["models"]),
        (config.ratio, default["ratios"]),
        (config.sparsity, (0.0, *default["sparsities"])),
        (config.seed_init, default["seeds"]),
    )
    return _place(config) is not None or any(value not in known for value, known in own)


def figures_at(profile: str) -> list[str]:
    """The figures that have a grid at a profile."""
    return [name for name, grids in GRIDS.items() if profile in grids]


def dataset_of(figure: str, profile: str) -> str:
    """What a figure trains on at a profile: the profile's data set, unless its grid has another."""
    check_grid(figure, profile)
    return GRIDS[figure][profile].get("dataset", PROFILES[profile]["dataset"])


def in_profile(config: dict | RunConfig, profile: str) -> bool:
    """Whether a config (or a record's config) belongs to a profile, whatever its variant."""
    values = config if isinstance(config, dict) else config_to_dict(config)
    expected = {"precision": "float32", "train_images": 45_000, "epochs": 160, "batch_size": 128}
    expected |= {"image_size": None} | PROFILES[profile]
    expected.pop("variant", None)
    expected["image_size"] = image_side(expected)
    return all(
        value == (image_side(values) if name == "image_size" else values[name])
        for name, value in expected.items()
    )


_RATIO_RANK = {"dense": 0, "erk": 0, "uniform": 1, "snip": 1, "uniform_plus": 2}


_SPARSITY_RANK = {0.0: 0, 0.9: 0, 0.8: 1, 0.5: 1, 0.7: 2}


def plan(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Runs in the order to train them: first seeds first, dense and ERK before the other ratios,
    few sparsities of every model before all sparsities of one, small models before large ones.

    Runs of profile `mini` come first, in the order of `TIERS`.
    """

    def rank(config: RunConfig):
        if in_profile(config, "mini") and (place := _place(config)) is not None:
            return (-1, place)
        return (
            config.seed_init,
            _RATIO_RANK.get(config.ratio, 3) + _SPARSITY_RANK.get(config.sparsity, 3),
            _RATIO_RANK.get(config.ratio, 3),
        )

    return sorted(configs, key=rank)
