"""What a run costs beside its training steps: start, data, validation, checkpoints, measurements.

    python benchmarks/overhead.py [--model resnet-8] [--epochs 160]

Two dense runs of profile `mini`, one after the other in a process of one thread, as a worker of a
sweep trains them. The first one pays for the start of the process and for reading the data. Times
are the processor's, so that whatever else runs on the machine counts little. Writes
`results/benchmarks/overhead.csv`, a row a part of each run, with its seconds and its share.
"""

import argparse
import tempfile
import time
from collections import Counter
from functools import wraps
from pathlib import Path

import torch
from machine import cifar_at_hand, save_description, save_rows

from randprune_core import paths
from randprune_core.config import RunConfig
from randprune_core.devices import one_thread
from randprune_core.sweeps.profiles import PROFILES
from randprune_core.sweeps.run import load_or_train
from randprune_core.training import checkpoints, engine, train

PARTS = {
    "data": (train, "check_data"),
    "steps": (engine.Run, "start_epoch"),
    "validation": (engine.Run, "finish_epoch"),
    "checkpoints": (checkpoints, "save"),
    "measurements": (train, "measure"),
}
"""What is timed: the function of each part. None of them calls another."""


def timed(seconds: Counter) -> None:
    """Let each function of `PARTS` add the processor's seconds that it takes."""
    for part, (owner, name) in PARTS.items():
        setattr(owner, name, _timed(getattr(owner, name), part, seconds))


def _timed(function, part: str, seconds: Counter):
    @wraps(function)
    def call(*args, **options):
        started = time.process_time()
        try:
            return function(*args, **options)
        finally:
            seconds[part] += time.process_time() - started

    return call


def measure(config: RunConfig, seconds: Counter, before: float) -> dict[str, float]:
    """Seconds of each part of a run; `before` are those of the process before it."""
    seconds.clear()
    started = time.process_time()
    load_or_train(config, device="cpu", progress=False)
    whole = time.process_time() - started
    rest = whole - sum(seconds.values())  # the network is built, the record written
    return {"start": before, **{part: seconds[part] for part in PARTS}, "rest": rest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet-8")
    parser.add_argument("--epochs", type=int, default=RunConfig.epochs)
    parser.add_argument("--train-images", type=int, default=PROFILES["mini"]["train_images"])
    options = parser.parse_args()
    one_thread()
    started, seconds, rows = time.process_time(), Counter(), []
    timed(seconds)
    with cifar_at_hand() as variant, tempfile.TemporaryDirectory() as folder:
        paths.RUNS, paths.LOCAL = Path(folder, "runs"), Path(folder, "local")
        paths.CHECKPOINTS, paths.FAILED = Path(folder, "checkpoints"), Path(folder, "failed")
        common = PROFILES["mini"] | {"variant": variant, "epochs": options.epochs}
        common |= {"train_images": options.train_images}
        for run, seed, before in (("first", 0, started), ("further", 1, 0.0)):
            config = RunConfig(
                model=options.model, ratio="dense", sparsity=0.0, seed_init=seed, **common
            )
            found = measure(config, seconds, before)
            whole = sum(found.values())
            beside = 100 * (1 - found["steps"] / whole)
            print(f"{run}: {beside:.1f} % beside the steps, {whole:.0f} s in all")
            for part, value in found.items():
                row = {"run": run, "part": part, "model": options.model, "device": "cpu"}
                rows.append(row | {"seconds": value, "share": value / whole})
                print(f"{part:>14} {value:8.2f} s {100 * value / whole:5.1f} %")
    print(save_rows("overhead", rows, torch.device("cpu")))
    save_description("overhead", torch.device("cpu"), epochs=options.epochs)


if __name__ == "__main__":
    main()
