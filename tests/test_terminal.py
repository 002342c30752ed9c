"""Lines for the terminal, whatever its streams and the texts are."""

import io
import sys
import warnings

import pytest

from randprune_core import terminal


@pytest.mark.parametrize(
    "text, line",
    [("two\nlines  here", "two lines here"), ("bell \a", "bell \\x07"), ("größer", "größer")],
)
def test_text_becomes_one_printable_line(text, line):
    assert terminal.one_line(text) == line


def test_nobody_to_read_a_line_is_no_error(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        terminal.say("not heard")


def test_warnings_are_lines_inside_only(capsys):
    before = warnings.showwarning

    @terminal.warnings_as_lines()
    def careless():
        warnings.simplefilter("always")
        warnings.warn("first\nsecond", stacklevel=1)

    careless()
    careless()
    assert capsys.readouterr().err == 2 * "warning: first second\n"
    assert warnings.showwarning is before
