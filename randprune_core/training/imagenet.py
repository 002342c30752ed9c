"""A run on ImageNet, in one process or in several, one a GPU, as `torchrun` starts them.

Every process holds the whole network and takes its share of each batch; gradients are averaged by
`DistributedDataParallel`. Batch norm normalises the share of each process by itself, as is usual,
and its running statistics are those of the first process. Only the first process writes: the
checkpoints after each epoch and the record. All must see one folder of results.
"""

import os
from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .. import models
from ..config import RunConfig, run_id
from ..data import imagenet
from ..metrics.predict import predict_logits
from ..precision import arithmetic
from ..pruning import saliency
from ..pruning.layers import maskable_weights
from ..seeds import generator
from . import protocol
from .batches import Batch
from .distributed import check_same, explain_lost_process, leave, mask_digest, rank, world
from .engine import Run
from .loop import train_to_the_end
from .measure import measure

_SALIENCY_CHUNK = 64  # images of 224 pixels at a time


class FolderBatches:
    """This process's share of batches that are decoded from a folder while the network trains.

    What `batches.MemoryBatches` is for a data set in memory. An incomplete batch at the end of an
    epoch is left out. The history's validation is on `val`, shared among the processes; nothing may
    be selected on it.
    """

    label_smoothing = protocol.LABEL_SMOOTHING
    selects = False
    capturable = False  # steps come with their images

    def __init__(self, config: RunConfig, device: torch.device):
        self.config, self.device = config, device
        self.dataset = imagenet.load_folder(config.model)
        check_config(config, self.dataset)
        self.validation = slice(config.train_images, config.train_images)  # none is held out
        steps = config.train_images // config.batch_size
        self.sizes = [config.batch_size // world()] * steps
        check_same({"the data": self.dataset.fingerprint, "the options": run_id(config)})

    # --- masks ---

    def draw_masks(self, model: nn.Module) -> dict[str, Tensor]:
        """The masks of the run, the same in every process.

        A ratio of shapes is drawn by every process; a criterion's sums differ between devices, so
        that the first process looks at the data and gives the others its masks.
        """
        config = self.config
        if config.ratio in saliency.SCORES:
            drawn = self._draw_by_criterion(model)
        else:
            drawn = protocol.draw_masks(config, model, self.dataset)
        check_same({"the masks": mask_digest(drawn)})
        return drawn

    def _draw_by_criterion(self, model: nn.Module) -> dict[str, Tensor]:
        weights = maskable_weights(model)
        if rank() == 0:
            model.to(self.device)
            found = protocol.masks_from(
                self.config, model, self._saliency_batch, chunk_size=_SALIENCY_CHUNK
            )
            model.to("cpu")
        else:
            found = {name: torch.empty(w.shape, dtype=torch.bool) for name, w in weights.items()}
        found = {name: mask.to(self.device, torch.uint8) for name, mask in found.items()}
        if world() > 1:
            for name in weights:
                dist.broadcast(found[name], 0)
        return {name: found[name].bool().cpu() for name in weights}

    def _saliency_batch(self) -> Batch:
        data = self.dataset
        places = protocol.saliency_places(self.config, data.train_labels, data.num_classes)
        groups = [part.tolist() for part in places.split(250)]
        read = list(imagenet.batches(self._pictures(data.train), groups))
        images, labels = (torch.cat(part).to(self.device) for part in zip(*read, strict=True))
        return models.Normalization(data.name, self.device)(images), labels

    # --- batches ---

    def prepare(self, memory_format: torch.memory_format) -> None:
        """Note the layout of images in memory; called once more after a checkpoint is read."""
        self.memory_format = memory_format
        self._normalize = models.Normalization(self.dataset.name, self.device)
        self._coming: Iterator[Batch] = iter(())

    def start_epoch(self, epoch: int) -> None:
        """Begin to decode the batches of an epoch (from 0), augmented."""
        draw = generator(self.config.seed_data, "augmentation", epoch)
        seeds = torch.randint(2**62, (self.config.train_images,), generator=draw)
        transform = imagenet.augmented(self.dataset.side)
        pictures = imagenet.Pictures(self.dataset.train, transform, seeds)
        order = protocol.epoch_order(self.config, epoch)
        self._coming = self._read(pictures, self._shares(order, len(self.sizes)))

    def next(self, size: int) -> Batch:
        """This process's share of the next batch of the epoch, augmented, and the labels."""
        return next(self._coming)

    def first(self, count: int) -> Iterator[Batch]:
        """The shares of the first batches of the first epoch, not augmented."""
        order = protocol.epoch_order(self.config, 0)
        groups = self._shares(order, min(count, len(self.sizes)))
        return self._read(self._pictures(self.dataset.train), groups)

    def _pictures(self, samples) -> imagenet.Pictures:
        return imagenet.Pictures(samples, imagenet.plain(self.dataset.side))

    def _shares(self, order: Tensor, steps: int) -> list[list[int]]:
        """The places of this process in each of the first batches of an order."""
        size = self.config.batch_size
        return [part.chunk(world())[rank()].tolist() for part in order[: steps * size].split(size)]

    def _read(self, pictures: imagenet.Pictures, groups: list[list[int]]) -> Iterator[Batch]:
        for images, labels in self._decoded(pictures, groups):
            yield self._normalize(images), labels

    def _decoded(self, pictures: imagenet.Pictures, groups: list[list[int]]) -> Iterator[Batch]:
        """Images as uint8 and labels, on the device."""
        sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        for images, labels in imagenet.batches(pictures, groups, sharing):
            images = images.to(self.device, non_blocking=True, memory_format=self.memory_format)
            yield images, labels.to(self.device, non_blocking=True)

    # --- between epochs ---

    def average(self, log: Tensor) -> Tensor:
        """What the processes logged, averaged: shares are equal, and the norms are one number."""
        if world() > 1:
            dist.all_reduce(log)
            log /= world()
        return log

    def validate(self, model: nn.Module) -> tuple[float, float]:
        """Loss and accuracy on `val`, each process on its share, in float32."""
        if world() > 1:
            for buffer in model.buffers():  # one network is validated, not one a process
                dist.broadcast(buffer, 0)
        wrapped = models.with_normalization(model, self.dataset.name)
        pictures = self._pictures(self.dataset.val)
        own = torch.arange(rank(), len(pictures), world())
        groups = [part.tolist() for part in own.split(250) if len(part)]
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for images, labels in self._decoded(pictures, groups):
            logits = predict_logits(wrapped, images)
            sums[0] += F.cross_entropy(logits, labels, reduction="sum")
            sums[1] += (logits.argmax(1) == labels).sum()
        if world() > 1:
            dist.all_reduce(sums)
        loss, hits = (sums / len(pictures)).tolist()
        return loss, hits


class ImageNetRun(Run):
    """A run on the share of each batch that this process has, with the gradients averaged."""

    def __init__(self, config: RunConfig, device: torch.device):
        self._wrapped: nn.Module | None = None
        super().__init__(config, device, FolderBatches(config, device))

    @property
    def writes(self) -> bool:
        """Whether this process writes the checkpoints: the first one does."""
        return rank() == 0

    @property
    def network(self) -> nn.Module:
        """The network, wrapped to average its gradients over the processes of the job."""
        if world() == 1:
            return self.model
        if self._wrapped is None:  # not before a checkpoint is loaded
            devices = [self.device] if self.device.type == "cuda" else None
            self._wrapped = DistributedDataParallel(self.model, device_ids=devices)
        return self._wrapped

    def note_initial_gradient_norm(self) -> None:
        """As every run does, of whole batches: each process has its share of the gradient."""
        check_same({"the checkpoint": "none"})
        super().note_initial_gradient_norm()
        self.history["label_smoothing"] = self.batches.label_smoothing

    def load_state(self, state: dict) -> None:
        """As every run does, if all processes found the same checkpoint."""
        check_same({"the checkpoint": f"epoch {state['epoch']}"})
        super().load_state(state)


def check_config(config: RunConfig, folder: imagenet.Folder) -> None:
    """Raise `ValueError` for what a run on ImageNet, or one with so many processes, cannot be."""
    for name, needed in (("method", "static"), ("when", "before")):
        if getattr(config, name) != needed:
            chosen = f"{name} {getattr(config, name)!r}"
            raise ValueError(f"{chosen} is not implemented for imagenet: choose {needed!r}")
    imagenet.check_images(folder, config.train_images)
    if config.variant != folder.variant:
        raise ValueError(
            f"imagenet: the folder in use is variant {folder.variant!r}, but {config.variant!r} "
            "was asked for; set RANDPRUNE_DATA to that copy, or leave --variant out"
        )
    if config.batch_size > config.train_images:
        raise ValueError(
            f"batch_size {config.batch_size} is more than the {config.train_images} images of "
            "train/: give a smaller one"
        )
    if config.batch_size % world():
        raise ValueError(
            f"batch_size {config.batch_size} does not divide among {world()} processes: give a "
            f"multiple of {world()}"
        )


# --- from its options to its measurements ------------------------------------------------------


def complete(chosen: dict) -> dict:
    """Options of `train` with what was left out: Table 1's recipe, number of images, variant.

    Raises `DataError` where the folder is not there, or where another number of images is given
    than it has: a run trains on all of them.
    """
    chosen = protocol.imagenet_recipe(chosen["ratio"]) | chosen
    folder = imagenet.load_folder(chosen["model"])
    images = chosen.setdefault("train_images", len(folder.train))
    imagenet.check_images(folder, images)
    if chosen.get("variant", "auto") == "auto":
        chosen["variant"] = folder.variant
    return chosen


def train(
    config: RunConfig,
    device: str = "auto",
    *,
    progress: bool = False,
    save: Callable[[nn.Module], None] = lambda model: None,
) -> dict | None:
    """What `train.train` does for other data; None in every process of a job but the first.

    The others leave after the last epoch, and the first measures the network. Raises what
    `train.train` raises, and `JobEnded` where another process of the job is lost.
    """
    with explain_lost_process():
        first = rank() == 0
        run = train_to_the_end(config, device, progress and first, None, ImageNetRun)
        processes = world()
        leave()
    if not first:
        return None
    with arithmetic():
        save(run.model)
        result = measure(run)
    facts = {"classes": run.dataset.num_classes, "image_size": run.dataset.side}
    return result | {"data": result["data"] | facts, "processes": processes}
