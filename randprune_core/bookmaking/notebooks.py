"""The chapter notebooks: their parameters, how papermill executes them, what is stored of it."""

import ast
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

from .. import paths
from ..devices import environment
from ..records.files import CannotWrite
from ..scratch import scratch_folder
from .programs import full_disk, run_program, side_by_side

VOLATILE_TAG = "nbval-ignore-output"
"""Tag of a cell whose output differs from run to run or between machines."""

_INJECTED = "injected-parameters"
SIDE_BY_SIDE = 2  # chapters executed at once
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}


def chapters() -> dict[str, Path]:
    """The chapter notebooks `notebooks/NN_topic.ipynb` by name, in the order of the book."""
    found = sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    return {path.stem: path for path in found}


def chapter(name: str) -> Path:
    """The notebook of a chapter, named `01_depth` or `01_depth.ipynb`.

    Raises `ValueError` that lists the known names.
    """
    known = chapters()
    stem = Path(name).name.removesuffix(".ipynb")
    if stem not in known:
        raise ValueError(f"unknown chapter {name!r}: known are {', '.join(known) or 'none'}")
    return known[stem]


def default_parameters(source: Path) -> dict[str, object]:
    """Names and default values of the literals in the cell tagged `parameters`.

    Raises `ValueError` if there is no such cell or it holds anything but assignments of literals.
    """
    for cell in read_notebook(source)["cells"]:
        if "parameters" in cell["metadata"].get("tags", ()):
            try:
                return dict(_literal(node) for node in ast.parse("".join(cell["source"])).body)
            except (ValueError, SyntaxError) as error:
                raise ValueError(f"{source.name}, cell tagged parameters: {error}") from None
    raise ValueError(f"{source.name} has no cell tagged parameters")


def _literal(node: ast.stmt) -> tuple[str, object]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return name, ast.literal_eval(value)
    raise ValueError(f"line {node.lineno} does not assign a literal to a name")


def check_parameters(source: Path, parameters: Mapping[str, object]) -> None:
    """Raise `ValueError` for a parameter that the notebook does not have, naming those it has.

    papermill only warns, and then runs the notebook as if nothing had been asked.
    """
    known = default_parameters(source)
    for name in parameters:
        if name not in known:
            raise ValueError(
                f"unknown parameter {name!r} of {source.stem}: known are {', '.join(known)}"
            )


def parse_parameters(pairs: Iterable[Sequence[str]]) -> dict[str, object]:
    """Parameters from `-p NAME VALUE` pairs: numbers, True, None and lists become values.

    A list may be written `[0.8, 0.9]` or, without quotes around names, `[resnet-8, resnet-14]`.
    Anything that is no Python or YAML literal of such kinds is a string.
    """
    return {name: _parse_value(name, text) for name, text in pairs}


_LONGEST_VALUE = 10_000


def _parse_value(name: str, text: str) -> object:
    import yaml

    if len(text) > _LONGEST_VALUE:
        raise ValueError(f"parameter {name} has {len(text):,} characters: give fewer")
    if _has_aliases(text):
        raise ValueError(f"parameter {name} repeats itself by YAML's & and *: write it out")
    for parse in (ast.literal_eval, yaml.safe_load):
        try:
            value = parse(text)
            if json.loads(json.dumps(value, allow_nan=False)) == value:  # no dates, sets, bytes
                return value
        except (ValueError, SyntaxError, TypeError, yaml.YAMLError, RecursionError, MemoryError):
            continue
    return text


def _has_aliases(text: str) -> bool:
    """Whether a YAML text refers to a part of itself: a few lines of it can mean a billion."""
    import yaml

    if "&" not in text or "*" not in text:
        return False
    try:
        found = {type(token) for token in yaml.scan(text, Loader=yaml.SafeLoader)}
    except (yaml.YAMLError, ValueError, RecursionError):
        return False  # no YAML either
    return {yaml.AnchorToken, yaml.AliasToken} <= found


def fingerprint(source: Path, parameters: Mapping[str, object], surroundings: str) -> str:
    """Hash of all that the outputs of a chapter depend on: its cells, parameters, surroundings."""
    notebook = read_notebook(source)
    inputs = [(cell["cell_type"], cell["source"], cell["metadata"]) for cell in notebook["cells"]]
    text = json.dumps([inputs, dict(parameters), surroundings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def surroundings(name: str | None = None) -> str:
    """Hash of what a chapter depends on: its code, the lock file, and the records that it reads.

    Those are the records of its own grids (`grids.CHAPTERS`) and of those that it is held against
    (`grids.BESIDE`); every record where the chapter reads more than these (`grids.ANY_RUN`), is not
    listed there, or `name` is None. Runs on `digits` are left out: the chapters train those
    themselves, from code that is hashed.
    """
    left_out = (paths.RUNS / "digits", paths.FIGURES, paths.LOCAL, paths.CHECKPOINTS)
    own = None if name is None else records_read(name)
    files = [*code_of(name), paths.ROOT / "constraints.txt"]
    seen = set()  # a link may lead back
    roots = (paths.RESULTS, paths.PAPER)
    for folder, inner, names in chain(*(os.walk(root, followlinks=True) for root in roots)):
        inner[:] = [name for name in inner if not _is_seen(Path(folder, name), seen)]
        if any(Path(folder).is_relative_to(skipped) for skipped in left_out):
            continue
        of_runs = any(Path(folder).is_relative_to(part) for part in (paths.RUNS, paths.FAILED))
        found = (Path(folder, file) for file in names)
        files.extend(f for f in found if own is None or not of_runs or f.stem in own)
    return hash_files(files)


def code_of(name: str | None = None) -> set[Path]:
    """The files of code that the outputs of a chapter depend on; None for those of all chapters.

    The wings that chapters build on, what chapters share, its own modules, and this one, which
    executes it. A module of a chapter begins with the topic of its notebook. What makes the pages
    around the chapters is not among them.
    """
    from ..sweeps.grids import CHAPTERS

    package = paths.ROOT / "randprune_core"
    around = {package / "__main__.py", *package.glob("bookmaking/*.py")}
    around.discard(package / "bookmaking" / "notebooks.py")
    if name is not None:
        others = tuple(f"{other[3:]}_" for other in CHAPTERS if other != name)
        modules = package.glob("chapters/*.py")
        around |= {path for path in modules if f"{path.stem}_".startswith(others)}
    return set(package.rglob("*.py")) - around


def _is_seen(folder: Path, seen: set[str]) -> bool:
    real = os.path.realpath(folder)
    return real in seen or seen.add(real) is not None


def records_read(name: str) -> frozenset[str] | None:
    """Ids of the runs that a chapter may read with its default parameters; None for any run."""
    from ..sweeps.grids import ANY_RUN, BESIDE, CHAPTERS, JUDGED

    if name not in CHAPTERS or name in ANY_RUN:
        return None
    figures = CHAPTERS[name] and dict.fromkeys((*CHAPTERS[name], *JUDGED, *BESIDE.get(name, ())))
    where = (str(paths.RESULTS), *map(os.environ.get, ("RANDPRUNE_DATA", "XDG_CACHE_HOME")))
    return frozenset().union(*(_runs_of(figure, where) for figure in figures))


@lru_cache(maxsize=64)  # several chapters read the same grids
def _runs_of(figure: str, where: tuple[str | None, ...]) -> frozenset[str]:
    from ..config import run_id
    from ..sweeps.grids import GRIDS, grid

    profiles = [profile for profile in GRIDS[figure] if profile != "quick"]
    return frozenset(
        run_id(config)
        for profile in profiles
        for config in grid(figure, profile, variant=_variant(figure, profile, where))
    )


@lru_cache(maxsize=64)
def _variant(figure: str, profile: str, where: tuple[str | None, ...]) -> str:
    """The copy of the data; `where` records and data lie tells its answers apart."""
    from ..sweeps.coverage import recorded_variant
    from ..sweeps.grids import dataset_of

    return recorded_variant(profile, dataset_of(figure, profile))


_MOST_BYTES = 2**28


def hash_files(files: Iterable[Path]) -> str:
    """Hash of names and contents of files; what is no file of a sensible size is passed over."""
    digest = hashlib.sha256()
    for file in sorted(files):
        if file.is_file() and file.stat().st_size <= _MOST_BYTES:
            digest.update(f"{os.path.relpath(file, paths.ROOT)}\0".encode())
            digest.update(hashlib.sha256(paths.content(file)).digest())
    return digest.hexdigest()


def execute(
    source: Path, parameters: Mapping[str, object], target: Path, *, progress: bool = False
) -> Path:
    """Run a notebook with papermill, in a process of its own, and write the result to `target`.

    The kernel is the running interpreter and works in the root of the repository. `target` is
    replaced only after success. Raises `ValueError` for an unknown parameter or when a cell raises
    one, `RuntimeError` when a cell fails otherwise.
    """
    check_parameters(source, parameters)
    with scratch_folder() as scratch:
        output, left_out = scratch / source.name, scratch / "left-out"
        task = json.dumps([str(source), str(output), dict(parameters), str(paths.ROOT), progress])
        variables = _kernel_environment(scratch) | {"RANDPRUNE_LEFT_OUT": str(left_out)}
        variables["RANDPRUNE_RERUN"] = str(target.parent)
        status, log = run_program(_WORKER, task, variables=variables, errors=not progress)
        for line in _lines(left_out):
            print(f"warning: {source.stem}: {line}", file=sys.stderr)
        if status:
            raise _failure(source, output, log)
        notebook = read_notebook(output)
    write_notebook(normalise(notebook, parameters), target)
    return target


def _lines(left_out: Path) -> list[str]:
    """What `records.files.left_out` noted, each record once."""
    text = left_out.read_text(encoding="utf-8") if left_out.exists() else ""
    return list(dict.fromkeys(text.splitlines()))


_WORKER = f"import sys; from {__name__} import run_papermill; sys.exit(run_papermill(sys.argv[1]))"


def run_papermill(task: str) -> int:
    """Execute one notebook in this process, as `execute` describes it in JSON; the exit status."""
    import papermill

    source, output, parameters, folder, progress = json.loads(task)
    options = {"cwd": folder, "kernel_name": "python3", "language": "python"}
    try:
        with environment({"TQDM_DISABLE": "1"}):  # for the kernel; papermill's bar may be shown
            papermill.execute_notebook(source, output, parameters, progress_bar=progress, **options)
    except (papermill.PapermillExecutionError, KeyboardInterrupt):
        return 1  # the half-run notebook says which cell failed
    except OSError as error:  # that of a full disk names no file
        error.filename = error.filename or output
        raise
    return 0


# IPython's own watch does not see a papermill that has ended before the kernel has started.
_KERNEL = (
    f"import os, runpy; from {run_program.__module__} import end_with; "
    "end_with(int(os.environ['JPY_PARENT_PID'])); "
    "runpy.run_module('ipykernel_launcher', run_name='__main__', alter_sys=True)"
)


def _kernel_environment(scratch: Path) -> dict[str, str]:
    """The environment of papermill and its kernel, free of the user's own Jupyter settings.

    Whatever they leave in temporary folders is in `scratch`.
    """
    spec = scratch / "jupyter" / "kernels" / "python3" / "kernel.json"
    argv = [sys.executable, "-c", _KERNEL, "-f", "{connection_file}"]
    paths.write_whole(spec, json.dumps({"argv": argv, **_METADATA["kernelspec"]}).encode())
    (scratch / "tmp").mkdir()
    found = dict(os.environ)
    found.pop("MPLBACKEND", None)  # the kernel then draws inline
    found.pop("TQDM_DISABLE", None)
    specs = (str(scratch / "jupyter"), os.environ.get("JUPYTER_PATH"))
    found["JUPYTER_PATH"] = os.pathsep.join(filter(None, specs))
    found["TMPDIR"] = str(scratch / "tmp")
    if os.environ.get("RANDPRUNE_DATA"):  # may be relative to the folder we were called in
        found["RANDPRUNE_DATA"] = str(paths.data_root())
    if os.environ.get("RANDPRUNE_RESULTS"):
        found["RANDPRUNE_RESULTS"] = str(paths.RESULTS)
    found["IPYTHONDIR"] = str(scratch / "ipython")
    for kind in ("CONFIG", "DATA", "RUNTIME"):
        found[f"JUPYTER_{kind}_DIR"] = str(scratch / f"jupyter-{kind.lower()}")
    if not (found.get("MPLCONFIGDIR") or _matplotlib_has_a_home()):
        found["MPLCONFIGDIR"] = str(scratch / "matplotlib")  # it would warn in a chapter's outputs
    found["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    found.setdefault("OMP_NUM_THREADS", "1")  # what is stored depends on the thread count
    return found


def _matplotlib_has_a_home() -> bool:
    """Whether its folders for settings and fonts are there, or can be made, as it would do."""
    for variable, below in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
        try:
            folder = Path(os.environ.get(variable) or Path.home() / below, "matplotlib")
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):
            return False
        if not os.access(folder, os.W_OK):
            return False
    return True


def _failure(source: Path, output: Path, log: str) -> Exception:
    """What went wrong, read from the half-run notebook or else from papermill's own words."""
    try:
        cells = read_notebook(output)["cells"]
    except (OSError, ValueError):  # there is none, or a full disk has cut it short
        cells = []
    for cell in cells:
        for result in cell.get("outputs", ()):
            if result["output_type"] == "error":
                if result["ename"] == "ValueError":
                    return ValueError(f"{source.stem}: {result['evalue']}")
                if full := full_disk(result["evalue"], f"cell [{cell['execution_count']}]"):
                    return CannotWrite(f"{source.stem}: {full}")
                print("\n".join(result["traceback"]), file=sys.stderr)
                what = f"{result['ename']}: {result['evalue']}"
                return RuntimeError(
                    f"{source.stem}: cell [{cell['execution_count']}] failed with {what}"
                )
    if full := full_disk(log, output):
        return CannotWrite(f"{source.stem}: {full}")
    last = log.strip().splitlines()[-1:] or ["papermill ended without a message"]
    return RuntimeError(f"{source.stem} was not executed: {last[0]}")


def normalise(notebook: dict, parameters: Mapping[str, object] | None = None) -> dict:
    """Strip what differs between two equal runs: timestamps, random ids, versions of the kernel.

    With parameters, keeps them as `metadata.randprune.parameters` and hides the defaults.
    """
    notebook["metadata"] = json.loads(json.dumps(_METADATA))
    if parameters:
        notebook["metadata"]["randprune"] = {"parameters": dict(parameters)}
    for cell in notebook["cells"]:
        metadata = cell["metadata"]
        tags = metadata.pop("tags", [])
        for name in ("papermill", "execution"):
            metadata.pop(name, None)
        if _INJECTED in tags and "id" in cell:
            cell["id"] = _INJECTED
        if parameters and "parameters" in tags and "hide-cell" not in tags:
            tags.append("hide-cell")
        if tags:
            metadata["tags"] = tags
        if "outputs" in cell:
            cell["outputs"] = _merge_streams(cell["outputs"])
    return notebook


def _merge_streams(outputs: list[dict]) -> list[dict]:
    """Join neighbouring chunks of one stream; where a stream is cut depends on timing."""
    merged: list[dict] = []
    for output in outputs:
        is_stream = output["output_type"] == "stream"
        if is_stream and merged and merged[-1].get("name") == output["name"]:
            text = "".join(merged[-1]["text"]) + "".join(output["text"])
            merged[-1]["text"] = text.splitlines(keepends=True)
        else:
            merged.append(output)
    return merged


def read_notebook(source: Path) -> dict:
    """A notebook as the JSON object in its file."""
    return json.loads(source.read_text(encoding="utf-8"))


def write_notebook(notebook: dict, target: Path) -> None:
    """Write a notebook as Jupyter formats it, whole or not at all."""
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    paths.write_whole(target, text.encode())


def execute_chapters(names: Iterable[str] | None = None) -> dict[str, Path]:
    """Execute chapters with their default parameters, two at a time; names None means all.

    A chapter whose fingerprint is that of its last execution, here or for the outputs that are
    committed with it, is not executed again. Raises the first error after all chapters have ended.
    """
    sources = [chapter(name) for name in (chapters() if names is None else names)]
    stored = stored_fingerprints()
    around = {source: surroundings(source.stem) for source in sources}
    jobs = {
        source.stem: partial(_execute_cached, source, around[source], stored) for source in sources
    }
    return side_by_side(jobs, SIDE_BY_SIDE)


def stored_fingerprints() -> dict[str, str]:
    """The fingerprints that the committed outputs of the chapters belong to, by name."""
    try:
        stored = json.loads(paths.STORED_OUTPUTS.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # none is stored, or the file is damaged
        return {}
    return stored if isinstance(stored, dict) else {}


def store_fingerprints(names: Iterable[str]) -> None:
    """Note that the outputs in `notebooks/` are those of the chapters as they are now."""
    known = stored_fingerprints()
    known |= {name: fingerprint(chapter(name), {}, surroundings(name)) for name in names}
    text = json.dumps({name: known[name] for name in chapters() if name in known}, indent=1)
    paths.write_whole(paths.STORED_OUTPUTS, f"{text}\n".encode())


def _execute_cached(source: Path, around: str, stored: Mapping[str, str]) -> Path:
    target = paths.BUILD / "executed" / source.name
    key_file = target.with_suffix(".sha256")
    key = fingerprint(source, {}, around)
    local = f"{key} {sys.version}"  # outputs may differ in what varies from machine to machine
    if target.exists() and key_file.exists() and key_file.read_text() == local:
        say(f"{source.stem}: unchanged since it was executed")
        return target
    if stored.get(source.stem) == key:
        say(f"{source.stem}: unchanged since its outputs were stored")
        write_notebook(read_notebook(source), target)
        paths.write_whole(key_file, local.encode())
        return target
    say(f"{source.stem}: executing")
    started = time.monotonic()
    execute(source, {}, target)
    paths.write_whole(key_file, local.encode())
    say(f"{source.stem}: executed in {time.monotonic() - started:.0f} s")
    return target


def say(message: str) -> None:
    """Tell the terminal how far we are, in one write: chapters are executed side by side."""
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


def normalise_files(files: Iterable[str]) -> int:
    """Write notebooks as `refresh` stores them, outputs kept; 1 if one had to be changed, else 0.

    What pre-commit calls: `python -m randprune_core.bookmaking.notebooks FILE...`.
    """
    changed = []
    for file in map(Path, files):
        text = file.read_text(encoding="utf-8")
        write_notebook(normalise(json.loads(text)), file)
        if file.read_text(encoding="utf-8") != text:
            changed.append(file)
            say(f"{file}: rewritten")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(normalise_files(sys.argv[1:]))
