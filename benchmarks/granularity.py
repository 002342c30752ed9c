"""How long a step takes, in training and in use, by the pattern of the zeros at sparsity 0.5.

    python benchmarks/granularity.py [--models resnet-20 vgg-11] [--batch 64] [--device cpu]

Cases: `dense`; `unstructured`, `2:4`, `4:8` and `filter`, the same network with masks, as a run
trains it; `compact`, the smaller network that the filter masks leave (`randprune_core.compact`).
All take one batch of noise, already on the device, since time does not depend on what images show.
A training step is forward, backward and SGD, and where there are masks the gradients of pruned
weights are set to zero; a step in use is forward in evaluation mode. Cases take turns in every
repetition, and the figure is the median. A CPU works with one thread, as in a sweep; a GPU replays
captured steps.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from machine import save_description, save_rows
from torch import nn

from randprune_core import apply_masks, build_model, layer_sparsities, random_masks
from randprune_core.devices import memory_format, pick_device
from randprune_core.metrics.cost import layer_macs
from randprune_core.precision import arithmetic, native_precision
from randprune_core.pruning.compact import compact
from randprune_core.pruning.layers import maskable_weights

SPARSITY = 0.5
SHAPE = (3, 32, 32)
CASES = ("dense", "unstructured", "2:4", "4:8", "filter", "compact")


class Case:
    """One network on the device with a batch of images; `step` trains it or uses it once."""

    def __init__(self, name: str, model: str, batch: int, device: torch.device, precision: str):
        self.model, masks = network(name, model)
        self.size = {
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "macs": sum(layer_macs(self.model, SHAPE).values()),
        }
        layout = memory_format(self.model, device)
        self.model.to(device, memory_format=layout)
        weights = maskable_weights(self.model)
        self.pruned = [weights[name] for name in masks]
        self.keep = [mask.to(device, torch.float32) for mask in masks.values()]
        draw = torch.Generator().manual_seed(0)
        images = torch.randn(batch, *SHAPE, generator=draw)
        self.images = images.to(device).contiguous(memory_format=layout)
        self.labels = torch.randint(0, 10, (batch,), generator=draw).to(device)
        options = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
        self.optimizer = torch.optim.SGD(self.model.parameters(), fused=True, **options)
        mixed = precision == "bfloat16"
        self.mixed = lambda: (
            torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
            if mixed
            else nullcontext()
        )
        self.model.train()
        self.training = repeated(self.train_once, device)
        self.model.eval()
        self.inference = repeated(self.use_once, device)

    def train_once(self) -> None:
        with self.mixed():
            logits = self.model(self.images)
        F.cross_entropy(logits.float(), self.labels).backward()
        if self.pruned:
            torch._foreach_mul_([weight.grad for weight in self.pruned], self.keep)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def use_once(self) -> None:
        with torch.no_grad(), self.mixed():
            self.model(self.images)

    def seconds(self, mode: str, steps: int) -> float:
        """Seconds of one step; mode is training or inference."""
        self.model.train(mode == "training")
        started = time.perf_counter()
        getattr(self, mode)(steps)
        return (time.perf_counter() - started) / steps


def network(name: str, model: str) -> tuple[nn.Module, dict]:
    """The network of a case with the masks that its training needs."""
    built = build_model(model)
    if name == "dense":
        return built, {}
    pattern = "filter" if name == "compact" else name
    masks = random_masks(built, layer_sparsities("uniform", built, SPARSITY), 0, pattern)
    apply_masks(built, masks)
    return (compact(built, masks), {}) if name == "compact" else (built, masks)


def repeated(step: Callable[[], None], device: torch.device) -> Callable[[int], None]:
    """A function that does `step` so many times and waits; on a GPU it replays a captured step.

    Libraries choose their kernels on first use, so that the first steps are done here.
    """
    once = step
    step()
    if device.type == "cuda":
        stream = torch.cuda.Stream(device)
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            step()
        once = graph.replay

    def times(count: int) -> None:
        for _ in range(count):
            once()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return times


def measure(options, model: str, device: torch.device, precision: str) -> list[dict]:
    """A row a case: median seconds of a step, and images a second."""
    cases = {name: Case(name, model, options.batch, device, precision) for name in CASES}
    seconds: dict[tuple, list[float]] = {}
    for _ in range(options.repetitions):
        for mode in ("training", "inference"):
            for name, case in cases.items():
                taken = case.seconds(mode, options.steps)
                seconds.setdefault((name, mode), []).append(taken)
    rows = []
    for name, case in cases.items():
        row = {"model": model, "case": name, "device": device.type, "precision": precision}
        row |= {"batch": options.batch, "sparsity": 0.0 if name == "dense" else SPARSITY}
        row |= case.size
        for mode in ("training", "inference"):
            taken = seconds[name, mode]
            row[f"{mode}_seconds"] = statistics.median(taken)
            paired = [own / dense for own, dense in zip(taken, seconds["dense", mode], strict=True)]
            row[f"{mode}_to_dense"] = statistics.median(paired)
            row |= {f"{mode}_low": min(paired), f"{mode}_high": max(paired)}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet-20", "vgg-11"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--steps", type=int, default=1, help="timed steps of a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    device, precision = pick_device(options.device), native_precision(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    rows = []
    with arithmetic():
        for model in options.models:
            rows += measure(options, model, device, precision)
    path = save_rows("granularity", rows, device)
    save_description("granularity", device, repetitions=options.repetitions)
    for row in rows:
        print(
            f"{row['model']:>10} {row['case']:>12} {row['macs'] / 1e6:7.1f} M MACs  "
            f"training {row['training_to_dense']:.2f}, inference {row['inference_to_dense']:.2f} "
            "x the time of dense"
        )
    print(path)


if __name__ == "__main__":
    main()
