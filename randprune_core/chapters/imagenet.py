"""Chapter 12: the runs on ImageNet, what they cost, how to launch them, and Figure 6's lower half.

Runs come from the record store, or, to try the path, from pictures that are made on the spot: these
are trained here and never stored. Costs need no data: they are counted from shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from ..analysis.gradient_flow import flow_table, mean_curves, rate_steps
from ..analysis.layers import budget_table
from ..config import SEEDS, RunConfig, check_name, config_to_dict, run_id
from ..datasets import DATASETS
from ..devices import environment
from ..models import meta_model
from ..presentation.words import listing
from ..records.table import records_to_frame
from ..scratch import scratch_folder
from ..sweeps import grids
from ..training import protocol
from .shared import gradient_curves
from .shared.records import Records, grid_parameters, one_record
from .shared.tables import show_list

MODEL = protocol.IMAGENET["model"]
RATIOS = ("dense", "snip", "erk")
SPARSITIES = (0.5, 0.9)
PROCESSES = 4
"""GPUs that share a batch in the paper."""
_MADE = {"model": "resnet-8-4", "batch_size": 16, "lr": 0.05, "weight_decay": 5e-4}
_MADE_EPOCHS = {"quick": 4, "cpu": 12}


# --- runs --------------------------------------------------------------------------------------


def grid(
    models: Sequence[str] | None = None,
    ratios: Sequence[str] | None = None,
    sparsities: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    **fields,
) -> list[RunConfig]:
    """The runs of the figure, by Table 1's recipe, dense first; lists replace its own.

    `fields` of `RunConfig` replace those of the recipe. Raises ValueError for unknown names.
    """
    models = models or [fields.get("model", MODEL)]
    settings = [
        protocol.imagenet_recipe(ratio) | fields | {"ratio": ratio} for ratio in ratios or RATIOS
    ]
    common = {"dataset": "imagenet", "train_images": DATASETS["imagenet"].train_images}
    common |= {"precision": "bfloat16"}
    return grids.runs_of(models, settings, sparsities or SPARSITIES, seeds or (0,), common)


def collect(
    *,
    profile: str = "auto",
    models=None,
    ratios=None,
    sparsities=None,
    seeds=None,
    train_missing: bool | None = None,
    device: str = "auto",
) -> tuple[Records, list[dict]]:
    """The runs of the chapter for its parameters: as the other chapters have them, and in full.

    Profiles `auto` and `paper` are the recorded runs on ImageNet; `quick` and `cpu` train small
    networks on made pictures (`made_runs`). Raises ValueError for names that are not known.
    """
    lists = {"models": models, "ratios": ratios, "sparsities": sparsities, "seeds": seeds}
    lists, default = grid_parameters(lists, profile, train_missing, device)
    check_name("profile", profile, ("auto", "quick", "cpu", "paper"))
    if profile in _MADE_EPOCHS:
        configs, found = made_runs(_MADE_EPOCHS[profile], device, **lists)
    else:
        profile, configs = "paper", grid(**lists)
        train = bool(train_missing)
        found = [one_record(config, train_missing=train, device=device) for config in configs]
        found = [record for record in found if record is not None]
    return Records("imagenet", profile, configs, records_to_frame(found), default), found


def made_runs(epochs: int, device: str = "auto", **lists) -> tuple[list[RunConfig], list[dict]]:
    """Train the figure's grid on made pictures, with a small network; nothing is stored.

    Returns the configs and what their records would hold.
    """
    from ..data.imagenet import load_folder, make_pictures
    from ..training.train import train

    with scratch_folder() as folder, environment({"RANDPRUNE_DATA": str(folder)}):
        make_pictures(folder)
        data = load_folder(_MADE["model"])
        fields = _MADE | {"variant": data.variant, "train_images": len(data.train)}
        configs = grid(**lists, **fields, epochs=epochs, precision="float32")
        found = []
        for config in configs:
            result = train(config, device)
            provenance = {"data": result.pop("data"), "processes": result.pop("processes")}
            record = {"run_id": run_id(config), "config": config_to_dict(config)}
            found.append(record | {"provenance": provenance} | result)
    return configs, found


def demonstration(
    records: Records, found: list[dict], device: str = "auto"
) -> tuple[Records, list[dict]]:
    """The runs to draw: those of the chapter, or, where none is recorded, of made pictures."""
    if found:
        return records, found
    configs, made = made_runs(_MADE_EPOCHS["quick"], device, sparsities=SPARSITIES[:1])
    return Records("imagenet", "quick", configs, records_to_frame(made), records.default), made


def source(records: Records) -> str:
    """Where the runs of a figure are from, in one line above it."""
    if records.profile != "paper":
        return "Synthetic images, not ImageNet"
    epochs = sorted({config.epochs for config in records.configs})
    return f"Profile paper: ImageNet, {listing(epochs)} epochs, {records.seeds()}"


def summary(records: Records):
    """What is shown and how much of it is recorded: a list."""
    return show_list(source(records), records.coverage(), records.failed())


def plot_gradient_norm(records: Records, found: Sequence[Mapping]) -> Figure:
    """Figure 6, bottom: gradient norm against epoch, a line a ratio."""
    flows = flow_table(found)
    sparsity = gradient_curves.shown_sparsity(flows)
    title = f"{source(records)}\nSparsity {sparsity:g}, and dense" if sparsity else source(records)
    curves, steps = mean_curves(found), rate_steps(found)
    return gradient_curves.plot_curves(curves, flows, steps, sparsity, title)


# --- what a run costs, and how to launch it ----------------------------------------------------


def cost_table(layers: pd.DataFrame) -> pd.DataFrame:
    """Parameters and MACs of an image, and what training takes, dense and under each ratio.

    `layers` is `layers.layer_table`. Columns `model, ratio, sparsity, parameters, macs` (both kept;
    MACs of one image), `mac_ratio, epochs`, and `flop` of a training on dense kernels, which skip
    no zero.
    """
    rows = []
    for row in budget_table(layers).itertuples():
        network = meta_model(row.model)
        others = sum(parameter.numel() for parameter in network.parameters()) - row.total
        part = layers[(layers.model == row.model) & (layers.ratio == row.ratio)]
        dense = int(part[part.sparsity == row.sparsity].macs.sum())
        settings = [(row.ratio, row.sparsity, row.kept, row.mac_ratio)]
        if not any(found[:2] == [row.model, "dense"] for found in rows):
            settings.insert(0, ("dense", 0.0, row.total, 1.0))
        for ratio, sparsity, kept, share in settings:
            epochs = protocol.imagenet_recipe(ratio)["epochs"]
            # A multiply-accumulate is two operations; the backward pass takes twice the forward.
            flop = 6 * dense * DATASETS["imagenet"].train_images * epochs
            macs = round(dense * share)
            rows.append([row.model, ratio, sparsity, others + kept, macs, share, epochs, flop])
    names = ["model", "ratio", "sparsity", "parameters", "macs", "mac_ratio", "epochs", "flop"]
    return pd.DataFrame(rows, columns=names)


def command(config: RunConfig, processes: int = PROCESSES) -> str:
    """The command that trains a run of the grid on one machine, on two lines of a shell."""
    launcher = f"torchrun --standalone --nproc-per-node {processes} -m randprune_core train"
    words = ["--dataset imagenet --ratio", config.ratio]
    if config.sparsity:
        words.append(f"--sparsity {config.sparsity:g}")
    if config.model != MODEL:
        words.append(f"--model {config.model}")
    for name in SEEDS:
        if getattr(config, name):
            words.append(f"--{name.replace('_', '-')} {getattr(config, name)}")
    return f"{launcher} \\\n    {' '.join(words)} --precision {config.precision}"


def show_commands(records: Records):
    """The commands of the runs on ImageNet that are not shown, as a block of shell."""
    from IPython.display import Markdown

    recorded = set(records.runs.run_id)
    wanted = records.configs if records.profile == "paper" else grid()
    missing = [config for config in wanted if run_id(config) not in recorded]
    lines = [command(config) for config in missing] or ["# every run of the figure is recorded"]
    return Markdown("\n".join(["```bash", *lines, "```"]))
