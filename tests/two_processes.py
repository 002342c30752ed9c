"""What each of the two processes does that `torchrun` starts for tests/test_distributed.py.

Leaves `<rank>.pt` in the folder that it is given: weights and masks after one epoch, and what
`check_same` said of values that differ.
"""

import sys
from pathlib import Path

import torch

from randprune_core.precision import arithmetic
from randprune_core.pruning import masks
from randprune_core.training.distributed import check_same, process_group, rank, world
from randprune_core.training.imagenet import ImageNetRun


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
    from test_imagenet import small

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
