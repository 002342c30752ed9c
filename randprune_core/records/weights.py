"""Trained networks and masks as safetensors files, with the config of their run inside.

Such a file holds tensors and text, and reading it runs no code. A network's file has the tensors of
its `state_dict` under their own names, so that plain PyTorch loads it without this package.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import paths
from ..config import RunConfig, config_from_dict, config_to_dict, is_built_in

if TYPE_CHECKING:
    from torch import Tensor, nn

LARGEST = 2**34
"""Bytes of the largest file that is read."""

_KEY, _FORM = "randprune", 1
_KINDS = {"network": "a network", "masks": "masks"}


def save_masks(
    masks: Mapping[str, Tensor], path: str | Path, config: RunConfig | None = None
) -> None:
    """Write masks, bool tensors by layer, to one file; `config` is the run they belong to.

    The file is replaced as a whole. Raises `ValueError` for what is no mask, and `OSError` where
    the file cannot be written.
    """
    import torch

    if wrong := [name for name, mask in masks.items() if mask.dtype != torch.bool]:
        raise ValueError(f"mask {wrong[0]!r} is {masks[wrong[0]].dtype}; it must be bool")
    _save("masks", masks, Path(path), config)


def load_masks(path: str | Path) -> dict[str, Tensor]:
    """The masks in a file of `save_masks`, on the CPU; `ValueError`, in one line, for another file.

    A file that was damaged or changed is refused too.
    """
    tensors, _ = _load("masks", Path(path))
    return tensors


def save_network(model: nn.Module, path: str | Path, config: RunConfig | None = None) -> None:
    """Write a network's `state_dict` to one file; `config` is the run that trained it.

    Pruned weights are the zeros in it. A wrapper (`torch.compile`, `DataParallel`, DDP) is left
    out. The file is replaced as a whole. Raises `ValueError` for a state that is not made of
    tensors, and `OSError` where the file cannot be written.
    """
    from ..pruning.layers import unwrapped

    _save("network", unwrapped(model).state_dict(), Path(path), config)


def load_network(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network in a file of `save_network`, on the CPU, in evaluation mode.

    It is loaded into `model` where one is given, else into a new one of the config inside. It takes
    images as in training: `with_normalization` makes it take pixels in [0, 1]. Raises `ValueError`,
    in one line, for another file, one that was damaged or changed, and a network that does not fit.
    """
    from ..pruning.layers import unwrapped

    tensors, config = _load("network", Path(path))
    if model is None:
        if config is None:
            raise ValueError(f"{path}: no config is inside: give the network as model=")
        model = _built(config, tensors, Path(path))
    plain = unwrapped(model)
    _check_fit(plain.state_dict(), tensors, Path(path))
    plain.load_state_dict(tensors)
    return model.eval()


def saved_config(path: str | Path) -> RunConfig | None:
    """The config inside a file of `save_network` or `save_masks`; None where there is none."""
    return _load(None, Path(path))[1]


def check_path(path: str | Path) -> None:
    """Raise `ValueError` or `OSError`, before any training, where no file can be written."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file, such as {path / 'NAME'}")
    folder = path.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write into {folder}: give a file in another folder")


def _save(kind: str, tensors: Mapping[str, object], path: Path, config: RunConfig | None) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save

    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise ValueError(f"{name!r} is no plain tensor, and only those can be saved")
    # Copies: tied weights share memory, which the format does not.
    copies = {n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()}
    about = {"form": _FORM, "kind": kind, "config": config and config_to_dict(config)}
    about["names"] = list(copies)  # the format sorts them by size
    about["sha256"] = _digest(about, copies)
    try:  # under one key: the library writes several in any order
        content = save(copies, {_KEY: json.dumps(about, sort_keys=True)})
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the {kind} cannot be saved: {error}") from error
    paths.write_whole(path, content)


def _load(kind: str | None, path: Path) -> tuple[dict[str, Tensor], RunConfig | None]:
    """Tensors and config of a file that was written here, after all checks."""
    try:
        content = paths.read_regular(path, LARGEST)
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    tensors, about = _parsed(content, path)
    if about.get("form") != _FORM or about.get("kind") not in _KINDS:
        raise ValueError(
            f"{path}: it was not written by save_network or save_masks; read it with "
            "safetensors.torch.load_file"
        )
    names = about.get("names")
    listed = isinstance(names, list) and sorted(map(str, names)) == sorted(tensors)
    if not listed or about.get("sha256") != _digest(about, tensors):
        raise ValueError(f"{path}: it is damaged or was changed: its content has another hash")
    if kind is not None and about["kind"] != kind:
        raise ValueError(f"{path}: it holds {_KINDS[about['kind']]}, not {_KINDS[kind]}")
    tensors = {name: tensors[name] for name in names}
    if about.get("config") is None:
        return tensors, None
    try:
        return tensors, config_from_dict(about["config"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: its config is not valid ({error})") from error


def _parsed(content: bytes, path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors of any safetensors file, and what was written here beside them."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        length = int.from_bytes(content[:8], "little")
        about = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        about = json.loads(about.get(_KEY, "{}"))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        raise ValueError(f"{path}: it is damaged, or no safetensors file ({reason})") from error
    return tensors, about if isinstance(about, dict) else {}


def _digest(about: Mapping[str, object], tensors: Mapping[str, Tensor]) -> str:
    """sha256 of everything in a file but itself."""
    from torch import uint8

    words = {key: value for key, value in about.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(uint8).numpy())
    return digest.hexdigest()


def _built(config: RunConfig, tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    """A new network of the config, of as many classes as the file has rows in its last matrix."""
    import torch

    from ..models import build_model

    rows = [len(tensor) for tensor in tensors.values() if tensor.dim() == 2]
    if not rows:
        raise ValueError(f"{path}: it has no linear layer: give the network as model=")
    if is_built_in("model", config.model):  # shapes first: a file may ask for any size
        with torch.device("meta"):
            _check_fit(build_model(config.model, rows[-1]).state_dict(), tensors, path)
    return build_model(config.model, rows[-1], config.seed_init)


def _check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Raise `ValueError` that names the first tensor in which a network and a file differ."""
    for name in [*expected, *found]:
        if name not in found or name not in expected:
            where = "the file" if name not in found else "the network"
            raise ValueError(f"{path}: it does not fit the network: {where} has no {name!r}")
        if found[name].shape != expected[name].shape:
            raise ValueError(
                f"{path}: it does not fit the network: {name!r} has shape "
                f"{tuple(found[name].shape)}, not {tuple(expected[name].shape)}"
            )
