"""Random generators of their own for each seed and role, all on the CPU, the same everywhere.

The text that is hashed is part of every record: another text would draw other masks and orders.
"""

import hashlib

import torch


def layer_generator(seed: int, name: str) -> torch.Generator:
    """CPU generator of one layer, seeded with sha256 of (seed, layer name)."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def generator(seed: int, *role) -> torch.Generator:
    """A CPU generator of its own for one role of one seed, independent of all the others."""
    text = repr((seed, *role)).encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return torch.Generator().manual_seed(number)
