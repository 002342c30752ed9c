"""How long the runs of a grid will take, estimated from the seconds of those that are recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ..config import RunConfig, image_side, run_id, setting
from ..sweeps.profiles import PROFILES, in_profile

_SECONDS, _DEVICE, _AT_ONCE = "provenance.seconds", "provenance.device", "provenance.at_once"
_AS_FAST_AS = {"quick": "cpu", "mini": "cpu"}  # where none is recorded: all train in float32


def expected_seconds(
    configs: Sequence[RunConfig], profile: str, runs: pd.DataFrame
) -> dict[str, float]:
    """Seconds that training all of `configs` keeps each device busy, by the name of the device.

    On a processor these are seconds of one core. A network that the device has trained at this
    profile takes the median of its runs. Another one takes its share by the multiply-accumulates of
    its training, at the median rate of the device. Empty where no run is recorded at the profile
    (for `quick` and `mini`: nor at `cpu`), and for runs on ImageNet; `runs` is a frame of
    `load_runs`.
    """
    basis = _of_profile(runs, profile)
    if basis.empty and profile in _AS_FAST_AS:
        basis = _of_profile(runs, _AS_FAST_AS[profile])
    macs = recorded_macs(runs)
    if basis.empty or any(config.dataset == "imagenet" for config in configs):
        return {}
    groups = basis.groupby(_DEVICE, sort=False)
    return {device: sum(_seconds(configs, part, macs)) for device, part in groups}


def plan_lines(
    missing: Sequence[RunConfig], recorded: int, profile: str, runs: pd.DataFrame
) -> list[str]:
    """What a sweep would train, a line a run in the order of training, and how long it takes.

    Times are those of each device that has trained at the profile, as in `expected_seconds`.
    """
    rows, timed, known = [], [], {}
    for config in missing:
        key = config.dataset, config.model  # all else that counts is that of the profile
        if key not in known:
            known[key] = expected_seconds([config], profile, runs)
        timed += [config] if known[key] else []
        times = [f"about {duration(busy)}" for busy in known[key].values()]
        row = {"run": run_id(config), "network": config.model, "setting": setting(config)}
        row |= {"sparsity": f"{config.sparsity:g}", "seed": config.seed_init}
        row |= {"images": f"{config.train_images:,}"}
        rows.append(row | {"expected": " or ".join(times) or "not known"})
    lines = pd.DataFrame(rows).to_string(index=False).splitlines() if rows else []
    lines.append(f"{len(missing)} runs to train, {recorded} are recorded")
    which = "all of them" if len(timed) == len(missing) else f"the {len(timed)} of a known time"
    for device, busy in expected_seconds(timed, profile, runs).items() if timed else ():
        at_once = runs[runs[_DEVICE] == device].get(_AT_ONCE, pd.Series(dtype=float))
        unit = device if at_once.notna().any() else f"one core of {device}"
        lines.append(f"{which}: about {duration(busy)} of {unit}")
    return lines


def _of_profile(runs: pd.DataFrame, profile: str) -> pd.DataFrame:
    """The runs at a profile, with the seconds of a device that each of them alone accounts for."""
    if runs.empty or _SECONDS not in runs:
        return runs.iloc[:0]
    names = ["precision", "train_images", "image_size", "epochs", "batch_size"]
    usual = {"dataset": PROFILES[profile]["dataset"]}  # runs on other data have its schedule too
    rows = runs[names].to_dict("records")
    chosen = runs[[in_profile(row | usual, profile) for row in rows]]
    shared = chosen[_AT_ONCE].fillna(1) if _AT_ONCE in chosen else 1
    return chosen.assign(busy=chosen[_SECONDS] / shared)


def recorded_macs(runs: pd.DataFrame) -> dict[str, float]:
    """MACs of one 32×32 image in each dense network that has a record, by model.

    They are in proportion to the places of an image, which other sizes have fewer of.
    """
    if not len(runs):
        return {}
    small = runs[runs.dataset.isin(("cifar10", "cifar100"))]
    macs = small["cost.dense_macs"] * (32 / small.image_size.astype(float)) ** 2
    return dict(zip(small.model, macs, strict=True))


def _seconds(
    configs: Iterable[RunConfig], runs: pd.DataFrame, macs: dict[str, float]
) -> Iterable[float]:
    names = ["dataset", "model", "train_images", "epochs", "image_size"]
    trained = [RunConfig(**row) for row in runs[names].to_dict("records")]
    rate = (runs.busy / [_work(config, macs) for config in trained]).median()
    same = {key: part.busy.median() for key, part in runs.groupby(["dataset", "model"], sort=False)}
    for config in configs:
        yield same.get((config.dataset, config.model)) or rate * _work(config, macs)


def _work(config: RunConfig, macs: dict[str, float]) -> float:
    """What `cost.work` gives, from the records where they have the network.

    PyTorch, which takes seconds to import, is only used for a network without any record.
    """
    if config.model not in macs:
        from ..metrics.cost import network_macs

        macs[config.model] = network_macs(config.model)
    share = (image_side(vars(config)) / 32) ** 2
    return macs[config.model] * share * config.train_images * config.epochs


def duration(seconds: float) -> str:
    """A length of time in the unit that fits, two digits of it: `40 seconds`, `3.1 hours`."""
    units = {"seconds": (1, 90), "minutes": (60, 90), "hours": (3_600, 72)}
    for unit, (size, limit) in units.items():
        if seconds < limit * size:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds / 86_400)} days"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"
