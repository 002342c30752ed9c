"""What the page *Draw a mask* takes from the core, and the ten lines that it prints."""

import json
import math
import re

import pytest

from randprune_core import paths
from randprune_core.bookmaking import draw_a_mask
from randprune_core.config import IMAGENET_MODELS
from randprune_core.metrics.cost import network_macs
from randprune_core.models import meta_model
from randprune_core.presentation.theme import COLOURS, LABELS
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.ratios import SHAPE_RATIOS

PAGE = (paths.BOOK / "draw_a_mask.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def data() -> dict:
    return json.loads(draw_a_mask.script().partition("=")[2].rstrip().rstrip(";"))


def shapes_of(network: str) -> dict[str, tuple[int, ...]]:
    weights = maskable_weights(meta_model(network))
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def test_page_has_the_layers_of_the_networks_in_their_order(data):
    assert [network["name"] for network in data["networks"]] == list(draw_a_mask.NETWORKS)
    for network in data["networks"]:
        found = {layer: tuple(shape) for layer, shape, _ in network["layers"]}
        assert list(found.items()) == list(shapes_of(network["name"]).items())


def test_macs_are_those_of_a_real_network_on_its_images(data):
    for network in data["networks"]:
        name, macs = network["name"], [macs for *_, macs in network["layers"]]
        large = name in IMAGENET_MODELS
        assert (network["classes"], network["side"]) == ((1000, 224) if large else (10, 32))
        if not large:
            assert sum(macs) == network_macs(name)
        assert all(n % math.prod(shape) == 0 for _, shape, n in network["layers"])


def test_ratios_that_need_no_data_look_as_in_every_figure(data):
    assert tuple(ratio["name"] for ratio in data["ratios"]) == draw_a_mask.RATIOS
    for ratio in data["ratios"]:
        name = ratio["name"]
        assert (ratio["label"], ratio["colour"]) == (LABELS[name], COLOURS[name])


def test_data_are_made_once_for_the_same_code(project, monkeypatch):
    made = []
    monkeypatch.setattr(draw_a_mask, "script", lambda: made.append(1) or f"data = {len(made)};")
    package = project / "randprune_core"
    (package / "ratios.py").write_text("one = 1\n")
    assert [draw_a_mask.kept_script() for _ in range(2)] == ["data = 1;"] * 2
    (package / "ratios.py").write_text("one = 2\n")
    assert draw_a_mask.kept_script() == "data = 2;"
    (project / "constraints.txt").write_text("numpy==2\n")
    assert draw_a_mask.kept_script() == "data = 3;"
    (package / "bookmaking").mkdir()
    (package / "bookmaking/cite.py").write_text("other = 1\n")
    assert draw_a_mask.kept_script() == "data = 3;"


def test_ten_lines_of_erk_are_erk():
    lines = re.search("```python\n(def erk.*?)```", PAGE, re.DOTALL)[1]
    assert len(lines.splitlines()) == 10
    names = {"math": math}
    exec(lines, names)
    for network in draw_a_mask.NETWORKS:
        weights = maskable_weights(meta_model(network))
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        for sparsity in (0.1, 0.5, 0.9, 0.98):
            assert names["erk"](shapes, sparsity) == SHAPE_RATIOS["erk"](shapes, sparsity)
