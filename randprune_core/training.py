"""Training: one run to its last epoch, and its measurements.

`train(config)` returns the measured part of a record (layers, cost, history, test). It keeps the
paper's protocol (Table 1), can be stopped at any epoch and goes on from its checkpoint with the
same result to the last bit on a CPU.
"""

import time

from torch import Tensor
from tqdm import tqdm

from . import checkpoints, models
from .config import RunConfig, run_id
from .data import loading
from .devices import pick_device
from .engine import Run
from .locks import lock
from .metrics.classification import accuracy
from .metrics.cost import cost
from .metrics.evaluation import evaluate
from .metrics.predict import predict_logits
from .precision import arithmetic
from .protocol import attack_images, pgd_images
from .pruning import masks


class OutOfTime(RuntimeError):
    """The deadline has passed; the state after the last full epoch is in the checkpoint."""


def train(
    config: RunConfig,
    device: str = "auto",
    *,
    progress: bool = False,
    deadline: float | None = None,
) -> dict:
    """Train one run to its last epoch and measure it; the network itself is not kept.

    `deadline` is a `time.time()`: the first full epoch that ends after it is checkpointed and
    `OutOfTime` raised. Returns {layers, cost, history, test, data}. Raises `TrainingFailed` when
    the loss is not finite and `DataError` when the data is not there.
    """
    if config.dataset == "imagenet":
        from . import imagenet_run  # torchvision, which it needs, takes seconds to import

        return imagenet_run.train(config, device, progress=progress)
    check_data(config)
    run = train_to_the_end(config, device, progress, deadline)
    with arithmetic(), run.on_stream():
        result = measure(run)
    checkpoints.remove(config)
    return result


def fit(config: RunConfig, device: str = "auto", *, progress: bool = False) -> Run:
    """Train one run to its last epoch and return it, not measured: `model`, `masks`, `history`.

    For a study of the network itself; nothing is recorded. Raises what `train` raises.
    """
    with lock(run_id(config)):  # for its checkpoint, which is that of a recorded run too
        run = train_to_the_end(config, device, progress, None)
        checkpoints.remove(config)
    return run


def check_data(config: RunConfig) -> None:
    """Load all that the run and its measurements need, before training: nothing is lost later."""
    loading.load_dataset(config.dataset, config.variant, config.image_size)
    loading.load_ood_images(config.dataset, config.image_size)


def train_to_the_end(
    config: RunConfig, device: str, progress: bool, deadline: float | None, kind: type[Run] = Run
) -> Run:
    """Train one run, as its checkpoint left it or anew, to its last epoch and return it."""
    with arithmetic():
        run = checkpoints.begin(config, pick_device(device), kind)
        steps = len(run.sizes)
        with tqdm(
            total=config.epochs * steps,
            initial=run.epoch * steps,
            desc=f"{config.model} {config.ratio} {config.sparsity:g}",
            unit="step",
            disable=None if progress else True,  # None: shown on a terminal only
        ) as bar:
            while run.epoch < config.epochs:
                run.start_epoch(bar.update)
                finish_epoch(run, deadline)
                bar.update(run.epoch * steps - bar.n)  # a GPU reports whole epochs only
                bar.set_postfix(validation=f"{run.history['validation_accuracy'][-1]:.1%}")
    return run


def finish_epoch(run: Run, deadline: float | None) -> None:
    """Note and checkpoint an epoch; raises `OutOfTime` when it is late and not the last one."""
    run.finish_epoch()
    late = deadline is not None and time.time() > deadline
    if late and run.epoch < run.config.epochs:
        checkpoints.save(run)
        raise OutOfTime(f"stopped after epoch {run.epoch} of {run.config.epochs}")
    checkpoints.save_now_and_then(run)


def kept_weights(run: Run) -> dict[str, int]:
    """Kept weights of every maskable layer, all of them where there is no mask."""
    weights = models.maskable_weights(run.model)
    return {name: w.numel() for name, w in weights.items()} | masks.mask_counts(run.masks)


def measure(run: Run) -> dict:
    """All that a record says of the network after its last epoch."""
    dataset = run.dataset
    model = models.with_normalization(run.model, dataset.name)
    ood: dict[str, Tensor] = loading.load_ood_images(dataset.name, run.config.image_size)
    count = len(dataset.test_labels)
    test = evaluate(
        model,
        dataset.test_images,
        dataset.test_labels,
        ood,
        attack_images=attack_images(run.config, count),
        pgd_images=pgd_images(run.config, count),
    )
    if run.best["epoch"]:  # validation images were held out, and chose an epoch
        run.model.load_state_dict(run.best["weights"])
        logits = predict_logits(model, dataset.test_images)
        best = accuracy(logits, dataset.test_labels)
        test["best_validation"] = {"epoch": run.best["epoch"], "accuracy": best}
    kept = kept_weights(run)
    layers = [
        {"name": name, "shape": list(w.shape), "kept": kept[name], "total": w.numel()}
        for name, w in models.maskable_weights(run.model).items()
    ]
    shape = tuple(dataset.test_images.shape[1:])
    return {
        "layers": layers,
        "cost": cost(run.model, kept, shape),
        "history": run.history,
        "test": test,
        "data": {
            "source": dataset.source,
            "variant": dataset.variant,
            "fingerprint": dataset.fingerprint,
            "train": run.config.train_images,
            "validation": len(dataset.train_labels[run.validation]),
            "test": len(dataset.test_labels),
            "ood": {name: len(images) for name, images in ood.items()},
        },
    }
