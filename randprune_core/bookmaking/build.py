"""From notebooks to the HTML book: papermill executes, a staging folder collects, Sphinx renders.

`_build/executed/` holds each chapter as last executed with its fingerprint, `_build/staging/` a
copy of everything the book is made of under its real relative paths, and `_build/html/` the book.
The committed notebooks are written by `refresh` alone.
"""

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from filelock import FileLock

from .. import paths
from ..config import run_id
from ..devices import environment
from ..presentation import foreign
from ..records.files import CannotWrite
from ..scratch import scratch_folder
from .drawings import put_drawings
from .notebooks import (
    SIDE_BY_SIDE,
    VOLATILE_TAG,
    chapter,
    chapters,
    check_parameters,
    default_parameters,
    execute,
    execute_chapters,
    hash_files,
    read_notebook,
    say,
    store_fingerprints,
    write_notebook,
)
from .programs import full_disk, run_program, side_by_side

_SPHINX = "from jupyter_book.cli.main import main; main()"
_STRICT = ("--all", "-W", "-n", "--keep-going", "-q")
_MADE_HERE = re.compile(r"^% generated(?: (\w+))?$", re.MULTILINE)
"""A comment in a page, in whose place stands what `make_pages` makes."""
_MAIN_FIGURE = ("01_depth", "scales-figure", "figure-depth.png")  # chapter, cell, picture


def build_book() -> Path:
    """Execute the chapters, build the HTML and return the path of its index page.

    What has not changed since the last call is not done again. Raises `ValueError` or
    `RuntimeError` when a chapter fails, `RuntimeError` when Sphinx has anything to warn of.
    """
    paths.BUILD.mkdir(exist_ok=True)
    with FileLock(paths.BUILD / ".lock", fallback_to_soft=False):  # one build at a time
        executed = execute_chapters()
        staging = stage(executed)
        make_pages(staging, executed)
        return render(staging)


def stage(executed: Mapping[str, Path]) -> Path:
    """Make the staging folder a mirror of what the book is made of, and return it.

    Pages keep their relative paths, so that `_toc.yml`, links and repository buttons mean the same
    here and in the repository. `executed` gives the executed notebook of each chapter. No CSV has
    cells that a spreadsheet takes for formulas. Raises ValueError for a link that leads outside.
    """
    wanted = {Path("notebooks", path.name): path for path in executed.values()}
    for name in ("_config.yml", "_toc.yml", "LICENSE", "CITATION.cff"):
        if (paths.ROOT / name).is_file():
            wanted[Path(name)] = _inside(paths.ROOT / name, paths.ROOT)
    benchmarks = (paths.COMMITTED_BENCHMARKS, paths.BENCHMARKS)  # one's own in place of those
    for folder in (paths.BOOK, paths.FIGURES, paths.PAPER, *benchmarks):
        of_results = folder.is_relative_to(paths.RESULTS)  # under whatever name that folder has
        home, name = (paths.RESULTS, "results") if of_results else (paths.ROOT, "")
        for file in filter(Path.is_file, folder.rglob("*")):
            wanted[Path(name, file.relative_to(home))] = _inside(file, folder)

    staging = paths.BUILD / "staging"
    for old in [path for path in staging.rglob("*") if path.is_file()]:
        if old.relative_to(staging) not in wanted:
            old.unlink()
    for name, file in wanted.items():
        copy = staging / name
        if name.suffix == ".csv":
            paths.write_whole(copy, _defused(file))
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return staging


def _inside(file: Path, folder: Path) -> Path:
    """The file; ValueError where it is a link that leads out of the folder."""
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{file} leads out of {folder}: what it leads to is not published")
    return file


def _defused(file: Path) -> bytes:
    """A CSV without formulas; ValueError for a file that is none."""
    try:
        with file.open(encoding="utf-8", newline="") as content:
            return foreign.defused(content.read()).encode()
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{file}: not readable as CSV ({error}); restore it") from error


def make_pages(staging: Path, executed: Mapping[str, Path]) -> None:
    """Write into a staging folder what its pages take from the code, the records and the chapters.

    The reference pages, the boxes of the chapters, the data of the explorer and of the two pages to
    play with, the style of figures, the summary on one page, the archive of all data, and the
    pictures of a shared link and of the first page, which is that of chapter 01. Runs on digits do
    not count: no copy of the book has the same. Where the book is published (`repository.url`), the
    copies that Colab opens are written to `_build/launch/`.
    """
    from ..datasets import DATASETS
    from ..records.failures import all_failures
    from ..records.store import read_record
    from ..records.table import load_runs
    from . import archive, draw_a_mask, drawings, explorer, repository, summary, train_it

    home = repository.repository()
    failures = {name: note for name, note in all_failures().items() if note[0].dataset != "digits"}
    runs = load_runs(dataset=set(DATASETS) - {"digits"})
    if home:
        repository.show_repository(staging / "_config.yml", home)
        citation = staging / "CITATION.cff"
        text = f"{citation.read_text(encoding='utf-8')}repository-code: {home.url}\n"
        paths.write_whole(citation, text.encode())
    packed, numbers = archive.pack(runs, staging), summary.collect()
    paths.write_whole(staging / "results" / archive.NAME, packed)
    paths.write_whole(staging / "results" / summary.PDF, summary.pdf(numbers, home))
    made = _generated(runs, failures, home)
    made["provenance"]["archive"] = archive.link(packed, f"results/{archive.NAME}")
    made["intro"]["summary"] = f"[The book on one page](/results/{summary.PDF}) (PDF)"
    for page, parts in made.items():
        fill_page(staging / "book" / f"{page}.md", parts)
    _make_chapters(staging, executed, runs, home)
    static = staging / "book" / "_static"
    paths.write_whole(static / summary.CARD, summary.card(numbers))
    files = map(paths.record_path, runs.dataset, runs.run_id)
    explored = explorer.script(runs, map(read_record, files))
    paths.write_whole(static / "explorer-data.js", explored.encode())
    with scratch_folder() as scratch, environment({"TORCHINDUCTOR_CACHE_DIR": str(scratch)}):
        masks = draw_a_mask.kept_script()  # torchvision loads torch's compiler: it makes a folder
    paths.write_whole(static / "draw_a_mask-data.js", masks.encode())
    paths.write_whole(static / "train_it-data.js", train_it.script().encode())
    chapter_name, cell, picture = _MAIN_FIGURE
    paths.write_whole(static / picture, _picture(executed[chapter_name], cell))
    drawings.note_drawings(staging, executed.values())
    drawings.write_style(staging)


def fill_page(page: Path, made: Mapping[str | None, str]) -> None:
    """Put what is made here in place of the comments `% generated` and `% generated NAME`."""
    text = page.read_text(encoding="utf-8")
    paths.write_whole(page, _MADE_HERE.sub(lambda found: made[found[1]], text).encode())


def _generated(runs, failures, home) -> dict[str, dict[str | None, str]]:
    """What stands in place of `% generated` or `% generated NAME`, by page and name."""
    from ..records.store import refused
    from . import api, cite, intro, provenance, repository

    left_out = refused(set(runs.run_id))
    return {
        "api": {None: api.modules()},
        "cite": {None: cite.page(home)},
        "intro": {"badges": repository.badges(home), "scorecard": intro.scorecard()},
        "provenance": {None: provenance.page(runs, failures, home, left_out)},
    }


def _make_chapters(staging: Path, executed: Mapping[str, Path], runs, home) -> None:
    """Give the staged chapters their boxes and the CSV of their runs; write the launch copies."""
    from . import boxes, drawings, repository

    launch = paths.BUILD / "launch" / "notebooks"
    shutil.rmtree(launch, ignore_errors=True)
    for name, path in executed.items():
        notebook = read_notebook(path)
        shown = drawings.without_empty_figures(notebook)
        boxed = boxes.add_boxes(shown, name, runs, home, staging / "results" / "runs")
        write_notebook(boxed, staging / "notebooks" / path.name)
        if home:
            write_notebook(repository.launch_copy(notebook, home), launch / path.name)


def _picture(notebook: Path, cell_id: str) -> bytes:
    """The picture among the outputs of a cell; LookupError where there is none."""
    for cell in read_notebook(notebook)["cells"]:
        for output in cell.get("outputs", ()) if cell["id"] == cell_id else ():
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    raise LookupError(f"{notebook.name} has no picture in its cell {cell_id}")


def render(staging: Path) -> Path:
    """Build the HTML of a staging folder strictly and return the path of `index.html`.

    Sphinx is not started where folder and code are what the last successful build was made of.
    Every build is a full one: an incremental one leaves old entries in the sidebars of unchanged
    pages.
    """
    index = paths.BUILD / "html" / "index.html"
    key_file = paths.BUILD / "html.sha256"
    lock_file = paths.ROOT / "constraints.txt"
    code = (paths.ROOT / "randprune_core").rglob("*.py")  # its docstrings are on the reference page
    key = hash_files([*staging.rglob("*"), lock_file, *code])
    if index.exists() and key_file.exists() and key_file.read_text() == key:
        say("book: unchanged since it was built")
        return index
    say("book: building")
    started = time.monotonic()
    key_file.unlink(missing_ok=True)
    shutil.rmtree(index.parent, ignore_errors=True)
    # jupyter-book puts its output into a folder `_build` of the folder that it is given.
    place = ("--path-output", str(paths.BUILD.parent))
    with scratch_folder() as scratch:  # for what Sphinx leaves of its errors
        variables = {**os.environ, "TMPDIR": str(scratch)}
        command = ("build", str(staging), *_STRICT, *place)
        status, log = run_program(_SPHINX, *command, variables=variables)
    if status or not index.exists():
        if full := full_disk(log, index.parent):
            raise CannotWrite(full)
        print(log, file=sys.stderr)
        raise RuntimeError("the book was not built: Sphinx's errors and warnings stand above")
    _mend_roles(index.parent)
    _give_head(index)
    put_drawings(index.parent, staging)
    paths.write_whole(key_file, key.encode())
    say(f"book: built in {time.monotonic() - started:.0f} s")
    return index


def _mend_roles(html: Path) -> None:
    """Take a wrong role from the bibliography: docutils calls its entries list items no more."""
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if (role := '<div role="list" class="citation-list">') in text:
            mended = text.replace(role, '<div class="citation-list">')
            paths.write_whole(page, mended.encode())


_HEAD = re.compile(
    r'<title>.*?</title>|<link rel="canonical"[^>]*>'
    r'|<meta (?:name="(?:description|twitter:\w+)"|property="og:[\w:]+")[^>]*>',
    re.DOTALL,
)


def _give_head(index: Path) -> None:
    """Give `index.html`, which only leads to the first page, what a shared link shows of that."""
    redirect = index.read_text(encoding="utf-8").strip()
    first = index.parent / re.search(r'url=([^"]+)"', redirect)[1]
    up = os.path.relpath(index.parent, first.parent) + "/"
    shown = _HEAD.findall(first.read_text(encoding="utf-8"))
    lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8" />', redirect]
    lines += [tag.replace(f'content="{up}', 'content="') for tag in shown]
    paths.write_whole(index, "\n".join([*lines, "</head>", "</html>", ""]).encode())


def run_notebook(name: str, parameters: Mapping[str, object] | None = None) -> Path:
    """Execute one chapter with the given parameters and return the path of the result.

    It lies in a folder of its own, `results/local/CHAPTER/PARAMETERS/`, with the numbers of its
    figures. The committed notebook stays as it is. Raises `ValueError` for an unknown chapter or
    parameter or when a cell raises one, `RuntimeError` when a cell fails otherwise.
    """
    source = chapter(name)
    check_parameters(source, parameters or {})
    target = paths.LOCAL / source.stem / rerun_name(parameters or {}) / source.name
    shown = ", ".join(f"{key}={value!r}" for key, value in (parameters or {}).items())
    say(f"{source.stem}: executing with {shown or 'its default parameters'}")
    started = time.monotonic()
    execute(source, parameters or {}, target, progress=sys.stderr.isatty())
    say(f"{source.stem}: executed in {time.monotonic() - started:.0f} s")
    say(os.path.relpath(target))
    return target


_LONGEST_NAME = 100


def rerun_name(parameters: Mapping[str, object]) -> str:
    """The name of the folder of a re-run: `profile=quick,seeds=0+1`, or `default`.

    Where it would be too long for a folder, or a value has letters that do not suit one, it ends
    with a hash of the parameters.
    """
    if not parameters:
        return "default"
    words = []
    for name, value in sorted(parameters.items()):
        values = value if isinstance(value, list | tuple) else [value]
        words.append(f"{name}={'+'.join(map(str, values))}")
    whole = ",".join(words)
    plain = re.sub(r"[^\w.,=+-]", "_", whole, flags=re.ASCII)[:_LONGEST_NAME]
    if plain == whole:
        return plain
    text = json.dumps(dict(parameters), sort_keys=True)
    return f"{plain},{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def run_quick(names: Iterable[str] | None = None) -> list[Path]:
    """Execute chapters (None: all) with profile `quick`, training what is missing.

    The runs of all figures are trained first, as one sweep, and then two chapters go at a time. A
    chapter gets those of the two parameters that it has. Raises the first error after all chapters
    have ended.
    """
    from ..sweeps.grids import figures_at, grid
    from ..sweeps.sweep import sweep

    names = list(chapters() if names is None else names)
    wanted = {"profile": "quick", "train_missing": True}
    given = {name: default_parameters(chapter(name)).keys() & wanted for name in names}
    if any(given.values()):
        figures = figures_at("quick")
        sweep({run_id(config): config for f in figures for config in grid(f, "quick")}.values())
    parameters = {name: {key: wanted[key] for key in given[name]} for name in names}
    jobs = {name: partial(run_notebook, name, parameters[name]) for name in names}
    return [*side_by_side(jobs, SIDE_BY_SIDE).values()]


def refresh(names: Iterable[str] | None = None) -> list[Path]:
    """Execute chapters (None: all) and store their outputs in `notebooks/`; return those changed.

    A notebook whose outputs differ only in cells that vary from run to run is left as it is, so
    that a repeated call changes nothing. The picture of chapter 01 is stored for the README too.
    """
    names = chapters() if names is None else list(names)
    changed = []
    for name, executed in execute_chapters(names).items():
        source = chapter(name)
        if _lasting(source) != _lasting(executed):
            write_notebook(read_notebook(executed), source)
            changed.append(source)
        say(f"{name}: {'outputs stored' if source in changed else 'nothing to store'}")
    chapter_name, cell, picture = _MAIN_FIGURE
    if chapter_name in names:
        paths.write_whole(paths.BOOK / "_static" / picture, _picture(chapter(chapter_name), cell))
    store_fingerprints(names)
    return changed


def _lasting(notebook: Path) -> dict:
    """A notebook without the outputs that vary from run to run."""
    content = read_notebook(notebook)
    for cell in content["cells"]:
        if VOLATILE_TAG in cell["metadata"].get("tags", ()):
            cell["outputs"] = []
    return content
