"""Other people's networks, small: what the library must be right on besides the book's own."""

import torch
import torchvision
from torch import Tensor, nn

from randprune_core import build_model


class Unet(nn.Module):
    """One level down with a strided convolution and up with a transposed one, and a skip."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 16, 3, 2, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.head = nn.Conv2d(16, 5, 1)

    def forward(self, x):
        first = torch.relu(self.first(x))
        up = self.up(torch.relu(self.down(first)))
        return self.head(torch.cat([first, up], 1)).mean((2, 3))


class LanguageModel(nn.Module):
    """LSTM over tokens, whose embedding and output matrix are one weight."""

    def __init__(self, words: int = 30, size: int = 16):
        super().__init__()
        self.embedding = nn.Embedding(words, size)
        self.lstm = nn.LSTM(size, size, num_layers=2, batch_first=True)
        self.decoder = nn.Linear(size, words)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens):
        return self.decoder(self.lstm(self.embedding(tokens))[0][:, -1])


def separable() -> nn.Module:
    """Depthwise and pointwise convolutions in turns."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 5),
    )


def convolutions(dimensions: int) -> nn.Module:
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dimensions]
    pool = {1: nn.AdaptiveAvgPool1d, 3: nn.AdaptiveAvgPool3d}[dimensions]
    return nn.Sequential(
        conv(2, 6, 3), nn.ReLU(), conv(6, 8, 3), pool(1), nn.Flatten(), nn.Linear(8, 5)
    )


def vision_transformer() -> nn.Module:
    return torchvision.models.VisionTransformer(16, 8, 2, 2, 24, 48, num_classes=5)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 5))


NETWORKS = {
    "mlp": (mlp, (3, 4, 4)),
    "resnet-18": (lambda: torchvision.models.resnet18(num_classes=5), (3, 32, 32)),
    "vgg": (lambda: build_model("vgg-11", 5), (3, 16, 16)),
    "separable": (separable, (3, 8, 8)),
    "transformer": (vision_transformer, (3, 16, 16)),
    "language model": (LanguageModel, None),
    "u-net": (Unet, (3, 8, 8)),
    "1-d": (lambda: convolutions(1), (2, 12)),
    "3-d": (lambda: convolutions(3), (2, 6, 6, 6)),
}
"""How to build each network, and the shape of one input; None for 7 tokens."""


def network(name: str, seed: int = 0) -> nn.Module:
    """The network with weights of its own seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name][0]()


def batch(name: str, count: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Inputs and labels that the network takes."""
    draw = torch.Generator().manual_seed(seed)
    shape = NETWORKS[name][1]
    if shape is None:
        inputs = torch.randint(30, (count, 7), generator=draw)
    else:
        inputs = torch.randn(count, *shape, generator=draw)
    return inputs, torch.randint(5, (count,), generator=draw)
