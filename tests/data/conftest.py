"""torchvision downloads nothing here, and a made-up CIFAR can be a copy that is known by name."""

import pytest
from cifar_copies import fingerprint

from randprune_core.data import copies, loading


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """torchvision's downloads fail as they do without a network; some tests replace that."""
    from torchvision.datasets import CIFAR10

    def no_network(self):
        raise OSError("<urlopen error no route to host>")

    monkeypatch.setattr(CIFAR10, "download", no_network)  # CIFAR100 inherits it
    yield
    loading._load.cache_clear()
    loading._test_images.cache_clear()


@pytest.fixture
def known_copy(cifar_folder, monkeypatch):
    """The made-up folder as a copy that is known by the name of jpeg75."""
    for name in ("cifar10", "cifar100"):
        prints = tuple(fingerprint(cifar_folder, name, split) for split in ("train", "test"))
        monkeypatch.setitem(copies.KNOWN_COPIES, name, {"jpeg75": prints})
    return cifar_folder
