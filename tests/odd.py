"""Odd entries of the store, each made under a given path: contents, and what is no file at all."""

import copy
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile import full_record

HUGE = 10**400


def leaves(content: object, place: tuple = ()) -> Iterator[tuple]:
    """Every place of a record, sections and their insides, the first of each list."""
    if place:
        yield place
    if isinstance(content, dict):
        for name, value in content.items():
            yield from leaves(value, (*place, name))
    elif isinstance(content, list):
        for number, value in enumerate(content[:1]):
            yield from leaves(value, (*place, number))


def put(content: dict, place: tuple, value: object) -> dict:
    """A copy with a value in one place."""
    content = copy.deepcopy(content)
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return content


def without(content: dict, place: tuple) -> dict:
    content = copy.deepcopy(content)
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    del inner[place[-1]]
    return content


def deep(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


def contents(config) -> dict[str, bytes]:
    """What a file that is named as the record of `config` may hold instead, by kind."""
    record = full_record(config)
    text = json.dumps(record)
    swapped = {
        "not a number": text.replace("1.25", "NaN"),
        "infinity": text.replace("1.25", "1e999"),
        "minus infinity": text.replace("1.25", "-Infinity"),
        "a huge whole number": text.replace("1.25", str(HUGE)),
        "more digits than are read": text.replace("1.25", "9" * 5_000),
        "over 64 bits": text.replace('"n": 360', f'"n": {2**63}'),
        "a lone surrogate": text.replace("a CPU", "\\ud800"),
        "a lone surrogate in a key": text.replace('"nll"', '"\\udfff"'),
        "deep lists": text.replace("1.25", deep(100_000)),
        "less deep lists": text.replace("1.25", deep(400)),
        "deep objects": text.replace("1.25", deep(900, '{"a":', "}").replace(":}", ":1}")),
        "deep config": text.replace('"cifar10"', deep(500)).replace('"digits"', deep(500)),
        "deep schema": text.replace('"schema": 1', f'"schema": {deep(700)}'),
        "deep id": text.replace(f'"run_id": "{record["run_id"]}"', f'"run_id": {deep(700)}'),
        "true for a schema": text.replace('"schema": 1', '"schema": true'),
        "too large": text + " " * 2**23,
        "no text": b"\xff\xfe" + text.encode(),
        "another encoding": text.encode("utf-16"),
        "zeros": b"\0" * 4_096,
        "only a number": "7",
    }
    for section in ("layers", "cost", "history", "test", "config"):
        empty = [] if section == "layers" else {}
        swapped[f"empty {section}"] = json.dumps(record | {section: empty})
    for column in ("epoch", "validation_accuracy"):
        swapped[f"short {column}"] = json.dumps(put(record, ("history", column), [1.0]))
    return {k: v if isinstance(v, bytes) else v.encode() for k, v in swapped.items()}


def entries() -> dict[str, Callable[[Path], object]]:
    """What may lie under the name of a record and is no file, by kind."""

    def listening(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as end:
            before = os.getcwd()
            os.chdir(path.parent)  # the name of a socket is short
            end.bind(path.name)
            os.chdir(before)

    def loop(path: Path) -> None:
        path.symlink_to(path.name)

    def full_folder(path: Path) -> None:
        path.mkdir()
        (path / "inner.json").write_text("{}")

    def sparse(path: Path) -> None:
        path.touch()
        os.truncate(path, 2**40)

    return {
        "dangling symlink": lambda path: path.symlink_to("nowhere"),
        "symlink to itself": loop,
        "symlink to an endless device": lambda path: path.symlink_to("/dev/zero"),
        "symlink to an empty device": lambda path: path.symlink_to("/dev/null"),
        "symlink to a folder": lambda path: path.symlink_to("/"),
        "FIFO": os.mkfifo,
        "socket": listening,
        "folder": full_folder,
        "sparse file of a terabyte": sparse,
    }
