"""Augmentation in one gather equals pad, crop and flip, image by image."""

import pytest
import torch
import torch.nn.functional as F

from randprune_core.data.augment import augment


def noise(count: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("side", "padding"), [(32, 4), (16, 2), (8, 0)])
def test_augment_equals_pad_then_crop_then_flip_image_by_image(side, padding):
    images = noise(6, side)
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(0, 6, (40,), generator=generator)
    offsets = torch.randint(0, 2 * padding + 1, (40, 2), generator=generator)
    offsets[:2] = torch.tensor([[0, 2 * padding], [2 * padding, 0]])  # the far corners as well
    mirrored = torch.rand(40, generator=generator) < 0.5
    assert mirrored.any() and not mirrored.all()
    batch = augment(images, index, offsets, mirrored, padding)
    assert batch.shape == (40, 3, side, side) and batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)
    padded = F.pad(images.float(), (padding,) * 4, mode="reflect") if padding else images.float()
    for row in range(40):
        top, left = offsets[row].tolist()
        crop = padded[index[row], :, top : top + side, left : left + side]
        crop = crop.flip(-1) if mirrored[row] else crop
        assert torch.equal(batch[row].float(), crop)


def test_augment_in_the_middle_without_a_flip_gives_the_image_itself():
    images = noise(5, 16)
    middle, unmirrored = torch.full((5, 2), 2), torch.zeros(5, dtype=torch.bool)
    batch = augment(images, torch.arange(5), middle, unmirrored, 2)
    assert torch.equal(batch, images)
