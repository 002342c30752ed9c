"""The page *Draw a mask* in a real browser, held against the core that it imitates."""

import math
import re
import shutil

import pytest
import torch

from randprune_core import build_model, layer_sparsities, paths, random_masks
from randprune_core.bookmaking import draw_a_mask
from randprune_core.config import IMAGENET_MODELS
from randprune_core.metrics.cost import layer_macs
from randprune_core.models import meta_model
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.ratios import SHAPE_RATIOS, kept_counts

WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}
PAGE = (paths.BOOK / "draw_a_mask.md").read_text(encoding="utf-8")
AXE = (paths.ROOT / "tests" / "axe" / "axe.min.js").read_text(encoding="utf-8")
COLOURS = """<style>
  html { --pst-color-text-base: #222832; --pst-color-background: #fff; --pst-color-primary: #176de8;
    --pst-color-text-muted: #48566b; background: #fff; color: #222832; }
  html[data-theme=dark] { --pst-color-text-base: #ced6dd; --pst-color-background: #14181e;
    --pst-color-text-muted: #9ca4af; background: #14181e; color: #ced6dd; }
  body { max-width: 740px; margin: 1rem; font: 16px sans-serif; } pre { overflow-x: auto; }
</style>"""

ALL = """([networks, ratios, sparsities]) => {
  const pick = (name, value, event) => {
    const control = document.getElementById(`mask-${name}`);
    control.value = value;
    control.dispatchEvent(new Event(event));
  };
  const found = {};
  for (const network of networks) {
    pick("network", network, "change");
    for (const ratio of ratios) {
      pick("ratio", ratio, "change");
      for (const sparsity of sparsities) {
        pick("sparsity", sparsity, "input");
        const rows = [...document.querySelectorAll("#mask-layers tbody tr")];
        found[`${network} ${ratio} ${sparsity}`] = {
          kept: rows.map((row) => Number(row.cells[3].textContent.replaceAll(",", ""))),
          totals: [...document.querySelectorAll(".mask-totals p")].map((p) => p.textContent),
        };
      }
    }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page alone, without the book around it: its own markup, scripts and styles."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "book").mkdir()
    (folder / "_static").mkdir()
    for name in ("explorer.css", "draw_a_mask.css", "draw_a_mask.js"):
        shutil.copy(paths.BOOK / "_static" / name, folder / "_static")
    (folder / "_static/draw_a_mask-data.js").write_text(draw_a_mask.script(), encoding="utf-8")
    body = "\n".join(re.findall(r"```\{raw\} html\n(.*?)```", PAGE, re.DOTALL))
    head = f"<!doctype html><html lang=en data-theme=light><meta charset=utf-8>{COLOURS}"
    head += "<meta name=viewport content='width=device-width'><title>Draw a mask</title>"
    page = folder / "book" / "draw_a_mask.html"
    page.write_text(f"{head}<main><h1>Draw a mask</h1>{body}</main></html>", encoding="utf-8")
    return page.as_uri()


@pytest.fixture
def tab(browser, address):
    page = browser.new_page(viewport=WIDE)
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(address)
    yield page
    assert page.complaints == []
    page.close()


def pick(tab, network: str, ratio: str, sparsity: float) -> None:
    tab.get_by_label("Network").select_option(network)
    tab.get_by_label("Ratio").select_option(ratio)
    tab.get_by_label("Sparsity").fill(str(sparsity))


def test_counts_of_every_network_and_ratio_are_those_of_the_core(tab):
    offered = (
        tab.locator(f"#mask-{name} option").evaluate_all("(all) => all.map((o) => o.value)")
        for name in ("network", "ratio")
    )
    networks, ratios = map(list, offered)
    assert (len(networks), set(ratios)) == (15, set(SHAPE_RATIOS) - {"dense"})
    sparsities = [0, 0.1, 0.5, 0.9, 0.98]
    import time; t=time.time()
    found = tab.evaluate(ALL, [networks, ratios, sparsities])
    print(time.time()-t)
    refused = 0
    for network in networks:
        model = meta_model(network)
        side = 224 if network in IMAGENET_MODELS else 32
        shapes = {name: tuple(w.shape) for name, w in maskable_weights(model).items()}
        sizes = {name: math.prod(shape) for name, shape in shapes.items()}
        macs = layer_macs(model, (3, side, side))
        for ratio in ratios:
            for sparsity in sparsities:
                shown = found[f"{network} {ratio} {sparsity}"]
                try:
                    expected = kept_counts(shapes, SHAPE_RATIOS[ratio](shapes, sparsity))
                except ValueError as error:
                    layer = re.search("layer '(.*?)'", str(error))[1]
                    (why,) = shown["totals"]
                    assert f"cannot reach sparsity {sparsity}" in why and layer in why
                    assert shown["kept"] == []
                    refused += 1
                    continue
                assert shown["kept"] == list(expected.values())
                spent = sum(macs[name] // sizes[name] * n for name, n in expected.items())
                dense = sum(macs.values())
                assert shown["totals"] == [
                    f"{sum(expected.values()):,}of {sum(sizes.values()):,} weights kept",
                    f"{spent:,}of {dense:,} MACs for one image of {side} × {side}",
                    f"{100 * spent / dense:.1f} %of the dense MACs",
                ]
    assert 0 < refused < 40
