"""Whether training in bfloat16 costs accuracy: the same runs in float32 and in bfloat16.

    python benchmarks/precision.py [--models resnet-8] [--seeds 0 1 2] [--device cpu]

Writes `results/benchmarks/precision.csv`, a row a run, as each run ends; runs that are in the file
are not trained again. The grid is that of the depth figure at profile `cpu`; a float32 run that is
recorded is taken from its record. Where the CPU has no bfloat16 arithmetic, `Float32Sums` stands in
for it, and the column `arithmetic` says so.
"""

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import replace

import pandas as pd
import torch
from machine import cifar_at_hand, processor, save_description, save_rows
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from randprune_core import paths
from randprune_core.config import RunConfig, run_id
from randprune_core.devices import one_thread, pick_device, worker_environment
from randprune_core.metrics.classification import accuracy, expected_calibration_error
from randprune_core.metrics.predict import predict_logits
from randprune_core.models import with_normalization
from randprune_core.precision import native_precision
from randprune_core.records.store import find_record
from randprune_core.sweeps.grids import grid
from randprune_core.training.train import fit

CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)


class Float32Sums(TorchDispatchMode):
    """Convolutions of bfloat16 tensors as processors with bfloat16 arithmetic do them.

    Such a processor multiplies bfloat16 numbers, adds the products in float32 and rounds the sum.
    A float32 convolution of the same numbers gives these sums, because a product of two of them is
    exact in float32. PyTorch's own way on other CPUs is six times slower, and adds up the weights'
    gradient, image by image, in bfloat16, which no such processor does.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function not in CONVOLUTIONS or args[0].dtype != torch.bfloat16:
            return function(*args, **kwargs)
        sums = function(*tree_map(_to(torch.bfloat16, torch.float32), args), **kwargs)
        return tree_map(_to(torch.float32, torch.bfloat16), sums)


def _to(before: torch.dtype, after: torch.dtype):
    def cast(value):
        is_before = isinstance(value, torch.Tensor) and value.dtype == before
        return value.to(after) if is_before else value

    return cast


def arithmetic_of(precision: str, device: str) -> str:
    """`native`, or `emulated` for bfloat16 on a CPU that has none."""
    return "native" if precision in ("float32", native_precision(device)) else "emulated"


def identity(config: RunConfig) -> dict:
    """What tells one row of the file from another."""
    return {
        "model": config.model,
        "ratio": config.ratio,
        "sparsity": config.sparsity,
        "seed": config.seed_init,
        "precision": config.precision,
    }


def place(row: dict) -> tuple:
    """The values of `identity`, by which the rows are sorted and found."""
    return tuple(row[name] for name in ("model", "ratio", "sparsity", "seed", "precision"))


def measure(config: RunConfig, device: str) -> dict:
    """The row of one run: from its record, or trained now."""
    row = identity(config) | {
        "arithmetic": arithmetic_of(config.precision, device),
        "device": pick_device(device).type,
    }
    if config.precision == "float32" and (record := find_record(config)) is not None:
        test = record["test"]
        return row | {"record": run_id(config), "accuracy": test["accuracy"], "ece": test["ece"]}
    with Float32Sums() if row["arithmetic"] == "emulated" else nullcontext():
        run = fit(config, device)
    network = with_normalization(run.model, run.dataset.name)
    with run.on_stream():
        logits = predict_logits(network, run.dataset.test_images).cpu()
    targets = run.dataset.test_labels.cpu()
    return row | {
        "record": "",
        "accuracy": accuracy(logits, targets),
        "ece": expected_calibration_error(logits.double().softmax(1), targets),
    }


def configs(options, variant: str) -> list[RunConfig]:
    """Both precisions of every run, seed by seed."""
    choice = {"models": options.models, "ratios": options.ratios, "variant": variant}
    found = []
    for seed in options.seeds:
        for config in grid("depth", "cpu", sparsities=(0.9,), seeds=(seed,), **choice):
            if options.epochs:
                config = replace(config, epochs=options.epochs, train_images=options.train_images)
            found += [config, replace(config, precision="bfloat16")]
    return found


def finished(device: torch.device) -> list[dict]:
    """The rows of this processor that an earlier call wrote."""
    path = paths.BENCHMARKS / "precision.csv"
    if not path.exists():
        return []
    table = pd.read_csv(path, keep_default_na=False)
    return table[table.processor == processor(device)].to_dict("records")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet-8"])
    parser.add_argument("--ratios", nargs="+", default=["dense", "erk"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--epochs", type=int, help="instead of the profile's own, to try it out")
    parser.add_argument("--train-images", type=int, default=10_000, help="with --epochs")
    options = parser.parse_args()
    device = pick_device(options.device)
    rows = finished(device)
    known = {place(row) for row in rows}
    workers = os.cpu_count() if device.type == "cpu" else 1
    spawn = multiprocessing.get_context("spawn")
    with cifar_at_hand() as variant, worker_environment():
        todo = [c for c in configs(options, variant) if place(identity(c)) not in known]
        with ProcessPoolExecutor(workers, spawn, initializer=one_thread) as pool:
            waiting = [pool.submit(measure, config, options.device) for config in todo]
            for future in as_completed(waiting):
                rows.append(future.result())
                path = save_rows("precision", sorted(rows, key=place), device)
                print(*place(rows[-1]), rows[-1]["arithmetic"], rows[-1]["accuracy"])
    if not todo:
        print("every run is in the file")
        return
    save_description("precision", device)
    print(path)


if __name__ == "__main__":
    main()
