"""The book on one page, as a PDF, and in one picture, which is shown where a link is shared.

Both are drawn from the records: the gap to the dense network by the functions of chapters 01 and
02, the verdicts by those of chapter 11. Neither holds a date, so that equal records give equal
files.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from ..analysis import cells, claims, published
from ..analysis.decisions import DECISIONS
from ..analysis.intervals import VERDICTS
from ..chapters import scorecard
from ..chapters.shared import verdicts
from ..chapters.shared.records import Records
from ..config import RunConfig, image_side, parse_model_name
from ..presentation.theme import COLOURS, use_theme
from ..presentation.words import model_label, plus_minus
from ..sweeps.profiles import PROFILES
from .boxes import chapter_records
from .repository import Repository

PDF, CARD = "random-pruning.pdf", "social-card.png"
"""Names of the two files, in `results/` and in `book/_static/` of the staging folder."""
TITLE = "Random pruning before training"
_PAPER = "https://arxiv.org/abs/2202.02643"
_CLAIM = (
    "Set a random part of a network's weights to zero before it is trained, and train the rest. "
    "Liu et al. (ICLR 2022) report that this costs less accuracy the larger the network is, once "
    "each layer gets a suitable share of the zeros, as the rule ERK gives it. This companion "
    "repeats their experiments in miniature and puts ten of their claims to the test."
)
_COMMANDS = (
    ("make book", "build the book from the recorded runs"),
    ("make notebook NAME=01_depth", "draw one chapter anew from the records"),
    ('make notebook NAME=01_depth ARGS="-p profile quick"', "train small networks for it"),
)
_LEVELS = {0.5: ("s", (0, (3, 2))), 0.9: ("o", "-")}  # sparsity: marker, line
_SIZE = (8.27, 11.69)  # inches of an A4 page
_MARGIN = 0.55  # inches
_HEIGHTS = (2.3, 1.9, 1.5, 1.3)  # of the panels, inches


@dataclass(frozen=True)
class Numbers:
    """What the page and the picture show: runs on depth and on width, and a row a claim."""

    depth: Records
    width: Records
    verdicts: pd.DataFrame  # as of `claims.verdicts`
    parts: pd.DataFrame  # as of `claims.parts`
    sentence: str  # how many claims have which verdict


def collect() -> Numbers:
    """The numbers from the records, at the profile that the chapters show; trains nothing."""
    judged = scorecard.collect(train_missing=False)
    judgement = verdicts.of(judged)
    found = claims.verdicts(judgement)
    shown = (chapter_records(name)[0] for name in ("01_depth", "02_width"))
    counts = (int((found.verdict == word).sum()) or "none" for word in VERDICTS)
    supported, contradicted, undecided, out = counts
    sentence = (
        f"Of the paper's {len(found)} claims the records of this book support {supported}, "
        f"contradict {contradicted} and leave {undecided} undecided; {out} is out of reach."
    )
    return Numbers(*shown, found, claims.parts(judgement), sentence)


# ---------------------------------------------------------------- the figure


def _draw_gaps(axes: tuple[Axes, Axes], numbers: Numbers, size: float) -> None:
    """Dense minus ERK against depth and against width, on doubling axes; the paper's are hollow."""
    axes[1].sharey(axes[0])
    theirs = published.gap_to_dense(published.figure1())
    labels = ("Depth of the ResNet (layers)", "Width of ResNet-20 (filters of its first layer)")
    sides = zip(axes, (numbers.depth, numbers.width), labels, strict=True)
    for place, (axis, records, label) in enumerate(sides):
        if place == 0:
            _draw(axis, theirs, place, hollow=True)
        _draw(axis, cells.gap_to_dense(records.runs, pool=records.pool), place)
        axis.axhline(0, color=COLOURS["dense"], linewidth=1)
        axis.set_xscale("log", base=2)
        ticks = sorted({tick for line in axis.lines[:-1] for tick in line.get_xdata()})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=size)
        axis.set_xticks([], minor=True)
        axis.tick_params(axis="y", labelsize=size)
        axis.set_xlabel(label, fontsize=size)
    axes[0].set_ylabel("Dense minus ERK (points)", fontsize=size)


def _draw(axis: Axes, gaps: pd.DataFrame, part: int, hollow: bool = False) -> None:
    colour = "#777777" if hollow else COLOURS["erk"]
    for sparsity, (marker, line) in _LEVELS.items():
        shown = gaps[(gaps.ratio == "erk") & (gaps.sparsity == sparsity)]
        sizes = [parse_model_name(model)[1 + part] for model in shown.model]
        known = shown.low.notna().to_numpy() & (not hollow)
        look = {"color": colour, "marker": marker, "linestyle": line, "linewidth": 1.4}
        axis.plot(sizes, shown.gap, **look, markersize=5, markerfacecolor="white", zorder=3)
        filled = {"color": colour, "marker": marker, "linestyle": "", "zorder": 3}
        axis.plot(np.asarray(sizes)[known], shown.gap[known], **filled, markersize=5)
        if known.any():
            reach = np.stack([shown.gap - shown.low, shown.high - shown.gap])[:, known]
            x, y = np.asarray(sizes)[known], shown.gap[known]
            axis.errorbar(x, y, yerr=reach, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2)


def _key(figure: Figure, size: float, **place) -> None:
    entries = {"this book": (COLOURS["erk"], True), "the paper": ("#777777", False)}
    handles = []
    for name, (colour, filled) in entries.items():
        for sparsity, (marker, line) in _LEVELS.items():
            look = {"color": colour, "marker": marker, "linestyle": line, "markersize": 5}
            look |= {"markerfacecolor": colour if filled else "white", "linewidth": 1.4}
            handles.append(Line2D([], [], label=f"{name}, sparsity {sparsity:g}", **look))
    figure.legend(
        handles=handles, ncols=4, columnspacing=1.2, frameon=False, fontsize=size, **place
    )


# ---------------------------------------------------------------- the page


def pdf(numbers: Numbers, home: Repository | None) -> bytes:
    """The page as a PDF with text that can be selected."""
    figure = page(numbers, home)
    about = {"Title": TITLE, "Subject": "A companion to arXiv:2202.02643", "CreationDate": None}
    with plt.rc_context({"pdf.fonttype": 42}):
        return _saved(figure, "pdf", about)


def page(numbers: Numbers, home: Repository | None) -> Figure:
    """The page: the claim, the gap against size, the verdicts, how to re-run it, how to cite it.

    The figure is as high as the rest leaves room for. Raises ValueError where it does not fit on
    one page with the lowest one.
    """
    use_theme()
    for height in _HEIGHTS:
        figure, end = _page(numbers, home, height)
        if end >= _MARGIN:
            return figure
        plt.close(figure)
    raise ValueError(f"the summary is {_MARGIN - end:.2f} inches longer than its page")


def _page(numbers: Numbers, home: Repository | None, height: float) -> tuple[Figure, float]:
    """The page with panels of some height, and where its text ends; inches from the bottom."""
    figure = plt.figure(figsize=_SIZE)
    y = _SIZE[1] - _MARGIN
    y = _text(figure, y, TITLE, 20, weight="bold")
    companion = "A reproducible companion to The Unreasonable Effectiveness of Random Pruning"
    y = _text(figure, y - 0.04, f"{companion}, arXiv:2202.02643", 9.5, color="#1259c3", url=_PAPER)
    y = _text(figure, y - 0.12, _CLAIM, 9)
    y = _text(figure, y - 0.08, _finding(numbers), 9, weight="bold")

    y -= 0.42  # the key, and room above the axes
    _key(figure, 7.5, loc="center", bbox_to_anchor=(0.5, (y + 0.2) / _SIZE[1]))
    spans = ((_MARGIN + 0.5, 2.9), (_MARGIN + 3.95, 2.9))
    axes = tuple(
        figure.add_axes(
            (x / _SIZE[0], (y - height) / _SIZE[1], width / _SIZE[0], height / _SIZE[1])
        )
        for x, width in spans
    )
    _draw_gaps(axes, numbers, 7.5)
    y = _text(
        figure, y - height - 0.46, f"{_source(numbers)} {_note(numbers)}", 7.5, color="#444444"
    )

    y = _text(figure, y - 0.14, numbers.sentence, 9, weight="bold")
    y = _table(figure, y - 0.06, numbers)

    y = _text(figure, y - 0.12, "Run it again", 10, weight="bold")
    where = "In a clone of the repository" + (f", {home.url}:" if home else ":")
    y = _text(figure, y, where, 8, url=home and home.url)
    for command, purpose in _COMMANDS:
        _text(figure, y, command, 7.5, family="DejaVu Sans Mono")
        y = _text(figure, y, purpose, 8, left=3.7)
    y = _text(figure, y - 0.1, "Cite", 10, weight="bold")
    y = _text(figure, y, f"The paper: {_CITED}", 8, url=_PAPER)
    y = _text(figure, y, f"This companion: {TITLE}{', ' + home.url if home else ''}.", 8)
    return figure, y


_CITED = (
    "S. Liu, T. Chen, X. Chen, L. Shen, D. C. Mocanu, Z. Wang and M. Pechenizkiy. The Unreasonable "
    "Effectiveness of Random Pruning: Return of the Most Naive Baseline for Sparse Training. "
    "International Conference on Learning Representations, 2022. arXiv:2202.02643."
)


def _finding(numbers: Numbers) -> str:
    """The gap of the smallest and of the largest network that a claim rests on, by depth and width.

    In a profile that decides nothing it is that of all networks.
    """
    found = []
    for claim, records in ((1, numbers.depth), (2, numbers.width)):
        rows = [row for row in DECISIONS if (row.claim, row.profile) == (claim, records.profile)]
        fixed = {model for row in rows for model in row.networks} or {*records.runs.model}
        runs = records.runs[records.runs.model.isin(fixed)]
        changes = cells.gap_change(runs, pool=records.pool)
        changes = changes[changes.ratio == "erk"]
        if changes.empty:
            return "No two networks have dense and ERK runs at one sparsity yet."
        last = changes.iloc[-1]
        ends = ((last.first_gap, last["first"]), (last.last_gap, last["last"]))
        both = (f"{plus_minus(gap)} in {model_label(model)}" for gap, model in ends)
        found.append(f"{' and '.join(both)} (sparsity {last.sparsity:g})")
    return f"Points of accuracy that ERK loses against the dense network: {'; '.join(found)}."


def _source(numbers: Numbers) -> str:
    both = {"left": numbers.depth.source(), "right": numbers.width.source()}
    if len(set(both.values())) == 1:
        return f"{both['left']}."
    return " ".join(f"{side.capitalize()}: {source}." for side, source in both.items())


def _note(numbers: Numbers) -> str:
    """What the looks mean, and how the paper's runs differ from those of the profile shown."""
    images = []
    for profile in ("paper", numbers.depth.profile):
        config = RunConfig(**PROFILES[profile])
        side = image_side(vars(config))
        images.append((f"{config.train_images:,}", f"{side} × {side}"))
    (theirs, their_side), (ours, our_side) = images
    return (
        f"Grey: the paper's Figure 1, read off; the paper trains on {theirs} images of "
        f"{their_side} pixels, this book on {ours} of {our_side}. Bars: 95 % intervals over seeds. "
        "Hollow: no spread over seeds is known, as of one seed."
    )


def _table(figure: Figure, y: float, numbers: Numbers) -> float:
    """The verdicts, a row a claim between thin lines; returns where it ends."""
    size, columns = 7, {"": 0.0, "claim": 0.25, "verdict": 3.3, "effect": 4.1}
    columns |= {"threshold": 6.2, "runs": 6.88}
    right = _SIZE[0] - 2 * _MARGIN
    ends = dict(zip(columns, [*list(columns.values())[1:], right], strict=True))
    heads = {name: name.capitalize() for name in columns} | {
        "effect": "Effect for the claim (part)"
    }
    rows = [heads, *scorecard.table(numbers.verdicts).to_dict("records")]
    for row in rows[1:]:
        part = f" ({row['part shown']})" if row["effect"] != "–" else ""
        more = claims.settled(numbers.parts, row[""])
        row["effect"] += part + (f"; {more}" if more else "")
    for number, row in enumerate(rows):
        bottom = y
        for name, left in columns.items():
            look = {"weight": "bold"} if row is heads or name == "verdict" else {}
            if name == "verdict" and row is not heads:
                look["color"] = scorecard.STYLES[row[name]][0]
            width = ends[name] - left - 0.12
            ended = _text(figure, y, str(row[name]), size, left=left, width=width, **look)
            bottom = min(bottom, ended)
        y = bottom - 0.03
        across = (_MARGIN / _SIZE[0], 1 - _MARGIN / _SIZE[0])
        look = {"color": "#777777" if number == 0 else "#DDDDDD", "linewidth": 0.8}
        figure.add_artist(Line2D(across, [(y + 0.01) / _SIZE[1]] * 2, **look))
        y -= 0.01
    return _text(figure, y, _INTERVALS, 7, color="#444444")


_INTERVALS = (
    "In brackets: the first of two 97.5 % intervals (of claim 10 the only one). Supported: both "
    "above the threshold; contradicted: both below."
)


def _text(
    figure: Figure,
    y: float,
    words: str,
    size: float,
    *,
    left: float = 0.0,
    width: float = _SIZE[0] - 2 * _MARGIN,
    **look,
) -> float:
    """Write a paragraph below `y` in lines of at most `width` inches; returns where it ends.

    `left` is counted from the margin. A line is never broken inside of a word.
    """
    font = (look.get("family", "DejaVu Sans"), look.get("weight", "normal"), size)
    lines, used = [""], 0.0
    for word in words.split():
        room = _width(f" {word}", *font)
        if lines[-1] and used + room > width:
            lines, used = [*lines, ""], 0.0
        lines[-1] = f"{lines[-1]} {word}".strip()
        used += room
    step = 1.28 * size / 72
    for line in lines:
        x, top = (_MARGIN + left) / _SIZE[0], y / _SIZE[1]
        style = {"fontsize": size, "va": "top", "parse_math": False, **look}
        figure.add_artist(Text(x, top, line, transform=figure.transFigure, **style))
        y -= step
    return y


@lru_cache(maxsize=1024)
def _width(words: str, family: str, weight: str, size: float) -> float:
    """How wide a text is, in inches."""
    font = FontProperties(family=family, weight=weight, size=size)
    return text_to_path.get_text_width_height_descent(words, font, False)[0] / 72


# ---------------------------------------------------------------- the picture


def card(numbers: Numbers) -> bytes:
    """The picture of a shared link as PNG, 1200 x 630 pixels."""
    use_theme()
    figure = plt.figure(figsize=(12, 6.3), dpi=100)
    figure.text(0.05, 0.87, TITLE, fontsize=34, weight="bold")
    question = "Does it cost less accuracy in a larger network?"
    figure.text(0.05, 0.78, question, fontsize=22, color="#444444")
    axes = tuple(figure.add_axes((x, 0.2, 0.4, 0.46)) for x in (0.085, 0.565))
    _draw_gaps(axes, numbers, 14)
    _key(figure, 12.5, loc="center", bbox_to_anchor=(0.5, 0.715))
    foot = "A reproducible companion to arXiv:2202.02643"
    figure.text(0.95, 0.03, foot, fontsize=14, color="#444444", ha="right")
    return _saved(figure, "png", {"Software": None})


def _saved(figure: Figure, form: str, about: dict) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format=form, metadata=about, dpi="figure")
    plt.close(figure)
    return content.getvalue()
