"""What a record, the note of a failed run and the facts of a benchmark may hold, declared once.

The declarations are in the vocabulary of JSON Schema (`type`, `required`, `properties`,
`additionalProperties`, `propertyNames`, `items`, `minItems`, `pattern`, `format`, `maxLength`,
`minimum`, `const`, and `description` for what a message says). `records.validation` turns them into
fast checks. Two types are narrower than there: a `number` is finite and a whole one fits 64 bits,
and an `integer` is written without a point. The format `plain` is `validation.is_plain`.

A record made before or after this version of the code may have more in a section than is declared:
numbers, and where a text may stand a plain one, under keys that are names.
"""

import re
from functools import cache

VERSION = 1
"""The version of the form of records and notes."""

LONGEST = {"text": 200, "error": 500}
"""Characters of a text in a record, and of the error in a note."""

DEEPEST = 8
"""Objects and lists inside each other, in a section."""

SECTIONS = ("schema", "run_id", "config", "provenance", "layers", "cost", "history", "test")

_NAMES = {"pattern": r"^([A-Za-z0-9][A-Za-z0-9_.+-]{0,99}|[0-9]{1,3}:[0-9]{1,3})\Z"}  # 2:4 is one
_TEXT = {"type": "string", "format": "plain", "maxLength": LONGEST["text"]}
_NUMBER = {"type": "number", "description": "a number"}
_COUNT = {"type": "integer", "minimum": 0, "description": "a whole number"}
_NUMBER_OR_NONE = {"type": ["number", "null"], "description": "a number or null"}


def is_name(text: str) -> bool:
    """Whether a text may be a key or a cell."""
    return re.match(_NAMES["pattern"], text) is not None


@cache  # one object a depth, and so one check
def _open(leaves: tuple[str, ...], inside: tuple[str, ...] | None = None, depth: int = DEEPEST):
    """What is not declared: `leaves`, and objects and lists of them; in a list, `inside`."""
    types = [*leaves, "object", "array"] if depth else list(leaves)
    schema = _TEXT | {"type": types} if "string" in leaves else _NUMBER | {"type": types}
    if depth:
        schema |= {
            "propertyNames": _NAMES,
            "additionalProperties": _open(leaves, inside, depth - 1),
            "items": _open(inside or leaves, inside, depth - 1),
        }
    return schema


_FACTS = _open(("string", "number", "boolean", "null"))
_MEASURED = _open(("number",), inside=("number", "null"))
_NUMBERS = _open(("number", "boolean", "null"))


def _object(required: dict, optional: dict | None = None, rest: dict | None = None) -> dict:
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
        "propertyNames": _NAMES,
        "additionalProperties": _MEASURED if rest is None else rest,
    }


def _list(items: dict, **more) -> dict:
    return {"type": "array", "items": items, **more}


def _matching(pattern: str, description: str, *other: str) -> dict:
    return {"type": ["string", *other], "pattern": pattern, "description": description}


_CONFIG = {
    "type": "object",
    "propertyNames": _NAMES,
    "additionalProperties": _TEXT | {"type": ["string", "number", "boolean", "null"]},
}

_COMMIT = _matching(r"^[0-9a-f]{3,64}\Z", "a commit", "null")
_DIRTY = {"type": ["boolean", "null"], "description": "true, false or null"}
_DAY, _CLOCK = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T", r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"

_PROVENANCE = _object(
    {
        "device": _TEXT | {"description": "a name"},
        "seconds": _NUMBER | {"minimum": 0},
    },
    {
        "commit": _COMMIT,
        "dirty": _DIRTY,
        "threads": _COUNT,
        "at_once": _COUNT,
        "processes": _COUNT,
        "started": _matching(rf"{_DAY}{_CLOCK}([+-][0-9]{{2}}:[0-9]{{2}}|Z)?\Z", "a time"),
        "versions": {
            "type": "object",
            "propertyNames": _NAMES,
            "additionalProperties": _matching(r"^[A-Za-z0-9_.+-]{1,64}\Z", "a version"),
        },
        "data": _object({}, {"fingerprint": _matching(r"^[0-9a-f]{1,64}\Z", "a fingerprint")})
        | {"additionalProperties": _FACTS},
        # Of a run that was stopped and went on with other code: that of each part, in their order.
        "commits": _list(_object({"commit": _COMMIT, "dirty": _DIRTY}, rest=_FACTS), minItems=1),
    },
    _FACTS,
)

_LAYERS = _list(
    _object(
        {
            "name": _NAMES | {"type": "string", "description": "the name of a layer"},
            "shape": _list(_COUNT | {"minimum": 1}, minItems=1),
            "kept": _COUNT,
            "total": _COUNT | {"minimum": 1},
        },
        rest=_FACTS,
    ),
    minItems=1,
)

_COST = _object(
    {"kept_weights": _COUNT, "dense_weights": _COUNT},
    {
        "dense_parameters": _COUNT,
        "kept_parameters": _COUNT,
        "dense_macs": _NUMBER,
        "sparse_macs": _NUMBER,
        "mac_ratio": _NUMBER,
        "sparsity": _NUMBER,
    },
    _NUMBERS,
)

EPOCH_COLUMNS = (
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
)
"""Lists of the history with one number an epoch."""

_HISTORY = _object(
    {name: _list(_NUMBER) for name in EPOCH_COLUMNS},
    {
        "gradient_norm_at_init": _NUMBER_OR_NONE,
        "gradient_norm": _object({"epoch": _list(_NUMBER), "norm": _list(_NUMBER)}),
    },
    _NUMBERS,
)

_BIN = _object(
    {"lower": _NUMBER, "upper": _NUMBER, "count": _COUNT}
    | {"confidence": _NUMBER_OR_NONE, "accuracy": _NUMBER_OR_NONE}
)
_AN_ACCURACY = _object({"accuracy": _NUMBER, "n": _COUNT})
_ACCURACIES = {
    "type": "object",
    "propertyNames": _NAMES,
    "additionalProperties": _AN_ACCURACY,
}

_TEST = _object(
    {name: _NUMBER for name in ("accuracy", "nll", "ece")}
    | {"n": _COUNT, "bins": _list(_BIN, minItems=1)},
    {
        "ood": {
            "type": "object",
            "propertyNames": _NAMES,
            "additionalProperties": _object({"auroc": _NUMBER}),
        },
        "clean": _AN_ACCURACY,
        "fgsm": _ACCURACIES,
        "pgd": _ACCURACIES,
        "noise": _ACCURACIES,
        "best_validation": _object({"epoch": _COUNT, "accuracy": _NUMBER}),
    },
)

_VERSION = {"type": "integer", "const": VERSION}

RECORD = _object(
    {
        "schema": _VERSION,
        "run_id": _TEXT,
        "config": _CONFIG,
        "provenance": _PROVENANCE,
        "layers": _LAYERS,
        "cost": _COST,
        "history": _HISTORY,
        "test": _TEST,
    },
    rest=_NUMBERS,
)

NOTE = _object(
    {
        "config": _CONFIG,
        "error": _TEXT | {"maxLength": LONGEST["error"], "description": "a text"},
    },
    {"schema": _VERSION, "run_id": _TEXT},
    _FACTS,
)

FACTS = _FACTS
"""The facts of a machine, in `results/benchmarks/`."""
