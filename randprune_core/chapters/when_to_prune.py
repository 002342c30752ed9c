"""When a network is pruned, and whether its mask moves: tables, sentences and curves.

Runs are told apart by their setting (`config.setting`), which takes the place of the ratio:
`erk` is pruned before training and keeps its mask, `erk:after` is pruned after training, `erk:set`
moves its mask by SET. The time at which and the way in which a run is pruned are its *scenario*.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ..analysis.cells import CELL, differences, recorded, turned
from ..analysis.intervals import mean_interval
from ..config import RATIOS, RunConfig, pruning_epoch, setting
from ..presentation.theme import LABELS, in_order
from ..presentation.words import data_label, listing, model_label, plus_minus
from ..pruning.dynamic import dropped_fraction
from ..records.store import find_record
from ..training.backward import RIGL_BATCHES
from ..training.protocol import learning_rate
from .shared.records import Records
from .shared.tables import accuracy_table, grid_table

TIMES = ("during", "after")
MOVING = ("set", "rigl")
ORDER = ("dense", "erk", "erk:during", "erk:after", "erk:set", "erk:rigl")
"""Settings in the order in which the chapter names them."""
LIVE = {"dataset": "digits", "model": "resnet-8", "ratio": "erk", "sparsity": 0.9}
LIVE |= {"epochs": 16, "train_images": 200, "batch_size": 50}
"""The run whose moving masks the chapter watches: small, trained where the chapter is executed."""

_CURVES = [*CELL, "epoch", "n", "mean", "low", "high"]
_MOVES = ["ratio", "epoch", "dropped", "changed", "ever"]


def label(name: str) -> str:
    """A setting in words: the static mask before training goes by its time, not by its ratio."""
    return "before training" if name == "erk" else LABELS[name]


def ordered(names: Iterable[str]) -> list[str]:
    """Settings in the order of the chapter, each once, others last."""
    names = set(names)
    return [name for name in dict.fromkeys([*ORDER, *in_order(names)]) if name in names]


def scenario_table(configs: Sequence[RunConfig]) -> pd.DataFrame:
    """The scenarios of a grid to read: when they prune, how often masks move, what is trained.

    `weights trained` is the mean density over the epochs, in percent of the dense network, at the
    highest sparsity of the grid.
    """
    highest = max((config.sparsity for config in configs), default=0.0)
    first = {setting(c): c for c in reversed(configs) if c.sparsity == highest or not c.sparsity}
    rows = []
    for name in ordered(first):
        config, sparse = first[name], name != "dense"
        start = pruning_epoch(config)
        updates = sum(dropped_fraction(config, epoch) > 0 for epoch in range(config.epochs))
        trained = 1 - config.sparsity * (config.epochs - start) / config.epochs
        rows.append(
            {
                "scenario": label(name),
                "dense epochs": start if sparse else config.epochs,
                "sparse epochs": config.epochs - start if sparse else 0,
                "learning rate when pruned": f"{learning_rate(config, start):g}" if sparse else "–",
                "updates of the mask": updates or "–",
                "dense backward passes for it": updates * RIGL_BATCHES * (config.method == "rigl")
                or "–",
                "weights trained (%)": f"{100 * trained:.3g}",
            }
        )
    return pd.DataFrame(rows)


def cell_table(cells: pd.DataFrame, value: str) -> pd.DataFrame:
    """`tables.grid_table` with the scenarios by their names."""
    places = {LABELS[name]: place for place, name in enumerate(ordered(cells.ratio))}
    table = grid_table(cells, value).rename(columns={"ratio": "scenario"})
    rows = sorted(range(len(table)), key=lambda row: places[table.scenario[row]])
    models = list(dict.fromkeys(table.network))
    rows.sort(key=lambda row: models.index(table.network[row]))
    table = table.iloc[rows].reset_index(drop=True)
    return table.assign(scenario=table.scenario.replace(LABELS["erk"], label("erk")))


def against_static(runs: pd.DataFrame) -> pd.DataFrame:
    """Each other scenario minus the static mask before training, of one ratio and sparsity.

    `runs` is as from `by_setting`. Columns `model, ratio, sparsity, n, difference, low, high`, in
    points of accuracy; cells without their static one are left out.
    """
    others = {cell: cell[1].partition(":")[0] for cell in recorded(runs) if ":" in cell[1]}
    pairs = [((cell[0], ratio, cell[2]), cell) for cell, ratio in others.items()]
    return turned(differences(runs, pairs))


def shown_sparsity(cells: pd.DataFrame) -> float | None:
    """The highest sparsity that is recorded, None where nothing sparse is."""
    levels = cells.sparsity[cells.sparsity > 0]
    return float(levels.max()) if len(levels) else None


def finding(records: Records, differences: pd.DataFrame, which: Sequence[str]) -> str:
    """One sentence on some scenarios against the static mask before training.

    `which` are the ends of settings, `TIMES` or `MOVING`. Taken at the highest recorded sparsity;
    says what is lacking where the records allow no such sentence.
    """
    names = [name for name in ORDER if name.partition(":")[2] in which]
    found = differences[differences.ratio.isin(names)]
    found = found[found.sparsity == shown_sparsity(found)]
    if found.empty:
        wanted = " or ".join(label(name) for name in names)
        return (
            f"The records allow no statement on this yet: profile {records.profile} has no network "
            "with a static mask before training and, at the same sparsity, another scenario: "
            f"{wanted}."
        )
    parts = []
    for name, part in found.groupby("ratio", sort=False):
        changes = listing(_signed(row.difference, row.low, row.high) for row in part.itertuples())
        models = listing(model_label(model) for model in part.model)
        parts.append(f"{label(name)} by {changes} points ({models})")
    text = (
        f"At sparsity {found.sparsity.iloc[0]:g}, test accuracy differs from that of the same "
        f"network pruned before training with a static mask: {listing(parts)}"
    )
    where = f"profile {records.profile}, {data_label(records.configs[0])}"
    if (found.n == 1).any():
        return f"{text}. One seed decides nothing ({where})."
    above, below = int((found.low > 0).sum()), int((found.high < 0).sum())
    return (
        f"{text}. Of these {len(found)} differences {above} have a 95 % interval above zero and "
        f"{below} one below zero; those of the others contain it ({where}, {records.seeds()})."
    )


def _signed(value: float, low: float, high: float) -> str:
    text = plus_minus(value, low, high)
    return text if text.startswith(("−", "0.0")) else f"+{text}"


def curves(records: Records) -> pd.DataFrame:
    """Validation accuracy after each epoch, in percent, for each recorded cell of the grid.

    Columns `model, ratio` (the setting)`, sparsity, epoch, n, mean, low, high`: a mean over seeds
    with its Student-t interval.
    """
    cells: dict[tuple, list[float]] = {}
    for config in records.configs:
        if (record := find_record(config)) is None:
            continue
        history = record["history"]
        for epoch, value in zip(history["epoch"], history["validation_accuracy"], strict=True):
            key = (config.model, setting(config), config.sparsity, int(epoch))
            cells.setdefault(key, []).append(100 * value)
    rows = []
    for key, values in cells.items():
        found = mean_interval(values)
        rows.append([*key, found.n, found.value, found.low, found.high])
    return pd.DataFrame(rows, columns=_CURVES)


def recovery(lines: pd.DataFrame, configs: Sequence[RunConfig]) -> str:
    """One sentence on what late pruning does to validation accuracy at once, and what comes back.

    `lines` is as from `curves`; says so where no late pruning is recorded.
    """
    starts = {setting(config): pruning_epoch(config) for config in configs}
    late = lines[lines.ratio.isin([f"{ratio}:{time}" for ratio in RATIOS for time in TIMES])]
    late = late[late.sparsity == shown_sparsity(late)]
    parts = []
    for (name, model), line in late.groupby(["ratio", "model"], sort=False):
        at = line.set_index("epoch")["mean"]
        start = starts[name]
        parts.append(
            f"{model_label(model)} pruned {label(name)} has {at[start]:.1f} percent before, "
            f"{at[start + 1]:.1f} after the first sparse epoch and {at.iloc[-1]:.1f} at the end"
        )
    if not parts:
        return (
            "No network that is pruned during or after training is recorded yet, so that nothing "
            "can be said of it here."
        )
    seeds = int(late.n.min())
    means = f"means over {seeds} seeds, with the bands of the figure" if seeds > 1 else "one seed"
    return f"In validation accuracy, {'; '.join(parts)} ({means})."


def watch_rules() -> pd.DataFrame:
    """`watch_masks` of the small run of the chapter (`LIVE`) under each rule."""
    watched = [watch_masks(RunConfig(method=rule, **LIVE)) for rule in MOVING]
    return pd.concat(watched, ignore_index=True)


def watch_masks(config: RunConfig) -> pd.DataFrame:
    """Train a run on the CPU, record nothing, and note after each update how its masks have moved.

    Columns `ratio` (the setting), `epoch` (full epochs before the update), and fractions:
    `dropped` and `changed` of the kept weights, less where a weight was grown again at once, and
    `ever` of all weights that have been kept at any time.
    """
    import torch

    from ..precision import arithmetic
    from ..training.engine import Run

    def flat(run: Run) -> torch.Tensor:
        return torch.cat([mask.flatten() for mask in run.masks.values()])

    rows = []
    with arithmetic():
        run = Run(config, torch.device("cpu"))
        before = ever = flat(run)
        while run.epoch < config.epochs:
            dropped = dropped_fraction(config, run.epoch)
            run.start_epoch()
            now = flat(run)
            ever = ever | now
            if dropped:
                changed = int((now & ~before).sum()) / int(now.sum())
                share = int(ever.sum()) / len(ever)
                rows.append([setting(config), run.epoch, dropped, changed, share])
            before = now
            run.finish_epoch()
    return pd.DataFrame(rows, columns=_MOVES)


def moves_title() -> str:
    """What was trained to watch masks move, as it stands above the figure."""
    return (
        f"Watched live: {LIVE['dataset']}, {LIVE['train_images']} images, {LIVE['epochs']} epochs, "
        f"{model_label(LIVE['model'])}, sparsity {LIVE['sparsity']:g}"
    )


def moves_summary(moves: pd.DataFrame) -> str:
    """What `watch_masks` saw, in one sentence a rule."""
    parts = [
        f"With {LABELS[name]}, {len(part)} updates change {100 * part.changed.max():.1f} to "
        f"{100 * part.changed.min():.1f} percent of the kept weights, and "
        f"{100 * part.ever.iloc[-1]:.1f} percent of all weights have been kept at some time."
        for name, part in moves.groupby("ratio", sort=False)
    ]
    return " ".join(parts)


def figure_table(records: Records, points: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """What the accuracy figure draws (`tables.accuracy_table`), by the `setting` of the runs."""
    table = accuracy_table(records.origin, points, differences)
    return table.rename(columns={"ratio": "setting"})
