"""Sentences that a person typed, each with its numbers and what must hold for it to be true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .tables import show_text


class Statement(NamedTuple):
    """A typed sentence: the numbers that it names (NaN for one without a record), whether it holds.

    `lacking` is the sentence that stands in its place while one of its numbers is not recorded.
    """

    text: str
    numbers: Sequence[float]
    holds: bool
    lacking: str = ""

    @property
    def recorded(self) -> bool:
        return not any(math.isnan(number) for number in self.numbers)


def show_statements(*statements: Statement, default: bool):
    """The sentences as one paragraph.

    With the default parameters of a chapter (`default`), one that does not hold is a ValueError
    that names it; otherwise it is shown as one that these runs contradict.
    """
    shown = []
    for each in statements:
        if not each.recorded:
            shown.append(each.lacking)
        elif each.holds:
            shown.append(each.text)
        elif default:
            raise ValueError(f"the records no longer say so, rewrite the sentence: {each.text}")
        else:
            shown.append(f"**These runs do not say that:** {each.text}")
    return show_text(*shown)
