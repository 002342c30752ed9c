"""A sentence that the records do not bear out is an error, or is listed in a re-run."""

import math

import pytest

from randprune_core.chapters.shared.statements import Statements, Untrue


def test_sentences_that_hold_are_one_paragraph():
    page = Statements(default=True)
    lost = -1.25
    said = page.say(
        (
            f"""It costs
        {lost:.1f} points.""",
            lost < 0,
        ),
        ("So it is.", True),
    )
    assert said.data == "It costs −1.2 points. So it is."
    assert (page.count, page.untrue) == (2, [])


@pytest.mark.parametrize("holds", [False, 0, None, math.nan > 1])
def test_with_default_parameters_a_sentence_that_does_not_hold_is_an_error_that_names_it(holds):
    with pytest.raises(Untrue, match="“Nothing is lost.” Rewrite it"):
        Statements(default=True).say(("Nothing is lost.", holds))


def test_a_number_that_is_not_recorded_makes_a_sentence_untrue_whatever_its_condition():
    with pytest.raises(Untrue, match="It costs – points"):
        Statements(default=True).say((f"It costs {math.nan:.1f} points.", True))


def test_in_a_rerun_it_is_struck_out_and_listed_at_the_top(shown):
    page = Statements(default=False)
    said = page.say(("Nothing is lost.", False), ("The sky is blue.", True))
    assert said.data == "~~Nothing is lost.~~ The sky is blue."
    page.say((f"It costs {math.nan:.1f} points.", True))
    assert [each.data for each in shown][0] == ""
    assert shown[-1].data == (
        "**With these runs 2 of 3 statements do not hold:**\n\n"
        "- Nothing is lost.\n- It costs – points."
    )
    page.say(("Grass is green.", True))
    assert "2 of 4 statements" in shown[-1].data  # of the whole page, not up to the last untrue one


def test_a_rerun_in_which_all_holds_shows_no_list(shown):
    Statements(default=False).say(("The sky is blue.", True))
    assert [each.data for each in shown] == [""]


@pytest.fixture
def shown(monkeypatch) -> list:
    """What the box at the top holds, each time that it is drawn."""
    from types import SimpleNamespace

    found = []

    def display(first, display_id):
        found.append(first)
        return SimpleNamespace(update=found.append)

    monkeypatch.setattr("IPython.display.display", display)
    return found
