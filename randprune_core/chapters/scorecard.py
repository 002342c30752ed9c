"""The claims of the paper in one table, one picture and a paragraph each (see `claims`)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..analysis.cells import MARGINS
from ..analysis.claims import CHAPTERS, TITLES, together
from ..analysis.decisions import CONFIDENCE, LARGE, SMALL_DEPTH
from ..analysis.intervals import ENOUGH, VERDICTS
from ..config import run_id
from ..presentation import stacked
from ..presentation.theme import COLOURS, WIDTH, use_theme
from ..sweeps import coverage, grids
from ..sweeps import sweep as sweep_module
from .shared.records import Records, grid_parameters

STYLES = {
    "supported": (COLOURS["erk"], "o"),
    "contradicted": (COLOURS["uniform_plus"], "X"),
    "undecided": ("#666666", "D"),
    "out of reach": ("#666666", "s"),
}
"""Colour and marker of a verdict; those of undecided ones and out of reach are hollow."""
_PERCENT = ("ECE", "AUROC")
"""Units that are drawn times 100, so that they stand on the axis of the points."""
_ROW = 0.21  # inches
_TICKS = (-30, -10, -3, -1, -0.3, 0, 0.3, 1, 3, 10, 30)


def collect(
    *,
    profile: str = "auto",
    models: Sequence[str] | None = None,
    ratios: Sequence[str] | None = None,
    sparsities: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    train_missing: bool | None = None,
    device: str = "auto",
) -> Records:
    """The runs of all grids of the chapter at one profile (as in `records.collect_records`).

    The lists limit what is trained and shown, not what decides: the verdicts rest on the runs of
    the table of decisions (`verdicts.configs`), which are among these grids.
    """
    lists = {"models": models, "ratios": ratios, "sparsities": sparsities, "seeds": seeds}
    lists, default = grid_parameters(lists, profile, train_missing, device)
    profile = coverage.resolve_profile(profile)
    variant = coverage.recorded_variant(profile)
    configs = {}
    figures = grids.CHAPTERS["14_scorecard"]
    for figure in (name for name in figures if profile in grids.GRIDS[name]):
        for config in grids.grid(figure, profile, variant=variant, **lists):
            configs[run_id(config)] = config
    configs = list(configs.values())
    runs = sweep_module.collect(configs, train_missing=train_missing, device=device)
    return Records("scorecard", profile, configs, runs, default)


def rules() -> str:
    """What decides, in sentences made of the thresholds that the tests use."""
    large = " and ".join(
        f"depth {least['depth']} or width {least['width']} in profile {profile}"
        for profile, least in LARGE.items()
    )
    small = " and ".join(f"{depth} in {profile}" for profile, depth in SMALL_DEPTH.items())
    return (
        f"No worse, and as good as, means by a margin of {MARGINS['points']:g} points of accuracy, "
        f"{MARGINS['ECE']:g} of calibration error or {MARGINS['AUROC']:g} of AUROC. A larger "
        f"network, in claims 3, 6, 7 and 8, has at least {large}; a small one, in claim 4, at most "
        f"depth {small}. A verdict is taken at 3 and at 5 seeds, each at {100 * CONFIDENCE:g} %, "
        "where every cell of its part has all of them; it needs two intervals on the same side of "
        "the threshold, one with the spread between seeds pooled over the networks of the table, "
        "one with that of its own cells. The test images, and the foreign ones of claim 7, are the "
        "same for all networks: a verdict speaks of other seeds, not of other images. A rank "
        f"correlation has one interval, over cells, from {ENOUGH} cells on."
    )


def count(found: pd.DataFrame, verdict: str) -> str:
    """How many claims have this verdict, in words where there are none."""
    return str(int((found.verdict == verdict).sum()) or "none")


def table(found: pd.DataFrame) -> pd.DataFrame:
    """The claims as a table to read: verdict, the part that decides, its effect and threshold."""
    rows = []
    for row in found.to_dict("records"):
        rows.append(
            {
                "": row["claim"],
                "claim": row["statement"],
                "verdict": row["verdict"],
                "part shown": "" if row["kind"] == "cited" else row["part"],
                "effect": _effect(row),
                "threshold": _threshold(row),
                "runs": row["runs"],
            }
        )
    return pd.DataFrame(rows)


def _effect(row: dict) -> str:
    if pd.isna(row["effect"]):
        return "–"
    digits = 4 if row["unit"] in _PERCENT else 2
    text = f"{row['effect']:.{digits}f}"
    if not pd.isna(row["low"]):
        text += f" [{row['low']:.{digits}f}, {row['high']:.{digits}f}]"
    return f"{text} {row['unit']}".replace("-", "−")


def figure_table(found: pd.DataFrame, records: Records) -> pd.DataFrame:
    """Claims or parts as they are stored, after the profile and the copy of the data."""
    return found.assign(profile=records.profile, variant=records.variant)[
        ["profile", "variant", *found.columns]
    ]


def _threshold(row: dict) -> str:
    return "–" if pd.isna(row["effect"]) else f"{row['threshold']:g}".replace("-", "−")


def paragraphs(found: pd.DataFrame, parts: pd.DataFrame):
    """A paragraph a claim: the verdict, how many runs it rests on, and the reason of each part."""
    from IPython.display import Markdown

    blocks = []
    for row in found.to_dict("records"):
        reasons = parts[parts.claim == row["claim"]].why.drop_duplicates()
        runs = f", from {row['runs']} runs" if row["runs"] else ""
        chapter = CHAPTERS.get(row["claim"])
        place = f" ({{ref}}`{chapter}`)" if chapter else ""
        head = f"**{row['claim']}. {row['statement']}: {row['verdict']}**"
        blocks.append(f"{head}{runs}{place}. {' '.join(reasons)}")
    return Markdown("\n\n".join(blocks))


def draw(parts: pd.DataFrame, title: str = "", *, phone: bool = False) -> Figure:
    """Every part of every claim as a row: effect with interval, threshold, and verdict in words.

    `parts` is `claims.parts`. Claims 1 to 8 share an axis in points, on which ECE and AUROC are
    drawn times 100, linear up to one point and logarithmic beyond; claims 9 and 10 have one of
    their own. A part without an effect has no marker. For a `phone`, words stand above markers.
    """
    use_theme()
    blocks = [parts[parts.claim < 9], parts[parts.claim >= 9]]
    labels = ["In favour of the claim (points, or points per doubling of the size)"]
    labels.append("In favour of the claim (doublings; share of rank correlation or variance)")
    rows = [len(block) + block.claim.nunique() for block in blocks]
    if phone:
        labels = [label.replace(" (", "\n(").replace("per", "\nper", 1) for label in labels]
    size = (
        (stacked.WIDTH, 1.7 * _ROW * sum(rows) + 2.8) if phone else (WIDTH, _ROW * sum(rows) + 1.9)
    )
    figure, axes = plt.subplots(2, 1, figsize=size, height_ratios=rows, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    for axis, block, label in zip(axes, blocks, labels, strict=True):
        _draw_block(axis, block, phone)
        axis.set_xlabel(label)
    axes[0].set_xscale("symlog", linthresh=1, linscale=1)
    axes[0].set_xticks(_TICKS, [f"{tick:g}".replace("-", "−") for tick in _TICKS], minor=False)
    axes[0].set_xticks([], minor=True)
    _fit(axes[0])
    handles = [_marker(verdict, label=verdict) for verdict in VERDICTS[:3]]
    handles.append(Line2D([], [], color="black", marker="|", linestyle="", label="threshold"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2 if phone else 4, frameon=False
    )
    return figure


def _fit(axis: Axes) -> None:
    """Set the limits about what is drawn; the ticks alone would ask for more."""
    drawn = [x for line in axis.lines for x in line.get_xdata(orig=False) if np.isfinite(x)]
    drawn = [*drawn, -1.0, 1.0]
    axis.set_xlim(1.3 * min(drawn), 1.3 * max(drawn))


def _marker(verdict: str, x: Sequence = (), y: Sequence = (), **more) -> Line2D:
    colour, marker = STYLES[verdict]
    face = colour if verdict in VERDICTS[:2] else "white"
    look = {"marker": marker, "markerfacecolor": face, "markeredgecolor": colour, "color": colour}
    return Line2D(x, y, linestyle="", markersize=6, zorder=3, **look, **more)


def _draw_block(axis: Axes, parts: pd.DataFrame, phone: bool) -> None:
    scale = np.where(parts.unit.isin(_PERCENT), 100, 1)
    numbers = parts[["effect", "low", "high", "threshold"]].mul(scale, axis=0)
    place, ticks, labels = 0, [], []
    right = {"x": 0.99, "ha": "right"} if phone else {"x": 1.02, "ha": "left"}
    words = {"transform": axis.get_yaxis_transform(), "va": "center", "fontsize": 8 if phone else 9}
    for claim, mine in parts.groupby("claim"):
        measured = mine[mine.kind == "measured"]
        verdict = together(mine.verdict)
        bold = words | {"y": place, "weight": "bold"}
        axis.text(0.01, s=f"{claim}  {TITLES[claim]}", **bold)
        axis.text(s=verdict, color=STYLES.get(verdict, STYLES["undecided"])[0], **bold, **right)
        axis.axhspan(place - 0.5, place + 0.5, color="#EEEEEE", linewidth=0, zorder=1.6)
        for index, part in measured.iterrows():
            place += 1
            word = part.verdict if np.isfinite(numbers.effect[index]) else "no runs"
            height = place - 0.22 if phone else place
            axis.text(y=height, s=word, color=STYLES[part.verdict][0], **words, **right)
            if phone:
                axis.text(0.01, height, part.part, **words)
            _draw_part(axis, place + 0.22 if phone else place, part, numbers.loc[index])
            ticks.append(place)
            labels.append(part.part)
        place += 1
    axis.set_yticks([] if phone else ticks, [] if phone else labels)
    axis.set_ylim(place - 0.5, -0.5)
    axis.grid(False, axis="y")
    axis.axvline(0, color="#999999", linewidth=0.8, zorder=1)


def _draw_part(axis: Axes, place: float, part: pd.Series, numbers: pd.Series) -> None:
    colour, _ = STYLES[part.verdict]
    if not np.isfinite(numbers.effect):
        return
    axis.plot([numbers.threshold] * 2, [place - 0.3, place + 0.3], color="black", linewidth=1.2)
    if np.isfinite(numbers.low):
        axis.plot([numbers.low, numbers.high], [place] * 2, color=colour, linewidth=1.6)
    axis.add_line(_marker(part.verdict, [numbers.effect], [place]))
