"""The page *Draw a mask* in a real browser, held against the core that it imitates."""

import itertools
import math
import re

import pytest
from pages import NARROW, WIDE, centre, tab_of, words, write_page

from randprune_core import paths
from randprune_core.bookmaking import draw_a_mask
from randprune_core.config import IMAGENET_MODELS
from randprune_core.metrics.cost import layer_macs
from randprune_core.models import meta_model
from randprune_core.pruning.layers import maskable_weights
from randprune_core.pruning.ratios import SHAPE_RATIOS, kept_counts

AXE = (paths.ROOT / "tests" / "axe" / "axe.min.js").read_text(encoding="utf-8")

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
    return write_page(tmp_path_factory.mktemp("page"), "draw_a_mask", draw_a_mask.script())


@pytest.fixture
def tab(browser, address):
    with tab_of(browser, address) as page:
        yield page


def pick(tab, network: str, ratio: str, sparsity: float) -> None:
    tab.get_by_role("combobox", name="Network").select_option(network)
    tab.get_by_role("combobox", name="Ratio").select_option(ratio)
    tab.get_by_role("slider", name="Sparsity").fill(str(sparsity))


def test_counts_of_every_network_and_ratio_are_those_of_the_core(tab):
    offered = (
        tab.locator(f"#mask-{name} option").evaluate_all("(all) => all.map((o) => o.value)")
        for name in ("network", "ratio")
    )
    networks, ratios = map(list, offered)
    assert (set(networks), set(ratios)) == (set(draw_a_mask.NETWORKS), set(draw_a_mask.RATIOS))
    sparsities = [0, 0.1, 0.5, 0.9, 0.98]
    found = tab.evaluate(ALL, [networks, ratios, sparsities])
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
                    f"{spent:,}of {dense:,} MACs kept",
                    f"{100 * spent / dense:.1f}\u00a0%of the MACs, for one image of "
                    f"{side}\u00a0×\u00a0{side}",
                ]
    assert refused


PICTURE = """() => {
  const { width, height } = document.querySelector("#mask-picture canvas");
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(document.querySelector("#mask-picture canvas"), 0, 0);
  const red = [...copy.getImageData(0, 0, width, height).data].filter((_, k) => k % 4 === 0);
  return { width, height, red };
}"""


def picture(tab, filters: int, inputs: int, kernel: int) -> list[list[bool]]:
    """What the canvas shows of a layer that it shows whole: True where a square is not grey."""
    shown = tab.evaluate(PICTURE)
    gap = 2 if kernel > 1 else 0
    square = ((shown["width"] + gap) // inputs - gap) // kernel
    assert shown["width"] == inputs * (kernel * square + gap) - gap
    assert shown["height"] == filters * (kernel * square + gap) - gap

    def kept(out: int, channel: int, y: int, x: int) -> bool:
        left = channel * (kernel * square + gap) + x * square
        top = out * (kernel * square + gap) + y * square
        return shown["red"][top * shown["width"] + left] != 0xE2

    inside = list(itertools.product(range(inputs), range(kernel), range(kernel)))
    return [[kept(out, *place) for place in inside] for out in range(filters)]


@pytest.mark.parametrize(
    ("network", "ratio", "sparsity", "layer", "seed"),
    [
        ("resnet-20", "erk", 0.9, "stage1.0.conv1.weight", 0),
        ("resnet-20", "uniform", 0.5, "conv1.weight", 7),
        ("resnet-20-4", "uniform_plus", 0.8, "stage3.2.conv2.weight", 999999),
        ("resnet-8", "erk_plus", 0.98, "linear.weight", 3),
        ("resnet-8", "uniform", 0.9, "linear.weight", 12),
    ],
)
def test_picture_and_its_python_are_the_mask_of_the_core(
    tab, network, ratio, sparsity, layer, seed
):
    pick(tab, network, ratio, sparsity)
    choice = tab.get_by_role("combobox", name="Layer")
    option = choice.locator("option", has_text=re.compile(rf"^\d+\. {re.escape(layer)} "))
    choice.select_option(option.get_attribute("value"))
    tab.get_by_role("spinbutton", name="Seed").fill(str(seed))
    tab.keyboard.press("Tab")
    *lines, last = tab.locator("#mask-picture pre").inner_text().splitlines()
    names = {}
    exec("\n".join(lines), names)  # the code that the page gives its reader
    mask = eval(last, names)
    filters, inputs, kernel = (*mask.shape[:2], mask.shape[2] if mask.ndim == 4 else 1)
    assert picture(tab, filters, inputs, kernel) == mask.flatten(1).tolist()
    assert f"seed={seed})" in lines[-1] and layer in last and network in lines[1]
    empty = int((~mask.flatten(1).any(1)).sum())
    about = tab.locator("#mask-picture [role=status]").inner_text()
    row = "output filter" if mask.ndim == 4 else "output"
    verb = "is" if empty == 1 else "are"
    rows = f"{empty} of {filters} {row}s {verb} empty." if empty else f"Every {row} keeps some."
    assert about == (
        f"{layer}, seed {seed}: {int(mask.sum()):,} of {mask.numel():,} weights kept. {rows}"
    )
    assert tab.get_by_role("img", name="The mask of").get_attribute("aria-label").endswith(about)


def test_axes_number_the_filters_down_and_the_channels_across(tab):
    pick(tab, "resnet-20", "erk", 0.9)
    tab.get_by_role("combobox", name="Layer").select_option("0")  # 16 x 3 x 3 x 3
    canvas = tab.locator("#mask-picture canvas").bounding_box()
    found = [
        (text.inner_html(), text.bounding_box()) for text in tab.locator(".mask-plate text").all()
    ]
    assert [words for words, _ in found[:2]] == ["Input channel", "Output filter"]
    across = [words for words, box in found[2:] if box["y"] < canvas["y"]]
    down = [words for words, box in found[2:] if box["x"] < canvas["x"]]
    assert across == ["0", "1", "2"]
    assert down == [str(number) for number in range(16)]
    first, last = found[2 + len(across)][1], found[-1][1]
    assert abs((last["y"] - first["y"]) / 15 - canvas["height"] / 16) < 1


def test_ticks_of_the_bars_are_round_and_the_mask_takes_the_colours_of_the_theme(tab):
    marks = tab.locator("#mask-layers svg text[text-anchor=end]").all_text_contents()
    weights = [int(mark.replace(",", "")) for mark in marks[: marks.index("0", 1)]]
    steps = {after - before for before, after in zip(weights, weights[1:], strict=False)}
    assert len(weights) > 3 and len(steps) == 1 and str(*steps).rstrip("0") in ("1", "2", "5")
    light = tab.evaluate(PICTURE)["red"]
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    dark = tab.evaluate(PICTURE)["red"]
    assert max(light) == 0xE2 and max(dark) < 0x80


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_numbers_of_the_axes_stand_whole_in_the_picture(tab, size):
    tab.set_viewport_size(size)
    pick(tab, "resnet50", "erk_plus", 0.9)
    svg = tab.locator("#mask-layers svg")
    marks = svg.locator("text[text-anchor=end]")
    assert "1,000,000" in marks.all_text_contents()
    left = svg.bounding_box()["x"]
    assert all(mark.bounding_box()["x"] >= left for mark in marks.all())


def test_redraw_and_a_bar_change_the_picture_with_mouse_and_keyboard(tab):
    seed, about = (
        tab.get_by_role("spinbutton", name="Seed"),
        tab.locator("#mask-picture [role=status]"),
    )

    def shown() -> str:
        return tab.evaluate("document.querySelector('#mask-picture canvas').toDataURL()")

    first = shown()
    assert seed.input_value() == "0"
    redraw = tab.get_by_role("button", name="Redraw")
    redraw.click()
    second, count = shown(), about.inner_text().partition(": ")[2]
    redraw.focus()
    tab.keyboard.press("Enter")
    assert seed.input_value() == "2"
    assert first != second != shown()
    assert about.inner_text().partition(": ")[2].split(" kept")[0] == count.split(" kept")[0]
    seed.fill("0")
    tab.keyboard.press("Enter")
    assert shown() == first
    for wrong, taken in (("-3", "0"), ("", "0"), ("99999999", "999999"), ("4.7", "4")):
        seed.fill(wrong)
        tab.keyboard.press("Tab")
        assert seed.input_value() == taken
        assert f"seed {taken}:" in about.inner_text()
    tab.locator("#mask-layers .column").nth(5).click()
    assert "stage1.2.conv1.weight" in about.inner_text()


def test_bars_say_their_layer_under_the_mouse_and_with_the_keyboard(tab):
    bars = tab.locator("#mask-layers .column")
    rows = tab.locator("#mask-layers tbody tr")

    def row(place: int) -> str:
        cells = rows.nth(place).locator("th, td").all_inner_texts()
        return f"{cells[0]}: {cells[3]} of {cells[2]} weights, density {cells[4]}\u00a0%"

    tab.mouse.move(*centre(bars.nth(3)))
    assert words(tab) == [row(3)]
    tab.mouse.move(1, 1)
    assert words(tab) == []
    bars.first.focus()
    assert words(tab) == [row(0)]
    tab.keyboard.press("ArrowRight")
    assert words(tab) == [row(1)]
    tab.keyboard.press("End")
    assert words(tab) == [row(rows.count() - 1)]
    tab.keyboard.press("Escape")
    assert words(tab) == []


def test_controls_answer_the_keyboard_and_a_ratio_says_what_it_cannot_do(tab):
    totals = tab.locator(".mask-totals")
    tab.get_by_role("combobox", name="Network").focus()
    tab.keyboard.press("Home")
    assert tab.locator("#mask-layers tbody tr").count() == 10
    tab.keyboard.press("Tab")
    tab.keyboard.press("Home")
    tab.keyboard.press("Tab")
    assert tab.locator("output").inner_text() == "0.90"
    tab.keyboard.press("ArrowRight")
    assert tab.locator("output").inner_text() == "0.91"
    assert "Uniform, sparsity 0.91" in tab.locator("#mask-layers caption").inner_text()
    tab.keyboard.press("End")
    pick(tab, "vgg-11", "erk_plus", 0.99)
    assert totals.locator("strong").count() == 3
    pick(tab, "resnet50", "uniform_plus", 0.99)
    (why,) = totals.locator("p").all_inner_texts()
    assert why.startswith("Uniform+ cannot reach sparsity 0.99 in ResNet-50: ")
    limit = float(re.search(r"below ([\d.]+)", why)[1])
    assert tab.locator("#mask-picture canvas, #mask-layers svg").count() == 0
    tab.get_by_role("slider", name="Sparsity").fill(f"{math.floor(limit * 100) / 100}")
    assert totals.locator("strong").count() == 3
    assert tab.locator("#mask-picture canvas, #mask-layers svg").count() == 2


def test_shares_add_up_to_the_whole_budget(tab):
    pick(tab, "vgg-16", "erk", 0.9)
    rows = tab.locator("#mask-budget tbody tr").all()
    shown = [[float(text) for text in row.locator("td").all_inner_texts()] for row in rows]
    groups = [row.locator("th").inner_text() for row in rows]
    assert groups[0] == "32 × 32, 2\u00a0layers" and groups[-1] == "linear, 1\u00a0layer"
    for column in range(4):
        assert sum(row[column] for row in shown) == pytest.approx(100, abs=0.3)


@pytest.mark.parametrize(("size", "mode"), [(WIDE, "light"), (NARROW, "dark")])
def test_page_fits_and_can_be_touched_and_axe_finds_nothing(tab, size, mode):
    tab.set_viewport_size(size)
    tab.evaluate(f"document.documentElement.dataset.theme = '{mode}'")
    pick(tab, "resnet-110", "erk", 0.9)
    tab.wait_for_function(
        "document.querySelector('#mask-layers svg').clientWidth <= innerWidth - 30"
    )
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.evaluate(
        "document.querySelector('canvas').getBoundingClientRect().right <= innerWidth"
    )
    for control in tab.locator("form select, form input, form button").all():
        box = control.bounding_box()
        assert min(box["width"], box["height"]) >= 40
    pick(tab, "resnet-8", "erk", 0.9)  # fewer rows, which axe looks at one by one
    tab.evaluate(AXE)
    found = tab.evaluate("() => axe.run(document, { preload: false })")["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
