"""What the tests of faults share: a real sweep as a process of its own, and hostile pictures."""

import contextlib
import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from conftest import picture

from randprune_core import paths

MEASURED = ("config", "layers", "cost", "history", "test")

# The command line as it is, with runs of profile quick that take a second or two.
_MAIN = """
import sys
from randprune_core import __main__
from randprune_core.sweeps.profiles import PROFILES
PROFILES["quick"]["train_images"] = 300
sys.exit(__main__.main(sys.argv[1:]))
"""
SWEEP = "sweep depth --profile quick --models resnet-8 --ratios dense erk --sparsities 0.9"
SWEEP = [*SWEEP.split(), "--seeds", "0", "1", "--device", "cpu"]
RUNS = 4


def environment(store: Path) -> dict:
    """One thread, a results folder, no data, and a proxy for nobody."""
    return os.environ | {"RANDPRUNE_RESULTS": str(store), "OMP_NUM_THREADS": "1", "NO_PROXY": "*"}


def start(store: Path, *arguments: str, workers: int = 2, **options) -> subprocess.Popen:
    """Start the sweep, or another command, in a process group of its own."""
    command = [*(arguments or (*SWEEP, "--workers", str(workers)))]
    return subprocess.Popen(
        [sys.executable, "-c", _MAIN, *command],
        cwd=paths.ROOT,
        env=environment(store),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def run(store: Path, *arguments: str, **options) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command that is left alone."""
    process = start(store, *arguments, **options)
    try:
        out, error = process.communicate(timeout=500)
    finally:
        kill(process)
    return process.returncode, out, error


def run_code(store: Path, code: str, **options) -> subprocess.CompletedProcess:
    """A process of its own that runs this code, which may import what the tests share."""
    search = os.pathsep.join((str(paths.ROOT), str(Path(__file__).parent)))
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(store) | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        **options,
    )


def bound_by_permissions():
    """Before a process starts: take from root what lets it write to a read-only folder."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; fails, and need not, unless root


def kill(process: subprocess.Popen) -> bool:
    """SIGKILL the whole process group; whether it was still running."""
    alive = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        pipe.close()
    return alive


def records(store: Path) -> dict[str, dict]:
    """The measured part of every record file by run id; raises where a file is no JSON."""
    return {
        path.stem: {section: json.loads(path.read_text())[section] for section in MEASURED}
        for path in store.glob("runs/*/*.json")
    }


def leftovers(store: Path) -> list[str]:
    """Files of a store that are no records: temporary files, locks, checkpoints."""
    found = sorted(str(p.relative_to(store)) for p in store.rglob("*") if p.is_file())
    return [name for name in found if not (name.startswith("runs/") and name.endswith(".json"))]


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checked


def png(width: int, height: int, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + chunk(b"IEND", b"")


def hostile_pictures() -> list[bytes]:
    draw = np.random.default_rng(0)
    small = np.zeros((32, 32, 3), dtype=np.uint8)
    jpeg, whole = picture(small, "JPEG"), picture(small)
    found = jpeg.index(b"\xff\xc0") + 5  # height and width stand there
    huge = jpeg[:found] + struct.pack(">HH", 50_000, 50_000) + jpeg[found + 4 :]
    text_bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(b" " * 2**26))
    made = [png(50_000, 50_000), png(2**31 - 1, 1), png(0, 0), png(12_000, 12_000), png(32, 32)]
    made += [
        png(32, 32, text_bomb),
        huge,
        jpeg[:300],
        whole[:60],
        b"",
        b"GIF89a",
        picture(small, "GIF"),
    ]
    made += [draw.bytes(size) for size in (1, 8, 100, 5_000)]
    made += [b"\x89PNG\r\n\x1a\n" + draw.bytes(200), b"\xff\xd8\xff\xe0" + draw.bytes(200)]
    for _ in range(40):
        damaged = bytearray(whole)
        damaged[draw.integers(16, 24)] ^= 1 << draw.integers(0, 8)  # its size
        made.append(bytes(damaged))
    return made
