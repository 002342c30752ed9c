"""A part of a claim as data: which cell means enter it, and with which weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..config import parse_model_name

Cell = tuple[str, str, float]
"""Network, setting (`config.setting`) and sparsity; what differs within a cell are the seeds."""


@dataclass(frozen=True)
class Decision:
    """One part of a claim in one profile.

    `metric` is a column of the runs, in `unit` times `scale`. `take` says what is made of the cell
    means: `mean` over the `networks` of `first` minus `second` (each the mean over its settings);
    `fall with depth` or `fall with width`, by how much that difference falls per doubling of the
    size, by least squares on log2 of the size, each network counting alike; or a rank correlation
    over `listed`. `note` says what the part cannot see.
    """

    profile: str
    claim: int
    part: str
    metric: str
    unit: str
    networks: tuple[str, ...]
    sparsity: float | None = None
    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    take: str = "mean"
    threshold: float = 0.0
    looks: tuple[int, ...] = (3, 5)
    scale: float = 1.0
    listed: tuple[Cell, ...] = ()
    note: str = ""

    def weights(self) -> dict[Cell, float]:
        """The contrast: the weight of each cell mean; {} for a rank correlation."""
        if self.listed:
            return {}
        shares = [1 / len(self.networks)] * len(self.networks)
        if self.take != "mean":
            shares = fall([size(network, self.take.split()[-1]) for network in self.networks])
        found: dict[Cell, float] = {}
        for network, share in zip(self.networks, shares, strict=True):
            for side, sign in ((self.first, 1), (self.second, -1)):
                for name in side:
                    found[cell(network, name, self.sparsity)] = sign * share / len(side)
        return found

    def cells(self) -> tuple[Cell, ...]:
        """Every cell that the part rests on."""
        if not self.listed:
            return tuple(self.weights())
        dense = dict.fromkeys(cell(network, "dense") for network, _, _ in self.listed)
        return (*self.listed, *dense)


def cell(network: str, name: str, sparsity: float = 0.0) -> Cell:
    """The cell of a setting in a network; that of the dense network has sparsity 0."""
    return network, name, 0.0 if name == "dense" else sparsity


def fall(sizes: Iterable[float]) -> list[float]:
    """The weight of each network in what falls per doubling of the size.

    By least squares on log2 of the sizes, each network counting alike; zero for a single one.
    """
    logs = [math.log2(each) for each in sizes]
    around = [x - sum(logs) / len(logs) for x in logs]
    squares = sum(y * y for y in around)
    return [-x / squares if squares else 0.0 for x in around]


def size(network: str, family: str) -> int:
    """Depth or width (filters of the first convolution) of a ResNet."""
    _, depth, width = parse_model_name(network)
    return depth if family == "depth" else width
