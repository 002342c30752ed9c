"""What of the grids is recorded: which copy of the data, which profile to show, what is missing."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from .. import paths
from ..config import RATIOS, RunConfig, check_name, setting
from ..data.copies import available_variant
from ..data.files import DataError
from ..records.store import all_records, find_record
from .grids import GRIDS, dataset_of, figures_at, grid
from .profiles import PROFILES, in_profile


def shown_variant(figure: str, profile: str) -> str:
    """The copy of the data that a figure shows at a profile: its own, else the recorded one."""
    dataset = dataset_of(figure, profile)
    return PROFILES[profile].get("variant") or recorded_variant(profile, dataset)


def recorded_variant(profile: str, dataset: str | None = None) -> str:
    """The variant that most records of a profile have, else the copy at hand, else 'original'.

    `dataset` stands in for that of the profile.
    """
    usual = {"dataset": PROFILES[profile]["dataset"]}
    dataset = dataset or usual["dataset"]
    counts = Counter(
        record["config"]["variant"]
        for record in all_records(dataset)
        if in_profile(record["config"] | usual, profile)
    )
    if counts:
        return max(sorted(counts), key=counts.get)
    return variant_at_hand(dataset) or "original"


def variant_at_hand(dataset: str) -> str | None:
    """The variant of the data in `data_root()`, None where there is none; downloads nothing."""
    try:
        if not os.path.isdir(paths.data_root()):  # nor is a folder that we may not look into
            return None
        return available_variant(dataset, download=False)
    except (DataError, paths.NoHome):
        return None


def resolve_profile(profile: str, figure: str = "depth") -> str:
    """The profile to show: `auto` is the best one with enough records, others are themselves.

    Enough are dense and `erk` at two sparsities for three models of the figure's grid. The order
    is `paper`, `mini`, `cpu`, `quick`. A figure with settings beside the ratios (`extra`) is
    `paper` or `mini` once two of its models have dense and such a setting there, else `cpu`,
    however little is recorded. `vgg` and `cifar100` are `paper` once a run of a VGG or on CIFAR-100
    is recorded there, else `cpu`. One with a single grid is of that profile. Raises `ValueError`
    for an unknown profile.
    """
    if profile != "auto":
        return check_name("profile", profile, ("auto", *PROFILES)) and profile
    if len(GRIDS[figure]) == 1:
        return next(iter(GRIDS[figure]))
    if extra := GRIDS[figure]["paper"].get("extra"):
        known = (name for name in ("paper", "mini") if name in GRIDS[figure])
        return next((name for name in known if _compared(figure, name, extra) >= 2), "cpu")
    if figure in ("vgg", "cifar100"):
        variant = shown_variant(figure, "paper")
        runs = grid(figure, "paper", variant=variant)
        own = [c for c in runs if figure == "cifar100" or "vgg" in c.model]
        return "paper" if len(missing(own)) < len(own) else "cpu"
    for candidate in (name for name in ("paper", "mini", "cpu") if name in GRIDS[figure]):
        found: dict[str, set] = {}
        for config in _recorded(figure, candidate, ("dense", "erk")):
            found.setdefault(config.model, set()).add(config.sparsity)
        complete = [model for model, levels in found.items() if 0.0 in levels and len(levels) > 2]
        if len(complete) >= 3:
            return candidate
    return "quick"


def _recorded(figure: str, profile: str, ratios: Sequence[str]) -> list[RunConfig]:
    """The runs of some ratios of a figure that are recorded at a profile."""
    configs = grid(figure, profile, ratios=ratios, variant=shown_variant(figure, profile))
    return [config for config in configs if find_record(config) is not None]


def _compared(figure: str, profile: str, extra: Sequence[dict]) -> int:
    """How many models have a dense run and one of the settings beside the ratios recorded."""
    found: dict[str, set] = {}
    wanted = {"dense", *(chosen["ratio"] for chosen in extra)}
    ratios = [ratio for ratio in RATIOS if ratio in wanted]
    for config in _recorded(figure, profile, ratios):
        found.setdefault(config.model, set()).add(setting(config))
    return sum("dense" in each and any(":" in name for name in each) for each in found.values())


def missing(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Those of the runs that have no record yet."""
    return [config for config in configs if find_record(config) is None]


def status(profiles: Sequence[str] = tuple(PROFILES)):
    """Recorded and missing runs, one row a figure and profile, as a DataFrame."""
    import pandas as pd

    rows = []
    for profile in profiles:
        check_name("profile", profile, PROFILES)
        variants = {}
        for figure in figures_at(profile):
            dataset = dataset_of(figure, profile)
            if dataset not in variants:
                variants[dataset] = shown_variant(figure, profile)
            variant = variants[dataset]
            configs = grid(figure, profile, variant=variant)
            absent = len(missing(configs))
            rows.append(
                {
                    "figure": figure,
                    "profile": profile,
                    "variant": variant,
                    "recorded": len(configs) - absent,
                    "missing": absent,
                    "total": len(configs),
                }
            )
    return pd.DataFrame(rows)
