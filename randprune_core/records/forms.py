"""Whether a record, the note of a failed run and a benchmark have the form that `schema` declares.

They are checked on reading. Whatever else a file holds is refused by name, before any of it gets
into a table, a figure or a page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import schema, validation
from .schema import LONGEST, SECTIONS
from .validation import REFUSED, first_problem, short

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_RECORD, _NOTE, _FACTS = map(validation.compiled, (schema.RECORD, schema.NOTE, schema.FACTS))


def record_problem(record: object) -> str:
    """The first thing in a record that has not the right form, in words; empty for a good one.

    Whether its config is allowed and fits its run id is the business of `store.read_record`.
    """
    found = record.get("schema") if isinstance(record, dict) else type(record).__name__
    if type(found) is not int or found != schema.VERSION:
        return f"its schema is {short(found)}, not {schema.VERSION}"
    if missing := [section for section in SECTIONS if section not in record]:
        return f"it has no {', '.join(missing)}"
    return first_problem(_RECORD, record)


def length_problem(record: dict) -> str:
    """Which column of the history of an otherwise good record has not one number an epoch."""
    history, epochs = record["history"], record["config"]["epochs"]
    for name in schema.EPOCH_COLUMNS:
        if len(history[name]) != epochs:
            return f"its history has {len(history[name])} of {epochs} epochs in {name}"
    norms = history.get("gradient_norm", {"epoch": (), "norm": ()})
    if len(norms["epoch"]) != len(norms["norm"]):
        return "its history.gradient_norm has columns of different lengths"
    return ""


def note_problem(note: object, run_id: str) -> str:
    """The first thing in the note of the failed run `run_id` that has not the right form."""
    if not isinstance(note, dict) or not {"config", "error"} <= set(note):
        return "not the note of a failed run (it has no config or no error)"
    error = note.get("error")
    one_line = note | {"error": " ".join(error.split())} if isinstance(error, str) else note
    if problem := first_problem(_NOTE, one_line):
        return problem
    if note.get("run_id", run_id) != run_id:
        return f"not the note of the failed run {run_id}"
    return ""


def check_benchmark(content: pd.DataFrame | dict, path: Path) -> None:
    """Raise ValueError for a file of `results/benchmarks/` with a text that is no name.

    A table holds names and numbers, an object the facts of a machine.
    """
    if isinstance(content, dict):
        problem = first_problem(_FACTS, content)
    else:
        texts = (value for column in content for value in content[column] if type(value) is str)
        wrong = next((value for value in texts if not schema.is_name(value)), None)
        problem = f"a cell is {short(wrong)}, which is no name" if wrong is not None else ""
    if problem:
        raise ValueError(f"{path}: {problem}; restore it, or measure again")


def as_text(value: object, longest: int = LONGEST["error"]) -> str:
    """A text in the form that a note may hold: what it may not is replaced by `?`, or cut off."""
    words = " ".join(str(value).split())[:longest]
    return "".join(c if c.isprintable() and c not in REFUSED else "?" for c in words)
