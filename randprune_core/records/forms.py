"""What a record and the note of a failed run may hold: types, lengths and printable characters.

Both are checked on reading. Whatever else a file holds is refused by name, before any of it gets
into a table, a figure or a page.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING

from .files import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

LONGEST = {"text": 200, "error": 500}
"""Characters of a text in a record, and of the error in a note."""

_REFUSED = frozenset("<>{}[]$\\`|")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}|[0-9]{1,3}:[0-9]{1,3}")  # 2:4 is one
_NUMBERS = {int, float}
_LISTED = {int, float, type(None)}
_COUNT = "a whole number", lambda value: type(value) is int and 0 <= value < 2**63
_PROVENANCE = {
    "commit": ("a commit", lambda v: v is None or _is(v, r"[0-9a-f]{3,64}")),
    "dirty": ("true, false or null", lambda v: v is None or type(v) is bool),
    "device": ("a name", lambda v: isinstance(v, str)),
    "threads": _COUNT,
    "at_once": _COUNT,
    "processes": _COUNT,
    "started": (
        "a time",
        lambda v: _is(v, r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d|Z)?"),
    ),
    "seconds": ("a number", lambda v: type(v) in _NUMBERS and 0 <= v < inf),
    "versions": (
        "an object of versions",
        lambda v: isinstance(v, dict) and all(_is(w, r"[\w.+-]{1,64}") for w in v.values()),
    ),
    "data": ("an object", lambda v: isinstance(v, dict)),
    "data.fingerprint": ("a fingerprint", lambda v: _is(v, r"[0-9a-f]{1,64}")),
}


def record_problem(record: dict) -> str:
    """The first thing in a record that has not the right form, in words; empty for a good one.

    Its sections are there and its config is valid (`store.read_record`).
    """
    if not isinstance(record["layers"], list):
        return f"its layers are a {type(record['layers']).__name__}, not a list"
    if problem := _missing_number(record["test"], "test"):
        return problem
    for layer in record["layers"]:
        name = layer.get("name") if isinstance(layer, dict) else None
        if not isinstance(name, str) or not _are_names((name,)):
            return f"a name in its layers is {_short(name)}, which names no layer"
    if problem := _provenance_problem(record["provenance"]):
        return problem
    for section, part in record.items():
        if section not in ("schema", "run_id", "config"):
            texts = section in ("provenance", "layers")
            if problem := _problem({section: part}, "", texts):
                return problem
    return ""


def _provenance_problem(provenance: dict) -> str:
    data = provenance.get("data")
    inside = {f"data.{key}": value for key, value in data.items()} if isinstance(data, dict) else {}
    values = provenance | inside
    for name, (what, holds) in _PROVENANCE.items():
        if name in values and not holds(values[name]):
            return f"its provenance.{name} is {_short(values[name])}, not {what}"
    return ""


def note_problem(note: dict, run_id: str) -> str:
    """The first thing in the note of the failed run `run_id` that has not the right form."""
    if note.get("schema", SCHEMA) != SCHEMA or note.get("run_id", run_id) != run_id:
        return f"not the note of the failed run {run_id}"
    if not isinstance(note["error"], str):
        return f"its error is {_short(note['error'])}, not a text"
    rest = {name: part for name, part in note.items() if name not in ("config", "error")}
    error = " ".join(note["error"].split())
    return _text_problem(error, "error", LONGEST["error"]) or _problem(rest, "")


def check_benchmark(content: pd.DataFrame | dict, path: Path) -> None:
    """Raise ValueError for a file of `results/benchmarks/` with a text that is no name.

    A table holds names and numbers, an object the facts of a machine.
    """
    if isinstance(content, dict):
        problem = _problem(content, "")
    else:
        texts = (value for column in content for value in content[column] if type(value) is str)
        wrong = next((value for value in texts if not _are_names((value,))), None)
        problem = f"a cell is {_short(wrong)}, which is no name" if wrong is not None else ""
    if problem:
        raise ValueError(f"{path}: {problem}; restore it, or measure again")


def as_text(value: object, longest: int = LONGEST["error"]) -> str:
    """A text in the form that a note may hold: what it may not is replaced by `?`, or cut off."""
    words = " ".join(str(value).split())[:longest]
    return "".join(c if c.isprintable() and c not in _REFUSED else "?" for c in words)


def _problem(value: object, place: str, texts: bool = True) -> str:
    """What is wrong with a value and all that it holds: names of keys, texts, sizes of numbers."""
    kind = type(value)
    if kind is dict:
        if not _are_names(tuple(value)):
            wrong = next(key for key in value if not _are_names((key,)))
            return f"a key in its {place or 'content'} is {_short(wrong)}, which is no name"
        for key, inner in value.items():
            if type(inner) is int or (type(inner) is float and -inf < inner < inf):
                continue  # most values: this function is called for none of them
            if problem := _problem(inner, f"{place}.{key}" if place else key, texts):
                return problem
    elif kind is list:
        if not set(map(type, value)) <= _LISTED:
            for inner in value:
                if problem := _problem(inner, place, texts):
                    return problem
    elif kind is str:
        if not texts:
            return f"its {place} is {_short(value)}, not a number"
        return _text_problem(value, place, LONGEST["text"])
    elif kind is float and not -inf < value < inf:
        return f"its {place} is {value}, not a number"
    return ""


def _text_problem(value: str, place: str, longest: int) -> str:
    if len(value) > longest:
        return f"its {place} has {len(value)} characters: {longest} are allowed"
    if not value.isprintable():
        return f"its {place} is {_short(value)}, which holds characters that cannot be printed"
    if not _REFUSED.isdisjoint(value):
        found = " ".join(sorted(_REFUSED & set(value)))
        return f"its {place} is {_short(value)}, which holds {found}"
    return ""


def _missing_number(values: dict, place: str) -> str:
    """What tables and figures could not do with: anything but numbers, outside of lists."""
    for key, value in values.items():
        kind, problem = type(value), ""
        if kind is dict:
            problem = _missing_number(value, f"{place}.{key}")
        elif kind is not list and kind not in _NUMBERS:
            problem = f"its {place}.{key} is {_short(value)}, not a number"
        if problem:
            return problem
    return ""


@lru_cache(maxsize=4_096)  # records share their names
def _are_names(texts: tuple[str, ...]) -> bool:
    return all(map(_NAME.fullmatch, texts))


def _is(value: object, pattern: str) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None


def _short(value: object) -> str:
    words = repr(value)
    return words if len(words) <= 60 else f"{words[:60]}…"
