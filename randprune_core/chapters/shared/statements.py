"""The sentences of a chapter: typed by a person, each beside what must hold for it to be true.

A sentence takes its numbers from the records, as an f-string, and stands in a pair with a condition
that says in one line of code what it claims:

    page = Statements(default=records.default)
    page.say((f"Half of the weights cost {lost:.1f} points.", lost > 0.5))

It may be typed over several lines, in triple quotes. With the default parameters of the chapter a
condition that fails is an error: somebody rewrites the sentence. With other parameters it is news:
the sentence is struck out, and a box at the top of the page counts and lists what does not hold.
"""

from __future__ import annotations

import re

Statement = tuple[str, object]
"""A sentence and whether it holds."""


class Untrue(ValueError):
    """A sentence of the book says what the records do not say."""


class Statements:
    """The sentences of one page; made where the box of those that do not hold is to stand."""

    def __init__(self, *, default: bool):
        self.default = default
        self.count = 0
        self.untrue: list[str] = []
        self._box = None
        if not default:
            from IPython.display import Markdown, display

            self._box = display(Markdown(""), display_id=True)

    def say(self, *statements: Statement, below: str = ""):
        """The sentences as one paragraph, as Markdown, with a table or the like below it.

        A number that is not recorded (NaN) is written as a dash and makes its sentence untrue.
        Raises `Untrue` for a sentence that does not hold where `default` is set.
        """
        from IPython.display import Markdown

        said = " ".join(self._checked(*statement) for statement in statements)
        self._update()
        return Markdown(f"{said}\n\n{below}" if below else said)

    def _checked(self, sentence: str, holds: object) -> str:
        self.count += 1
        sentence = " ".join(sentence.split())
        known = re.search(r"\bnan\b", sentence) is None
        sentence = re.sub(r"\bnan\b", "–", re.sub(r"(?<=[\s(])-(?=\d)", "−", sentence))
        if known and bool(holds):
            return sentence
        if self.default:
            raise Untrue(
                f"the records do not say what this sentence says: “{sentence}” Rewrite it, or what "
                "must hold for it, in the notebook"
            )
        self.untrue.append(sentence)
        return f"~~{sentence}~~"

    def _update(self) -> None:
        if self._box is None or not self.untrue:  # no box without IPython, as in a test
            return
        from IPython.display import Markdown

        head = f"**With these runs {len(self.untrue)} of {self.count} statements do not hold:**"
        lines = [f"- {sentence}" for sentence in self.untrue]
        self._box.update(Markdown("\n".join([head, "", *lines])))
