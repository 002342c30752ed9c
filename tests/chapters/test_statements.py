import math

import pytest

from randprune_core.chapters.shared.statements import Statement, show_statements

HOLDS = Statement("The gap is 2.0 points.", [2.0], True)
FAILS = Statement("The gap is 3.0 points.", [3.0], False)
LACKS = Statement("The gap is nan points.", [1.0, math.nan], False, "It is not recorded.")


def test_sentences_that_hold_stand_as_they_were_typed():
    assert show_statements(HOLDS, HOLDS, default=True).data == f"{HOLDS.text} {HOLDS.text}"


def test_with_default_parameters_a_sentence_that_does_not_hold_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=FAILS.text):
        show_statements(HOLDS, FAILS, default=True)


def test_in_a_re_run_a_sentence_that_does_not_hold_is_marked():
    text = show_statements(HOLDS, FAILS, default=False).data
    assert text.startswith(HOLDS.text) and "do not say that:** The gap is 3.0" in text


@pytest.mark.parametrize("default", [True, False])
def test_a_sentence_without_its_numbers_gives_way_to_what_is_lacking(default):
    text = show_statements(LACKS, HOLDS, default=default).data
    assert text == f"It is not recorded. {HOLDS.text}"
