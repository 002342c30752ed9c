"""Devices: which is picked, which memory layout is safe, and who keeps freed memory."""

import os
import platform
import re
from pathlib import Path

import pytest
import torch

from randprune_core import devices, paths
from randprune_core.devices import keep_freed_memory, pick_device
from randprune_core.models import build_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "tpu", "", "CPU"])
def test_pick_device_names_what_it_refuses(name):
    with pytest.raises(ValueError, match=f"device {name!r} is not known.*cuda"):
        pick_device(name)


def test_pick_device_refuses_cuda_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(ValueError, match="no CUDA device is available"):
        pick_device("cuda")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("resnet-8", torch.channels_last),
        ("resnet-8-8", torch.contiguous_format),
        ("resnet-8-4", torch.contiguous_format),
        ("vgg-11", torch.channels_last),
    ],
)
def test_narrow_strided_shortcuts_are_kept_from_channels_last_on_a_cpu(model, expected):
    network = build_model(model)
    assert devices.memory_format(network, CPU) == expected
    assert devices.memory_format(network, torch.device("cuda")) == torch.channels_last


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_memory_that_is_freed_stays_with_the_process():
    keep_freed_memory()
    block = torch.ones(2**24)  # 64 MiB, which glibc hands back at once if nobody tells it
    held = resident_bytes()
    del block
    assert resident_bytes() > held - 2**20


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_variables_are_set_for_a_while_and_then_are_what_they_were(monkeypatch):
    monkeypatch.setenv("KNOWN", "before")
    monkeypatch.delenv("UNKNOWN", raising=False)
    with pytest.raises(ZeroDivisionError), devices.environment({"KNOWN": "1", "UNKNOWN": "2"}):
        assert (os.environ["KNOWN"], os.environ["UNKNOWN"]) == ("1", "2")
        raise ZeroDivisionError
    assert os.environ["KNOWN"] == "before" and "UNKNOWN" not in os.environ


def test_no_other_module_of_the_lower_wings_writes_to_the_environment():
    package = paths.ROOT / "randprune_core"
    upper = {"chapters", "notebooks.py"}
    writers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"os\.environ(\[[^]]+\] = |\.(update|setdefault|pop)\()", path.read_text())
        and not upper & set(path.relative_to(package).parts)
    }
    assert writers == {"devices.py"}
