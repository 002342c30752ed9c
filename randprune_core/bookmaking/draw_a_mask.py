"""The data of the page *Draw a mask*: the layers of each network, and how ratios look.

The page's script (`book/_static/draw_a_mask.js`) does the arithmetic of `pruning.ratios` and
`pruning.masks` in the browser; a test holds every number against them.
"""

from __future__ import annotations

from pathlib import Path

from .. import paths
from ..analysis.layers import layer_table
from ..config import IMAGENET_MODELS
from ..datasets import DATASETS
from ..presentation import foreign
from ..presentation.theme import COLOURS, LABELS
from ..presentation.words import model_label
from ..pruning.ratios import LAST_LAYER_MIN_DENSITY
from .notebooks import code_of, hash_files

RATIOS = ("uniform", "uniform_plus", "erk", "erk_plus")
"""The ratios that the script knows: those that need nothing but shapes."""

NETWORKS = (
    *(f"resnet-{depth}" for depth in (8, 14, 20, 32, 44, 56, 110)),
    *(f"resnet-20-{filters}" for filters in (4, 8, 24, 32)),
    *(f"vgg-{depth}" for depth in (11, 16, 19)),
    "resnet50",
)


def script() -> str:
    """The data as a script that sets `window.RANDPRUNE_LAYERS`: read without a server."""
    return f"window.RANDPRUNE_LAYERS = {foreign.script(mask_data())};\n"


def kept_script() -> str:
    """`script`, kept in `_build` for as long as the code that it depends on stays the same.

    It takes seconds to make, since the MACs of every network are counted.
    """
    kept, key_file = paths.BUILD / "draw_a_mask-data.js", paths.BUILD / "draw_a_mask.sha256"
    key = hash_files([*code_of(), Path(__file__), paths.ROOT / "constraints.txt"])
    if not (kept.exists() and key_file.exists() and key_file.read_text() == key):
        key_file.unlink(missing_ok=True)
        paths.write_whole(kept, script().encode())
        paths.write_whole(key_file, key.encode())
    return kept.read_text(encoding="utf-8")


def mask_data() -> dict:
    """`ratios`, `last_layer_min_density` (of Uniform+), and `networks`.

    A network has `name, label, classes, side` (pixels a side of its images) and `layers`, each
    `[name, shape, dense MACs]`, in module order.
    """
    table = layer_table(NETWORKS, ["uniform"], [0.0])
    networks = []
    for name, rows in table.groupby("model", sort=False):
        dataset = DATASETS["imagenet" if name in IMAGENET_MODELS else "cifar10"]
        layers = [
            [layer, list(shape), int(macs)]
            for layer, shape, macs in zip(rows.layer, rows["shape"], rows.macs, strict=True)
        ]
        networks.append(
            {
                "name": name,
                "label": model_label(name),
                "classes": dataset.classes,
                "side": dataset.side,
                "layers": layers,
            }
        )
    ratios = [{"name": r, "label": LABELS[r], "colour": COLOURS[r]} for r in RATIOS]
    return {
        "ratios": ratios,
        "last_layer_min_density": LAST_LAYER_MIN_DENSITY,
        "networks": networks,
    }
