"""What each of the two processes of tests/training/test_distributed.py does.

Leaves `<rank>.pt` in the folder that it is given: weights and masks after one epoch, and what
`check_same` said of values that differ.
"""

import sys
from pathlib import Path

import torch

from randprune_core.config import RunConfig
from randprune_core.data.imagenet import load_folder
from randprune_core.precision import arithmetic
from randprune_core.pruning import masks
from randprune_core.training.distributed import check_same, process_group, rank, world
from randprune_core.training.imagenet import ImageNetRun


def small(**changes) -> RunConfig:
    """A run on the small folder."""
    found = load_folder("resnet-8")
    values = {"dataset": "imagenet", "variant": found.variant, "model": "resnet-8-4"}
    values |= {"ratio": "erk", "sparsity": 0.5, "epochs": 2, "batch_size": 16, "lr": 0.05}
    return RunConfig(**values | {"train_images": len(found.train)} | changes)


def frozen(self, mode=True):
    """Batch norm that uses its running statistics: the only part that sees the batch as a whole."""
    return torch.nn.Module.train(self, False)


def one_epoch(config) -> ImageNetRun:
    with arithmetic():
        run = ImageNetRun(config, torch.device("cpu"))
        run.note_initial_gradient_norm()
        run.start_epoch()
        run.finish_epoch()
    return run


def main(folder: Path) -> None:
    torch.nn.BatchNorm2d.train = frozen
    with process_group("cpu"):
        assert world() == 2
        left = {"rank": rank()}
        for ratio in ("erk", "snip"):
            run = one_epoch(small(ratio=ratio, sparsity=0.8, epochs=1, lr=0.01))
            masks.assert_masked(run.model, run.masks)
            left[ratio] = {"weights": run.model.state_dict(), "masks": run.masks}
            left[ratio]["history"] = run.history
        try:
            check_same({"the data": "one copy", "the masks": f"of process {rank()}"})
        except RuntimeError as error:
            left["refusal"] = str(error)
        torch.save(left, folder / f"{left['rank']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
