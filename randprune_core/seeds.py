"""Random generators of their own for each seed and role, all on the CPU, the same everywhere.

The text that is hashed is part of every record: another text would draw other masks and orders.
"""

import hashlib
from numbers import Integral

import torch

from .arguments import whole_number


def layer_generator(seed: int, name: str) -> torch.Generator:
    """CPU generator of one layer, seeded with sha256 of (seed, layer name)."""
    digest = hashlib.sha256(f"{whole_number(seed, 'seed')}\0{name}".encode()).digest()
    return plain_generator(int.from_bytes(digest[:8], "big") >> 1)


def generator(seed: int, *role) -> torch.Generator:
    """A CPU generator of its own for one role of one seed, independent of all the others."""
    # NumPy's integers have another repr, and would give another generator.
    role = tuple(int(part) if isinstance(part, Integral) else part for part in role)
    text = repr((whole_number(seed, "seed"), *role)).encode()
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    return plain_generator(number)


def plain_generator(seed: int) -> torch.Generator:
    """A CPU generator that starts from `seed` itself, a whole number of any kind."""
    return torch.Generator("cpu").manual_seed(whole_number(seed, "seed"))
