"""What a person at the terminal reads: single lines, on streams that may be closed or in ASCII."""

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Numbers of the errors of a disk that is full, for this user or this file, or read-only."""


def printable(text: str) -> str:
    """A text in which line ends, control characters and the like are written as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def one_line(text: object) -> str:
    """A text as one line that a terminal shows as it is."""
    return printable(" ".join(str(text).split()))


def in_words(error: Exception) -> str:
    """What is wrong with which file; a write to a stream names none."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.filename is None and error.errno in FULL_DISK:
        return f"standard output: {error.strerror}"
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return ": ".join((*files[-1:], error.strerror))


def say(line: str) -> None:
    """Write a line to standard error, if anything takes it."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show each warning as one line on standard error; how they are shown before is restored.

    `warnings.showwarning` is the place that Python provides for this. Serves as a decorator too.
    """
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: say(f"warning: {one_line(message)}")
        yield


def mend_streams() -> None:
    """Let closed standard streams lead to nothing, and those in ASCII take any letter."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would be taken for the stream
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def flush_streams() -> None:
    """Write what the output streams hold, or forget it: Python would fail on it as it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
