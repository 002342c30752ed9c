"""How every figure looks: the colour, marker and name of each ratio, sizes, background."""

from dataclasses import dataclass

WIDTH = 6.6
"""Inches; at a text column of 620 to 740 pixels a text of 9 points is 12 to 14 pixels high."""


@dataclass(frozen=True)
class Look:
    """How a setting is named and drawn, everywhere."""

    label: str
    colour: str
    marker: str


# Okabe and Ito's palette: told apart with every kind of colour vision, and on a grey print. Keys
# are what `config.setting` gives. A ratio has one colour everywhere; markers tell the rest apart.
LOOKS = {
    "dense": Look("dense", "#222222", ""),
    "uniform": Look("Uniform", "#E69F00", "s"),
    "uniform_plus": Look("Uniform+", "#D55E00", "D"),
    "erk": Look("ERK", "#0072B2", "o"),
    "erk_plus": Look("ERK+", "#56B4E9", "P"),
    "snip": Look("SNIP ratio", "#009E73", "^"),
    "grasp": Look("GraSP ratio", "#CC79A7", "v"),
    "snip:own": Look("SNIP mask", "#009E73", "2"),
    "grasp:own": Look("GraSP mask", "#CC79A7", "1"),
    "uniform:filter": Look("filters", "#0072B2", "X"),
    "uniform:2:4": Look("2:4", "#009E73", "<"),
    "uniform:4:8": Look("4:8", "#CC79A7", ">"),
    "erk:set": Look("SET", "#009E73", "p"),
    "erk:rigl": Look("RigL", "#CC79A7", "h"),
    "erk:during": Look("during training", "#E69F00", "d"),
    "erk:after": Look("after training", "#D55E00", "X"),
}

LABELS = {setting: look.label for setting, look in LOOKS.items()}
COLOURS = {setting: look.colour for setting, look in LOOKS.items()}
MARKERS = {setting: look.marker for setting, look in LOOKS.items()}
EDGE_ONLY = ("1", "2")
"""Markers without an inside: they have the colour of the line at their edge."""


def use_theme() -> None:
    """Set the book's theme: light background for either mode of the page, 9-point text."""
    import seaborn as sns  # here, because it takes seconds and the names above are wanted without

    sizes = {"font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 9}
    sizes |= {"xtick.labelsize": 9, "ytick.labelsize": 9, "figure.titlesize": 10}
    lines = {"lines.linewidth": 1.6, "lines.markersize": 6, "axes.linewidth": 0.8}
    paper = {"figure.facecolor": "white", "savefig.facecolor": "white", "figure.dpi": 160}
    ink = {"grid.color": "#DDDDDD", "axes.edgecolor": "#777777", "font.family": "DejaVu Sans"}
    sns.set_theme(context="paper", style="whitegrid", rc=sizes | lines | paper | ink)
