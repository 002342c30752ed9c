"""Chapter 11: the runs on ImageNet, how to launch them, and the lower half of Figure 6.

Runs come from the record store, or, to try the path, from pictures that are made on the spot: these
are trained here and never stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ..analysis.gradient_flow import flow_table
from ..config import SEEDS, RunConfig, check_name, config_to_dict, run_id
from ..datasets import DATASETS
from ..devices import environment
from ..presentation.words import listing, model_label
from ..records.table import records_to_frame
from ..scratch import scratch_folder
from ..sweeps import grids
from ..training import protocol
from .imagenet_cost import MODEL, PROCESSES, SPARSITIES
from .shared import gradient_curves
from .shared.records import Records, cell_labels, grid_parameters, one_record
from .shared.tables import show_list

RATIOS = ("dense", "snip", "erk")
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
    """Runs on made pictures: those of the chapter, else the grid at one sparsity."""
    if records.profile != "paper":
        return records, found
    configs, made = made_runs(_MADE_EPOCHS["quick"], device, sparsities=SPARSITIES[:1])
    return Records("imagenet", "quick", configs, records_to_frame(made), records.default), made


def source(records: Records, made: bool = False) -> str:
    """Where the runs of a figure are from, in one line above it."""
    if made or records.profile != "paper":
        return "Made pictures, not ImageNet"
    epochs = sorted({config.epochs for config in records.configs})
    return f"Profile paper: ImageNet, {listing(epochs)} epochs, {records.seeds()}"


def summary(records: Records):
    """What is shown, how much of it is recorded, and what it is good for: a list."""
    purpose = "The paper's recipe; which sparsity its figure shows is not confirmed"
    if records.profile != "paper":
        purpose = "There to show that the machinery runs; it says nothing of ImageNet"
    return show_list(source(records), records.coverage(), records.failed(), purpose)


def checked(found: Sequence[Mapping]) -> str:
    """What made runs show on every machine: that each trained, kept its budget and can be read."""
    lines = []
    for record in found:
        config, cost, history = (record[name] for name in ("config", "cost", "history"))
        steps = config["epochs"] * (config["train_images"] // config["batch_size"])
        lines.append(
            f"{config['ratio']} {config['sparsity']:g}: {steps} steps, "
            f"{cost['kept_weights']} of {cost['dense_weights']} weights kept, the loss fell: "
            f"{history['train_loss'][-1] < history['train_loss'][0]}"
        )
    return "\n".join(lines)


# --- how to launch it --------------------------------------------------------------------------


def command(config: RunConfig, processes: int = PROCESSES) -> str:
    """The command that trains a run of the grid on one machine."""
    words = ["torchrun --standalone --nproc-per-node", str(processes), "-m randprune_core train"]
    words += ["--dataset imagenet --ratio", config.ratio]
    if config.sparsity:
        words.append(f"--sparsity {config.sparsity:g}")
    if config.model != MODEL:
        words.append(f"--model {config.model}")
    for name in SEEDS:
        if getattr(config, name):
            words.append(f"--{name.replace('_', '-')} {getattr(config, name)}")
    return " ".join([*words, f"--precision {config.precision}"])


def show_commands(records: Records):
    """The commands of the runs on ImageNet that are not shown, as a block of shell."""
    from IPython.display import Markdown

    recorded = set(records.runs.run_id)
    wanted = records.configs if records.profile == "paper" else grid()
    missing = [config for config in wanted if run_id(config) not in recorded]
    lines = [command(config) for config in missing] or ["# every run of the figure is recorded"]
    return Markdown("\n".join(["```bash", *lines, "```"]))


# --- the figure --------------------------------------------------------------------------------


def plot_gradient_norm(records: Records, found: Sequence[Mapping], made: bool = False) -> Figure:
    """Figure 6, bottom: gradient norm against epoch, a line a ratio."""
    flows = flow_table(found)
    sparsity = gradient_curves.shown_sparsity(flows)
    title = source(records, made)
    if sparsity is not None:
        title += f"\nSparsity {sparsity:g}, and dense"
    curves = gradient_curves.mean_curves(found)
    steps = gradient_curves.rate_steps(found)
    figure = gradient_curves.plot_curves(curves, flows, steps, sparsity, title)
    _trim_key(figure)
    return figure


def _trim_key(figure: Figure) -> None:
    """Leave only what is drawn in the key of the figure."""
    (key,) = figure.legends
    lines = [line for axis in figure.axes for line in axis.lines]
    absent = set()
    if not any(line.get_marker() == "|" for line in lines):
        absent.add("flat phase begins")
    if not lines:
        absent.add("learning rate ÷ 10")
    labels = [text.get_text() for text in key.get_texts()]
    handles = dict(zip(labels, key.legend_handles, strict=True))
    key.remove()
    if kept := [label for label in labels if label not in absent]:
        shown = [handles[label] for label in kept]
        where = {"loc": "outside lower center", "ncols": 5, "frameon": False}
        figure.legend(handles=shown, labels=kept, **where)


def missing(records: Records) -> str:
    """The cells of the grid that are not recorded, in words."""
    cells = records.cells()
    parts = cells[cells.recorded == 0].groupby("model", sort=False)
    return "; ".join(f"{model_label(model)}: {listing(cell_labels(part))}" for model, part in parts)
