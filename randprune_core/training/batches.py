"""The batches that a run takes from a data set in memory.

`engine.Run` is given such an object; `imagenet.FolderBatches` is the other one. Beside the methods
below it has `dataset` (what is measured at the end), `validation` (which of the training images
are held out), `sizes` (images of each step of an epoch in this process), `label_smoothing`,
`selects` (whether the best epoch may be chosen on the validation images) and `capturable` (whether
a GPU can replay a step on them). Images come normalised, on the device, in the run's memory format.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import models
from ..config import RunConfig
from ..data.augment import augment
from ..data.loading import dataset_on
from ..datasets import padding
from ..metrics.classification import accuracy
from ..metrics.predict import predict_logits
from .protocol import draw_masks, epoch_plan

Batch = tuple[Tensor, Tensor]


class MemoryBatches:
    """Batches of a data set that lies on the device, augmented there as they are taken.

    The plan of the epoch and a cursor lie there too: to take a batch needs nothing from the host.
    """

    label_smoothing = 0.0
    selects = True
    capturable = True

    def __init__(self, config: RunConfig, device: torch.device):
        self.config, self.device = config, device
        self.dataset = dataset_on(config.dataset, config.variant, device, config.image_size)
        self.training, self.validation = self.dataset.split(config.train_images)
        full, last = divmod(config.train_images, config.batch_size)
        self.sizes = [config.batch_size] * full + [last] * bool(last)

    def draw_masks(self, model: nn.Module) -> dict[str, Tensor]:
        """The masks of the run, on the CPU; {} for a dense one."""
        return draw_masks(self.config, model, self.dataset)

    def prepare(self, memory_format: torch.memory_format) -> None:
        """Make the tensors that the steps work on; called once more after a checkpoint is read."""
        self.memory_format = memory_format
        self.images = self.dataset.train_images[self.training]
        self.labels = self.dataset.train_labels[self.training]
        self._normalize = models.Normalization(self.config.dataset, self.device)
        self._plan = [part.to(self.device) for part in epoch_plan(self.config, 0)]
        self._within = torch.arange(self.sizes[0], device=self.device)
        self._cursor = torch.zeros(1, dtype=torch.long, device=self.device)
        self._padding = padding(self.config.dataset, self.config.image_size)

    def start_epoch(self, epoch: int) -> None:
        """Begin with the first batch of an epoch (from 0)."""
        for held, part in zip(self._plan, epoch_plan(self.config, epoch), strict=True):
            held.copy_(part)
        self.rewind()

    def rewind(self) -> None:
        """Begin the epoch once more."""
        self._cursor.zero_()

    def next(self, size: int) -> Batch:
        """The next `size` images of the epoch, augmented, and their labels."""
        place = self._cursor + self._within[:size]
        index, offsets, mirrored = (part.index_select(0, place) for part in self._plan)
        images = augment(self.images, index, offsets, mirrored, self._padding)
        images = images.contiguous(memory_format=self.memory_format)  # most often it is already
        self._cursor += size
        return self._normalize(images), self.labels.index_select(0, index)

    def first(self, count: int) -> Iterator[Batch]:
        """The first batches of the training file, not augmented."""
        images = min(count * self.config.batch_size, self.config.train_images)
        return self._plain(torch.arange(images))

    def coming(self, epoch: int, count: int) -> Iterator[Batch]:
        """The batches that an epoch (from 0) begins with, not augmented."""
        order, _, _ = epoch_plan(self.config, epoch)
        return self._plain(order[: count * self.config.batch_size])

    def _plain(self, places: Tensor) -> Iterator[Batch]:
        for batch in places.to(self.device).split(self.config.batch_size):
            images = self.images[batch].contiguous(memory_format=self.memory_format)
            yield self._normalize(images), self.labels[batch]

    def average(self, log: Tensor) -> Tensor:
        """What the processes of the run logged in an epoch, as one: here there is one process."""
        return log

    def validate(self, model: nn.Module) -> tuple[float, float]:
        """Loss and accuracy on the validation images, not augmented, in float32."""
        wrapped = models.with_normalization(model, self.dataset.name)
        logits = predict_logits(wrapped, self.dataset.train_images[self.validation])
        labels = self.dataset.train_labels[self.validation]
        loss = F.cross_entropy(logits, labels).item()
        return loss, accuracy(logits, labels) if math.isfinite(loss) else math.nan
