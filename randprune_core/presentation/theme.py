"""How every figure looks: the colour, marker and name of each ratio, sizes, background."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..config import RATIOS

WIDTH = 6.6
"""Inches; at a text column of 620 to 740 pixels a text of 9 points is 12 to 14 pixels high."""
FONT = "DejaVu Sans"
"""What texts are measured with: the page that shows a figure needs it too."""


@dataclass(frozen=True)
class Look:
    """How a setting is named and drawn, everywhere."""

    label: str
    colour: str
    marker: str


# Okabe and Ito's palette: told apart with every kind of colour vision, and on a grey print. Keys
# are what `config.setting` gives. A ratio has one colour everywhere, also where whole filters or
# blocks are pruned, and no other thing has it: the times of pruning have colours of their own.
LOOKS = {
    "dense": Look("dense", "#222222", ""),
    "uniform": Look("Uniform", "#E69F00", "s"),
    "uniform_plus": Look("Uniform+", "#D55E00", "D"),
    "erk": Look("ERK", "#0072B2", "o"),
    "erk_plus": Look("ERK+", "#56B4E9", "P"),
    "snip": Look("SNIP ratio", "#009E73", "^"),
    "grasp": Look("GraSP ratio", "#CC79A7", "v"),
    "snip:own": Look("SNIP mask", "#009E73", "p"),
    "grasp:own": Look("GraSP mask", "#CC79A7", "H"),
    "uniform:filter": Look("filters", "#E69F00", "X"),
    "uniform:2:4": Look("2:4", "#E69F00", "<"),
    "uniform:4:8": Look("4:8", "#E69F00", ">"),
    "erk:set": Look("SET", "#6E6E6E", "p"),
    "erk:rigl": Look("RigL", "#4B1D7A", "h"),
    "erk:during": Look("during training", "#A68A3D", "d"),
    "erk:after": Look("after training", "#6B3A00", "X"),
}

_OTHER_COLOURS = ("#B5179E", "#A50F15", "#4E6B00", "#00A6A6", "#7B3294", "#5C5C8A")
_OTHER_MARKERS = ("8", "H", ">", "<", "d", "X")


class _Looks(dict):
    """One part of the looks by setting; a registered ratio gets the next look that is free."""

    def __init__(self, part: str):
        super().__init__({setting: getattr(look, part) for setting, look in LOOKS.items()})
        self._part = part

    def __missing__(self, setting: str) -> str:
        ratio, colon, other = setting.partition(":")
        if ratio not in RATIOS:
            _ARRIVED.setdefault(ratio, len(_ARRIVED))
        elif not colon:
            raise KeyError(setting)
        if self._part == "label":
            return f"{LOOKS[ratio].label if ratio in LOOKS else ratio} {other}".strip()
        place = _ARRIVED.get(ratio, 0)
        if self._part == "colour":
            known = LOOKS[ratio].colour if ratio in LOOKS else None
            return known or _OTHER_COLOURS[place % len(_OTHER_COLOURS)]
        return _OTHER_MARKERS[place % len(_OTHER_MARKERS)]


_ARRIVED: dict[str, int] = {}
LABELS, COLOURS, MARKERS = _Looks("label"), _Looks("colour"), _Looks("marker")


def in_order(settings: Iterable[str]) -> list[str]:
    """Each setting once, in the order of every figure: those of `LOOKS`, then others by name."""
    given = set(settings)
    return [name for name in LOOKS if name in given] + sorted(given - set(LOOKS))


def shade(setting: str, sparsity: float, sparsities: Iterable[float]) -> tuple[float, ...]:
    """The colour of a setting at one of its sparsities: the fewer zeros, the paler."""
    from matplotlib.colors import to_rgb  # names are read where nothing is drawn

    drawn = sorted(set(sparsities), reverse=True)
    pale = 0.7 * drawn.index(sparsity) / len(drawn)
    return tuple(part + pale * (1 - part) for part in to_rgb(COLOURS[setting]))


def place(setting: str) -> int:
    """The place of a setting in the order of `LOOKS`; below zero for one that is not there."""
    if setting in LOOKS:
        return list(LOOKS).index(setting)
    return -1 - _ARRIVED.setdefault(setting.partition(":")[0], len(_ARRIVED))


def use_theme() -> None:
    """Set the book's theme: white ground, which `vector` leaves out in a page, 9-point text."""
    import seaborn as sns  # here, because it takes seconds and the names above are wanted without

    sizes = {"font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 9}
    sizes |= {"xtick.labelsize": 9, "ytick.labelsize": 9, "figure.titlesize": 9}
    lines = {"lines.linewidth": 1.6, "lines.markersize": 6, "axes.linewidth": 0.8}
    paper = {"figure.facecolor": "white", "savefig.facecolor": "white", "figure.dpi": 160}
    ink = {"grid.color": "#DDDDDD", "axes.edgecolor": "#777777", "font.family": FONT}
    ink |= {"axes.formatter.min_exponent": 4}  # 100, and no power of ten
    sns.set_theme(context="paper", style="whitegrid", rc=sizes | lines | paper | ink)
