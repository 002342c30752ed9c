"""Other data and other networks: what CIFAR-100 and VGG add, what is recorded, what is missing.

The chapter has two grids, `vgg` and `cifar100`. Their runs stand in one frame with the data set in
the name of the network, since a network on one data set is no network on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from ..analysis.cells import summarise
from ..presentation.words import DATA_LABELS, listing, model_label
from .shared.records import Records, by_setting, collect_records
from .shared.tables import show_list


def collect(**parameters) -> list[Records]:
    """The records of both grids at one profile, for the parameters of the chapter.

    `auto` is what it is for `vgg`; where both grids are on one data set (`quick`) it is one grid.
    Raises ValueError for names and values that are not known (`records.collect_records`).
    """
    vgg = collect_records("vgg", **parameters)
    other = collect_records("cifar100", **parameters | {"profile": vgg.profile})
    return [vgg] if dataset(vgg) == dataset(other) else [vgg, other]


def dataset(part: Records) -> str:
    """The data set of a grid, as the text names it."""
    return DATA_LABELS[part.configs[0].dataset]


def summary(parts: Sequence[Records]):
    """What is recorded and what is missing on each data set, as a list.

    Of a data set without a run nothing is said that depends on the copy of it that is at hand.
    """
    lines = []
    for part in parts:
        if len(part.runs):
            lines += [part.source(), part.coverage()]
        else:
            networks = listing(dict.fromkeys(model_label(c.model) for c in part.configs))
            lines.append(
                f"{dataset(part)}: none of {len(part.cells())} cells is recorded ({networks})"
            )
        lines.append(part.failed())
    return show_list(*lines)


def together(parts: Iterable[Records]) -> pd.DataFrame:
    """The runs of all grids; `model` becomes `vgg-16, CIFAR-100`."""
    runs = [by_setting(part.runs) for part in parts]
    named = [r.assign(model=r.model + ", " + r.dataset.map(DATA_LABELS)) for r in runs if len(r)]
    return pd.concat(named, ignore_index=True) if named else runs[0]


def points(parts: Iterable[Records], how: Callable = summarise) -> pd.DataFrame:
    """`cells.summarise`, or `how`, of each grid by itself: the spread is that of one data set."""
    found = {dataset(p): how(by_setting(p.runs), pool=p.pool) for p in parts}
    frames = [table.assign(model=table.model + f", {name}") for name, table in found.items()]
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def figure_table(parts: Sequence[Records]) -> pd.DataFrame:
    """The numbers of the figures: a row a cell, `recorded` runs, and accuracy where there are.

    Columns `model` (with its data set), `ratio, sparsity, recorded, wanted`, and in percent
    `mean, low, high`.
    """
    cells = pd.concat(
        part.cells().assign(model=lambda c, p=part: c.model + ", " + dataset(p)) for part in parts
    )
    means = points(parts)
    keys = ["model", "ratio", "sparsity"]
    return cells.merge(means[[*keys, "mean", "low", "high"]], how="left", on=keys)
