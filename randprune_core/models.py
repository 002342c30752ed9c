"""The networks of the paper: CIFAR ResNet and BN-VGG, and torchvision's ImageNet ResNets.

Every network returns logits and takes the tensor it is given as it is; `with_normalization` wraps
one so that it takes pixels in [0, 1]. `register` adds a network of one's own.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import nn

from . import registry
from .arguments import whole_number
from .config import IMAGENET_MODELS, is_built_in, parse_model_name
from .datasets import DATASETS
from .precision import plain_tensors
from .seeds import plain_generator

_VGG_LAYERS = {
    11: (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512),
    13: (64, 64, "pool", 128, 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512),
    16: (64, 64, "pool", 128, 128, "pool", *[256] * 3, "pool", *[512] * 3, "pool", *[512] * 3),
    19: (64, 64, "pool", 128, 128, "pool", *[256] * 4, "pool", *[512] * 4, "pool", *[512] * 4),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, a 1x1 convolution where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out, inplace=True)


class CifarResNet(nn.Module):
    """ResNet of depth 6n+2 for small images (He et al. 2016, section 4.2).

    Input (batch, 3, height, width), output (batch, num_classes) logits. The three stages have
    `width`, 2 `width` and 4 `width` filters, the last two with stride 2.
    """

    def __init__(self, depth: int, width: int, num_classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage in range(3):
            blocks = []
            for block in range((depth - 2) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(channels, width << stage, stride))
                channels = width << stage
            setattr(self, f"stage{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.linear(x.mean(dim=(2, 3)))


class VGG(nn.Module):
    """VGG with batch norm and one linear layer, for small images (Simonyan & Zisserman 2015).

    Input (batch, 3, height, width) with sides of at least 16, output (batch, num_classes) logits.
    The last pooling averages over all that is left, so that it serves 16 and 32 pixels alike.
    """

    def __init__(self, depth: int, num_classes: int):
        super().__init__()
        layers, channels = [], 3
        for entry in _VGG_LAYERS[depth]:
            if entry == "pool":
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, entry, 3, padding=1, bias=False), nn.BatchNorm2d(entry)]
            layers.append(nn.ReLU(inplace=True))
            channels = entry
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.linear(self.features(x).mean(dim=(2, 3)))


def build_model(name: str, num_classes: int = 10, seed: int = 0) -> nn.Module:
    """Build a network by name with Kaiming-normal weights (fan-in, gain sqrt 2) and zero biases.

    Names: `resnet-A` and `resnet-A-B` (CIFAR, depth A = 6n+2, B filters in the first convolution),
    `vgg-11/13/16/19`, and torchvision's `resnet50` and `wide_resnet50_2`; and those of `register`,
    which keep their own initialisation, drawn from `seed`. The weights depend on
    `seed` alone: they are float32 and on the CPU whatever the defaults of torch are, and the global
    generators are left as they were. Inside of `with torch.device("meta")` there are shapes only.
    Raises `ValueError` for an unknown name, fewer than two classes or a seed that is no integer.
    """
    with torch.inference_mode(False), _place():
        return _build(name, num_classes, seed)


def _place() -> AbstractContextManager:
    """Where a network is built: shapes only inside of a `meta` block, else plain tensors."""
    # A default device that was set for the whole process is none that was asked for here.
    everywhere = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    if torch.get_default_device().type == "meta" and everywhere is None:
        return nullcontext()
    return plain_tensors()


def register(name: str, build: Callable[[int], nn.Module]) -> None:
    """Make a network of one's own known by a name, to `RunConfig`, `build_model` and the rest.

    `build(num_classes)` gives a new network, from images (n, 3, side, side) to logits
    (n, num_classes). Its initialisation is its own, drawn from PyTorch's global generator, which
    `build_model` seeds. The hash of its code (`registry.code_hash`) is part of a run's config:
    edited code makes another run. Raises `ValueError` for a name that is taken, or no function.
    """
    registry.add("model", name, build, built_in=is_built_in("model", name))


def unregister(name: str) -> None:
    """Forget a registered network; its records stay. Raises `ValueError` for any other name."""
    registry.remove("model", name)


def _build(name: str, num_classes: int, seed: int) -> nn.Module:
    num_classes = whole_number(num_classes, "num_classes")
    if num_classes < 2:
        raise ValueError(f"num_classes {num_classes} is too small: a classifier needs at least 2")
    if entry := registry.find("model", name):
        return _registered(entry, num_classes, seed)
    family, depth, width = parse_model_name(name)
    with torch.random.fork_rng(devices=[]):
        if family == "resnet":
            model = CifarResNet(depth, width, num_classes)
        elif family == "vgg":
            model = VGG(depth, num_classes)
        else:
            import torchvision

            model = torchvision.models.get_model(family, weights=None, num_classes=num_classes)
    generator = plain_generator(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if module.weight.device.type != "meta":
                nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def _registered(entry: registry.Entry, num_classes: int, seed: int) -> nn.Module:
    """A registered network, with the initialisation that its own code draws."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(whole_number(seed, "seed") % 2**63)
        model = entry.function(num_classes)
    if not isinstance(model, nn.Module):
        raise ValueError(f"model {entry.name!r} gives a {type(model).__name__}, not an nn.Module")
    return model


def meta_model(model: str, num_classes: int | None = None) -> nn.Module:
    """A network without weights; None gives ImageNet models 1,000 classes and others 10."""
    dataset = "imagenet" if model in IMAGENET_MODELS else "cifar10"
    with torch.device("meta"):
        return build_model(model, num_classes or DATASETS[dataset].classes)


class _Normalized(nn.Module):
    def __init__(self, model: nn.Module, mean, std):
        super().__init__()
        self.model = model
        weight = next(model.parameters())
        # A 16-bit network gets pixels that were normalised in float32.
        kind = weight.dtype if weight.dtype == torch.float64 else torch.float32
        for name, values in (("mean", mean), ("std", std)):
            values = torch.tensor(values, dtype=kind, device=weight.device)
            self.register_buffer(name, values.view(1, -1, 1, 1))

    def forward(self, x):
        normalised = (x - self.mean) / self.std
        return self.model(normalised.to(next(self.model.parameters()).dtype))


class Normalization:
    """Turn uint8 pixels of the named data set into normalised float32, on one device.

    The same as `with_normalization` does with pixels in [0, 1], in two passes over the batch.
    """

    def __init__(self, dataset: str, device: torch.device | str = "cpu"):
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=device)
            for values in DATASETS[dataset].normalization
        )
        self.scale = (1 / (255 * std)).view(1, -1, 1, 1)
        self.shift = (mean / std).view(1, -1, 1, 1)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mul_(self.scale).sub_(self.shift)


def with_normalization(model: nn.Module, dataset: str) -> nn.Module:
    """Wrap a network so that it takes pixels in [0, 1] of the named data set.

    Weights are shared with `model`, not copied. Raises `ValueError` for an unknown data set.
    """
    if dataset not in DATASETS and registry.find("dataset", dataset) is None:
        known = ", ".join((*DATASETS, *registry.names("dataset")))
        raise ValueError(f"unknown data set {dataset!r}: known are {known}")
    return _Normalized(model, *DATASETS[dataset].normalization)
