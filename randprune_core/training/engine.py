"""The engine: one run's network, masks and optimiser on a device, its steps and its state.

A step works on tensors that stay where they are (the batches, the log of the epoch), so that it
needs nothing from the host: on a CPU it is called, on a GPU it is captured once as a CUDA
graph and replayed. Nothing waits for the device between the first and the last step of an epoch.

A device takes so many graphs of a stream, and then lets whoever has one more wait, so that a whole
epoch handed over at once keeps its sweep from all other runs: seen on an H100, where eight runs
side by side trained no more images than one, and twice as many when each is a few steps ahead.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import models
from ..config import RunConfig, check_code, pruning_epoch
from ..datasets import DATASETS
from ..devices import keep_freed_memory, memory_format
from ..pruning import dynamic, masks
from ..pruning.layers import maskable_weights
from ..pruning.prune import hold_at_zero
from ..records.schema import EPOCH_COLUMNS
from . import backward
from .batches import MemoryBatches
from .optimizer import SGD
from .protocol import check_logits, check_single_images, learning_rate

GRADIENT_SLICES = 10
FINE_EPOCHS = 5
WARM_UP_STEPS = 3
_LAYERS_AHEAD = 480
"""Half of what an H100 took before the host had to wait: 47 steps of ResNet-20, 22 of ResNet-56."""


class TrainingFailed(RuntimeError):
    """The loss is no longer a finite number, so that there is nothing to go on with."""


class Run:
    """One run in training: network, masks, optimiser, history, best validation weights.

    An epoch is `start_epoch` (its first steps are handed to the device), `is_done` (whether the
    device is through with it; to be asked again and again, since that hands over the next steps)
    and `finish_epoch` (waits where that is not so; history, validation; raises `TrainingFailed`).
    Its images come from `batches`, those in memory unless others are given.
    """

    writes = True  # checkpoints: of the processes that share a run only one does

    def __init__(self, config: RunConfig, device: torch.device, batches=None):
        check_code(config)
        self.config, self.device = config, device
        self.batches = MemoryBatches(config, device) if batches is None else batches
        self.dataset = self.batches.dataset
        captured = device.type == "cuda" and self.batches.capturable
        self._stream = torch.cuda.Stream(device) if captured else None
        if device.type == "cpu":
            keep_freed_memory()
        with self.on_stream():
            self._build()
            self._prepare_steps()
        self.epoch = 0
        self.history = _empty_history()
        self.best = _nothing_yet()
        self.earlier: list[dict] = []  # code that trained it before it was stopped, and now
        self.code: dict = {"commit": None, "dirty": None}
        self.saved_at = time.monotonic()  # what is not older needs no checkpoint yet

    def on_stream(self) -> AbstractContextManager:
        """The CUDA stream on which everything of this run happens; nothing on a CPU."""
        return torch.cuda.stream(self._stream) if self._stream else nullcontext()

    def _build(self) -> None:
        config, device = self.config, self.device
        model = models.build_model(config.model, self.dataset.num_classes, config.seed_init)
        side = getattr(self.dataset, "side", config.image_size or DATASETS[config.dataset].side)
        check_logits(config, model, side, self.dataset.num_classes)
        check_single_images(config, model, self.sizes, side)
        self.drawn = self.batches.draw_masks(model)
        # Masks that keep everything until then: a captured step holds tensors, not their values.
        late = pruning_epoch(config) > 0
        self.masks = {n: torch.ones_like(m) if late else m for n, m in self.drawn.items()}
        if self.masks:
            masks.apply_masks(model, self.masks)
        self.memory_format = memory_format(model, device)
        self.model = model.to(device, memory_format=self.memory_format)
        self.masks = {name: mask.to(device) for name, mask in self.masks.items()}
        self.optimizer = _optimizer(config, self.model, device)

    @property
    def sizes(self) -> list[int]:
        """Images of each step of an epoch in this process."""
        return self.batches.sizes

    @property
    def network(self) -> nn.Module:
        """What is called to train: the network itself."""
        return self.model

    # --- one step, and the tensors it works on ---

    def _prepare_steps(self) -> None:
        self.batches.prepare(self.memory_format)
        device = self.device
        self._number = torch.zeros(1, dtype=torch.long, device=device)
        self._log = torch.zeros(3, len(self.sizes), device=device)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        weights = maskable_weights(self.model)
        self._prunable = list(weights.values())
        self._pruned = [weights[name] for name in self.masks]
        # Laid out as the gradients are: only then is their product one kernel on a GPU.
        self._keep = [torch.zeros_like(weights[n]).copy_(mask) for n, mask in self.masks.items()]
        self._left: deque[int] = deque()  # sizes of the steps that the device has not got yet
        self._handed: deque[torch.cuda.Event] = deque()  # the end of each that it is not through
        self._ahead = max(_LAYERS_AHEAD // max(len(self._prunable), 1), 2)

    def step(self, size: int) -> None:
        """One optimiser step on the next `size` images of the epoch; waits for nothing.

        Pruned weights get no gradient and so stay zero. Loss, hits and gradient norm of the batch
        go into the log.
        """
        logits, labels = self.forward(size)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.batches.label_smoothing)
        loss.backward()
        if self._pruned:
            torch._foreach_mul_([weight.grad for weight in self._pruned], self._keep)
        norms = torch._foreach_norm([weight.grad for weight in self._prunable])
        norm = torch.stack(norms).norm()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        hits = (logits.detach().argmax(1) == labels).sum()
        found = torch.stack([loss.detach() * size, hits.to(loss.dtype), norm])
        self._log.index_copy_(1, self._number, found[:, None])
        self._number += 1

    def forward(self, size: int) -> tuple[Tensor, Tensor]:
        """Logits and labels of the next `size` images of the epoch, augmented."""
        images, labels = self.batches.next(size)
        mixed = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if mixed else nullcontext():
            return self.network(images), labels

    def start_epoch(self, each_step: Callable[[], object] = lambda: None) -> None:
        """Begin an epoch; on a CPU that trains it, and `each_step` is called after each step."""
        with self.on_stream():
            self._renew_masks()
        self.model.train()
        rate = learning_rate(self.config, self.epoch)
        if self._stream is None:
            self._set_up_epoch(rate)
            for size in self.sizes:
                self.step(size)
                each_step()
            return
        if not self._graphs:
            self._capture()
        with self.on_stream():
            self._set_up_epoch(rate)
        self._left.extend(self.sizes)
        self._hand_over(self._ahead)

    def _hand_over(self, ahead: int) -> None:
        """Hand over the next steps, until the device has `ahead` of them to do."""
        while self._handed and self._handed[0].query():
            self._handed.popleft()
        with self.on_stream():
            while self._left and len(self._handed) < ahead:
                self._graphs[self._left.popleft()].replay()
                self._handed.append(self._stream.record_event())

    def _set_up_epoch(self, rate: float) -> None:
        self.batches.start_epoch(self.epoch)
        self._number.zero_()
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):  # read by the captured step
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _capture(self) -> None:
        """Record a step of each batch size as a CUDA graph; the run is left as it was.

        A few steps run first, because libraries choose their kernels and allocate on first use.
        """
        self.model.train()
        with self.on_stream():
            before = {key: value.clone() for key, value in self._tensors().items()}
            for size in sorted(set(self.sizes), reverse=True):
                for _ in range(WARM_UP_STEPS):
                    self.batches.rewind()
                    self._number.zero_()
                    self.step(size)
        pool = None
        for size in sorted(set(self.sizes), reverse=True):
            self._graphs[size] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graphs[size], pool=pool, stream=self._stream):
                self.step(size)
            pool = pool or self._graphs[size].pool()
        with self.on_stream(), torch.no_grad():
            for key, value in self._tensors().items():  # in place: the graphs hold these tensors
                value.copy_(before[key]) if key in before else value.zero_()

    def _tensors(self) -> dict[tuple, Tensor]:
        """Every tensor that a step changes and that outlives the epoch."""
        found = {("model", name): value for name, value in self.model.state_dict().items()}
        for number, parameter in enumerate(self.model.parameters()):
            found["momentum", number] = self.optimizer.state[parameter]["momentum_buffer"]
        return found

    # --- between epochs ---

    def is_done(self) -> bool:
        """Whether the device is through with the epoch; if not, it gets the next steps to do."""
        self._hand_over(self._ahead)
        return not self._left and not self._handed

    def wait(self) -> None:
        """Wait until the device is through with the epoch that was started."""
        self._hand_over(len(self._left) + len(self._handed))
        while self._handed:
            self._handed.popleft().synchronize()

    def finish_epoch(self) -> None:
        """Note the epoch in the history and validate; raises `TrainingFailed`."""
        self.wait()
        with self.on_stream():
            rate = learning_rate(self.config, self.epoch)
            self.epoch += 1
            self._note_epoch(rate)
            if self.masks:
                masks.assert_masked(self.model, self.masks)
            self._validate()

    def _renew_masks(self) -> None:
        """Before an epoch: prune a network that was dense so far, or move the weights it keeps.

        All in place. What is no longer kept loses weight and momentum; a place that is new has
        neither, because a pruned weight has none.
        """
        weights = maskable_weights(self.model)
        if 0 < self.epoch == pruning_epoch(self.config):
            renewed = self.drawn
            self.best = _nothing_yet()  # the network before was dense
        elif dynamic.dropped_fraction(self.config, self.epoch):
            found = self._dense_gradients() if self.config.method == "rigl" else {}
            renewed = dynamic.moved_masks(self.config, self.epoch, weights, self.masks, found)
        else:
            return
        for kept, (name, mask) in zip(self._keep, self.masks.items(), strict=True):
            mask.copy_(renewed[name])
            kept.copy_(mask)
        hold_at_zero(weights, self.masks, self.optimizer.state)

    def _dense_gradients(self) -> dict[str, Tensor]:
        batches = self.batches.coming(self.epoch, backward.RIGL_BATCHES)
        return backward.dense_gradients(self.model, batches)

    def _note_epoch(self, rate: float) -> None:
        losses, hits, norms = self.batches.average(self._log).cpu().double()
        count, history = sum(self.sizes), self.history
        loss = losses.sum().item() / count
        if not math.isfinite(loss):
            raise TrainingFailed(f"the loss became {loss} in epoch {self.epoch}")
        history["epoch"].append(self.epoch)
        history["lr"].append(rate)
        history["train_loss"].append(loss)
        history["train_accuracy"].append(hits.sum().item() / count)
        slices = min(GRADIENT_SLICES, len(norms)) if self.epoch <= FINE_EPOCHS else 1
        for number, part in enumerate(norms.tensor_split(slices), start=1):
            history["gradient_norm"]["epoch"].append(round(self.epoch - 1 + number / slices, 6))
            history["gradient_norm"]["norm"].append(part.mean().item())

    def _validate(self) -> None:
        """Note loss and accuracy on the validation images, and the weights where they are best."""
        loss, accuracy = self.batches.validate(self.model)
        if not math.isfinite(loss):  # the last step of the epoch, whose loss nothing else would see
            raise TrainingFailed(f"the loss became {loss} at the end of epoch {self.epoch}")
        self.history["validation_loss"].append(loss)
        self.history["validation_accuracy"].append(accuracy)
        if self.batches.selects and accuracy > self.best["validation_accuracy"]:
            weights = {name: value.clone() for name, value in self.model.state_dict().items()}
            self.best = {"epoch": self.epoch, "validation_accuracy": accuracy, "weights": weights}

    def note_initial_gradient_norm(self) -> None:
        """Mean gradient norm over the first 10 batches of training images, before any step."""
        with self.on_stream():
            self.history["gradient_norm_at_init"] = backward.initial_norm(
                self.model,
                self.batches.first(backward.INITIAL_BATCHES),
                self.masks,
                network=self.network,
                label_smoothing=self.batches.label_smoothing,
            )

    # --- its state, for a checkpoint ---

    def state(self) -> dict:
        """All that a run needs to go on after a full epoch, for `torch.save`."""
        return {
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "masks": self.masks,
        }

    def load_state(self, state: dict) -> None:
        """Take over a `state` before the first epoch: a graph holds the optimiser's own tensors."""
        with self.on_stream():
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.masks = state["masks"]
            self._prepare_steps()
        self.epoch, self.history, self.best = state["epoch"], state["history"], state["best"]


def _rate(config: RunConfig, device: torch.device) -> float | Tensor:
    """The learning rate as the optimiser holds it: a captured step reads it from the device."""
    return torch.tensor(config.lr, device=device) if device.type == "cuda" else config.lr


def _optimizer(config: RunConfig, model: nn.Module, device: torch.device) -> SGD:
    return SGD(
        model.parameters(),
        lr=_rate(config, device),
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


def _nothing_yet() -> dict:
    return {"epoch": 0, "validation_accuracy": -1.0, "weights": {}}


def _empty_history() -> dict:
    history = {name: [] for name in EPOCH_COLUMNS}
    return history | {"gradient_norm_at_init": None, "gradient_norm": {"epoch": [], "norm": []}}
