"""The data of the page on which a reader trains: scikit-learn's digits and how ratios look."""

from __future__ import annotations

import base64

from ..presentation import foreign
from .explorer import style

TEST_IMAGES = 360
"""The last fifth of the digits, which other people wrote; the same as in `data/loading`."""


def script() -> str:
    """The data as a script that sets `window.TRAIN_IT`: read from a file, without a server.

    `images` are 1,797 x 64 bytes from 0 to 16 in base64, `labels` one digit an image, `test` the
    number of images at the end that test, `styles` the looks of the ratios.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    data = {
        "images": base64.b64encode(digits.images.astype("uint8").tobytes()).decode(),
        "labels": "".join(map(str, digits.target)),
        "test": TEST_IMAGES,
        "styles": {name: style(name) for name in ("dense", "uniform", "erk")},
    }
    return f"window.TRAIN_IT = {foreign.script(data)};\n"
