"""What `Pruned.attach` costs a training step: ResNet-20 with and without it, in turns.

    python benchmarks/attach.py [--model resnet-20] [--batch 128] [--side 32] [--rounds 12]

A plain PyTorch loop (SGD with momentum, float32) takes a few steps of each kind in every round; the
ratio is the median over the rounds, so that a machine that speeds up and slows down counts alike
for both. Prints the milliseconds a step, the share that the hooks take, and how long `prune` took.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from randprune_core import build_model, prune
from randprune_core.devices import pick_device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet-20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=4, help="of each kind in a round")
    parser.add_argument("--rule", choices=["SGD", "AdamW"], default="SGD")
    options = parser.parse_args()
    device = pick_device("auto")
    images = torch.randn(options.batch, 3, options.side, options.side, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (options.batch,), device=device)

    def start(attached: bool):
        model = build_model(options.model).to(device, memory_format=torch.channels_last)
        began = time.perf_counter()
        handle = prune(model, "erk", 0.9)
        setting_up = time.perf_counter() - began
        if options.rule == "SGD":
            optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
        else:
            optimizer = torch.optim.AdamW(model.parameters())
        if attached:
            handle.attach(optimizer)
        return model, optimizer, setting_up

    def seconds(model, optimizer) -> float:
        began = time.perf_counter()
        for _ in range(options.steps):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / options.steps

    plain, attached = start(False), start(True)
    for network in (plain, attached):
        seconds(*network[:2])
    pairs = [(seconds(*plain[:2]), seconds(*attached[:2])) for _ in range(options.rounds)]
    ratio = statistics.median(with_hooks / without for without, with_hooks in pairs)
    without, with_hooks = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"{options.model}, batch {options.batch}, {options.rule}, {device}")
    print(f"plain {1000 * without:.1f} ms a step, attached {1000 * with_hooks:.1f} ms")
    print(f"attached / plain {ratio:.3f}; prune took {1000 * attached[2]:.0f} ms")


if __name__ == "__main__":
    main()
