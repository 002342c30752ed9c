"""A part of a claim with what the runs say of it: effect, intervals, verdict and reason.

Parts are made in `claims` only. Whatever shows a verdict shows one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..presentation.words import number
from . import intervals
from .decisions import CONFIDENCE
from .intervals import Estimate

COLUMNS = ["claim", "part", "verdict", "effect", "low", "high", "runs", "threshold", "unit"]
COLUMNS += ["kind", "why", "own_low", "own_high", "seeds", "needed", "images_error"]
"""Columns of a table of parts (`Part.row`)."""
NOTHING = Estimate(math.nan, math.nan, math.nan, 0)
_DIGITS = {"ECE": 4, "AUROC": 4}
_USUAL_DIGITS, _MOST_DIGITS = 2, 6
_PLACES = {"supported": "above", "contradicted": "below"}


def digits(unit: str, threshold: float = 0.0, limits: Iterable[float] = ()) -> int:
    """Decimal places that an effect is written with.

    They are those of its unit, and more where a limit of its interval would be written as the
    threshold without being there: on which side of it a limit lies decides.
    """
    found, apart = _DIGITS.get(unit, _USUAL_DIGITS), [x for x in limits if x != threshold]
    while found < _MOST_DIGITS and any(round(x, found) == round(threshold, found) for x in apart):
        found += 1
    return found


@dataclass(frozen=True)
class Part:
    """One part of a claim; `lacking` says why it cannot be decided, whatever the estimate.

    `estimate` has the pooled spread, `own` that of its own cells; it is None for a rank
    correlation, which has one interval. `unit` is that of both and of the threshold. `compared`
    begins the sentence that the effect ends. `seeds` is the look that the numbers are from, 0
    before the first; `needed` how many seeds a cell would decide, if the effect stays what it is;
    `images_error` a standard error from the finite test set, which is in no interval.
    """

    claim: int
    part: str
    unit: str = ""
    compared: str = ""
    estimate: Estimate = NOTHING
    own: Estimate | None = None
    threshold: float = 0.0
    runs: frozenset[str] = field(default_factory=frozenset)
    seeds: int = 0
    needed: int | None = None
    images_error: float = math.nan
    lacking: str = ""
    kind: str = "measured"

    @property
    def verdict(self) -> str:
        """`supported` or `contradicted` where all intervals say so, else `undecided`.

        What is only cited is `out of reach`.
        """
        if self.kind == "cited":
            return "out of reach"
        found = {intervals.decide(*limits, self.threshold) for limits in self._limits()}
        return "undecided" if self.lacking or len(found) > 1 else found.pop()

    @property
    def digits(self) -> int:
        """Decimal places that the effect and its limits are written with."""
        return digits(self.unit, self.threshold, [x for limits in self._limits() for x in limits])

    def _limits(self) -> list[tuple[float, float]]:
        return [found[1:3] for found in (self.estimate, self.own) if found is not None]

    @property
    def why(self) -> str:
        """One sentence or two: what was compared, and why the verdict is what it is."""
        if math.isnan(self.estimate.value):
            return f"{self.lacking[:1].upper()}{self.lacking[1:]}."
        unit = "" if self.unit in _DIGITS else self.unit  # named in words before
        text = f"{self.compared} {number(self.estimate.value, self.digits)} {unit}".rstrip()
        if not math.isnan(self.estimate.low):
            text += f" ({self._intervals()})"
        if self.lacking:
            return f"{text}, but {self.lacking}."
        if math.isnan(self.estimate.low):
            return f"{text}, but so little decides nothing."
        return f"{text}; {self._reading()}.{self._images()}"

    def _images(self) -> str:
        if math.isnan(self.images_error):
            return ""
        error = number(self.images_error, self.digits)
        return f" Beside the intervals stands a standard error of {error} at most from the images."

    def _intervals(self) -> str:
        pooled, *own = (" to ".join(number(x, self.digits) for x in y) for y in self._limits())
        beside = f"; with the spread of these cells alone {own[0]}" if own else ""
        return f"{100 * CONFIDENCE:g} % interval {pooled}{beside}"

    def _reading(self) -> str:
        bound = number(self.threshold, 3).rstrip("0") if self.threshold else "zero"
        both = "both intervals" if self.own else "the interval"
        ending = "" if self.own else "s"
        if self.verdict in _PLACES:
            return f"{both} lie{ending} {_PLACES[self.verdict]} {bound}"
        words = {intervals.decide(*limits, self.threshold) for limits in self._limits()}
        text = f"{both} contain{ending} {bound}"
        if len(words) > 1:
            text = f"of the two intervals one contains {bound}"
        if self.needed:
            text += f", and with this effect {self.needed} seeds would decide"
        return text

    def row(self) -> dict:
        """The part as a row of a table, with the columns `COLUMNS`."""
        value, low, high, _ = self.estimate
        own = self.own or NOTHING
        numbers = {"effect": value, "low": low, "high": high, "runs": len(self.runs)}
        numbers |= {"own_low": own.low, "own_high": own.high, "needed": self.needed or math.nan}
        return {name: numbers.get(name, getattr(self, name, None)) for name in COLUMNS}


def named(parts: Iterable[Part], *names: str) -> list[Part]:
    """The parts of these names, in this order.

    A name that no part has, as in a profile that decides less, gives a part without an estimate,
    which is undecided.
    """
    found = {part.part: part for part in parts}
    return [found.get(name, Part(0, name)) for name in names]
