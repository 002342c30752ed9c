"""Random crops and flips of a whole batch at once, on the device that holds the images."""

import torch
from torch import Tensor


def augment(
    images: Tensor, index: Tensor, offsets: Tensor, mirrored: Tensor, padding: int
) -> Tensor:
    """Random crops of reflect-padded images, and flips: a batch in one gather, on their device.

    No padded copy is made: the gather asks a place beyond the edge from the place that reflects
    it. `images` (n, 3, s, s) uint8, channels last in memory; `index` (b,) which of them; `offsets`
    (b, 2) top and left corner in [0, 2 · padding] of the padded image; `mirrored` (b,) bool.
    Returns (b, 3, s, s) uint8 in channels-last memory.
    """
    side = images.shape[-1]
    steps = torch.arange(-padding, side - padding, device=images.device)
    rows = _reflected(offsets[:, :1] + steps, side)
    columns = offsets[:, 1:] + torch.where(mirrored[:, None], steps.flip(0), steps)
    columns = _reflected(columns, side)
    pixels = (index[:, None, None] * side + rows[:, :, None]) * side + columns[:, None, :]
    crops = images.permute(0, 2, 3, 1).view(-1, 3).index_select(0, pixels.flatten())
    return crops.view(len(index), side, side, 3).permute(0, 3, 1, 2)


def _reflected(places: Tensor, side: int) -> Tensor:
    """Places in a row of `side` pixels; those beyond an end mirrored at the pixel of that end."""
    last = side - 1
    return last - (last - places.abs()).abs()
