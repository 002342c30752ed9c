"""The data of the page that trains are the digits of the library."""

import base64
import json

import numpy as np

from randprune_core.bookmaking import train_it
from randprune_core.data.loading import load_dataset
from randprune_core.presentation.theme import COLOURS


def data() -> dict:
    name, _, written = train_it.script().partition(" = ")
    assert name == "window.TRAIN_IT"
    return json.loads(written.removesuffix(";\n"))


def test_images_and_their_split_are_those_of_the_library():
    found, digits = data(), load_dataset("digits")
    assert found["test"] == len(digits.test_labels)
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    assert found["labels"] == "".join(map(str, labels))
    pixels = np.frombuffer(base64.b64decode(found["images"]), np.uint8).reshape(-1, 8, 8)
    images = np.concatenate([digits.train_images, digits.test_images])
    shown = np.round(pixels * (255 / 16)).astype(np.uint8)
    assert (images[:, 0, ::2, ::2] == shown).all()


def test_ratios_have_the_colours_of_the_figures_and_the_page_is_light():
    assert {name: look["colour"] for name, look in data()["styles"].items()} == {
        name: COLOURS[name] for name in ("dense", "uniform", "erk")
    }
    assert len(train_it.script()) < 200_000
