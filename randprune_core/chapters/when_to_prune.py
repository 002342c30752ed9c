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
from ..config import RunConfig, pruning_epoch, setting
from ..presentation.theme import LABELS, in_order
from ..presentation.words import model_label
from ..pruning.dynamic import dropped_fraction
from ..records.store import find_record
from ..training.backward import RIGL_BATCHES
from ..training.protocol import learning_rate
from .shared.records import Records
from .shared.tables import accuracy_table, grid_table

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
