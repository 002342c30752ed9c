"""Training: one run to its last epoch, and its measurements.

`train(config)` returns the measured part of a record (layers, cost, history, test). It keeps the
paper's protocol (Table 1), can be stopped at any epoch and goes on from its checkpoint with the
same result to the last bit on a CPU.
"""

from collections.abc import Callable

from torch import nn

from ..config import RunConfig, check_code, run_id
from ..data import loading
from ..precision import arithmetic
from ..records.locks import lock
from . import checkpoints
from .engine import Run
from .loop import train_to_the_end
from .measure import measure


def train(
    config: RunConfig,
    device: str = "auto",
    *,
    progress: bool = False,
    deadline: float | None = None,
    keep_checkpoint: bool = False,
    save: Callable[[nn.Module], None] = lambda model: None,
) -> dict | None:
    """Train one run to its last epoch and measure it; `save` is called with the trained network.

    `deadline` is a `time.time()`: the first full epoch that ends after it is checkpointed and
    `OutOfTime` raised. `keep_checkpoint` leaves it to the caller to remove the checkpoint, once the
    record is on disk. Returns {layers, cost, history, test, data}. Raises `TrainingFailed`
    when the loss is not finite and `DataError` when the data is not there. A run on ImageNet may be
    shared by a job of several processes: None in all of them but the first.
    """
    if config.dataset == "imagenet":
        from . import imagenet  # torchvision, which it needs, takes seconds to import

        result = imagenet.train(config, device, progress=progress, save=save)
    else:
        with arithmetic():  # the data, too, is read with PyTorch as a new process has it
            check_data(config)
            run = train_to_the_end(config, device, progress, deadline)
            with run.on_stream():
                save(run.model)
                result = measure(run)
    if result is not None and not keep_checkpoint:
        checkpoints.remove(config)
    return result


def fit(config: RunConfig, device: str = "auto", *, progress: bool = False) -> Run:
    """Train one run to its last epoch and return it, not measured: `model`, `masks`, `history`.

    `model` takes normalised images (`with_normalization` makes it take pixels) and lies on the
    device that it was trained on. Nothing is recorded. Raises what `train` raises.
    """
    with lock(run_id(config)):  # for its checkpoint, which is that of a recorded run too
        run = train_to_the_end(config, device, progress, None)
        checkpoints.remove(config)
    return run


def check_data(config: RunConfig) -> None:
    """Load all that the run and its measurements need, before training: nothing is lost later."""
    check_code(config)
    loading.load_dataset(config.dataset, config.variant, config.image_size)
    loading.load_ood_images(config.dataset, config.image_size)
