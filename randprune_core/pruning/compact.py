"""The small dense network that a filter-pruned one amounts to: same outputs, in evaluation mode.

A pruned filter puts out zero, and the batch norm behind it a constant: the same number at every
position. `compact` follows these constants through the network. What it takes out and what stays:

- every pruned filter goes, with its batch-norm channel;
- every channel that is constant goes from the input of the layers that read it. A linear layer
  takes what the constant added into its bias. A convolution pads its input with zeros, so that a
  constant other than zero adds less at the border than inside: that is added as a map with one
  value a position, which a kernel for each filter makes (`edge`). Constants that are zero add
  nothing, and need none; all are zero in a network that was pruned before training;
- a sum of two branches keeps each channel that either branch still has. A filter that is pruned in
  one branch only is not computed; its constant is the bias of the sum. A channel goes from the sum
  where both branches have it pruned, and the layers behind the sum then no longer read it.

Classes stay, and so do single weights that are zero: those of the last linear layer.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models import VGG, BasicBlock, CifarResNet
from .masks import apply_masks, validate_masks


class Channels(NamedTuple):
    """What is known of a tensor: which channels are computed, and the values of the others."""

    live: Tensor  # indices, ascending
    constant: Tensor  # one value a channel, 0 for live ones

    def relu(self) -> Channels:
        return Channels(self.live, F.relu(self.constant))


class CompactConv(nn.Module):
    """A convolution with its batch norm, of the kept filters and of the inputs that are computed.

    `edge` (filters, 1, height, width) stands for the inputs that are constant but not zero.
    """

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, kept: Tensor, given: Channels):
        super().__init__()
        shape = (len(given.live), len(kept), conv.kernel_size, conv.stride, conv.padding)
        self.conv = nn.Conv2d(*shape, bias=False).to(conv.weight)
        self.norm = nn.BatchNorm2d(len(kept), norm.eps, norm.momentum).to(conv.weight)
        self.conv.weight.data = conv.weight.data[kept][:, given.live].clone()
        for name, value in norm.state_dict().items():
            values = value[kept] if value.ndim else value
            getattr(self.norm, name).data.copy_(values)
        edge = None
        if given.constant.any():
            edge = torch.einsum("oihw,i->ohw", conv.weight.data[kept], given.constant)[:, None]
        self.register_buffer("edge", edge)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        if self.edge is not None:
            ones = x.new_ones(1, 1, *x.shape[2:])
            out = out + F.conv2d(ones, self.edge, None, self.conv.stride, self.conv.padding)
        return self.norm(out)


class CompactBlock(nn.Module):
    """A residual block whose two branches write to the channels of the sum that they have."""

    def __init__(self, conv1: nn.Module, conv2: nn.Module, shortcut: nn.Module | None):
        super().__init__()
        self.conv1, self.conv2, self.shortcut = conv1, conv2, shortcut

    def join(self, carried: Channels, added: Channels) -> Channels:
        """Fix which channels the sum has, from those of its two branches; what leaves the block.

        What a batch norm adds to a channel that only the other branch has stays a parameter of its
        own. What an identity carries is no parameter, and goes into the batch norm behind `conv2`.
        """
        live = torch.cat([carried.live, added.live]).unique()
        constant = carried.constant + added.constant
        alone = ~torch.isin(live, added.live)
        if self.shortcut is None:
            self.conv2.norm.bias.data += carried.constant[added.live]
        else:
            alone |= ~torch.isin(live, carried.live)
        self.bias = nn.Parameter(constant[live[alone]])
        self.register_buffer("to_bias", alone.nonzero().flatten())
        for name, part in (("to_carried", carried), ("to_added", added)):
            whole = torch.equal(part.live, live)
            self.register_buffer(name, None if whole else torch.searchsorted(live, part.live))
        self.width = len(live)
        return Channels(live, constant.index_fill(0, live, 0.0)).relu()

    def forward(self, x: Tensor) -> Tensor:
        added = self.conv2(F.relu(self.conv1(x), inplace=True))
        carried = x if self.shortcut is None else self.shortcut(x)
        total = x.new_zeros(self.width).index_copy(0, self.to_bias, self.bias.to(x.dtype))
        total = total.view(1, -1, 1, 1)
        if self.to_carried is None:
            total = total + carried
        else:
            layout = _layout(carried)
            total = total.expand(len(x), -1, *carried.shape[2:]).contiguous(memory_format=layout)
            total = total.index_add_(1, self.to_carried, carried)
        if self.to_added is None:
            return F.relu(total + added, inplace=True)
        return F.relu(total.index_add_(1, self.to_added, added), inplace=True)


def _layout(images: Tensor) -> torch.memory_format:
    last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


class CompactResNet(nn.Module):
    """First convolution, blocks and last layer of a `CifarResNet`, made smaller."""

    def __init__(self, first: CompactConv, blocks: list[CompactBlock], linear: nn.Linear):
        super().__init__()
        self.first, self.blocks, self.linear = first, nn.Sequential(*blocks), linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.first(x), inplace=True))
        return self.linear(x.mean(dim=(2, 3)))


class CompactVGG(nn.Module):
    """Convolutions and last layer of a `VGG`, made smaller."""

    def __init__(self, features: nn.Sequential, linear: nn.Linear):
        super().__init__()
        self.features, self.linear = features, linear

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.features(x).mean(dim=(2, 3)))


def compact(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A network of its own that puts out what `model` does with `masks` on, without its zeros.

    Equal in evaluation mode, up to rounding. Where the constants of pruned filters are zero, as at
    initialisation, it is equal in training too: a step of either gives the same network (where the
    last layer is not masked: a step that keeps its zeros is the caller's).
    `masks` are filter masks (`random_masks(..., granularity="filter")`); the last linear layer may
    have any. `model` is a `CifarResNet` or a `VGG` and stays as it is. Raises ValueError for
    another network, masks that do not fit, a mask that prunes a part of a filter, and one that
    leaves a layer without a filter.
    """
    validate_masks(model, masks)
    builder = _BUILDERS.get(type(model))
    if builder is None:
        raise ValueError(
            f"a {type(model).__name__} cannot be made compact: known are "
            f"{', '.join(kind.__name__ for kind in _BUILDERS)}"
        )
    kept = {name: _kept_filters(name, mask) for name, mask in masks.items() if mask.ndim == 4}
    source = copy.deepcopy(model)
    apply_masks(source, masks)
    with torch.no_grad():
        small = builder(source, kept)
    return small.train(model.training)


def _kept_filters(name: str, mask: Tensor) -> Tensor:
    """Indices of the filters that a mask keeps."""
    rows = mask.flatten(1)
    if not torch.equal(rows.any(1), rows.all(1)):
        raise ValueError(
            f"mask of layer {name!r} prunes single weights of a filter; only masks of whole "
            'filters make a network smaller: draw it with granularity="filter"'
        )
    kept = rows.all(1).nonzero().flatten()
    if not len(kept):
        raise ValueError(f"mask of layer {name!r} keeps no filter: the network is cut there")
    return kept


def _conv(conv, norm, kept: Tensor, given: Channels) -> tuple[CompactConv, Channels]:
    """A convolution with its batch norm made smaller, and the channels that it puts out."""
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    constant = (norm.bias - norm.running_mean * scale).index_fill(0, kept, 0.0)
    return CompactConv(conv, norm, kept, given), Channels(kept, constant)


def _linear(linear: nn.Linear, given: Channels) -> nn.Linear:
    small = nn.Linear(len(given.live), linear.out_features).to(linear.weight)
    small.weight.data = linear.weight.data[:, given.live].clone()
    small.bias.data = linear.bias.data + linear.weight.data @ given.constant
    return small


def _image(weight: Tensor) -> Channels:
    """The channels of the input: all are there."""
    count = weight.shape[1]
    return Channels(torch.arange(count, device=weight.device), weight.new_zeros(count))


def _block(block: BasicBlock, name: str, kept, given: Channels) -> tuple[CompactBlock, Channels]:
    conv1, inner = _conv(block.conv1, block.bn1, kept[f"{name}.conv1.weight"], given)
    conv2, added = _conv(block.conv2, block.bn2, kept[f"{name}.conv2.weight"], inner.relu())
    shortcut, carried = None, given
    if len(block.shortcut):
        shortcut, carried = _conv(*block.shortcut, kept[f"{name}.shortcut.0.weight"], given)
    small = CompactBlock(conv1, conv2, shortcut)
    return small, small.join(carried, added)


def _compact_resnet(model: CifarResNet, kept: Mapping[str, Tensor]) -> CompactResNet:
    first, given = _conv(
        model.conv1, model.bn1, kept["conv1.weight"], _image(model.conv1.weight.data)
    )
    given, blocks = given.relu(), []
    for name, module in model.named_modules():
        if isinstance(module, BasicBlock):
            block, given = _block(module, name, kept, given)
            blocks.append(block)
    return CompactResNet(first, blocks, _linear(model.linear, given))


def _compact_vgg(model: VGG, kept: Mapping[str, Tensor]) -> CompactVGG:
    features, given = [], _image(model.features[0].weight.data)
    layers = list(model.features)
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            name = f"features.{place}.weight"
            small, given = _conv(layer, layers[place + 1], kept[name], given)
            given = given.relu()
            features.append(small)
        elif not isinstance(layer, nn.BatchNorm2d):
            features.append(layer)
    return CompactVGG(nn.Sequential(*features), _linear(model.linear, given))


_BUILDERS = {CifarResNet: _compact_resnet, VGG: _compact_vgg}
