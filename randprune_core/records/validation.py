"""Checks made from the declarations of `records.schema`: the first thing that is wrong, in words.

A general library walks a schema for every value: for a record of 160 epochs `jsonschema` was
measured to take 4 to 10 ms, which is 40 to 100 s for 10,000 records. Here a declaration is turned
into functions once, and long lists of numbers are looked at as a whole: 0.13 to 0.16 ms. The tests
hold both to the same verdicts.
"""

import re
import reprlib
from collections.abc import Callable
from functools import lru_cache
from math import inf, isfinite

REFUSED = frozenset("<>{}[]$\\`|")
"""Characters that no text may hold, since some page would take them for markup."""

Found = tuple[tuple, str, str] | None
"""Where something is wrong (keys, the innermost first) and the words before and after the place."""

Check = Callable[[object], Found]

_KINDS = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_WORDS = {"object": "an object", "array": "a list", "string": "a text", "number": "a number"}
_LARGEST = 2**63 - 1
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2


def first_problem(check: Check, value: object) -> str:
    """What a check finds first, with its place (`test.bins.count`); empty where all is right."""
    if (found := check(value)) is None:
        return ""
    keys, before, after = found
    place = ".".join(key for key in reversed(keys) if key) or "content"
    if before == "its " and place == "layers":
        after = after.replace(" is ", " are ", 1)
    return f"{before}{place}{after}"


def short(value: object) -> str:
    """A value as a message quotes it: never long, however large or deep it is."""
    if not isinstance(value, dict | list):
        words = (
            repr(value) if not isinstance(value, int) or abs(value) < 10**60 else "a huge number"
        )
    else:
        words = _SHORT.repr(value)
    return words if len(words) <= 60 else f"{words[:60]}…"


def is_number(value: object) -> bool:
    """Whether it is finite and fits a column of a table."""
    kind = type(value)
    return (kind is float and -inf < value < inf) or (
        kind is int and -_LARGEST <= value <= _LARGEST
    )


def is_plain(text: str) -> bool:
    """Whether every page, figure and table shows a text as it is: printable, without markup."""
    return text.isprintable() and REFUSED.isdisjoint(text)


def compiled(schema: dict) -> Check:
    """The check of a declaration; what is declared once and used twice has one."""
    if id(schema) not in _MADE:
        _MADE[id(schema)] = schema, _compiled(schema)  # kept, so that its id stays its own
    return _MADE[id(schema)][1]


_MADE: dict[int, tuple[dict, Check]] = {}


def _compiled(schema: dict) -> Check:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kinds = frozenset(kind for name in types for kind in _KINDS[name])
    wanted = schema.get("description") or " or ".join(_WORDS.get(name, name) for name in types[:1])
    inner = {
        dict: _object_check(schema),
        list: _list_check(schema) if list in kinds else None,
        str: _text_check(schema, wanted),
        int: _number_check(schema, wanted),
        float: _number_check(schema, wanted),
    }

    def check(value: object) -> Found:
        kind = type(value)
        if kind not in kinds:
            return (), "its ", f" is {_kind_or_value(value, types)}, not {wanted}"
        if (kind is int or kind is float) and not is_number(value):
            return (), "its ", f" is {short(value)}, not {wanted}"
        further = inner.get(kind)
        return None if further is None else further(value)

    return check


def _kind_or_value(value: object, types: list[str]) -> str:
    """A list in the place of an object is named by its type, a text in that of a number quoted."""
    if types in (["object"], ["array"]):
        return f"a {type(value).__name__}"
    return short(value)


def _object_check(schema: dict) -> Check | None:
    if "properties" not in schema and "additionalProperties" not in schema:
        return None
    checks = {key: compiled(part) for key, part in schema.get("properties", {}).items()}
    rest, required = compiled(schema["additionalProperties"]), tuple(schema.get("required", ()))
    pattern = schema["propertyNames"]["pattern"]

    def check(value: dict) -> Found:
        for key in required:
            if key not in value:
                return (), "its ", f" is not complete: it has no {key}"
        if not _all_match(pattern, tuple(value)):
            wrong = next(key for key in value if not _all_match(pattern, (key,)))
            return (), "a key in its ", f" is {short(wrong)}, which is no name"
        for key, inner in value.items():
            if (found := checks.get(key, rest)(inner)) is not None:
                return (*found[0], key), *found[1:]
        return None

    return check


def _list_check(schema: dict) -> Check:
    each, least = compiled(schema["items"]), schema.get("minItems", 0)
    types = schema["items"]["type"]
    types = frozenset(types if isinstance(types, list) else [types])
    lowest = schema["items"].get("minimum", -_LARGEST)
    whole = set()
    if "number" in types:
        whole |= {int, float}
    if "integer" in types:
        whole |= {int}
    if "null" in types:
        whole |= {type(None)}

    def check(value: list) -> Found:
        if len(value) < least:
            return (), "its ", " is empty"
        kinds = set(map(type, value))
        if kinds <= whole and _are_numbers(value, kinds, lowest):
            return None
        for inner in value:
            if (found := each(inner)) is not None:
                return found
        return None

    return check


def _are_numbers(value: list, kinds: set[type], lowest: int) -> bool:
    """Whether a list is sure to hold numbers only; a False means to look at each of them."""
    if not value:
        return True
    if kinds == {float}:
        return lowest == -_LARGEST and isfinite(sum(value))
    if kinds == {int}:
        return lowest <= min(value) and max(value) <= _LARGEST
    return False


def _text_check(schema: dict, wanted: str) -> Check | None:
    pattern, longest = schema.get("pattern"), schema.get("maxLength")
    if pattern is None and longest is None:
        return None

    def check(value: str) -> Found:
        if pattern is not None and not _all_match(pattern, (value,)):
            return (), "its ", f" is {short(value)}, not {wanted}"
        if longest is not None and len(value) > longest:
            return (), "its ", f" has {len(value)} characters: {longest} are allowed"
        if schema.get("format") == "plain" and not is_plain(value):
            if not value.isprintable():
                why = "characters that cannot be printed"
            else:
                why = " ".join(sorted(REFUSED & set(value)))
            return (), "its ", f" is {short(value)}, which holds {why}"
        return None

    return check


def _number_check(schema: dict, wanted: str) -> Check | None:
    lowest, const = schema.get("minimum"), schema.get("const")
    if lowest is None and const is None:
        return None

    def check(value: float) -> Found:
        if const is not None and value != const:
            return (), "its ", f" is {short(value)}, not {const}"
        if lowest is not None and value < lowest:
            return (), "its ", f" is {short(value)}, not {wanted} of {lowest} or more"
        return None

    return check


@lru_cache(maxsize=16_384)  # records share their names
def _all_match(pattern: str, texts: tuple[str, ...]) -> bool:
    match = re.compile(pattern).match
    return all(map(match, texts))
