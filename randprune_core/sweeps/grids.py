"""What each figure is drawn from: models, ratios, sparsities and seeds for each profile.

`grid` turns an entry into runs. A new figure is one line in `GRIDS`. The figures of profile `mini`
show what of its `plan` falls into their grid. `control` is no figure of the paper: its runs say
whether profile `mini` measures what it is meant to.
"""

from collections.abc import Iterable, Sequence
from itertools import product

from ..config import RATIOS, SEEDS, RunConfig, check_name, run_id
from .plan import place
from .profiles import CONTROL, PROFILES

_OWN_MASKS = tuple({"ratio": ratio, "mask_source": "own"} for ratio in ("snip", "grasp"))
_PATTERNS = tuple({"ratio": "uniform", "granularity": g} for g in ("filter", "2:4", "4:8"))
_SCENARIOS = tuple({"ratio": "erk", "when": when} for when in ("during", "after"))
_SCENARIOS += tuple({"ratio": "erk", "method": rule} for rule in ("set", "rigl"))

_SMALL = ("resnet-8", "resnet-14", "resnet-20")
_DEPTHS = ("resnet-20", "resnet-32", "resnet-44", "resnet-56", "resnet-110")
_SMALL_WIDTHS = ("resnet-20-4", "resnet-20-8", "resnet-20")
_WIDTHS = ("resnet-20-8", "resnet-20", "resnet-20-24", "resnet-20-32")
_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_HIGH = (0.8, 0.9)
_PAIR = ("dense", "erk")
_FIVE = ("dense", "erk", "uniform", "uniform_plus", "snip")
_FOUR = ("dense", "erk", "uniform", "snip")


def _grid(models, ratios, sparsities, seeds=(0, 1, 2)) -> dict:
    return {"models": models, "ratios": ratios, "sparsities": sparsities, "seeds": seeds}


def _small(models, ratios, sparsities=_HIGH) -> dict:
    """The same grid for `quick` (one seed) and `cpu`."""
    grid = _grid(models, ratios, sparsities)
    return {"quick": grid | {"seeds": (0,)}, "cpu": grid}


def _paper(models, ratios, sparsities=_TENTHS) -> dict:
    return {"paper": _grid(models, ratios, sparsities)}


def _compare(extra, ratios, sparsities, cpu, paper) -> dict:
    """A grid with settings beside the ratios; `quick` has the first network and last sparsity."""
    small, large = _grid(cpu, ratios, sparsities[0]), _grid(paper, ratios, sparsities[1])
    quick = {"models": cpu[:1], "sparsities": sparsities[0][-1:], "seeds": (0,)}
    grids = {"quick": small | quick, "cpu": small, "paper": large}
    return {profile: grid | {"extra": extra} for profile, grid in grids.items()}


def _mini(models, ratios, sparsities=(0.5, 0.9), seeds=(0, 1, 2, 3, 4), extra=()) -> dict:
    """What of the plan of `mini` falls into this grid."""
    grid = _grid(models, ratios, sparsities, seeds)
    return {"mini": grid | {"planned": True, "extra": extra}}


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


def _control() -> dict:
    grids = _mini(_MINI_TWO, _PAIR, (0.9,), (0, 1, 2))
    return {profile: grid | {"amounts": CONTROL} for profile, grid in grids.items()}


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
    "control": _control(),
}
"""The grid of each figure of the paper (1, 2, 3, 4, 17 and 6 top), per profile.

`extra` lists settings beside the ratios, as fields of `RunConfig`: own masks, granularities, rules.
`dataset` stands where it is not that of the profile; `planned` where only the runs of `plan.TIERS`
are meant; `amounts` where a run is made for each of several `train_images` and `epochs`, which then
belongs to no profile. A figure need not have a grid at every profile.
"""

CHAPTERS = {
    "01_depth": ("depth",),
    "02_width": ("width",),
    "03_calibration": ("calibration",),
    "04_ood": ("ood",),
    "05_robustness": ("robustness",),
    "06_gradient_flow": ("gradient_flow",),
    "07_layerwise_ratios": (),
    "08_methods": ("methods",),
    "09_granularity": ("granularity",),
    "10_when_to_prune": ("when",),
    "11_scorecard": (
        "depth",
        "width",
        "calibration",
        "ood",
        "robustness",
        "gradient_flow",
        "methods",
    ),
    "12_imagenet": (),
    "13_cifar100_and_vgg": ("vgg", "cifar100"),
    "14_speed": (),
}
"""The grids that a chapter shows; one that has no grid of `sweep` shows none."""

ANY_RUN = ("06_gradient_flow", "12_imagenet", "11_scorecard")
"""Chapters that read runs of other grids too: every run of a protocol, or of every claim."""

BESIDE = {"01_depth": ("control", "methods")}
"""Grids whose recorded runs a chapter holds its own against; it trains none of them."""

JUDGED = ("depth", "width")
"""The grids whose spread between seeds is pooled: every interval and verdict reads them too."""


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
    """The runs of a figure at a profile, dense first; lists replace the figure's own.

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
    configs = []
    for amount in default.get("amounts", ({},)):
        configs += runs_of(models, settings, sparsities, seeds, common | amount)
    if default.get("planned"):
        configs = [config for config in configs if _wanted(config, default)]
    return configs


def runs_of(
    models: Iterable[str],
    settings: Iterable[dict],
    sparsities: Iterable[float],
    seeds: Iterable[int],
    common: dict,
) -> list[RunConfig]:
    """A run for each model, setting, sparsity and seed, each once; dense networks have sparsity 0.

    A setting is fields of `RunConfig`, among them the ratio, that come before those in `common`.
    """
    configs = {}
    for model, chosen in product(models, settings):
        levels = (0.0,) if chosen["ratio"] == "dense" else sparsities
        for sparsity, seed in product(levels, seeds):
            values = common | chosen | {"model": model, "sparsity": sparsity}
            values |= dict.fromkeys(SEEDS, seed)
            config = RunConfig(**values)
            configs[run_id(config)] = config
    return list(configs.values())


def _wanted(config: RunConfig, default: dict) -> bool:
    """Whether a run is planned, or was asked for with a value that its figure does not have."""
    own = (
        (config.model, default["models"]),
        (config.ratio, default["ratios"]),
        (config.sparsity, (0.0, *default["sparsities"])),
        (config.seed_init, default["seeds"]),
    )
    return place(config) is not None or any(value not in known for value, known in own)


def figures_at(profile: str) -> list[str]:
    """The figures that have a grid at a profile."""
    return [name for name, grids in GRIDS.items() if profile in grids]


def dataset_of(figure: str, profile: str) -> str:
    """What a figure trains on at a profile: the profile's data set, unless its grid has another."""
    check_grid(figure, profile)
    return GRIDS[figure][profile].get("dataset", PROFILES[profile]["dataset"])
