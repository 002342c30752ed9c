"""Whether a state that was read from a file is one that a run can have after a full epoch.

Everything that follows from the config is compared with it, and everything else is looked at for
what it must be: a state that is only nearly right would go on to a wrong record.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..config import config_from_dict, pruning_epoch
from ..records.schema import EPOCH_COLUMNS
from .engine import FINE_EPOCHS, GRADIENT_SLICES, Run
from .protocol import learning_rate

_PARTS = ("config", "fingerprint", "epoch", "history", "best", "model", "optimizer", "masks")
_TOLERANCE = 1e-9


def problem(state: object, run: Run) -> str:
    """Why a run cannot go on from a state, in words; empty where it can.

    `run` is a new one of the same config, at its first epoch.
    """
    try:
        return next(_problems(state, run), "")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        return f"it is not complete ({type(error).__name__})"


def _problems(state: dict, run: Run) -> Iterator[str]:
    if not isinstance(state, dict) or not set(_PARTS) <= set(state) <= {*_PARTS, "code"}:
        yield "it is not the state of a run"
    if config_from_dict(state["config"]) != run.config:
        yield "it is of another config"
    if state["fingerprint"] != run.dataset.fingerprint:
        yield "it was trained on other data"
    epoch = state["epoch"]
    if type(epoch) is not int or not 1 <= epoch <= run.config.epochs:
        yield f"its epoch is not one of 1 to {run.config.epochs}"
    yield from _code_problems(state.get("code", []))
    yield from _history_problems(state["history"], epoch, run)
    yield from _mask_problems(state["masks"], epoch, run)
    yield from _weight_problems("network", state["model"], run, state["masks"])
    yield from _momentum_problems(state["optimizer"], run)
    yield from _best_problems(state, run)


def _code_problems(code: object) -> Iterator[str]:
    """`code` is a list of `provenance.code_version`."""
    for part in code if isinstance(code, list) else [None]:
        commit, dirty = part["commit"], part["dirty"]
        known = commit is None or (isinstance(commit, str) and 3 <= len(commit) <= 64)
        if set(part) != {"commit", "dirty"} or not known or type(dirty) not in (bool, type(None)):
            yield "it does not say which code it is of"
        if isinstance(commit, str) and set(commit) - set("0123456789abcdef"):
            yield "it does not say which code it is of"


def _history_problems(history: dict, epoch: int, run: Run) -> Iterator[str]:
    known = {*EPOCH_COLUMNS, "gradient_norm_at_init", "gradient_norm"}
    if not known <= set(history) <= known | {"label_smoothing"}:
        yield "its history has other columns"
    if history.get("label_smoothing", run.batches.label_smoothing) != run.batches.label_smoothing:
        yield "its history is of another loss"
    for name in EPOCH_COLUMNS:
        if not _are_numbers(history[name], epoch):
            yield f"its history has not {epoch} numbers in {name}"
    if history["epoch"] != list(range(1, epoch + 1)):
        yield "its history has other epochs"
    rates = [learning_rate(run.config, number) for number in range(epoch)]
    if not _are_close(history["lr"], rates):
        yield "its history has other learning rates"
    for name in ("train_accuracy", "validation_accuracy"):
        if not all(0 <= value <= 1 for value in history[name]):
            yield f"its {name} is no fraction"
    norms, slices = history["gradient_norm"], list(_slices(epoch, len(run.sizes)))
    if set(norms) != {"epoch", "norm"} or not _are_numbers(norms["norm"], len(slices)):
        yield "its gradient norms are not those of its epochs"
    if not _are_numbers(norms["epoch"], len(slices)) or not _are_close(norms["epoch"], slices):
        yield "its gradient norms are not those of its epochs"
    everything = [*norms["norm"], *history["train_loss"], *history["validation_loss"]]
    if not _are_numbers([history["gradient_norm_at_init"]], 1):
        yield "its history has no initial gradient norm"
    if min(*everything, history["gradient_norm_at_init"]) < 0:
        yield "its history has a loss or a norm below zero"


def _slices(epochs: int, steps: int) -> Iterator[float]:
    """Where the gradient norms of a history stand, in epochs (`Run.finish_epoch`)."""
    for epoch in range(1, epochs + 1):
        slices = min(GRADIENT_SLICES, steps) if epoch <= FINE_EPOCHS else 1
        yield from (round(epoch - 1 + number / slices, 6) for number in range(1, slices + 1))


def _mask_problems(found: Mapping[str, Tensor], epoch: int, run: Run) -> Iterator[str]:
    drawn = run.drawn
    if list(found) != list(drawn):
        yield "its masks are of other layers"
    pruned = epoch > pruning_epoch(run.config) or pruning_epoch(run.config) == 0
    for name, mask in found.items():
        expected = drawn[name] if pruned else torch.ones_like(drawn[name])
        if not _is_like(mask, expected):
            yield f"its mask of {name} has another shape or type"
        if run.config.method == "static" and not torch.equal(mask.cpu(), expected.cpu()):
            yield f"its mask of {name} is not the one that the config draws"
        if int(mask.sum()) != int(expected.sum()):
            yield f"its mask of {name} keeps another number of weights"


def _weight_problems(
    what: str, found: Mapping[str, Tensor], run: Run, masks: Mapping[str, Tensor]
) -> Iterator[str]:
    expected = run.model.state_dict()
    if list(found) != list(expected):
        yield f"its {what} has other weights"
    for name, value in found.items():
        if not _is_like(value, expected[name]):
            yield f"its {what} has another shape or type of {name}"
        if not bool(value.isfinite().all()):
            yield f"its {what} has a number in {name} that is not finite"
        if name in masks and bool(value[~masks[name]].any()):
            yield f"its {what} has a weight in {name} that is pruned"
        if name.endswith("running_var") and bool((value < 0).any()):
            yield f"its {what} has a variance in {name} below zero"


def _momentum_problems(found: Mapping[str, list[Tensor]], run: Run) -> Iterator[str]:
    expected = run.optimizer.state_dict()
    if set(found) != set(expected) or len(found["momentum"]) != len(expected["momentum"]):
        yield "its momentum is of another network"
    for value, own in zip(found["momentum"], expected["momentum"], strict=True):
        if not _is_like(value, own) or not bool(value.isfinite().all()):
            yield "its momentum has another shape or type, or is not finite"


def _best_problems(state: dict, run: Run) -> Iterator[str]:
    """The best epoch so far is the first one of highest validation accuracy since the pruning."""
    best, start = state["best"], pruning_epoch(run.config)
    start = start if state["epoch"] > start else 0
    if set(best) != {"epoch", "validation_accuracy", "weights"} or type(best["epoch"]) is not int:
        yield "its best epoch is not complete"
    if not run.batches.selects:
        if best["epoch"] or best["weights"]:
            yield "it has chosen an epoch"
        return
    accuracies = state["history"]["validation_accuracy"][start:]
    if best["epoch"] != start + 1 + accuracies.index(max(accuracies)):
        yield "its best epoch is another one than its history has"
    if best["validation_accuracy"] != max(accuracies):
        yield "its best accuracy is another one than its history has"
    yield from _weight_problems("best network", best["weights"], run, {})


def _are_numbers(values: object, count: int) -> bool:
    if not isinstance(values, list) or len(values) != count:
        return False
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)


def _are_close(values: list, expected: list) -> bool:
    pairs = zip(values, expected, strict=True)
    return all(math.isclose(value, own, rel_tol=_TOLERANCE) for value, own in pairs)


def _is_like(value: object, own: Tensor) -> bool:
    same = isinstance(value, Tensor) and value.layout == own.layout
    return same and value.shape == own.shape and value.dtype == own.dtype
