"""How the time of a training step grows with the network and with runs at once, and the store.

    python benchmarks/scaling.py [--device cpu] [--records 10000]

Writes `results/benchmarks/scaling.csv`, a row a network or number of runs at once, and
`results/benchmarks/load_runs.csv`, a row a size of the record store.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from pathlib import Path

from machine import cifar_at_hand, save_description, save_rows
from training_speed import Engine, SideBySide, sweep_on_cores

from randprune_core import paths
from randprune_core.config import RunConfig, config_to_dict, parse_model_name, run_id
from randprune_core.devices import pick_device
from randprune_core.metrics.cost import network_macs
from randprune_core.precision import arithmetic, native_precision
from randprune_core.records.forms import record_problem
from randprune_core.records.store import read_record, write_record
from randprune_core.records.table import load_runs

DEPTHS = ("resnet-8", "resnet-20", "resnet-32", "resnet-56", "resnet-110")
WIDTHS = ("resnet-20-4", "resnet-20-8", "resnet-20", "resnet-20-24", "resnet-20-32")
STEPS = 3


def seconds_per_step(cases: dict, repetitions: int) -> dict:
    """Median seconds of each case; cases take turns, so that a slow machine slows them all."""
    times = {name: [] for name in cases}
    for repetition in range(repetitions + 1):
        for name, case in cases.items():
            started = time.perf_counter()
            case.steps(STEPS)
            if repetition:  # the first is to warm up
                times[name].append((time.perf_counter() - started) / STEPS)
    return {name: statistics.median(values) for name, values in times.items()}


def network_rows(depths, widths, common: dict, device, repetitions: int) -> list[dict]:
    """A row a network: depth at 16 filters, then width at 20 layers."""
    cases = {
        model: Engine(RunConfig(model=model, **common), device)
        for model in dict.fromkeys((*depths, *widths))
    }
    seconds = seconds_per_step(cases, repetitions)
    rows = []
    for grows, models in (("depth", depths), ("width", widths)):
        for model in models:
            rows.append(_row(grows, model, 1, common, device, seconds[model]))
            print(f"{grows:>8} {model:<14} {1000 * seconds[model]:8.1f} ms a step")
    return rows


def at_once_rows(common: dict, device, repetitions: int, counts) -> list[dict]:
    """A row a number of ResNet-20 runs at once; the time is that in which all make a step."""
    config, rows = RunConfig(model="resnet-20", **common), []
    if device.type == "cuda":
        cases = {count: SideBySide(config, device, count) for count in counts}
    else:
        cases = {count: sweep_on_cores(config, count) for count in counts}
    for count, seconds in seconds_per_step(cases, repetitions).items():
        print(f" at once {count:<14} {1000 * seconds:8.1f} ms for a step of each")
        rows.append(_row("runs_at_once", "resnet-20", count, common, device, seconds))
    return rows


def _row(grows: str, model: str, count: int, common: dict, device, seconds: float) -> dict:
    return {
        "grows": grows,
        "model": model,
        "runs_at_once": count,
        "device": device.type,
        "precision": common["precision"],
        "seconds_per_step": seconds,
        "macs": network_macs(model),
    }


PEAK = """
import json, sys
from pathlib import Path
from randprune_core.config import RunConfig
from randprune_core.training.engine import Run
from randprune_core.devices import pick_device
from randprune_core.precision import arithmetic
with arithmetic():
    Run(RunConfig(**json.loads(sys.argv[1])), pick_device("cpu")).start_epoch()
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
# Not getrusage: its maximum begins with what the process that started this one held.


def peak_memory(model: str, common: dict) -> float:
    """MiB that a process of its own, which imports no more, holds at most while it trains."""
    config = json.dumps({"model": model} | common)
    command = [sys.executable, "-c", PEAK, config]
    done = subprocess.run(command, cwd=paths.ROOT, check=True, capture_output=True, text=True)
    return int(done.stdout) / 1_024


def check_to_parse(record: dict) -> float:
    """The time that `record_problem` takes for a record, divided by that of parsing its JSON."""
    text = json.dumps(record)

    def fastest(work) -> float:
        return min(timeit.repeat(work, number=1, repeat=20))

    return fastest(lambda: record_problem(record)) / fastest(lambda: json.loads(text))


def store_rows(most: int, device: str) -> list[dict]:
    """Seconds that `load_runs` takes for 100, 1,000, ... records of 160 epochs."""
    source = read_record(next(iter(sorted((paths.RESULTS / "runs" / "cifar10").glob("*.json")))))
    history = source["history"]
    for name, values in history.items():
        if isinstance(values, list):
            history[name] = (values * 160)[:160]
    print(f"checking a record takes {check_to_parse(source):.2f} of the time of parsing it")
    config = config_to_dict(RunConfig()) | {"variant": "jpeg75"}
    rows, made, size = [], 0, 100
    with tempfile.TemporaryDirectory() as folder:
        paths.RUNS, paths.LOCAL = Path(folder, "runs"), Path(folder, "local")
        while size <= most:
            for seed in range(made, size):
                record = copy.copy(source)
                record["config"] = config | {"seed_init": seed}
                record["run_id"] = run_id(RunConfig(**record["config"]))
                write_record(record)
            made = size
            load_runs()
            started = time.perf_counter()
            count = len(load_runs())
            seconds = time.perf_counter() - started
            print(f"load_runs of {count} records: {seconds:.2f} s")
            rows.append({"records": count, "seconds": seconds, "device": device})
            size *= 10
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--deepest", type=int, default=110, help="depth of the largest network")
    parser.add_argument("--widest", type=int, default=32, help="filters of the widest network")
    parser.add_argument("--at-once", type=int, nargs="+", help="numbers of runs at once")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--records", type=int, default=10_000, help="largest store to load")
    options = parser.parse_args()
    device = pick_device(options.device)
    counts = [2**power for power in range(5)]
    if device.type == "cpu":
        counts = sorted({1, os.cpu_count() // 2, os.cpu_count()} - {0})
    with cifar_at_hand() as variant, arithmetic():
        common = {"ratio": "erk", "sparsity": 0.9, "batch_size": options.batch}
        common |= {"variant": variant, "train_images": STEPS * options.batch}
        common |= {"precision": native_precision(options.device)}
        depths = [model for model in DEPTHS if parse_model_name(model)[1] <= options.deepest]
        widths = [model for model in WIDTHS if parse_model_name(model)[2] <= options.widest]
        rows = network_rows(depths, widths, common, device, options.repetitions)
        rows += at_once_rows(common, device, options.repetitions, options.at_once or counts)
        facts = {"largest": depths[-1], "batch": options.batch, "precision": common["precision"]}
        facts["peak_mib"] = round(peak_memory(depths[-1], common))
        print(f"{depths[-1]} at batch {options.batch}: {facts['peak_mib']} MiB")
    print(save_rows("scaling", rows, device))
    print(save_rows("load_runs", store_rows(options.records, device.type), device))
    save_description("scaling", device, **facts)


if __name__ == "__main__":
    main()
