"""The book on one page: it fits, its text can be selected, its numbers are those of the book."""

import dataclasses
import itertools
import re
import zlib

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text

from randprune_core.analysis import cells, claims
from randprune_core.bookmaking import summary
from randprune_core.bookmaking.repository import Repository
from randprune_core.presentation.words import model_label, plus_minus

HOME = Repository("a-person-with-a-long-name", "a-repository-with-a-long-name", "main")


@pytest.fixture(scope="module")
def numbers():
    return summary.collect()


def longest(numbers) -> summary.Numbers:
    """The same with every claim decided, so that each effect has an interval to write out."""
    found = numbers.verdicts.copy()
    found["effect"], found["low"], found["high"] = -10.1234, -12.3456, -8.7654
    found["verdict"], found["runs"] = "contradicted", 1_000
    return dataclasses.replace(numbers, verdicts=found)


def lines(figure) -> dict[str, object]:
    """The visible texts of a figure with their places in inches."""
    figure.canvas.draw()
    outside = []  # an axis has ticks beyond its ends, too, and does not draw them
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        outside += [t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high]
    found = [text for text in figure.findobj(Text) if text.get_text().strip()]
    found = [text for text in found if text not in outside]
    return [
        (text.get_text(), text.get_window_extent().transformed(figure.dpi_scale_trans.inverted()))
        for text in found
        if text.get_visible()
    ]


@pytest.mark.parametrize("decided", [False, True], ids=["recorded", "all decided"])
def test_nothing_leaves_the_page_or_covers_another_text(numbers, decided):
    figure = summary.page(longest(numbers) if decided else numbers, HOME if decided else None)
    found = lines(figure)
    width, height = figure.get_size_inches()
    for text, box in found:
        assert 0.3 < box.x0 < box.x1 < width - 0.3 and 0.3 < box.y0 < box.y1 < height, text
    for (one, first), (two, second) in itertools.combinations(found, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert across < 0.01 or down < 0.03, f"{one} covers {two}"
    plt.close(figure)


def test_longer_text_leaves_less_room_for_the_figure_until_it_is_refused(numbers):
    heights = []
    with pytest.raises(ValueError, match="longer than its page"):
        for words in range(10, 1_000, 40):
            figure = summary.page(dataclasses.replace(numbers, sentence="claim " * words), None)
            heights.append(figure.axes[0].get_position().height * figure.get_size_inches()[1])
            assert min(box.y0 for _, box in lines(figure)) > 0.4
            plt.close(figure)
    assert heights == sorted(heights, reverse=True)
    assert heights[0] > heights[-1] == pytest.approx(summary._HEIGHTS[-1])


def test_page_says_what_the_records_say(numbers):
    text = " ".join(line for line, _ in lines(summary.page(numbers, HOME)))
    assert numbers.sentence in text
    for row in numbers.verdicts.itertuples():
        assert claims.STATEMENTS[row.claim] in text
        if row.effect == row.effect:
            assert f"({row.part})" in text
    assert text.count("undecided") >= (numbers.verdicts.verdict == "undecided").sum()
    assert HOME.url in text
    ends = (numbers.depth, "resnet-8", "resnet-32"), (numbers.width, "resnet-20-8", "resnet-20-32")
    for records, *fixed in ends:  # not ResNet-20-4 and ResNet-56, on which no claim rests
        assert records.profile == "mini"
        changes = cells.gap_change(records.runs[records.runs.model.isin(fixed)])
        last = changes[changes.ratio == "erk"].iloc[-1]
        for gap, model in ((last.first_gap, last["first"]), (last.last_gap, last["last"])):
            assert f"{plus_minus(gap)} in {model_label(model)}" in text
    plt.close("all")


def test_page_names_the_images_of_the_paper_and_of_its_own_profile(numbers):
    shown = dataclasses.replace(numbers, depth=dataclasses.replace(numbers.depth, profile="cpu"))
    text = " ".join(line for line, _ in lines(summary.page(shown, None)))
    assert "trains on 45,000 images of 32 × 32 pixels, this book on 10,000 of 32 × 32." in text
    plt.close("all")


def test_page_says_which_part_of_an_undecided_claim_is_decided(numbers):
    parts = numbers.parts.copy()
    parts.loc[parts.claim == 1, "verdict"] = ["undecided", "supported"]
    parts.loc[parts.claim == 2, "verdict"] = ["contradicted", "supported"]
    shown = dataclasses.replace(numbers, parts=parts)
    text = " ".join(line for line, _ in lines(summary.page(shown, None)))
    names = parts[parts.claim == 1].part.tolist()
    assert text.count(f"; {names[1]}: supported") == 1 and f"{names[0]}: " not in text
    plt.close("all")


def test_pdf_is_one_page_with_text_to_select_and_links(numbers):
    content = summary.pdf(numbers, HOME)
    assert content == summary.pdf(numbers, HOME)
    assert len(re.findall(rb"/Type /Page\b", content)) == 1
    assert re.search(rb"/MediaBox \[ 0 0 595\.\d+ 841\.\d+ \]", content)
    assert b"/CreationDate" not in content
    assert b"/Subtype /Type3" not in content and b"/ToUnicode" in content
    for address in (b"https://arxiv.org/abs/2202.02643", HOME.url.encode()):
        assert address in content
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    drawn = b"".join(zlib.decompress(part) for part in streams if part[:1] == b"x")
    assert drawn.count(b" Tf\n") > 50  # text, not outlines


def test_page_and_card_can_be_made_without_any_run(store):
    nothing = summary.collect()
    assert set(nothing.verdicts.verdict) == {"undecided", "out of reach"}
    assert summary.pdf(nothing, None).startswith(b"%PDF-")
    assert summary.card(nothing) == summary.card(nothing)
