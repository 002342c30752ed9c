"""`RunConfig`, the complete description of one training run, and its hash, the run id.

Two runs with equal configs are the same run: it is trained once and found again by its id.
"""

import hashlib
import json
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, asdict, dataclass, fields
from functools import wraps

from . import registry
from .datasets import DATASETS

RATIOS = ("dense", "uniform", "uniform_plus", "erk", "erk_plus", "snip", "grasp")
"""Rules that turn one global sparsity into one for each layer, in the order of every figure."""

IMAGENET_MODELS = ("resnet50", "wide_resnet50_2")
PRECISIONS = ("float32", "bfloat16")

MOST_WEIGHTS = 10**9
"""Weights of the largest CIFAR ResNet that is built: a slip of the pen must not fill the memory."""

PRUNED_AFTER = {"before": 0.0, "during": 0.25, "after": 0.75}
"""The share of the epochs that a network trains dense before it is pruned, by `when`.

After three quarters the protocol has divided the learning rate twice: what is left of the epochs
fine-tunes a trained network at its lowest rate.
"""

_CHOICES = {
    "dataset": tuple(DATASETS),
    "ratio": RATIOS,
    "mask_source": ("random", "own"),
    "method": ("static", "set", "rigl"),
    "when": ("before", "during", "after"),
    "precision": PRECISIONS,
}
LATER_FIELDS = ("image_size", "code")
"""Fields of `RunConfig` that the first records do not have; each got a default on its arrival."""

_AT_LEAST_ONE = ("epochs", "train_images", "batch_size")
SEEDS = ("seed_init", "seed_mask", "seed_data")


def parse_model_name(name: str) -> tuple[str, int, int]:
    """Split a model name into (family, depth, width).

    `resnet-A` and `resnet-A-B` give ("resnet", A, B), B = 16 filters in the first convolution when
    it is not named; `vgg-A` gives ("vgg", A, 64); `resnet50` and `wide_resnet50_2`, the ImageNet
    networks, give their own name with depth 50 and width 64. Raises `ValueError` for other names,
    those of registered networks too.
    """
    if name in IMAGENET_MODELS:
        return name, 50, 64
    if match := re.fullmatch(r"resnet-([0-9]{1,4})(?:-([0-9]{1,4}))?", name):
        depth, width = int(match[1]), int(match[2] or 16)
        weights = 63 * (depth - 2) * width**2  # nearly
        if weights > MOST_WEIGHTS:
            raise ValueError(
                f"model {name!r} would have about {weights:.0e} weights: give a depth and a "
                f"number of filters that make {MOST_WEIGHTS:.0e} at most"
            )
        if depth >= 8 and depth % 6 == 2 and width >= 1:
            return "resnet", depth, width
        raise ValueError(
            f"model {name!r}: a CIFAR ResNet has depth 6n+2 (8, 14, 20, 32, 44, 56, 110, ...) and "
            "at least one filter; name it resnet-DEPTH or resnet-DEPTH-FILTERS"
        )
    if match := re.fullmatch(r"vgg-(11|13|16|19)", name):
        return "vgg", int(match[1]), 64
    raise ValueError(
        f"unknown model {name!r}: known are resnet-DEPTH and resnet-DEPTH-FILTERS (DEPTH = 6n+2), "
        f"vgg-11, vgg-13, vgg-16, vgg-19, {', '.join((*IMAGENET_MODELS, *registry.names('model')))}"
    )


def is_built_in(kind: str, name: str) -> bool:
    """Whether a name of one of `registry.KINDS` belongs to this package."""
    if kind != "model" or not isinstance(name, str):
        return name in _CHOICES.get(kind, ())
    try:
        return bool(parse_model_name(name))
    except ValueError:
        return False


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the name when it is known, else raise `ValueError` that lists the known ones."""
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}: known are {', '.join(known)}")
    return name


def plain(value: object) -> object:
    """A number of NumPy as one of Python, a float by its shortest decimal; all else as it is."""
    if type(value).__module__ == "numpy" and isinstance(value, numbers.Real):
        return int(value) if isinstance(value, numbers.Integral) else float(str(value))
    return value


def check_sparsity(sparsity: float) -> float:
    """Return the sparsity as a float in [0, 1), or raise `ValueError`."""
    try:
        value = math.nan if isinstance(sparsity, str) else float(plain(sparsity))
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0 <= value < 1:
        raise ValueError(
            f"sparsity {sparsity!r} is not in [0, 1): give the fraction of weights that are zero, "
            "such as 0.9"
        )
    return value + 0.0  # no minus sign before a zero


def check_image_size(dataset: str, size: int | None) -> int | None:
    """Return the pixels a side, None where they are the data set's own, or raise `ValueError`.

    CIFAR can be reduced to 8 or 16 pixels; every other data set has one size.
    """
    whole = isinstance(size, numbers.Integral) and not isinstance(size, bool)
    if dataset not in DATASETS:  # a registered one, or an unknown one, which is refused as such
        return int(size) if whole and 0 < size < 100_000 else None
    if size is None:
        return None
    own, smaller = DATASETS[dataset].side, DATASETS[dataset].smaller_sides
    if not whole or size not in (own, *smaller):
        allowed = " or ".join(str(side) for side in sorted((own, *smaller)))
        raise ValueError(
            f"image_size {size!r} is not known for {dataset}: give {allowed} pixels a side, or "
            "leave it out for the images as they are"
        )
    return None if size == own else int(size)


def image_side(values: Mapping) -> int:
    """Pixels a side of the images of a run, from its config as a mapping or its row in a frame."""
    return int(values["image_size"] or DATASETS[values["dataset"]].side)


def parse_granularity(granularity: str) -> tuple[int, int] | None:
    """Return (n, m) for semi-structured `n:m`, None for `unstructured` and `filter`.

    Raises `ValueError` for anything else.
    """
    if granularity in ("unstructured", "filter"):
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,2}):([1-9][0-9]{0,2})", granularity)
    if match and int(match[1]) < int(match[2]):
        return int(match[1]), int(match[2])
    raise ValueError(
        f"granularity {granularity!r} is not known: allowed are unstructured, filter, and n:m with "
        "0 < n < m, such as 2:4 (keep 2 of every 4 weights)"
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run. Every field but `code` is an option of `python -m randprune_core train`.

    The defaults are the paper's protocol for CIFAR (Table 1); `train_images` left out are those of
    the data set. A default, once recorded, never changes, because `run_id` hashes only the fields
    that differ from theirs. Sparsities are rounded to 9 digits, so that `np.arange` gives those
    that one types.

    Raises `ValueError`, in one line, for a value that is not allowed.
    """

    dataset: str = "cifar10"
    variant: str = "original"  # which copy of the data: original, jpeg75, or 8 hex digits
    model: str = "resnet-20"
    ratio: str = "dense"
    sparsity: float = 0.0  # fraction of the maskable weights that are zero, in [0, 1)
    mask_source: str = "random"  # or "own": SNIP's or GraSP's own mask
    granularity: str = "unstructured"
    method: str = "static"  # or "set", "rigl": kept weights move during training
    when: str = "before"  # or "during", "after": random pruning of a network trained dense
    epochs: int = 160
    train_images: int = 45_000
    image_size: int | None = None  # pixels a side; None: as the data set has them
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    precision: str = "float32"
    seed_init: int = 0
    seed_mask: int = 0
    seed_data: int = 0
    code: str = ""  # hash of the registered code that the run uses; filled in
    recorded: InitVar[bool] = False  # a record's: its registered names may be known no more

    def __post_init__(self, recorded):
        self._coerce_types()
        own = self._registered_fields(recorded)
        if not recorded:
            object.__setattr__(self, "code", registry.code_of(vars(self)))
            if "dataset" in own:
                self._fill_from_data()
        if "model" not in own:
            family, depth, width = parse_model_name(self.model)
            if family == "resnet":  # resnet-20-16 and resnet-20 are one network and must be one run
                object.__setattr__(
                    self, "model", f"resnet-{depth}" + (f"-{width}" if width != 16 else "")
                )
        object.__setattr__(self, "sparsity", check_sparsity(round(self.sparsity, 9)))
        parse_granularity(self.granularity)
        self._check_numbers()
        self._check_combinations()

    def _registered_fields(self, recorded: bool) -> list[str]:
        """Which fields name something registered; in a record with a `code` it may be forgotten."""
        if not re.fullmatch("([0-9a-f]{12})?", self.code):
            raise ValueError(f"code {self.code!r} is no hash: leave it out, it is filled in")
        own, forgotten = [], recorded and self.code
        for name, known in (_CHOICES | {"model": ()}).items():
            value = getattr(self, name)
            if name in registry.KINDS and not is_built_in(name, value):
                if registry.find(name, value) or (forgotten and re.fullmatch(registry.NAME, value)):
                    own.append(name)
                    continue
                known = (*known, *registry.names(name))
            if name != "model" and value not in known:
                raise ValueError(f"{name} {value!r} is not known: choose from {', '.join(known)}")
        if recorded and bool(own) != bool(self.code):
            what = f"registered code ({', '.join(own)})" if own else "no registered code"
            raise ValueError(f"code {self.code!r} does not fit a run that uses {what}")
        if recorded and "dataset" in own and self.image_size is None:
            raise ValueError("image_size None does not fit a registered data set, which has one")
        return own

    def _fill_from_data(self):
        """Fill in the copy, size and number of images of a registered data set."""
        facts = DATASETS[self.dataset]
        if self.variant not in ("original", facts.fingerprint[:8]):
            raise ValueError(
                f"variant {self.variant!r} is not that of {self.dataset}, {facts.fingerprint[:8]}: "
                "leave it out"
            )
        if self.image_size not in (None, facts.side):
            raise ValueError(
                f"image_size {self.image_size} is not known for {self.dataset}: give {facts.side}, "
                "or leave it out"
            )
        object.__setattr__(self, "image_size", facts.side)
        object.__setattr__(self, "variant", facts.fingerprint[:8])
        if self.train_images == RunConfig.train_images:  # the default; there may be fewer
            object.__setattr__(self, "train_images", min(self.train_images, facts.train_images))

    def _coerce_types(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "image_size":
                object.__setattr__(self, field.name, check_image_size(self.dataset, value))
                continue
            wanted = type(field.default)
            # Whole numbers serve as floats, and NumPy's scalars as Python's; bool is no number.
            kind = {int: numbers.Integral, float: numbers.Real}.get(wanted)
            if kind and isinstance(value, kind) and not isinstance(value, bool):
                try:  # + 0 takes the minus sign from a zero
                    object.__setattr__(self, field.name, wanted(plain(value)) + wanted(0))
                except OverflowError:
                    raise ValueError(f"{field.name} is too large a number for a float") from None
            elif type(value) is not wanted:
                raise ValueError(
                    f"{field.name} {value!r} is not of type {wanted.__name__}: "
                    f"its default is {field.default!r}"
                )

    def _check_numbers(self):
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is too small: give at least 1")
        for name in SEEDS:
            if not 0 <= getattr(self, name) < 2**32:
                raise ValueError(f"{name} {getattr(self, name)} is not in [0, 2**32)")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"lr {self.lr} is not a positive number")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum {self.momentum} is not in [0, 1)")
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise ValueError(f"weight_decay {self.weight_decay} is not zero or positive")
        if not re.fullmatch(r"original|jpeg75|[0-9a-f]{8}", self.variant):
            raise ValueError(
                f"variant {self.variant!r} is not known: allowed are original, jpeg75, or the "
                "first 8 hex digits of the data's fingerprint"
            )

    def _check_combinations(self):
        if self.ratio == "dense" and self.sparsity:
            raise ValueError(
                f"ratio dense has sparsity 0, not {self.sparsity}: leave the sparsity out, or "
                f"choose a ratio from {', '.join(RATIOS[1:])}"
            )
        if self.mask_source == "own" and self.ratio not in ("snip", "grasp"):
            raise ValueError(
                f"mask_source own needs a criterion, not ratio {self.ratio!r}: choose snip or grasp"
            )
        if self.mask_source == "own" and self.granularity != "unstructured":
            raise ValueError(
                f"mask_source own gives unstructured masks, not granularity {self.granularity!r}: "
                "use mask_source random"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0: give one, or turn nesterov off")
        if self.method != "static":
            self._check_needs("method", mask_source="random", granularity="unstructured")
            self._check_needs("method", when="before")
        if self.when != "before":
            self._check_needs("when", mask_source="random")
            if pruning_epoch(self) >= self.epochs:
                least = math.ceil(1 / (1 - PRUNED_AFTER[self.when]))
                raise ValueError(
                    f"when {self.when!r} leaves no epoch to the pruned network with epochs "
                    f"{self.epochs}: give at least {least}"
                )
        if self.ratio != "dense" and not self.sparsity:
            raise ValueError(
                f"ratio {self.ratio} needs a sparsity above 0: give one, such as sparsity 0.9, or "
                "choose ratio dense"
            )

    def _check_needs(self, name: str, **needed: str):
        chosen = f"{name} {getattr(self, name)!r}"
        if self.ratio == "dense":
            raise ValueError(
                f"{chosen} needs a sparse network, not ratio 'dense': choose a ratio from "
                f"{', '.join(RATIOS[1:])}"
            )
        for field, value in needed.items():
            if getattr(self, field) != value:
                raise ValueError(f"{chosen} needs {field} {value!r}, not {getattr(self, field)!r}")


def _of_its_data(init: Callable) -> Callable:
    """`RunConfig.__init__`, with the training images of the data set where none are given."""

    @wraps(init)
    def filled(self, **given):
        if (facts := DATASETS.get(str(given.get("dataset")))) is not None:
            given.setdefault("train_images", facts.train_images)
        init(self, **given)

    return filled


RunConfig.__init__ = _of_its_data(RunConfig.__init__)


def pruning_epoch(config: RunConfig) -> int:
    """Full epochs that a network trains dense before it is pruned: a share of all, rounded up."""
    return math.ceil(PRUNED_AFTER[config.when] * config.epochs)


def run_id(config: RunConfig) -> str:
    """The run's name: 12 hex digits of the sha256 of its fields that differ from the defaults."""
    changed = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if getattr(config, field.name) != field.default
    }
    text = json.dumps(changed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def setting(config: RunConfig | dict) -> str:
    """How the network is made sparse: its ratio, and what else of it is not the default.

    `erk`, `snip:own` (the criterion's own mask), `uniform:2:4`, `erk:rigl`, `erk:after`. Networks
    of one size, sparsity and setting differ in their seeds only. Takes a record's config as well.
    """
    named = ("mask_source", "granularity", "method", "when")
    values = config if isinstance(config, dict) else vars(config)
    other = [values[name] for name in named if values[name] != getattr(RunConfig, name)]
    return ":".join([values["ratio"], *other])


def check_code(config: RunConfig) -> None:
    """Raise `ValueError` unless the code that a run was described with is registered now."""
    if config.code == registry.code_of(vars(config)):
        return
    kinds = [kind for kind in registry.KINDS if not is_built_in(kind, getattr(config, kind))]
    named = ", ".join(f"{kind} {getattr(config, kind)!r}" for kind in kinds)
    raise ValueError(
        f"the run is of other code of {named} than is registered now: make its RunConfig anew, or "
        "register the code that it is of"
    )


def config_to_dict(config: RunConfig) -> dict:
    """All fields of a config, as a record stores them; `code` only where there is any."""
    values = asdict(config)
    return values if config.code else {k: v for k, v in values.items() if k != "code"}


def config_from_dict(values: dict) -> RunConfig:
    """Rebuild a config from a record; raises `ValueError` for missing or unknown fields.

    A record made before one of `LATER_FIELDS` existed has its default.
    """
    known = {field.name for field in fields(RunConfig)}
    if different := sorted(set(values) ^ known - (set(LATER_FIELDS) - set(values))):
        raise ValueError(f"config fields do not match RunConfig: {', '.join(different)}")
    return RunConfig(**values, recorded=True)
