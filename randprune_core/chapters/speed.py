"""Chapter 12: what the benchmarks measured, as tables, figures and sentences.

Everything is read from `results/benchmarks/`, which the scripts in `benchmarks/` write.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..presentation import foreign
from ..presentation.theme import WIDTH, use_theme
from ..presentation.words import commit_label, listing, model_label
from .shared.benchmarks import DEVICES, machines

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


def findings(speed: pd.DataFrame) -> list[str]:
    """What the benchmark says of each device, in sentences."""
    sentences = []
    for device, part in speed.groupby("device", sort=False):
        rows = part.set_index("case")
        facts = machines("training_speed").get(device, {})
        engine, sweep = rows.loc["engine"], rows.loc["sweep"]
        name, precision = map(foreign.text, (facts.get("device", device), engine.precision))
        sentences.append(
            f"On the {'CPU' if device == 'cpu' else 'GPU'} ({name}, "
            f"{precision}) one run of the engine trains {engine.ratio_to_plain:.2f} times "
            f"and a sweep {sweep.ratio_to_plain:.2f} times as many images as the plain loop. "
            f"With the engine's data and layout `torch.nn.utils.prune` trains "
            f"{rows.loc['torch_prune'].ratio_to_plain:.2f} times as many. "
            f"The sparse run trains {_sparse_to_dense(rows, facts):.2f} times as many as the dense "
            f"one. The sweep reaches {100 * sweep.share_of_matmul:.0f} % of "
            f"the matrix product's rate, {_rate(facts)}: the bound for a convolution that does "
            "all of its multiply-accumulates."
        )
    missing = [device for device in DEVICES if device not in set(speed.device)]
    if missing:
        sentences.append(f"Nothing is measured on {listing(missing)} yet.")
    return sentences


def _sparse_to_dense(rows: pd.DataFrame, facts: dict) -> float:
    """From the pairs of the repetitions where the benchmark noted it, else from the medians."""
    rates = rows.images_per_second
    return facts.get("sparse_to_dense", rates["engine"] / rates["engine_dense"])


def _rate(facts: dict) -> str:
    return (
        f"{facts['matmul_gflops']:,.0f} GFLOP a second" if "matmul_gflops" in facts else "unknown"
    )


def bound_sentence(speed: pd.DataFrame) -> str:
    """How many times the plain loop the hardware itself would allow, by device."""
    parts = []
    for device, part in speed.groupby("device", sort=False):
        bound = float((part.images_per_second / part.share_of_matmul).median())
        plain = float(part.images_per_second[part.case == "plain"].iloc[0])
        parts.append(f"{bound / plain:.1f} times the plain loop on {foreign.text(device)}")
    if not parts:
        return ""
    return f"At the full rate of the matrix product it would be {listing(parts)}."


def growth_sentence(scaling: pd.DataFrame) -> str:
    """How the time of a step follows the arithmetic, as the slope of a line through the logs."""
    parts = []
    for grows in ("depth", "width"):
        part = scaling[scaling.grows == grows]
        for device, line in part.groupby("device", sort=False):
            slope = np.polyfit(np.log(line.macs), np.log(line.seconds_per_step), 1)[0]
            parts.append(f"the power {slope:.2f} with {grows} ({foreign.text(device)})")
    if not parts:
        return "How the time grows is not measured yet."
    return (
        "The time of a step grows with the number of multiply-accumulates to "
        f"{listing(parts)}; the power 1 would be in proportion. Each power is the slope of a "
        "straight line through the few points of the figure, and has no interval."
    )


def memory_sentence(device: str = "auto") -> str:
    """What the largest network that was timed on a CPU held of its memory at most."""
    facts = machines("scaling").get("cpu", {}) if device in ("auto", "cpu") else {}
    if "peak_mib" not in facts:
        return ""
    return (
        f"A process that trains {foreign.text(model_label(facts['largest']))} on the CPU in "
        f"{foreign.text(facts['precision'])}, at batch {facts['batch']}, holds at most "
        f"{facts['peak_mib']:,} MiB."
    )


def at_once_sentence(scaling: pd.DataFrame) -> str:
    """What most runs at once gain over one alone; more than their number is said to be error."""
    sentences = []
    at_once = scaling[scaling.grows == "runs_at_once"]
    for device, line in at_once.groupby("device", sort=False):
        alone, most = (line.iloc[i()] for i in (line.runs_at_once.argmin, line.runs_at_once.argmax))
        count = int(most.runs_at_once)
        if count > 1:
            gain = count * alone.seconds_per_step / most.seconds_per_step
            where = "the CPU" if device == "cpu" else "the GPU"
            text = f"On {where}, {count} runs at once make {gain:.2f} times the steps of one run"
            if gain > count:
                text += (
                    f". Runs do not help each other: what is above {count} times is error of the "
                    "measurement"
                )
            sentences.append(f"{text}.")
    return " ".join(sentences)
