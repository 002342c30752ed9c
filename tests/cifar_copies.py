"""What the tests of CIFAR on disk share: a made-up copy's fingerprint, other content, a refusal."""

import hashlib

import numpy as np
import pytest
from conftest import write_parquet

from randprune_core.data.files import DataError
from randprune_core.data.loading import load_dataset


def fingerprint(made, name, split) -> str:
    labels = np.asarray(made.labels[name, split], dtype="<i8").tobytes()
    return hashlib.sha256(b"".join(made.encoded[name, split]) + labels).hexdigest()


def rewritten(made, images=None, labels=None) -> None:
    key = ("cifar10", "train")
    made.encoded[key] = made.encoded[key] if images is None else images
    made.labels[key] = made.labels[key] if labels is None else labels
    write_parquet(made.path[key], made.encoded[key], made.labels[key], "label")


def refusal(name="cifar10", **options) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
