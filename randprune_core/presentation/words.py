"""How names and numbers are written, the same in every text, table and figure."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, isnan

from ..config import RunConfig
from ..datasets import DATASETS


class _Labels(dict):
    def __missing__(self, name: str) -> str:
        return name


DATA_LABELS = _Labels({name: facts.label for name, facts in DATASETS.items()})
"""Data sets as the text names them, registered ones by their name."""


def data_label(config: RunConfig) -> str:
    """The data of a run as the text names it, with size and copy where they are not the usual."""
    name = DATA_LABELS[config.dataset]
    if config.image_size and config.dataset in DATASETS:
        name += f" at {config.image_size}\u00a0×\u00a0{config.image_size}\u00a0pixels"
    plain = config.variant == "original" or config.dataset not in DATASETS
    return name if plain else f"{name}, copy {config.variant}"


def model_label(name: str) -> str:
    """A model's name as the text writes it: `resnet-20-8` becomes ResNet-20-8."""
    known = {"resnet50": "ResNet-50", "wide_resnet50_2": "Wide ResNet-50-2"}
    return known.get(name) or name.replace("resnet", "ResNet").replace("vgg", "VGG")


def commit_label(commit: str | None, dirty: bool | None) -> str:
    """A commit as tables have it; a plus marks uncommitted changes."""
    return (commit or "unknown")[:12] + ("+" if dirty is True else "")


def processor_label(name: str) -> str:
    """A processor or GPU as tables have it, without the marks of its maker: `Intel Xeon`."""
    words = name.replace("(R)", "").replace("(TM)", "").split()
    return " ".join(word for word in words if word not in ("CPU", "Processor")) or name


def listing(words: Iterable[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = [str(word) for word in words]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def plus_minus(
    value: float, low: float | None = None, high: float | None = None, digits: int = 1
) -> str:
    """A value with half of the width of its interval, `62.5 ± 0.5`, not to be broken into lines.

    Where the interval is NaN the value rests on one seed, and ○ stands after it. A value alone is
    one that has no interval to show. A value that is NaN is a dash.
    """
    if isnan(value):
        return "–"
    if low is None or high is None:
        return number(value, digits)
    reach = "○" if isnan(low) else f"± {(high - low) / 2:.{digits}f}"
    return f"{number(value, digits)}\u00a0{reach}".replace("± ", "±\u00a0")


def at_most(value: float, digits: int = 0) -> str:
    """A bound that the values do not exceed: rounded up, so that the rounded number is one too."""
    step = 10.0**-digits
    return number(value if isnan(value) else step * ceil(round(value / step, 6)), digits)


def number(value: float, digits: int | None = None) -> str:
    """A number with a true minus sign, and none before a zero; a dash for NaN.

    With as many decimal places as `digits`, or as few as it needs.
    """
    if isnan(value):
        return "–"
    text = f"{value:g}" if digits is None else f"{round(value, digits) + 0.0:.{digits}f}"
    return text.replace("-", "−")
