"""The runs behind each figure, the order they are trained in, and who trains them.

`figures.FIGURES` says what a figure is drawn from; figures share runs, because a run is known by
its config alone. `sweep` trains what is missing, the most informative runs first.
"""

import os
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from . import paths
from .config import RATIOS, RunConfig, check_name, config_to_dict, image_side, run_id, setting
from .figures import FIGURES, PLAN, PROFILES
from .runs import find_record, records_to_frame

EXECUTORS = ("local", "ray")

_RATIO_RANK = {"dense": 0, "erk": 0, "uniform": 1, "snip": 1, "uniform_plus": 2}
_SPARSITY_RANK = {0.0: 0, 0.9: 0, 0.8: 1, 0.5: 1, 0.7: 2}


@dataclass
class SweepReport:
    """What a sweep did: counts, and the failed runs with their errors by run id."""

    trained: int = 0
    found: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    unfinished: int = 0

    def note(self, config: RunConfig, outcome: str, message: str) -> None:
        """Count what became of one run; `message` is the error of a failed one."""
        if outcome == "failed":
            self.failed[run_id(config)] = message
        else:
            setattr(self, outcome, getattr(self, outcome) + 1)


def check_grid(figure: str, profile: str) -> None:
    """Raise `ValueError` unless both are known and the figure has a grid at the profile."""
    check_name("figure", figure, FIGURES)
    check_name("profile", profile, PROFILES)
    if profile not in FIGURES[figure]:
        raise ValueError(
            f"figure {figure!r} has no runs at profile {profile!r}: it has "
            f"{', '.join(FIGURES[figure])}"
        )


def grid(
    figure: str,
    profile: str,
    *,
    models: Sequence[str] | None = None,
    ratios: Sequence[str] | None = None,
    sparsities: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    variant: str | None = None,
) -> list[RunConfig]:
    """The runs behind a figure at a profile, dense first; lists replace the figure's own.

    `variant` is the copy of the data; None takes the one that the records of this profile use most,
    else the copy at hand, else 'original'. A seed sets initialisation, mask and data order alike.
    Raises `ValueError` for an unknown figure, profile or name, or a sparsity out of range.
    """
    check_grid(figure, profile)
    default = FIGURES[figure][profile]
    models = default["models"] if models is None else models
    ratios = default["ratios"] if ratios is None else ratios
    sparsities = default["sparsities"] if sparsities is None else sparsities
    seeds = default["seeds"] if seeds is None else seeds
    common = PROFILES[profile] | {"dataset": dataset_of(figure, profile)}
    common.setdefault("variant", variant or recorded_variant(profile, common["dataset"]))
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
    return [name for name, grids in FIGURES.items() if profile in grids]


def dataset_of(figure: str, profile: str) -> str:
    """What a figure trains on at a profile: the profile's data set, unless its grid has another."""
    check_grid(figure, profile)
    return FIGURES[figure][profile].get("dataset", PROFILES[profile]["dataset"])


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


def recorded_variant(profile: str, dataset: str | None = None) -> str:
    """The variant that most records of a profile have, else the copy at hand, else 'original'.

    `dataset` stands in for that of the profile.
    """
    from collections import Counter

    from .runs import all_records

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
    if not paths.data_root().is_dir():
        return None
    from .data.files import DataError, available_variant

    try:
        return available_variant(dataset, download=False)
    except DataError:
        return None


def resolve_profile(profile: str, figure: str = "depth") -> str:
    """The profile to show: `auto` is the best one with enough records, others are themselves.

    Enough are dense and `erk` at two sparsities for three models of the figure's grid. The order
    is `paper`, `mini`, `cpu`, `quick`. A figure with settings beside the ratios (`extra`) is
    `paper` or `mini` once two of its models have dense and such a setting there, else `cpu`,
    however little is recorded. `vgg` and `cifar100` are `paper` once a run of a VGG or on CIFAR-100
    is recorded there, else `cpu`. Raises `ValueError` for an unknown profile.
    """
    if profile != "auto":
        return check_name("profile", profile, ("auto", *PROFILES)) and profile
    if extra := FIGURES[figure]["paper"].get("extra"):
        known = (name for name in ("paper", "mini") if name in FIGURES[figure])
        return next((name for name in known if _compared(figure, name, extra) >= 2), "cpu")
    if figure in ("vgg", "cifar100"):
        own = [c for c in grid(figure, "paper") if figure == "cifar100" or "vgg" in c.model]
        return "paper" if len(missing(own)) < len(own) else "cpu"
    for candidate in (name for name in ("paper", "mini", "cpu") if name in FIGURES[figure]):
        found: dict[str, set] = {}
        for config in grid(figure, candidate, ratios=("dense", "erk")):
            if find_record(config) is not None:
                found.setdefault(config.model, set()).add(config.sparsity)
        complete = [model for model, levels in found.items() if 0.0 in levels and len(levels) > 2]
        if len(complete) >= 3:
            return candidate
    return "quick"


def _compared(figure: str, profile: str, extra: Sequence[dict]) -> int:
    """How many models have a dense run and one of the settings beside the ratios recorded."""
    found: dict[str, set] = {}
    ratios = {"dense", *(chosen["ratio"] for chosen in extra)}
    for config in grid(figure, profile, ratios=[ratio for ratio in RATIOS if ratio in ratios]):
        if find_record(config) is not None:
            found.setdefault(config.model, set()).add(setting(config))
    return sum("dense" in each and any(":" in name for name in each) for each in found.values())


def missing(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Those of the runs that have no record yet."""
    return [config for config in configs if find_record(config) is None]


def collect(configs: Sequence[RunConfig], train_missing: bool | None = None, device: str = "auto"):
    """The records of a grid as a DataFrame (see `runs.load_runs`), in the order of the grid.

    `train_missing` None trains what is missing on `digits` only, which takes seconds a run; True
    trains whatever is missing, False nothing. A run that fails is left out with a warning.
    """
    if train_missing is None:
        train_missing = all(config.dataset == "digits" for config in configs)
    if train_missing and missing(configs):
        report = sweep(configs, device=device, progress=False)
        for name, error in report.failed.items():
            warnings.warn(f"run {name} failed and is left out: {error}", stacklevel=2)
    found = (find_record(config) for config in configs)
    return records_to_frame(record for record in found if record is not None)


def plan(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Runs in the order to train them: first seeds first, dense and ERK before the other ratios,
    few sparsities of every model before all sparsities of one, small models before large ones.

    Runs of profile `mini` come first, in the order of `figures.TIERS`.
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


def sweep(
    configs: Iterable[RunConfig],
    executor: str = "local",
    *,
    device: str = "auto",
    workers: int | None = None,
    time_budget: float | None = None,
    progress: bool = True,
    ray_address: str = "auto",
    gpus_per_run: float | None = None,
) -> SweepReport:
    """Train the runs that have no record, several at once, and say what happened.

    On a CPU every core trains one run with one thread, which is faster in total than threads
    sharing a run; on a GPU runs train side by side on streams. `workers` fixes how many run at once
    (default: one a core; on a GPU as many as pay). `time_budget` is in seconds: no run starts after
    it, runs that would not end within it wait behind those that would, and runs in progress stop at
    their next full epoch with a checkpoint. A failed run is noted and the sweep goes on. Executor
    `ray` trains on a cluster (`cluster.run_on_ray` explains `ray_address` and `gpus_per_run`).
    Raises `ValueError` for an unknown executor or device.
    """
    check_name("executor", executor, EXECUTORS)
    if gpus_per_run is not None:
        _check_gpus(gpus_per_run, executor)
    if workers is not None and workers < 1:
        raise ValueError(f"workers {workers} is too small: give at least 1")
    if time_budget is not None and not time_budget >= 0:
        raise ValueError(f"time budget {time_budget} is not a number of seconds: give 0 or more")
    configs = list(configs)
    todo = plan(missing(configs))
    report = SweepReport(found=len(configs) - len(todo))
    if not todo:
        return report
    from . import executors
    from .devices import pick_device

    deadline = None if time_budget is None else time.time() + time_budget
    schedule = executors.Schedule(todo, deadline)
    if executor == "ray":
        from .cluster import run_on_ray

        outcomes = run_on_ray(schedule, ray_address, gpus_per_run, device, workers)
    elif pick_device(device).type == "cuda":
        outcomes = executors.run_on_gpu(schedule, device, workers)
    else:
        outcomes = executors.run_on_cores(schedule, min(workers or os.cpu_count(), len(todo)))
    for config, outcome, message in executors.shown(outcomes, len(todo), progress):
        report.note(config, outcome, message)
    report.unfinished += schedule.left()
    return report


def _check_gpus(gpus_per_run: float, executor: str) -> None:
    from .cluster import check_gpus_per_run

    if executor != "ray":
        raise ValueError(f"gpus per run {gpus_per_run} needs executor ray, not {executor!r}")
    check_gpus_per_run(gpus_per_run)


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
                known = PROFILES[profile].get("variant")
                variants[dataset] = known or recorded_variant(profile, dataset)
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
