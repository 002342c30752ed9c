"""The results explorer in a real browser, with made-up records."""

import io
import json

import pandas as pd
import pytest
from conftest import made_up_record
from pages import NARROW, WIDE, centre, tab_of, words, write_page

from randprune_core.analysis.cells import gap_to_dense, summarise
from randprune_core.analysis.claim_runs import pool_among
from randprune_core.bookmaking import explorer
from randprune_core.config import RunConfig
from randprune_core.presentation import foreign
from randprune_core.presentation.words import number, plus_minus
from randprune_core.records.table import records_to_frame
from randprune_core.sweeps.profiles import PROFILES

HOSTILE = "=1+1; @x <img src=x onerror=alert(1)>"
DENSE = ("dense", 0.0)
CELLS = {
    "resnet-8": {DENSE: 0.75, ("uniform", 0.9): 0.66, ("erk", 0.5): 0.74, ("erk", 0.9): 0.70},
    "resnet-20": {DENSE: 0.80, ("erk", 0.9): 0.78},
    "resnet-32": {DENSE: 0.82},
}
DENSE_BELOW = {0: 0.0, 1: -0.01, 2: 0.01}
TOO_WIDE = """(menu) => {
  const { font, paddingLeft, paddingRight } = getComputedStyle(menu);
  const brush = new OffscreenCanvas(1, 1).getContext("2d");
  brush.font = font;
  const room = menu.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - 20;
  return [...menu.options].map((option) => option.text)
    .filter((text) => !text.includes("=1+1") && brush.measureText(text).width > room);
}"""  # 20 pixels are the arrow's


def made_up() -> list[dict]:
    """Profile `mini` with three seeds, and one network of `cpu` without OoD images."""
    records = []
    for place, (model, cells) in enumerate(CELLS.items()):
        for (ratio, sparsity), accuracy in cells.items():
            for seed, shift in DENSE_BELOW.items():
                seeds = {"seed_init": seed, "seed_mask": seed, "seed_data": seed}
                fields = {"model": model, "ratio": ratio, "sparsity": sparsity, **seeds}
                config = RunConfig(**{**PROFILES["mini"], "variant": "jpeg75", **fields})
                record = made_up_record(config, accuracy + shift * (1 if ratio == "dense" else 2))
                record["cost"]["dense_weights"] = 1_000 + place
                record["test"][HOSTILE] = 0.5
                records.append(record)
    cpu = {**PROFILES["cpu"], "variant": "jpeg75", "model": "resnet-8"}
    records.append(made_up_record(RunConfig(**cpu), 0.6))
    del records[-1]["test"]["ood"]
    for ratio in ("snip", "grasp"):
        fields = {"ratio": ratio, "sparsity": 0.9, "mask_source": "own"}
        records.append(made_up_record(RunConfig(**cpu | fields), 0.5))
        del records[-1]["test"]["ood"]
    return records


@pytest.fixture(scope="module")
def data() -> str:
    records = made_up()
    return explorer.script(records_to_frame(records), records)


@pytest.fixture(scope="module")
def address(tmp_path_factory, data):
    return write_page(tmp_path_factory.mktemp("page"), "explorer", data)


@pytest.fixture
def tab(browser, address):
    with tab_of(browser, address) as page:
        yield page


def pick(tab, **values: str) -> None:
    for name, value in values.items():
        tab.locator(f"#explorer-{name}").select_option(value)


def picked(tab) -> dict[str, str]:
    names = ("data", "metric", "show", "network", "sparsity")
    found = {name: tab.locator(f"#explorer-{name}").input_value() for name in names}
    boxes = tab.get_by_role("checkbox").all()
    off = [box.get_attribute("id") for box in boxes if not box.is_checked()]
    return found | {"off": " ".join(off)}


def rows(tab, place: int) -> list[list[str]]:
    """What a table says: that of one network (0) or of one sparsity (1)."""
    found = tab.locator(".explorer-charts > section").nth(place).locator("tbody tr").all()
    return [row.locator("th, td").all_inner_texts() for row in found]


def lacks(tab) -> list[str]:
    return tab.locator(".explorer-missing").all_inner_texts()


# ---------------------------------------------------------------- what is shown


def test_dense_minus_sparse_is_what_the_core_computes(tab):
    pick(tab, network="ResNet-8", show="gap")
    tab.get_by_role("checkbox", name="the paper's Figure 1").click()
    assert [row[:3] + row[4:] for row in rows(tab, 0)] == [
        ["0.9", "Uniform", "9.0", "3"],
        ["0.5", "ERK", "1.0", "3"],
        ["0.9", "ERK", "5.0", "3"],
    ]
    assert [row[:3] for row in rows(tab, 1)] == [
        ["ResNet-8", "Uniform", "9.0"],
        ["ResNet-8", "ERK", "5.0"],
        ["ResNet-20", "ERK", "2.0"],
    ]
    assert tab.locator(".chart .zero").count() == 2
    assert "Above 0 the dense network" in tab.get_by_role("status").inner_text()
    assert tab.get_by_role("checkbox", name="dense").is_disabled()


def test_every_seed_is_a_dot_beside_its_mean(tab):
    for show, cells in (("value", 4), ("gap", 3)):
        pick(tab, network="ResNet-8", show=show)
        curve = tab.locator(".chart").first
        assert curve.locator(".seed").count() == 3 * cells
        texts = curve.locator("[role=img]").evaluate_all("(all) => all.map((n) => n.ariaLabel)")
        assert len(texts) == cells
        assert all(f"seed {seed}: " in text for seed in range(3) for text in texts)
        assert all("95\u00a0% interval" in text and "3 seeds" in text for text in texts)


def test_one_seed_is_hollow_and_has_a_circle_in_its_table(tab):
    assert tab.locator(".chart .hollow").count() == 0
    assert "one seed" not in tab.locator(".explorer-table").first.inner_text()
    pick(tab, data="cpu-cifar10-jpeg75", network="ResNet-8")
    for name in ("SNIP mask", "GraSP mask"):
        tab.get_by_role("checkbox", name=name).click()
    assert rows(tab, 0) == [
        ["0", "dense", "60.0", "○", "1"],
        ["0.9", "SNIP mask", "50.0", "○", "1"],
        ["0.9", "GraSP mask", "50.0", "○", "1"],
    ]
    hollow = tab.locator(".chart").nth(1).locator(".hollow")
    assert hollow.count() == 3  # in the first, dense is a line
    assert all("white" in mark.get_attribute("fill") for mark in hollow.all())
    outlines = [mark.get_attribute("d") for mark in hollow.all()[1:]]
    assert all(outline.endswith("Z") for outline in outlines) and len(set(outlines)) == 2
    assert "○ one seed" in tab.locator(".explorer-table caption").first.inner_text()
    assert "hollow marker" in tab.get_by_role("status").inner_text()


def test_what_is_ticked_stays_so_when_other_data_are_picked(tab):
    tab.get_by_role("checkbox", name="ERK", exact=True).click()
    before = picked(tab)
    assert "explorer-erk" in before["off"].split()
    pick(tab, data="cpu-cifar10-jpeg75")
    pick(tab, data="mini-cifar10-jpeg75")
    assert picked(tab)["off"] == before["off"]


def of_the_paper(tab) -> list[list[str]]:
    return [row for row in rows(tab, 0) if "(paper)" in row[1]]


def test_points_of_the_paper_are_hollow_and_can_be_switched_on_and_off(tab):
    box = tab.get_by_role("checkbox", name="the paper's Figure 1")
    pick(tab, network="ResNet-20")
    assert of_the_paper(tab) == [] and not box.is_checked()
    box.click()
    paper = of_the_paper(tab)
    assert paper[0][:3] == ["0", "dense (paper)", "92.4"]
    assert [row[0] for row in paper if row[1] == "ERK (paper)"] == [f"0.{n}" for n in range(1, 10)]
    hollow = tab.locator(".chart").first.locator("[aria-label^='The paper'] > .hollow")
    assert hollow.count() == len(paper) - 1  # dense is a line
    pick(tab, metric="ece")
    assert of_the_paper(tab) == [] and box.is_disabled()
    pick(tab, metric="accuracy", show="gap")
    assert of_the_paper(tab)[8] == ["0.9", "Uniform (paper)", "6.1", "–", "–"]
    box.click()
    assert of_the_paper(tab) == []


def test_points_of_the_paper_stand_beside_gaps_unasked(tab):
    pick(tab, network="ResNet-20", show="gap")
    assert len(of_the_paper(tab)) == 18  # two ratios of the set at nine sparsities
    assert tab.get_by_role("checkbox", name="the paper's Figure 1").is_checked()


def test_gradient_norm_and_cost_are_metrics(tab):
    pick(tab, metric="gradient.initial", network="ResNet-8")
    assert [row[2] for row in rows(tab, 0)] == ["1.000"] * 4
    pick(tab, metric="cost.kept_weights")
    assert [row[2] for row in rows(tab, 0)] == ["1,000", "100", "500", "100"]
    pick(tab, show="gap")
    assert [row[2] for row in rows(tab, 0)] == ["900", "500", "900"]


def test_what_is_not_recorded_is_named(tab):
    assert picked(tab)["network"] == "ResNet-8"
    assert lacks(tab) == ["Not recorded at sparsity 0.9: ResNet-32."]
    pick(tab, network="ResNet-32", show="gap")
    tab.get_by_role("checkbox", name="the paper's Figure 1").click()
    assert lacks(tab)[0] == "Test accuracy (points) is not recorded for ResNet-32."
    assert tab.locator(".chart").count() == 1
    pick(tab, network="ResNet-20", show="value")
    assert lacks(tab)[0] == "Not recorded for ResNet-20: Uniform."
    pick(tab, metric="ood.photos.auroc", data="cpu-cifar10-jpeg75")
    assert lacks(tab)[0] == "AUROC, max. softmax (photos) is not recorded for ResNet-8."
    assert tab.locator(".chart").count() == tab.locator(".explorer-table").count() == 0
    pick(tab, data="mini-cifar10-jpeg75")
    assert tab.locator(".chart").count() == 2
    for box in tab.get_by_role("checkbox").all()[:3]:
        box.click()
    assert lacks(tab) == ["Every ratio and mask is switched off."] * 2
    pick(tab, metric="accuracy")
    tab.get_by_role("checkbox", name="dense").click()
    assert lacks(tab) == [] and len(rows(tab, 1)) == 3


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_what_can_be_picked_fits_into_its_menu(tab, size):
    tab.set_viewport_size(size)
    for menu in tab.locator(".explorer-controls select").all():
        assert menu.evaluate(TOO_WIDE) == []


def test_a_table_scrolls_only_if_it_is_long(tab):
    heights = "(all) => all.map((node) => [node.clientHeight, node.scrollHeight])"
    tables = tab.locator(".explorer-table")
    assert all(seen == whole for seen, whole in tables.evaluate_all(heights))
    pick(tab, network="ResNet-20", show="gap")  # beside the paper's
    (seen, whole), (other, needed) = tables.evaluate_all(heights)
    assert tab.locator(".explorer-table").first.locator("tbody tr").count() > 15
    assert seen < whole and other == needed


# ---------------------------------------------------------------- as the chapters round


def test_numbers_are_rounded_as_the_chapters_round_them(tab):
    values = [
        64.25,
        64.35,
        64.75,
        -64.25,
        0.05,
        -0.04,
        0.5,
        1.5,
        2.5,
        1234.5,
        1e-9,
        64.35000000000001,
    ]
    values += [eighths / 8 for eighths in range(-40, 41)]
    asked = [(value, digits) for value in values for digits in range(5)]
    found = tab.evaluate("(all) => all.map((each) => window.charts.number(...each))", asked)
    assert [text.replace(",", "") for text in found] == [number(*each) for each in asked]


def test_tables_say_what_the_chapters_say(browser, tmp_path):
    middle = [0.6425, 0.6435, 0.6475, 0.6415]  # all but the second are exactly halfway as percent
    records = []
    for place, accuracy in enumerate(middle):
        for ratio, sparsity, lost in (("dense", 0.0, 0), ("erk", 0.5, 0.00125), ("erk", 0.9, 0.03)):
            for seed, shift in enumerate((-0.01, 0, 0.01 + place % 2 / 1000)):
                fields = {"model": f"resnet-{6 * place + 8}", "ratio": ratio, "sparsity": sparsity}
                fields |= {"seed_init": seed, "seed_mask": seed, "seed_data": seed}
                config = RunConfig(**{**PROFILES["mini"], "variant": "jpeg75", **fields})
                records.append(made_up_record(config, accuracy - lost + shift))
    runs = records_to_frame(records)
    tables = {"value": (summarise, "mean", 1), "gap": (gap_to_dense, "gap", 0)}
    with tab_of(browser, write_page(tmp_path, "explorer", explorer.script(runs))) as tab:
        for show, (compute, column, dense) in tables.items():
            pick(tab, sparsity="0.9", show=show)
            cells = compute(runs, "accuracy", 100, pool_among(runs, "mini")).set_index(
                ["model", "sparsity"]
            )
            for network in tab.locator("#explorer-network option").all_inner_texts():
                pick(tab, network=network)
                shown = [row for row in rows(tab, 0) if "(paper)" not in row[1]]
                assert len(shown) == 2 + dense
                for sparsity, _, mean, reach, _ in shown:
                    cell = cells.loc[network.lower(), float(sparsity)]
                    expected = plus_minus(cell[column], cell.low, cell.high)
                    assert f"{mean}\u00a0±\u00a0{reach}" == expected


# ---------------------------------------------------------------- the address


def test_address_shares_a_view_and_the_back_button_leads_to_earlier_ones(browser, address, tab):
    views = [picked(tab)]
    for name in ("ERK", "the paper's Figure 1"):
        tab.get_by_role("checkbox", name=name).click()
        views.append(picked(tab))
    for values in ({"show": "gap"}, {"network": "ResNet-20"}, {"metric": "ece"}):
        pick(tab, **values)
        views.append(picked(tab))
    shared, shown = tab.url, (rows(tab, 0), rows(tab, 1))
    for view in reversed(views[:-1]):
        tab.go_back()
        assert picked(tab) == view
    assert tab.url == address
    tab.go_forward()
    assert picked(tab) == views[1]
    with tab_of(browser, shared) as other:
        assert picked(other) == views[-1]
        assert (rows(other, 0), rows(other, 1)) == shown


def test_link_to_a_heading_leaves_the_view_as_it_is(tab):
    pick(tab, metric="ece", network="ResNet-20")
    before = picked(tab)
    tab.evaluate("location.hash = 'how-to-read-it'")
    assert picked(tab) == before


@pytest.mark.parametrize(
    "asked",
    [
        "metric=none&data=9&show=&network=ResNet-9000&sparsity=1e9&hide=x&paper=maybe",
        "metric=__proto__&data=constructor&show=toString&network=%00&sparsity=NaN&hide=__proto__",
        "metric=%3Cimg%20src=x%20onerror=alert(1)%3E&network=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "data=%E0%A4%A&metric=%&network=%zz&" + "hide=erk%00&" * 500,
        "=&&&==",
    ],
)
def test_address_with_unknown_or_hostile_values_shows_the_default(browser, address, tab, asked):
    with tab_of(browser, f"{address}#{asked}") as other:
        assert picked(other) == picked(tab)
        assert other.locator("#explorer-root :is(img, script)").count() == 0


# ---------------------------------------------------------------- CSV


def download(tab) -> tuple[str, str]:
    with tab.expect_download() as found:
        tab.get_by_role("button", name="Download as CSV").click()
    return found.value.suggested_filename, found.value.path().read_text(encoding="utf-8")


def test_csv_is_what_is_shown(tab):
    pick(tab, network="ResNet-20", show="gap")
    name, text = download(tab)
    assert name == "mini-cifar10-jpeg75_accuracy_gap_ResNet-20_0.9.csv"
    table = pd.read_csv(io.StringIO(text))
    shown = {tuple(["ResNet-20", *row[:3]]) for row in rows(tab, 0)}
    shown |= {(row[0], "0.9", *row[1:3]) for row in rows(tab, 1)}
    paper = table.source.str.startswith("the paper")
    ratio = table.ratio + paper.map({True: " (paper)", False: ""})
    found = zip(table.network, table.sparsity, ratio, table["mean"], strict=True)
    assert {(n, f"{s:g}", r, f"{m:.1f}".replace("-", "−")) for n, s, r, m in found} == shown
    assert len(table) == len(shown)
    (row,) = table[~paper & (table.network == "ResNet-20")].to_dict("records")
    assert (row["seeds"], row["mean"]) == (3, 2.0) and row["low"] < 2 < row["high"]
    assert [row[f"seed {n}"] for n in range(3)] == pytest.approx([2.0, 3.0, 1.0])
    tab.get_by_role("checkbox", name="ERK").click()
    assert "ERK" not in set(pd.read_csv(io.StringIO(download(tab)[1])).ratio)


def test_csv_has_no_formula_and_is_written_as_the_book_writes_them(tab):
    pick(tab, metric=HOSTILE)
    name, text = download(tab)
    assert "<" not in name and "=" not in name
    assert foreign.formulas(text) == []
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    assert set(table.metric) == {foreign.spreadsheet_cell(HOSTILE)}
    assert foreign.csv_text(table) == text
    assert tab.locator("#explorer-root img").count() == 0


# ---------------------------------------------------------------- words at a point


def test_words_open_under_the_mouse_and_close_again(tab):
    pick(tab, network="ResNet-20")
    point = tab.locator(".chart [aria-label^='ERK, ResNet-20, sparsity 0.9']").first
    assert words(tab) == []
    x, y = centre(point.locator("path").last)
    tab.mouse.move(x + 6, y - 6)
    assert words(tab) == [point.get_attribute("aria-label")]
    assert words(tab)[0].startswith("ERK, ResNet-20, sparsity 0.9: 78.0, 95\u00a0% interval ")
    tab.keyboard.press("Escape")
    assert words(tab) == []
    tab.mouse.move(x + 5, y - 6)
    assert len(words(tab)) == 1
    tab.mouse.move(5, 5)
    assert words(tab) == []


def test_words_open_with_the_keyboard_and_close_again(tab):
    table = tab.locator(".explorer-table").first
    tab.locator(".chart [tabindex='0']").first.focus()
    first = words(tab)
    tab.keyboard.press("ArrowRight")
    second = words(tab)
    assert len(first) == len(second) == 1 and first != second
    tab.keyboard.press("ArrowLeft")
    assert words(tab) == first
    tab.keyboard.press("End")
    last = words(tab)
    tab.keyboard.press("ArrowRight")
    assert words(tab) == last not in (first, second)
    tab.keyboard.press("Escape")
    assert words(tab) == []
    tab.keyboard.press("Home")
    assert words(tab) == first
    tab.keyboard.press("Tab")  # one stop a picture
    assert words(tab) == []
    assert table.evaluate("(node) => node === document.activeElement")


def test_focus_stays_at_a_point_when_the_window_changes(tab):
    tab.locator(".chart [tabindex='0']").first.focus()
    tab.keyboard.press("ArrowRight")
    before = words(tab)
    tab.set_viewport_size({"width": 500, "height": 900})
    tab.wait_for_function("document.querySelector('.chart svg').clientWidth < 500")
    assert words(tab) == before


def test_words_open_by_touch_and_close_again(browser, address):
    size = {"width": 390, "height": 844}
    with tab_of(browser, address, viewport=size, has_touch=True, is_mobile=True) as tab:
        point = tab.locator(".chart [aria-label^='ERK, ResNet-8, sparsity 0.5']").first
        x, y = centre(point.locator("path").last)
        tab.touchscreen.tap(x + 12, y + 8)  # a finger does not hit the middle
        assert words(tab) == [point.get_attribute("aria-label")]
        box = tab.locator(".chart-tip:visible").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        tab.touchscreen.tap(x + 12, y + 8)
        assert words(tab) == []
        tab.touchscreen.tap(x, y)
        assert len(words(tab)) == 1
        tab.touchscreen.tap(*centre(tab.locator("h1")))
        assert words(tab) == []


def test_page_without_data_or_without_records_says_so(browser, tmp_path):
    for name, text, said in (
        ("none", "", "The data of this page is made by make book"),
        ("empty", explorer.script(records_to_frame([])), "No run is recorded"),
    ):
        (tmp_path / name).mkdir()
        address = write_page(tmp_path / name, "explorer", text)
        with tab_of(browser, address) as tab:
            assert tab.locator("#explorer-root").inner_text().startswith(said)


def test_made_up_records_are_those_of_two_profiles(data):
    found = json.loads(data.partition("=")[2].rstrip().rstrip(";"))
    assert [entry["key"] for entry in found["sets"]] == [
        "mini-cifar10-jpeg75",
        "cpu-cifar10-jpeg75",
    ]
