"""The claims of the paper in one table and one picture (see `claims`)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..analysis.cells import MARGINS
from ..analysis.claims import TITLES, together
from ..analysis.intervals import VERDICTS
from ..analysis.parts import digits
from ..config import run_id
from ..presentation import stacked
from ..presentation.theme import COLOURS, WIDTH, use_theme
from ..presentation.words import number
from ..sweeps import coverage, grids
from ..sweeps import sweep as sweep_module
from .shared.records import Records, grid_parameters

STYLES = {
    "supported": (COLOURS["dense"], "o"),
    "contradicted": (COLOURS["dense"], "X"),
    "undecided": ("#666666", "D"),
    "out of reach": ("#666666", "s"),
}
"""Colour and marker of a verdict; those of undecided ones and out of reach are hollow."""
_CORRELATION = 0.1
"""The unit in which a difference of rank correlations is drawn, which has no margin."""
_ROW = 0.19  # inches
_NAMES = (0.16, 0.3)  # the part of the width that names of parts take, on a page and on a phone
_TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)
_FEW_TICKS = (-100, -10, -1, 0, 1, 10, 100)  # on a phone


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
    the table of decisions (`claim_runs.configs`), which are among these grids.
    """
    lists = {"models": models, "ratios": ratios, "sparsities": sparsities, "seeds": seeds}
    lists, default = grid_parameters(lists, profile, train_missing, device)
    profile = coverage.resolve_profile(profile)
    variant = coverage.recorded_variant(profile)
    configs = {}
    figures = grids.CHAPTERS["11_scorecard"]
    for figure in (name for name in figures if profile in grids.GRIDS[name]):
        for config in grids.grid(figure, profile, variant=variant, **lists):
            configs[run_id(config)] = config
    configs = list(configs.values())
    runs = sweep_module.collect(configs, train_missing=train_missing, device=device)
    return Records("scorecard", profile, configs, runs, default)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """The claims as a table to read: verdict, the part that decides, its effect and threshold."""
    rows = []
    for row in found.to_dict("records"):
        rows.append(
            {
                "": row["claim"],
                "claim": row["statement"],
                "verdict": row["verdict"],
                "part shown": "–" if row["kind"] == "cited" else row["part"],
                "effect": _effect(row),
                "threshold": "–" if pd.isna(row["effect"]) else number(row["threshold"]),
                "runs": row["runs"],
            }
        )
    return pd.DataFrame(rows)


def _effect(row: dict) -> str:
    if pd.isna(row["effect"]):
        return "–"
    limits = [row[name] for name in ("low", "high", "own_low", "own_high")]
    places = digits(row["unit"], row["threshold"], limits)
    effect, low, high = (number(row[name], places) for name in ("effect", "low", "high"))
    interval = "" if pd.isna(row["low"]) else f" [{low}, {high}]"
    return f"{effect}{interval} {row['unit']}"


def margin(part: pd.Series) -> float:
    """What an effect is drawn in units of: how much worse is still no worse, in its unit.

    Of a unit without such a margin, its threshold, and 0.1 for a rank correlation, which has none.
    """
    return MARGINS.get(part.unit.partition(" ")[0]) or abs(part.threshold) or _CORRELATION


def draw(parts: pd.DataFrame, title: str = "", *, phone: bool = False) -> Figure:
    """Every claim as a row of its own: its parts, each effect in units of its margin.

    `parts` is `claims.parts`. Effects with their intervals and thresholds stand on one axis, linear
    up to one margin and logarithmic beyond, right of the names of the parts. A part without an
    effect says so, and a claim without any says it once.
    """
    use_theme()
    rows = sum(1.3 + _lines(mine) for _, mine in parts.groupby("claim"))
    size = (stacked.WIDTH, 1.15 * _ROW * rows + 1.6) if phone else (WIDTH, _ROW * rows + 1.2)
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    words = {"va": "center", "fontsize": 8 if phone else 9}
    place = 0.0
    for claim, mine in parts.groupby("claim"):
        place = _draw_claim(axis, place, claim, mine, words)
    axis.set_ylim(place - 0.65, -0.65)
    axis.set_yticks([])
    axis.grid(False, axis="y")
    axis.axvline(0, color="#999999", linewidth=0.8, zorder=1)
    _set_scale(axis, phone)
    place = "\n" if phone else ", "
    axis.set_xlabel(f"Effect in units of its margin{place}to the right in favour of the claim")
    shown = set(parts.verdict[np.isfinite(parts.effect)])
    handles = [_marker(verdict, label=verdict) for verdict in VERDICTS[:3] if verdict in shown]
    handles.append(Line2D([], [], color="#666666", linewidth=1.6, label="97.5 % interval"))
    handles.append(Line2D([], [], color="black", marker="|", linestyle="", label="threshold"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2 if phone else 4, frameon=False
    )
    return figure


def _set_scale(axis: Axes, phone: bool) -> None:
    reach = [x for line in axis.lines for x in line.get_xdata(orig=False) if np.isfinite(x)]
    axis.set_xscale("symlog", linthresh=1, linscale=1)
    low, high = 1.5 * min(*reach, -1.0), 1.5 * max(*reach, 1.0)
    ticks = [tick for tick in (_FEW_TICKS if phone else _TICKS) if low < tick < high]
    axis.set_xticks(ticks, [number(tick) for tick in ticks], minor=False)
    axis.set_xticks([], minor=True)
    scale, names = axis.xaxis.get_transform(), _NAMES[phone]
    left, right = scale.transform([low, high])
    start = right - (right - left) / (1 - names)  # the names of parts stand left of what is drawn
    axis.set_xlim(scale.inverted().transform([start])[0], high)


def _marker(verdict: str, x: Sequence = (), y: Sequence = (), **more) -> Line2D:
    colour, marker = STYLES[verdict]
    face = colour if verdict in VERDICTS[:2] else "white"
    look = {"marker": marker, "markerfacecolor": face, "markeredgecolor": colour, "color": colour}
    return Line2D(x, y, linestyle="", markersize=6, zorder=3, **look, **more)


def _draw_claim(axis: Axes, place: float, claim: int, parts: pd.DataFrame, words: dict) -> float:
    """Draw the heading of a claim and its parts from `place` on; returns where the next begins."""
    verdict = together(parts.verdict)
    words = words | {"transform": axis.get_yaxis_transform()}
    axis.text(0.01, place, f"{claim}  {TITLES[claim]}", weight="bold", **words)
    look = {"weight": "bold", "color": STYLES[verdict][0], "ha": "right"}
    axis.text(0.99, place, verdict, **look, **words)
    axis.axhspan(place - 0.55, place + 0.55, color="#EEEEEE", linewidth=0, zorder=1.6)
    nothing = words | {"s": "no effect is recorded yet", "color": "#555555"}
    measured = parts[parts.kind == "measured"]
    if len(measured) and not np.isfinite(measured.effect).any():
        axis.text(0.01, place + 1.1, **nothing)
        measured = measured[:0]
    for line, (_, part) in enumerate(measured.iterrows(), start=1):
        axis.text(0.01, place + line + 0.1, part.part, **words)
        if np.isfinite(part.effect):
            _draw_part(axis, place + line + 0.1, part)
        else:
            axis.text(0.99, place + line + 0.1, ha="right", **nothing)
    return place + _lines(parts) + 1.3


def _lines(parts: pd.DataFrame) -> int:
    """Lines below the heading of a claim: its measured parts, or one where none has an effect."""
    measured = parts[parts.kind == "measured"]
    return len(measured) if np.isfinite(measured.effect).any() else int(len(measured) > 0)


def _draw_part(axis: Axes, place: float, part: pd.Series) -> None:
    effect, low, high, threshold = (
        part[name] / margin(part) for name in ("effect", "low", "high", "threshold")
    )
    colour, _ = STYLES[part.verdict]
    axis.plot([threshold] * 2, [place - 0.35, place + 0.35], color="black", linewidth=1.2)
    if np.isfinite(low):
        axis.plot([low, high], [place] * 2, color=colour, linewidth=1.6)
    axis.add_line(_marker(part.verdict, [effect], [place]))
