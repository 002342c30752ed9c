"""Figures as SVG: the same text each time, colours that a page can set."""

import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from randprune_core.presentation import plots, stacked, theme, vector

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def lines():
    theme.use_theme()
    figure, axis = plt.subplots(figsize=(4, 3))
    axis.plot([0, 1, 2], [0.123456, 1, 0], **plots.ratio_style("erk", hollow=False))
    axis.plot([0, 1, 2], [1, 2, 1], **plots.ratio_style("uniform", hollow=True))
    axis.axhline(1, color=theme.COLOURS["dense"])
    axis.set(title="A title & <more>", xlabel="x")
    return figure


def drawn(figure, name="figure") -> str:
    return vector.svg(stacked.fitted(figure), name, "what it draws")


def test_drawn_twice_it_is_the_same_to_the_byte():
    assert drawn(lines()) == drawn(lines())
    phone = [vector.svg(stacked.stacked(lines()), "phone", "") for _ in range(2)]
    assert phone[0] == phone[1]


def test_another_user_setting_changes_nothing():
    plain = drawn(lines())
    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": None, "savefig.bbox": "tight"}):
        assert drawn(lines()) == plain


def test_text_is_text_and_the_description_says_what_is_drawn():
    svg = ElementTree.fromstring(drawn(lines()))
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in svg.iter(f"{space}text")]
    assert "A title & <more>" in texts and "x" in texts
    assert svg.findtext(f"{space}desc") == "what it draws"


def test_ids_of_two_figures_do_not_meet():
    one, other = (set(re.findall(r' id="(\w+)"', drawn(lines(), name))) for name in "ab")
    assert one and other and not one & other


def test_every_reference_has_its_target():
    text = drawn(lines())
    ids = set(re.findall(r' id="(\w+)"', text))
    assert set(re.findall(r"#(\w+)\)|href=\"#(\w+)", text)) and ids
    assert {a or b for a, b in re.findall(r"url\(#(\w+)\)|href=\"#(\w+)", text)} == ids


def test_numbers_have_two_decimals():
    assert not re.search(r"[ MLC]\d+\.\d{3,}", re.sub(r"<image[^>]*>", "", drawn(lines())))


def test_there_is_no_ground_and_no_ink_of_its_own():
    text = drawn(lines())
    for colour in ("#222222", "#262626", "#000000"):
        assert colour not in text
    assert "fill:currentColor" in text and "stroke:currentColor" in text
    assert set(re.findall(r"[^,]#ffffff", text)) == set()  # but as what `--figure-ground` falls to
    assert "var(--figure-0072b2,#0072b2)" in text


def test_a_mask_is_a_path_with_a_rectangle_for_each_run():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 0]], dtype=bool)
    figure = plots.plot_mask({"m": mask})
    text = drawn(figure)
    assert "<image" not in text
    assert max(path.count("M") for path in re.findall(r' d="([^"]*)"', text)) == 3
    assert figure.axes[0].images[0].get_visible()


def values(css: str, mode: str) -> dict[str, str]:
    block = re.search(rf'data-theme="{mode}"\] {{(.*?)}}', css, re.DOTALL)[1]
    return dict(re.findall(r"--figure-([\w-]+): (#\w+);", block))


@pytest.mark.parametrize("mode", vector.GROUNDS)
def test_every_colour_of_the_book_is_told_from_the_ground(mode):
    others = ["#4C72B0", "#66AAD1", "#8C6D31", "#5C5C8A"]
    text = "".join(
        f"var(--figure-{use}{colour[1:].lower()},"
        for colour in [*theme.COLOURS.values(), *others]
        for use in vector.CONTRAST[mode]
    )
    found = values(vector.colours([text]), mode)
    ground = found.pop("ground")
    assert len(found) > 12
    for name, value in found.items():
        least = 4.5 if name.startswith("text-") else 3
        assert vector.contrast(value, ground) >= least, name


def test_a_colour_that_is_clear_enough_stays():
    assert vector.readable("#0072b2", "#ffffff", 3) == "#0072b2"
    assert vector.readable("#e69f00", "#ffffff", 3) != "#e69f00"


def test_greys_are_as_far_from_a_dark_ground_as_from_white():
    grid, guide = (vector.readable(c, "#121212", 3) for c in ("#dddddd", "#777777"))
    assert vector.contrast(grid, "#121212") < 1.7 < 3 < vector.contrast(guide, "#121212")
    assert vector.readable("#dddddd", "#ffffff", 3) == "#dddddd"


def test_contrast_is_that_of_the_guidelines():
    assert vector.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert vector.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
