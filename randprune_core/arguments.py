"""Checks of arguments that functions of many modules share."""

import operator


def whole_number(value: object, name: str, least: int | None = None) -> int:
    """`value` as an int: Python's and NumPy's integers, and tensors of one integer, pass.

    Raises ValueError, in one line that names the argument, for anything else (True and 3.0 too)
    and for a number below `least`.
    """
    kind = str(getattr(value, "dtype", type(value).__name__))
    try:
        number = None if "bool" in kind else operator.index(value)
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        floor = "" if least is None else f" of at least {least}"
        raise ValueError(f"{name} is {value!r}; it must be a whole number{floor}")
    return number
