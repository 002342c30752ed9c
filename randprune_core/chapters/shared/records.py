"""The records of a figure as a chapter asks for them: `collect_records` for its parameters.

A chapter collects its records once; what it says of them is computed from them.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...analysis.claim_runs import pool_runs, together
from ...config import RunConfig, plain, run_id, setting
from ...presentation import foreign
from ...presentation.theme import LABELS
from ...presentation.words import data_label, listing, model_label
from ...records.failures import all_failures
from ...sweeps import grids
from ...sweeps.coverage import resolve_profile, shown_variant
from ...sweeps.profiles import PROFILES, PURPOSE
from ...sweeps.run import MissingRecord, load_or_train
from ...sweeps.sweep import collect
from .tables import show_list


@dataclass(frozen=True)
class Records:
    """The runs of a figure: its grid, those that are recorded, and how they were asked for."""

    figure: str
    profile: str
    configs: list[RunConfig]
    runs: pd.DataFrame
    default: bool  # whether every parameter of the chapter had its default
    pool: pd.DataFrame | None = None  # whose spread its intervals take (`claim_runs.pool_runs`)

    @property
    def variant(self) -> str:
        """Which copy of the data the runs were made on; a figure has one only."""
        return self.configs[0].variant

    @property
    def origin(self) -> str:
        """Profile and copy of the data, as the CSV of a figure has them in `source`."""
        return f"{self.profile} {self.variant}"

    def cells(self) -> pd.DataFrame:
        """One row a cell of the grid: model, ratio, sparsity, runs `recorded` and `wanted`.

        The ratio is the whole setting (`config.setting`), such as `snip:own`.
        """
        recorded = set(self.runs.run_id)
        counts: dict[tuple, list[int]] = {}
        for config in self.configs:
            count = counts.setdefault((config.model, setting(config), config.sparsity), [0, 0])
            count[0] += run_id(config) in recorded
            count[1] += 1
        rows = [[*cell, *count] for cell, count in counts.items()]
        return pd.DataFrame(rows, columns=["model", "ratio", "sparsity", "recorded", "wanted"])

    def seeds(self, counts: pd.Series | None = None) -> str:
        """How many seeds a recorded cell has, or those of `counts`: `one seed`, `1 to 3 seeds`."""
        counts = self.cells().recorded if counts is None else counts
        few, many = counts[counts > 0].min(), counts.max()
        if not few > 0:
            return "no\u00a0seed"
        if many == 1:
            return "one\u00a0seed"
        return f"{many}\u00a0seeds" if few == many else f"{few}\u00a0to\u00a0{many}\u00a0seeds"

    def source(self, counts: pd.Series | None = None) -> str:
        """Profile, data and seeds, as they stand above the panels of a figure.

        Seeds are as in `seeds`. Where it is broken into lines, a number stays with its unit.
        """
        config, seeds = self.configs[0], self.seeds(counts).replace("\u00a0to\u00a0", "–")
        return (
            f"Profile {self.profile}: {data_label(config)}, {config.train_images:,}\u00a0images, "
            f"{config.epochs}\u00a0epochs, {seeds}"
        )

    def coverage(self) -> str:
        """How many cells of the grid are recorded, and which are missing."""
        cells = self.cells()
        absent = cells.recorded == 0
        line = (
            f"{len(cells) - absent.sum()} of {len(cells)} cells recorded "
            f"({len(self.runs)} of {len(self.configs)} planned runs, "
            f"{self.seeds()} in a recorded cell)"
        )
        if not absent.any():
            return f"{line}; no cell is missing"
        parts = []
        for model, group in cells[absent].groupby("model", sort=False):
            names = "everything"
            if len(group) < (cells.model == model).sum():
                names = ", ".join(cell_labels(group))
            parts.append(f"{model_label(model)}: {names}")
        return f"{line}; missing: {'; '.join(parts)}"

    def failed(self) -> str:
        """The runs of the grid that failed when they were last tried, and why; empty for none."""
        notes, recorded = all_failures(), set(self.runs.run_id)
        parts = []
        for config in self.configs:
            if (name := run_id(config)) in notes and name not in recorded:
                cell = f"{LABELS[setting(config)]} {config.sparsity:g}, seed {config.seed_init}"
                parts.append(f"{model_label(config.model)} {cell} ({foreign.text(notes[name][1])})")
        return f"{len(parts)} of {len(self.configs)} runs failed: {'; '.join(parts)}" * bool(parts)

    def read(self, *others: pd.DataFrame) -> pd.DataFrame:
        """All runs that a page reads, each once: of the grid, of the pool, and `others`."""
        return together(self.runs, self.pool, *others)

    def summary(self, *others: pd.DataFrame, why: str = "the spread between seeds"):
        """What is shown, how much of it is recorded, and what the profile is good for: a list.

        A line says how many runs the page reads beside its grid, the pool and `others`, and `why`.
        """
        purpose = f"Profile {self.profile} is {PURPOSE[self.profile]}"
        more = len(self.read(*others)) - len(self.runs)
        beside = f"{more} recorded runs of other grids are read too, for {why}" * bool(more)
        return show_list(self.source(), self.coverage(), beside, self.failed(), purpose)


def collect_records(
    figure: str,
    *,
    profile: str = "auto",
    models: Sequence[str] | None = None,
    ratios: Sequence[str] | None = None,
    sparsities: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    train_missing: bool | None = None,
    device: str = "auto",
) -> Records:
    """The records of a figure for the parameters of its chapter (see `grids.grid`).

    A single value stands for a list of one. What is missing is trained where `train_missing` says
    so, None meaning on `digits` only. Raises ValueError for names and values that are not known.
    """
    lists = {"models": models, "ratios": ratios, "sparsities": sparsities, "seeds": seeds}
    lists, default = grid_parameters(lists, profile, train_missing, device)
    profile = resolve_profile(profile, figure)
    variant = shown_variant(figure, profile)
    configs = grids.grid(figure, profile, variant=variant, **lists)
    runs = collect(configs, train_missing=train_missing, device=device)
    pool = pool_runs(profile, variant, configs[0].dataset)
    return Records(figure, profile, configs, runs, default, pool)


def by_setting(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs whose `ratio` is the whole setting, for the functions that tell cells by the ratio."""
    return runs.assign(ratio=runs.setting) if len(runs) else runs


def one_record(
    config: RunConfig, *, train_missing: bool | None = None, device: str = "auto"
) -> dict | None:
    """The record of one run, trained where `train_missing` says so (None: on `digits` only)."""
    is_default(train_missing, device)
    if train_missing is None:
        train_missing = config.dataset == "digits"
    try:
        return load_or_train(config, device=device, train_missing=train_missing, progress=False)
    except MissingRecord:
        return None


PARAMETERS = ("profile", "models", "ratios", "sparsities", "seeds", "train_missing", "device")
"""The parameters of a chapter, in the order of its cell; chapter 14 has the last one only."""


def grid_parameters(
    lists: Mapping[str, object], profile: object, train_missing: object, device: object
) -> tuple[dict[str, list | None], bool]:
    """The parameters of a chapter that are lists, as lists, and whether all have their default.

    Raises ValueError for a value of a wrong kind, as `is_default` does.
    """
    default = is_default(profile, *lists.values(), train_missing, device)
    return {name: as_list(name, value) for name, value in lists.items()}, default


def as_list(name: str, value: object) -> list | None:
    """A parameter as a list: None stays None, one value becomes a list.

    Raises ValueError for an empty list and for values that `name` cannot have, with the form to
    write: papermill gives a list on its command line, and all that it cannot read, as a string.
    """
    if value is None:
        return None
    if isinstance(value, (Mapping, Set, bytes, bytearray)):
        raise _wrong(name, value)
    if isinstance(value, str) or not isinstance(value, Iterable):
        values = [value]
    elif not (values := list(value)):
        raise ValueError(f"{name} is empty: give at least one value, or None for the figure's own")
    fits, _ = _FORMS[name]
    if not all(fits(each) for each in values):
        raise _wrong(name, value)
    return [str(each) if isinstance(each, np.str_) else plain(each) for each in values]


def is_default(*parameters: object) -> bool:
    """Whether the parameters of a chapter are its defaults, which are all None or `auto`.

    They are the last of `PARAMETERS`. Raises ValueError for a value of a wrong kind.
    """
    for name, value in zip(PARAMETERS[-len(parameters) :], parameters, strict=True):
        if name in _LISTS:
            as_list(name, value)
        elif not _FORMS[name][0](value):
            raise _wrong(name, value)
    return all(value is None or value == "auto" for value in parameters)


_LISTS = PARAMETERS[1:5]
_NO_NAME = re.compile(r"none|null|true|false|.*[\s,\[\](){}'\"].*|", re.IGNORECASE | re.DOTALL)
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def _is_name(value: object) -> bool:
    """Whether it may be a name; which names are known is looked at where they are used."""
    return isinstance(value, str) and not _NO_NAME.fullmatch(value)


def _is_number(value: object, kind: type, end: float) -> bool:
    """Whether it is a number of a kind in [0, end); True and False are none."""
    flag = isinstance(value, (bool, np.bool_))
    return isinstance(value, kind) and not flag and 0 <= value < end


_FORMS = {
    "profile": (_is_name, f"one of auto, {', '.join(PROFILES)}"),
    "models": (_is_name, "a name or a list of names, such as [resnet-8, resnet-14], or None"),
    "ratios": (_is_name, "a name or a list of names, such as [dense, erk], or None"),
    "sparsities": (
        lambda value: _is_number(value, numbers.Real, 1),
        "a number in [0, 1) or a list of them, such as [0.8, 0.9], or None",
    ),
    "seeds": (
        lambda value: _is_number(value, numbers.Integral, 2**32),
        "a whole number in [0, 2**32) or a list of them, such as [0, 1], or None",
    ),
    "train_missing": (
        lambda value: value is None or isinstance(value, bool),
        "True, False or None",
    ),
    "device": (
        lambda value: isinstance(value, str) and _DEVICE.fullmatch(value) is not None,
        "auto, cpu or cuda",
    ),
}
"""Which values, or which elements of a list, a parameter may have: whether one is, and in words."""


def _wrong(name: str, value: object) -> ValueError:
    """What is said of a value of a wrong kind, in one line."""
    shown = " ".join(repr(value).split())
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    hint = f" (papermill reads lists with -y: -y '{name}: [...]')" if name in _LISTS else ""
    return ValueError(f"{name} is {shown}: write {_FORMS[name][1]}{hint}")


def cell_labels(cells: pd.DataFrame) -> list[str]:
    """Cells of one model in words, a ratio with all its sparsities: `ERK 0.8 and 0.9`."""
    labels = []
    for ratio, part in cells.groupby("ratio", sort=False):
        levels = listing(f"{sparsity:g}" for sparsity in part.sparsity)
        labels.append(LABELS[ratio] if ratio == "dense" else f"{LABELS[ratio]} {levels}")
    return labels
