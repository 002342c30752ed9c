"""What the tests of CIFAR on disk share: the fingerprint of a made-up copy, and a refusal."""

import hashlib

import numpy as np
import pytest

from randprune_core.data.files import DataError
from randprune_core.data.loading import load_dataset


def fingerprint(made, name, split) -> str:
    labels = np.asarray(made.labels[name, split], dtype="<i8").tobytes()
    return hashlib.sha256(b"".join(made.encoded[name, split]) + labels).hexdigest()


def refusal(name="cifar10", **options) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
