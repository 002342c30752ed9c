"""How figures and text look: colours, markers and names of the ratios, sizes, numbers in words."""

from collections.abc import Iterable

WIDTH = 6.6
"""Inches; at a text column of 620 to 740 pixels a text of 9 points is 12 to 14 pixels high."""

# Okabe and Ito's palette: told apart with every kind of colour vision, and on a grey print. Keys
# are what `config.setting` gives. A ratio has one colour everywhere; markers tell the rest apart.
COLOURS = {
    "dense": "#222222",
    "uniform": "#E69F00",
    "uniform_plus": "#D55E00",
    "erk": "#0072B2",
    "erk_plus": "#56B4E9",
    "snip": "#009E73",
    "grasp": "#CC79A7",
    "snip:own": "#009E73",
    "grasp:own": "#CC79A7",
    "uniform:filter": "#0072B2",
    "uniform:2:4": "#009E73",
    "uniform:4:8": "#CC79A7",
    "erk:set": "#009E73",
    "erk:rigl": "#CC79A7",
    "erk:during": "#E69F00",
    "erk:after": "#D55E00",
}
MARKERS = {
    "dense": "",
    "uniform": "s",
    "uniform_plus": "D",
    "erk": "o",
    "erk_plus": "P",
    "snip": "^",
    "grasp": "v",
    "snip:own": "2",
    "grasp:own": "1",
    "uniform:filter": "X",
    "uniform:2:4": "<",
    "uniform:4:8": ">",
    "erk:set": "p",
    "erk:rigl": "h",
    "erk:during": "d",
    "erk:after": "X",
}
LABELS = {
    "dense": "dense",
    "uniform": "Uniform",
    "uniform_plus": "Uniform+",
    "erk": "ERK",
    "erk_plus": "ERK+",
    "snip": "SNIP ratio",
    "grasp": "GraSP ratio",
    "snip:own": "SNIP mask",
    "grasp:own": "GraSP mask",
    "uniform:filter": "filters",
    "uniform:2:4": "2:4",
    "uniform:4:8": "4:8",
    "erk:set": "SET",
    "erk:rigl": "RigL",
    "erk:during": "during training",
    "erk:after": "after training",
}


def use_theme() -> None:
    """Set the book's theme: light background for either mode of the page, 9-point text."""
    import seaborn as sns  # here, because it takes seconds and the names above are wanted without

    sizes = {"font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 9}
    sizes |= {"xtick.labelsize": 9, "ytick.labelsize": 9, "figure.titlesize": 10}
    lines = {"lines.linewidth": 1.6, "lines.markersize": 6, "axes.linewidth": 0.8}
    paper = {"figure.facecolor": "white", "savefig.facecolor": "white", "figure.dpi": 160}
    ink = {"grid.color": "#DDDDDD", "axes.edgecolor": "#777777", "font.family": "DejaVu Sans"}
    sns.set_theme(context="paper", style="whitegrid", rc=sizes | lines | paper | ink)


def model_label(name: str) -> str:
    """A model's name as the text writes it: `resnet-20-8` becomes ResNet-20-8."""
    known = {"resnet50": "ResNet-50", "wide_resnet50_2": "Wide ResNet-50-2"}
    return known.get(name) or name.replace("resnet", "ResNet").replace("vgg", "VGG")


def listing(words: Iterable[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = [str(word) for word in words]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def number(value: float, digits: int) -> str:
    """A number with a true minus sign, and none before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")
