"""How fast the engine trains beside the loops that people write, in one run on one machine.

    python benchmarks/training_speed.py [--model resnet-20] [--batch 128] [--device cpu]

Once at 32 x 32 pixels, in bfloat16 where the processor has it, and once as profile `mini` trains,
at 16 x 16 pixels in float32.

Cases: `plain`, a DataLoader with two workers, an image at a time through torchvision's transforms,
float32 NCHW, masks multiplied one by one; `torch_prune`, torch.nn.utils.prune on the engine's data;
`engine`, one sparse run; `engine_dense`, the same without masks, which bounds it; `sweep`, as many
runs as there are cores, or as pay on a GPU. Cases take turns in every repetition, so that a machine
that slows down slows them all; a figure is the median of rates, a ratio that of the ratios within
a repetition. Everything is at sparsity 0.9 (ERK).
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from machine import cifar_at_hand, matmul_rate, save_description, save_rows
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from randprune_core import apply_masks, build_model, layer_sparsities, random_masks, to_torch_prune
from randprune_core.config import RunConfig
from randprune_core.data.loading import dataset_on
from randprune_core.datasets import DATASETS, padding
from randprune_core.devices import one_thread, pick_device, worker_environment
from randprune_core.metrics.cost import network_macs
from randprune_core.precision import arithmetic, native_precision
from randprune_core.pruning.layers import maskable_weights
from randprune_core.sweeps.profiles import PROFILES
from randprune_core.training.engine import Run

EPOCH = {"cpu": 6, "cuda": 48}
"""Steps of an epoch, one of which is the warm-up: a GPU takes a hundredth of the time for one."""
SIDE_BY_SIDE = (2, 4, 8)


def sgd(model: nn.Module, **options) -> torch.optim.SGD:
    return torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, **options
    )


class Pictures(torch.utils.data.Dataset):
    """Images and labels as torchvision's CIFAR10 holds them: one array, a PIL image at a time."""

    def __init__(self, variant: str, image_size: int | None):
        dataset = dataset_on("cifar10", variant, torch.device("cpu"), image_size)
        side, border = dataset.train_images.shape[-1], padding("cifar10", image_size)
        self.pixels = dataset.train_images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = dataset.train_labels.tolist()
        mean, std = DATASETS["cifar10"].normalization
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(side, padding=border, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, place):
        return self.transform(Image.fromarray(self.pixels[place])), self.labels[place]


class Plain:
    """The loop that the authors' code and most tutorials have, written anew."""

    def __init__(self, config: RunConfig, device: torch.device):
        self.device = device
        self.model = build_model(config.model)
        sparsities = layer_sparsities("erk", self.model, config.sparsity)
        masks = random_masks(self.model, sparsities)
        apply_masks(self.model, masks)
        self.model.to(device).train()
        self.masks = {name: mask.float().to(device) for name, mask in masks.items()}
        self.optimizer = sgd(self.model)
        self.loader = DataLoader(
            Pictures(config.variant, config.image_size),
            config.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=2,
            persistent_workers=True,
            pin_memory=device.type == "cuda",
        )
        self.batches = iter(self.loader)

    def batch(self):
        try:
            return next(self.batches)
        except StopIteration:
            self.batches = iter(self.loader)
            return next(self.batches)

    def steps(self, count: int) -> None:
        for _ in range(count):
            images, labels = (part.to(self.device, non_blocking=True) for part in self.batch())
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(images), labels).backward()
            self.optimizer.step()
            with torch.no_grad():
                for name, weight in maskable_weights(self.model).items():
                    weight.mul_(self.masks[name])
        synchronize(self.device)


class Engine:
    """One run of the engine; an epoch has `count` steps."""

    def __init__(self, config: RunConfig, device: torch.device):
        self.run = Run(config, device)

    def steps(self, count: int) -> None:
        for _ in range(count // len(self.run.sizes)):
            self.run.start_epoch()
            self.run.wait()


class TorchPrune(Engine):
    """The engine's data, layout and precision; masks by torch.nn.utils.prune, steps as usual."""

    def __init__(self, config: RunConfig, device: torch.device):
        super().__init__(config, device)
        run = self.run
        run.model = to_torch_prune(run.model, run.masks).to(memory_format=run.memory_format)
        run.model.train()
        run.optimizer = sgd(run.model, fused=True)
        self.weights = [p for p in run.model.parameters() if p.ndim > 1]

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.run.batches.rewind()
            logits, labels = self.run.forward(self.run.config.batch_size)
            F.cross_entropy(logits.float(), labels).backward()
            self.run.optimizer.step()
            self.run.optimizer.zero_grad(set_to_none=True)
        synchronize(self.run.device)


class SideBySide:
    """Several runs on one GPU, each on its own stream."""

    def __init__(self, config: RunConfig, device: torch.device, count: int):
        self.runs = [Run(config, device) for _ in range(count)]

    def steps(self, count: int) -> None:
        for _ in range(count // len(self.runs[0].sizes)):
            for run in self.runs:
                run.start_epoch()
            while not all([run.is_done() for run in self.runs]):  # which hands over their steps
                pass


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Processes:
    """One case of processes of its own, that take their steps at the same time, as a sweep does.

    What a case sets for its whole process, as the engine does with freed memory, stays there.
    """

    def __init__(self, pipes: list, case: str):
        self.pipes, self.case = pipes, case

    def steps(self, count: int) -> None:
        for pipe in self.pipes:
            pipe.send((self.case, count))
        for pipe in self.pipes:
            pipe.recv()


def start(make: Callable[[], dict], count: int = 1) -> list:
    """Pipes to `count` new processes that each hold the cases that `make` makes."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for _ in range(count):
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(make, theirs), daemon=True).start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    return pipes


def serve(make: Callable[[], dict], pipe) -> None:
    """Take steps as they are asked for, until the process that asks has ended."""
    with arithmetic(), suppress(EOFError):
        cases = make()
        pipe.send("ready")
        while True:
            case, count = pipe.recv()
            cases[case].steps(count)
            pipe.send("done")


def engines(config: RunConfig, dense: RunConfig, device: torch.device) -> dict:
    return {
        "torch_prune": TorchPrune(config, device),
        "engine": Engine(config, device),
        "engine_dense": Engine(dense, device),
    }


def engine_on_a_core(config: RunConfig) -> dict:
    one_thread()
    return {"sweep": Engine(config, torch.device("cpu"))}


def sweep_on_cores(config: RunConfig, count: int) -> Processes:
    """One single-threaded process for each of `count` runs."""
    with worker_environment():
        return Processes(start(partial(engine_on_a_core, config), count), "sweep")


def images_per_second(case, config: RunConfig, steps: int, runs: int) -> float:
    case.steps(config.train_images // config.batch_size)
    started = time.perf_counter()
    case.steps(steps)
    return runs * steps * config.batch_size / (time.perf_counter() - started)


def make_cases(config: RunConfig, dense: RunConfig, device: torch.device) -> dict:
    """Every case with the number of runs that it trains at the same time."""
    cases = {"plain": (Plain(config, device), 1)}
    if device.type == "cpu":
        cores = multiprocessing.cpu_count()
        pipes = start(partial(engines, config, dense, device))
        for name in ("torch_prune", "engine", "engine_dense"):
            cases[name] = Processes(pipes, name), 1
        return cases | {"sweep": (sweep_on_cores(config, cores), cores)}
    cases |= {name: (case, 1) for name, case in engines(config, dense, device).items()}
    return cases | {f"sweep {k}": (SideBySide(config, device, k), k) for k in SIDE_BY_SIDE}


def measure(options, config: RunConfig, dense: RunConfig) -> tuple[dict, dict, float]:
    """Images a second of each case by repetition, its runs at once, the matrix-product rate."""
    device = pick_device(options.device)
    rates, ceiling = {}, []
    with arithmetic():
        cases = make_cases(config, dense, device)
        for _ in range(options.repetitions):
            ceiling.append(matmul_rate(device, config.precision))
            for name, (case, runs) in cases.items():
                rate = images_per_second(case, config, options.steps, runs)
                rates.setdefault(name, []).append(rate)
    runs = {name: count for name, (_, count) in cases.items()}
    return rates, runs, float(np.median(ceiling))


def ratio(rates: dict, name: str, other: str) -> float:
    """Median over the repetitions of one case's rate in terms of another's."""
    pairs = zip(rates[name], rates[other], strict=True)
    return statistics.median(rate / base for rate, base in pairs)


def best_sweep(rates: dict) -> str:
    """The case of the sweep that trains most: on a GPU there is one for each number of runs."""
    sweeps = [name for name in rates if name.startswith("sweep")]
    return max(sweeps, key=lambda name: statistics.median(rates[name]))


def table(device: str, config: RunConfig, rates: dict, ceiling: float) -> list[dict]:
    """Rows of the CSV."""
    macs, rows = network_macs(config.model, image_size=config.image_size), []
    for name in ("plain", "torch_prune", "engine", "engine_dense", best_sweep(rates)):
        median = statistics.median(rates[name])
        rows.append(
            {
                "case": name.split()[0],
                "device": device,
                "model": config.model,
                "side": config.image_size or DATASETS[config.dataset].side,
                "precision": "float32" if name == "plain" else config.precision,
                "images_per_second": median,
                "ratio_to_plain": ratio(rates, name, "plain"),
                # Forward and backward are three passes; the ceiling is of the engine's precision.
                "share_of_matmul": 3 * macs * median / ceiling,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet-20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--precision", default="bfloat16", help="bfloat16 (float32 where not native) or float32"
    )
    parser.add_argument(
        "--steps", type=int, help="timed steps (12; 48 on a GPU), a multiple of 6 (48)"
    )
    parser.add_argument("--repetitions", type=int, default=8)
    options = parser.parse_args()
    precision = options.precision
    if precision == "bfloat16" and native_precision(options.device) == "float32":
        print("bfloat16 is not native here: float32 is measured")
        precision = "float32"
    device, rows, facts = pick_device(options.device), [], {}
    epoch = EPOCH[device.type]
    options.steps = options.steps or max(epoch, 12)
    with cifar_at_hand() as variant:
        common = {"model": options.model, "batch_size": options.batch, "variant": variant}
        common["train_images"] = epoch * options.batch
        for side, arithmetics in ((None, precision), (PROFILES["mini"]["image_size"], "float32")):
            common |= {"image_size": side, "precision": arithmetics}
            sparse = RunConfig(ratio="erk", sparsity=0.9, **common)
            dense = RunConfig(ratio="dense", sparsity=0.0, **common)
            rates, runs, ceiling = measure(options, sparse, dense)
            rows += table(device.type, sparse, rates, ceiling)
            facts = facts or {  # of the first, at the data's own size
                "matmul_gflops": round(2 * ceiling / 1e9, 1),
                "sweep_runs": runs[best_sweep(rates)],
                "sparse_to_dense": round(ratio(rates, "engine", "engine_dense"), 3),
            }
            print(f"matrix product: {2 * ceiling / 1e9:.0f} GFLOP/s in {arithmetics}")
            for name, values in rates.items():
                if name.startswith("sweep "):
                    print(f"{name}: {statistics.median(values):.0f} images/s")
    path = save_rows("training_speed", rows, device)
    save_description("training_speed", device, **facts)
    for row in rows:
        print(
            f"{row['side']} px {row['case']:>12} {row['images_per_second']:8.0f} images/s "
            f"{row['ratio_to_plain']:6.2f} x plain "
            f"{100 * row['share_of_matmul']:5.1f} % of the matrix product"
        )
    print(f"engine, sparse to dense: {facts['sparse_to_dense']:.3f}")
    print(path)


if __name__ == "__main__":
    main()
