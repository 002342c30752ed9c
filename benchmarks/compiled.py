"""Whether `torch.compile` pays: the engine's step beside the same step compiled, taking turns.

    python benchmarks/compiled.py [--model resnet-20] [--device cpu]

Writes `results/benchmarks/compiled.csv`: a row a way (eager, compiled) and number of threads, with
the seconds until the first epoch is through, which are those of the compiler, images a second
after it, and the epochs of profile `cpu` after which the compiler's seconds are won back.
"""

import argparse
import os
import statistics
import tempfile
import time
from functools import cached_property

import torch
from machine import cifar_at_hand, save_description, save_rows
from training_speed import EPOCH, Engine, images_per_second

from randprune_core.config import RunConfig
from randprune_core.devices import pick_device
from randprune_core.precision import arithmetic, native_precision
from randprune_core.sweeps.profiles import PROFILES
from randprune_core.training.engine import Run


class CompiledRun(Run):
    """A run whose network is compiled, forward and backward; its step is the engine's."""

    backend = "inductor"

    @cached_property
    def network(self):
        return torch.compile(self.model, backend=self.backend)


class Compiled(Engine):
    def __init__(self, config: RunConfig, device: torch.device):
        self.run = CompiledRun(config, device)


def measure(config: RunConfig, device: torch.device, steps: int, repetitions: int) -> dict:
    """First epoch's seconds and median images a second of each way."""
    cases = {"eager": Engine(config, device), "compiled": Compiled(config, device)}
    first, rates = {}, {name: [] for name in cases}
    for name, case in cases.items():
        started = time.perf_counter()
        case.steps(EPOCH["cpu"])
        first[name] = time.perf_counter() - started
    for _ in range(repetitions):
        for name, case in cases.items():
            rates[name].append(images_per_second(case, config, steps, 1))
    return {name: (first[name], statistics.median(rates[name])) for name in cases}


def rows(found: dict, config: RunConfig, device: torch.device, threads: int) -> list[dict]:
    eager_first, eager = found["eager"]
    epoch = PROFILES["cpu"]["train_images"]
    table = []
    for name, (first, rate) in found.items():
        saved = epoch / eager - epoch / rate  # seconds an epoch
        table.append(
            {
                "case": name,
                "device": device.type,
                "model": config.model,
                "precision": config.precision,
                "threads": threads,
                "first_epoch_seconds": first,
                "images_per_second": rate,
                "ratio_to_eager": rate / eager,
                "epochs_to_win_back": (first - eager_first) / saved if saved > 0 else None,
            }
        )
        print(
            f"{threads} threads {name:>9}: first epoch {first:6.1f} s, {rate:7.0f} images/s, "
            f"{rate / eager:.2f} x eager"
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet-20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--steps", type=int, default=6, help="timed steps, a multiple of 6")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--threads", nargs="+", type=int, help="default: 1, and on a CPU as many as it has cores"
    )
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    options = parser.parse_args()
    CompiledRun.backend = options.backend
    device = pick_device(options.device)
    threads = options.threads or ((1,) if device.type == "cuda" else (1, os.cpu_count()))
    table = []
    with cifar_at_hand() as variant, arithmetic(), tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # compiled anew, not taken from a cache
        common = {"model": options.model, "batch_size": options.batch, "ratio": "erk"}
        common |= {"sparsity": 0.9, "precision": native_precision(options.device)}
        common |= {"variant": variant, "train_images": EPOCH["cpu"] * options.batch}
        config = RunConfig(**common)
        for count in sorted(set(threads)):
            torch.set_num_threads(count)
            torch.compiler.reset()
            found = measure(config, device, options.steps, options.repetitions)
            table += rows(found, config, device, count)
    print(save_rows("compiled", table, device))
    save_description("compiled", device)


if __name__ == "__main__":
    main()
