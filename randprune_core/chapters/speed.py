"""Chapter 12: what the benchmarks measured, as tables, figures and sentences.

Everything is read from `results/benchmarks/`, which the scripts in `benchmarks/` write.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ..presentation import foreign
from ..presentation.theme import WIDTH, use_theme
from ..presentation.words import commit_label, model_label
from .shared.benchmarks import machines

CASES = {
    "plain": "plain loop",
    "torch_prune": "torch.nn.utils.prune",
    "engine": "engine, one run",
    "engine_dense": "engine, one dense run",
    "sweep": "engine, a sweep",
}
_COLOURS = {"plain": "#777777", "torch_prune": "#E69F00", "sweep": "#009E73"}
_ENGINE = "#0072B2"
_GROWTH = {"depth": ("#0072B2", "o", "depth"), "width": ("#D55E00", "s", "width, 20 layers")}


def speed_table(speed: pd.DataFrame) -> pd.DataFrame:
    """Images per second of each case, to read."""
    columns = ["device", "case", "precision", "images per second", "times the plain loop"]
    rows = [
        [
            row.device,
            CASES[row.case],
            row.precision,
            f"{row.images_per_second:,.0f}",
            f"{row.ratio_to_plain:.2f}",
            f"{100 * row.share_of_matmul:.0f} %",
        ]
        for row in speed.itertuples()
    ]
    return pd.DataFrame(rows, columns=[*columns, "of the matrix product"])


def speed_figure(speed: pd.DataFrame) -> Figure:
    """Bars of images per second, a panel a device; a dashed line is the matrix product's bound."""
    use_theme()
    devices = list(speed.device.unique()) or ["no device"]
    size = (WIDTH, 0.5 + 2.0 * len(devices))
    figure, axes = plt.subplots(len(devices), 1, figsize=size, squeeze=False, layout="constrained")
    for axis, device in zip(axes[:, 0], devices, strict=True):
        part = speed[speed.device == device]
        names = [CASES[case] for case in part.case]
        colours = [_COLOURS.get(case, _ENGINE) for case in part.case]
        axis.barh(names, part.images_per_second, color=colours, height=0.7)
        for place, rate in enumerate(part.images_per_second):
            axis.annotate(
                f"{rate:,.0f}", (rate, place), (3, 0), textcoords="offset points", va="center"
            )
        if len(part):
            bound = float((part.images_per_second / part.share_of_matmul).median())
            axis.axvline(bound, color="#222222", linestyle=(0, (3, 2)), linewidth=1)
            axis.text(bound, 0, "bound ", ha="right", va="center", fontsize=8)
            axis.set_xlim(0, 1.12 * max(bound, part.images_per_second.max()))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        axis.set_title(_title(part, device), loc="left")
    axes[-1, 0].set_xlabel("Training images per second")
    return figure


def _title(part: pd.DataFrame, device: str) -> str:
    if part.empty:
        return "nothing is measured"
    return foreign.plain(f"{device}: {model_label(part.model.iloc[0])}, {part.precision.iloc[-1]}")


def scaling_figure(scaling: pd.DataFrame) -> Figure:
    """Time of a step against the network's size, and of runs at once; a colour a kind of growth."""
    use_theme()
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 2.7), layout="constrained", width_ratios=(3, 2)
    )
    for grows, (colour, marker, label) in _GROWTH.items():
        part = scaling[scaling.grows == grows]
        for device, line in part.groupby("device", sort=False):
            style = {"color": colour, "marker": marker, "markersize": 5}
            style["linestyle"] = "-" if device == "cpu" else (0, (3, 2))
            left.plot(line.macs / 1e6, 1e3 * line.seconds_per_step, **style, label=label)
            for row in line.itertuples():
                if grows == "depth" or row.model.count("-") == 2:
                    _name_point(left, row, below=grows == "depth")
    left.set(xscale="log", yscale="log")
    left.set_xlabel("Million multiply-accumulates an image")
    left.set_ylabel("Milliseconds a training step")
    left.margins(x=0.14, y=0.14)
    if left.get_legend_handles_labels()[1]:
        left.legend(frameon=False, loc="upper left")
    at_once = scaling[scaling.grows == "runs_at_once"]
    for device, line in at_once.groupby("device", sort=False):
        gain = line.runs_at_once / line.seconds_per_step
        right.plot(
            line.runs_at_once,
            gain / (1 / line.seconds_per_step.iloc[0]),
            color="#009E73",
            marker="^",
            linestyle="-" if device == "cpu" else (0, (3, 2)),
        )
    if len(at_once):
        most = int(at_once.runs_at_once.max())
        right.plot([1, most], [1, most], color="#777777", linewidth=1, linestyle=(0, (1, 2)))
        right.set_xticks(sorted(at_once.runs_at_once.unique()))
    right.set_xlabel("Runs at once")
    right.set_ylabel("Steps in the same time")
    return figure


def _name_point(axis, row, below: bool) -> None:
    where = (row.macs / 1e6, 1e3 * row.seconds_per_step)
    text = foreign.plain(row.model.removeprefix("resnet-"))
    shift, side = ((5, -9), "left") if below else ((-5, 4), "right")
    axis.annotate(text, where, shift, textcoords="offset points", ha=side, fontsize=8)


def store_table(store: pd.DataFrame) -> pd.DataFrame:
    """Seconds to load the record store, to read."""
    rows = [[f"{int(row.records):,}", f"{row.seconds:.1f}"] for row in store.itertuples()]
    return pd.DataFrame(rows, columns=["records", "seconds"])


def machine_table(*names: str) -> pd.DataFrame:
    """The machines that the named benchmarks ran on, a row each."""
    rows = []
    for name in names:
        for device, facts in machines(name).items():
            rows.append(
                {
                    "benchmark": name,
                    "device": f"{facts['device']} ({device})",
                    "cores": facts["cores"],
                    "torch": facts["torch"],
                    "date": facts["date"],
                    "commit": commit_label(facts["commit"], facts["dirty"]),
                }
            )
    return pd.DataFrame(rows)
