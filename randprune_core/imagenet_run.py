"""A run on ImageNet, in one process or in several, one a GPU, as `torchrun` starts them.

Every process holds the whole network and takes its share of each batch; gradients are averaged by
`DistributedDataParallel`. Batch norm normalises the share of each process by itself, as is usual,
and its running statistics are those of the first process. Only the first process writes: the
checkpoints after each epoch and the record. All must see one folder of results.
"""

import os
from collections.abc import Iterator

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from . import checkpoints, models, protocol, runs
from .config import RunConfig, run_id
from .data import imagenet
from .distributed import (
    check_same,
    leave,
    mask_digest,
    others_may_end,
    process_group,
    rank,
    told,
    world,
)
from .engine import Run, TrainingFailed
from .metrics.predict import predict_logits
from .precision import arithmetic
from .pruning import saliency
from .seeds import generator
from .training import measure, train_to_the_end

_SALIENCY_CHUNK = 64  # images of 224 pixels at a time


class ImageNetRun(Run):
    """A run on ImageNet: the engine's steps on the share of each batch that this process has.

    Images are decoded while the network trains. An incomplete batch at the end of an epoch is left
    out. The history's validation is on `val`, shared among the processes.
    """

    label_smoothing = protocol.LABEL_SMOOTHING

    @property
    def writes(self) -> bool:
        """Whether this process writes the checkpoints: the first one does."""
        return rank() == 0

    def _load_data(self) -> None:
        self._stream = None  # steps come with their images, so that none is captured
        self._wrapped: nn.Module | None = None
        self.dataset = imagenet.load_folder(self.config.model)
        check_config(self.config, self.dataset)
        images = self.config.train_images
        self.training, self.validation = slice(0, images), slice(images, images)
        check_same({"the data": self.dataset.fingerprint, "the options": run_id(self.config)})

    def _draw_masks(self, model: nn.Module) -> dict[str, Tensor]:
        """A ratio of shapes is drawn by every process; a criterion's sums differ between devices,
        so that the first process looks at the data and gives the others its masks.
        """
        config = self.config
        if config.ratio in saliency.SCORES:
            drawn = self._draw_by_criterion(model)
        else:
            drawn = protocol.draw_masks(config, model, self.dataset)
        check_same({"the masks": mask_digest(drawn)})
        return drawn

    def _draw_by_criterion(self, model: nn.Module) -> dict[str, Tensor]:
        weights = models.maskable_weights(model)
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

    def _saliency_batch(self) -> tuple[Tensor, Tensor]:
        data = self.dataset
        places = protocol.saliency_places(self.config, data.train_labels, data.num_classes)
        groups = [part.tolist() for part in places.split(250)]
        read = list(
            imagenet.batches(imagenet.Pictures(data.train, imagenet.plain(data.side)), groups)
        )
        images, labels = (torch.cat(part).to(self.device) for part in zip(*read, strict=True))
        return models.Normalization(data.name, self.device)(images), labels

    @property
    def network(self) -> nn.Module:
        """The network, wrapped to average its gradients over the processes of the job."""
        if world() == 1:
            return self.model
        if self._wrapped is None:  # not before a checkpoint is loaded
            devices = [self.device] if self.device.type == "cuda" else None
            self._wrapped = DistributedDataParallel(self.model, device_ids=devices)
        return self._wrapped

    # --- batches ---

    def _prepare_batches(self) -> None:
        steps = self.config.train_images // self.config.batch_size
        self.sizes = [self.config.batch_size // world()] * steps
        self.normalize = models.Normalization(self.dataset.name, self.device)
        self._coming: Iterator[tuple[Tensor, Tensor]] = iter(())

    def _set_up_epoch(self, rate: float) -> None:
        draw = generator(self.config.seed_data, "augmentation", self.epoch)
        seeds = torch.randint(2**62, (self.config.train_images,), generator=draw)
        pictures = imagenet.Pictures(
            self.dataset.train, imagenet.augmented(self.dataset.side), seeds
        )
        order = protocol.epoch_order(self.config, self.epoch)
        self._coming = self._batches(pictures, self._shares(order, len(self.sizes)))
        self._start_log(rate)

    def first_batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the first batches of the first epoch, without augmentation."""
        pictures = imagenet.Pictures(self.dataset.train, imagenet.plain(self.dataset.side))
        order = protocol.epoch_order(self.config, 0)
        return self._batches(pictures, self._shares(order, min(count, len(self.sizes))))

    def _shares(self, order: Tensor, steps: int) -> list[list[int]]:
        """The places of this process in each of the first batches of an order."""
        size = self.config.batch_size
        return [part.chunk(world())[rank()].tolist() for part in order[: steps * size].split(size)]

    def _batches(self, pictures, groups) -> Iterator[tuple[Tensor, Tensor]]:
        sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        for images, labels in imagenet.batches(pictures, groups, sharing):
            images = images.to(self.device, non_blocking=True, memory_format=self.memory_format)
            yield images, labels.to(self.device, non_blocking=True)

    def forward(self, size: int) -> tuple[Tensor, Tensor]:
        """Logits and labels of this process's share of the next batch, augmented."""
        images, labels = next(self._coming)
        mixed = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            return self.network(self.normalize(images)), labels

    # --- between epochs ---

    def _note_epoch(self, rate: float) -> None:
        """What the processes logged, averaged: shares are equal, and the norms are one number."""
        if world() > 1:
            dist.all_reduce(self._log)
            self._log /= world()
        super()._note_epoch(rate)

    def _validate(self) -> None:
        """Loss and accuracy on `val`, each process on its share, in float32."""
        if world() > 1:
            for buffer in self.model.buffers():  # one network is validated, not one a process
                dist.broadcast(buffer, 0)
        model = models.with_normalization(self.model, self.dataset.name)
        pictures = imagenet.Pictures(self.dataset.val, imagenet.plain(self.dataset.side))
        own = torch.arange(rank(), len(pictures), world())
        groups = [part.tolist() for part in own.split(250) if len(part)]
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        for images, labels in self._batches(pictures, groups):
            logits = predict_logits(model, images)
            sums[0] += F.cross_entropy(logits, labels, reduction="sum")
            sums[1] += (logits.argmax(1) == labels).sum()
        if world() > 1:
            dist.all_reduce(sums)
        loss, accuracy = (sums / len(pictures)).tolist()
        if not torch.isfinite(sums[0]):
            raise TrainingFailed(f"the loss became {loss} at the end of epoch {self.epoch}")
        self.history["validation_loss"].append(loss)
        self.history["validation_accuracy"].append(accuracy)

    def note_initial_gradient_norm(self) -> None:
        """As every run does, of whole batches: each process has its share of the gradient."""
        check_same({"the checkpoint": "none"})
        super().note_initial_gradient_norm()
        self.history["label_smoothing"] = self.label_smoothing

    def load_state(self, state: dict) -> None:
        """As every run does, if all processes found the same checkpoint."""
        check_same({"the checkpoint": f"epoch {state['epoch']}"})
        super().load_state(state)


def check_config(config: RunConfig, folder: imagenet.Folder) -> None:
    """Raise `ValueError` for what a run on ImageNet, or one with so many processes, cannot be."""
    for name, needed in (("method", "static"), ("when", "before")):
        if getattr(config, name) != needed:
            raise ValueError(
                f"{name} {getattr(config, name)!r} is not there for imagenet: choose {needed!r}"
            )
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


# --- from its config to its record -------------------------------------------------------------


def train(config: RunConfig, device: str = "auto", *, progress: bool = False) -> dict | None:
    """What `training.train` does for other data; None in every process of a job but the first.

    The others leave after the last epoch, and the first measures the network. Raises what
    `training.train` raises, and `JobEnded` where another process of the job is lost.
    """
    with others_may_end():
        first = rank() == 0
        run = train_to_the_end(config, device, progress and first, None, ImageNetRun)
        processes = world()
        leave()
    if not first:
        return None
    with arithmetic():
        result = measure(run)
    checkpoints.remove(config)
    facts = {"classes": run.dataset.num_classes, "image_size": run.dataset.side}
    return result | {"data": result["data"] | facts, "processes": processes}


def load_or_train(config: RunConfig, device: str = "auto", *, progress: bool = True) -> dict | None:
    """`runs.load_or_train`, in one process or as every process of a job of `torchrun` calls it.

    The first process finds or trains and stores the record; the others train with it and return
    None. Raises `RuntimeError` where another job is training the same run.
    """
    with process_group(device) as own, others_may_end():
        if world() == 1:
            return runs.load_or_train(config, device=own, progress=progress)
        held = runs.claim(config) if rank() == 0 else None
        if not told(held is not None, own):
            return _recorded(config) if rank() == 0 else None
        if held is None:
            return train(config, own)
        with held:
            return runs.train_and_store(config, own, progress, None)


def _recorded(config: RunConfig) -> dict:
    if (record := runs.find_record(config)) is None:
        raise RuntimeError(f"run {run_id(config)} is being trained by another job")
    return record
