"""The rules that every chapter notebook keeps, each proved on a notebook that breaks it.

Whether the stored outputs are what the cells give is nbval's business (`make test`).
"""

import ast
import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from randprune_core import paths
from randprune_core.bookmaking import notebooks

DOCUMENTED = {"profile", "models", "ratios", "sparsities", "seeds", "train_missing", "device"}
FIGURE_MEDIA = {"image/png", "image/jpeg", "image/svg+xml", "application/pdf"}
FOREIGN_PATH = re.compile(r"(?:^|[\s'\"(=])/(?:home|root|tmp|Users|mnt|opt|usr|var|work)/")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
CLOCK = re.compile(r"\b\d\d:\d\d:\d\d(?:\.\d+)?\b")
SPEED = re.compile(r"\b\d[\d.,]*\s*(?:it/s|s/it|img/s|images/s)")
TRAINING = {"backward", "zero_grad", "SGD", "Adam", "DataLoader"}


def code_cells(notebook: dict) -> Iterator[dict]:
    return (cell for cell in notebook["cells"] if cell["cell_type"] == "code")


def source(cell: dict) -> str:
    return "".join(cell["source"])


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def prose(notebook: dict) -> str:
    return "\n\n".join(source(c) for c in notebook["cells"] if c["cell_type"] == "markdown")


def texts(cell: dict) -> Iterator[str]:
    """Every piece of text that a cell has stored, pictures left out."""
    for output in cell["outputs"]:
        yield "".join(output.get("text", ""))
        for media, data in output.get("data", {}).items():
            if media not in FIGURE_MEDIA:
                yield "".join(data) if isinstance(data, list) else str(data)


def draws(cell: dict) -> bool:
    return any(FIGURE_MEDIA & set(output.get("data", {})) for output in cell["outputs"])


def starts_with_label_and_title(notebook: dict) -> Iterator[str]:
    first = notebook["cells"][0]
    if first["cell_type"] != "markdown" or not re.match(
        r"\(chapter-[a-z-]+\)=\s*\n# \S", source(first)
    ):
        yield "the first cell is not a label (chapter-...)= and a title"
    if len(re.findall(r"^# ", prose(notebook), re.MULTILINE)) != 1:
        yield "there is not exactly one title"


def cites_the_paper_and_says_what_differs(notebook: dict) -> Iterator[str]:
    text = prose(notebook)
    if not re.search(r"\{cite(?::\w+)?\}`[^`]*liu2022unreasonable", text):
        yield "the paper's claim is not cited"
    if not re.search(r"^#{2,} .*\bdiffers\b", text, re.MULTILINE | re.IGNORECASE):
        yield "no section says what differs"
    if not re.search(r"\{download\}`[^`]*results/figures/\w+\.csv", text):
        yield "no CSV to download"
    if "provenance" not in "".join(source(cell) for cell in code_cells(notebook)):
        yield "no provenance footer"


def has_one_cell_of_documented_literal_parameters(notebook: dict) -> Iterator[str]:
    cells = [cell for cell in code_cells(notebook) if "parameters" in tags(cell)]
    if len(cells) != 1:
        yield f"{len(cells)} cells are tagged parameters"
        return
    for node in ast.parse(source(cells[0])).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if name not in DOCUMENTED:
                    yield f"parameter {name} is not a documented name"
                try:
                    ast.literal_eval(value)
                except ValueError:
                    yield f"parameter {name} is no literal"
            case _:
                yield f"line {node.lineno} of the parameters cell is no assignment"


def was_executed_from_top_to_bottom(notebook: dict) -> Iterator[str]:
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}: run `python -m randprune_core book --refresh`"


def stores_no_error_and_nothing_on_stderr(notebook: dict) -> Iterator[str]:
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                yield f"{output['ename']} in the outputs of: {source(cell)[:60]}"
            if output.get("name") == "stderr":
                yield f"stderr in the outputs of: {source(cell)[:60]}"


def stores_nothing_that_depends_on_the_machine(notebook: dict) -> Iterator[str]:
    for cell in code_cells(notebook):
        if notebooks.VOLATILE_TAG in tags(cell):
            continue
        for text in texts(cell):
            for rule in (FOREIGN_PATH, ADDRESS, CLOCK, SPEED):
                if found := rule.search(text):
                    yield f"{found[0].strip()!r} in the outputs of: {source(cell)[:60]}"
    if notebooks.normalise(copy.deepcopy(notebook)) != notebook:
        yield "is not as `book --refresh` stores it (timestamps, random ids or kernel versions)"


def draws_labelled_captioned_described_figures(notebook: dict) -> Iterator[str]:
    figures = [cell for cell in code_cells(notebook) if draws(cell)]
    if not figures:
        yield "has no figure"
    for cell in figures:
        mystnb = cell["metadata"].get("mystnb", {})
        figure, image = mystnb.get("figure", {}), mystnb.get("image", {})
        if not re.fullmatch(r"fig-[a-z0-9-]+", figure.get("name", "")):
            yield f"figure without a name fig-...: {source(cell)[:60]}"
        if len(figure.get("caption", "")) < 20:
            yield f"figure without a caption: {source(cell)[:60]}"
        if len(image.get("alt", "")) < 20:
            yield f"figure without an alternative text: {source(cell)[:60]}"
        if image.get("alt") == figure.get("caption"):
            yield f"alternative text repeats the caption: {source(cell)[:60]}"
        media = {media for output in cell["outputs"] for media in output.get("data", {})}
        if media & (FIGURE_MEDIA - {"image/png"}):
            yield f"a picture that is not PNG: {source(cell)[:60]}"
        if not any(text.strip() and "<Figure" not in text for text in texts(cell)):
            yield f"figure without the plotted numbers or their digest: {source(cell)[:60]}"


def answers_before_it_shows(notebook: dict) -> Iterator[str]:
    """The answer comes before all figures and tables, and the first figure right after it."""
    shown = [cell for cell in notebook["cells"] if not {"footer", "parameters"} & {*tags(cell)}]
    shown = [cell for cell in shown if cell["cell_type"] == "markdown" or cell["outputs"]]
    shown = [cell for cell in shown if "answer" in tags(cell) or not only_counts(cell)]
    if "answer" not in tags(shown[1]):
        yield "the second cell that is seen is not the answer"
    elif any(map(draws, code_cells(notebook))) and not (
        shown[2]["cell_type"] == "code" and draws(shown[2])
    ):
        yield "the answer is not followed by a figure"


def only_counts(cell: dict) -> bool:
    """Whether a code cell prints lines that the page leaves out, and no more."""
    return cell["cell_type"] == "code" and all(
        output["output_type"] == "stream" for output in cell["outputs"]
    )


def leaves_training_to_the_core(notebook: dict) -> Iterator[str]:
    for cell in code_cells(notebook):
        magic = [line for line in source(cell).splitlines() if re.match(r"\s*[!%]", line)]
        if magic:
            yield f"shell or magic command: {magic[0]}"
            continue
        for node in ast.walk(ast.parse(source(cell))):
            name = getattr(node, "attr", getattr(node, "id", ""))
            if name in TRAINING:
                yield f"{name} is part of a training loop"
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and (FOREIGN_PATH.search(text) or "../" in text):
                yield f"a path of its own: {text}"


def ends_no_cell_with_a_semicolon(notebook: dict) -> Iterator[str]:
    for cell in code_cells(notebook):
        if source(cell).rstrip().endswith(";"):
            yield f"nbval cannot check a cell that ends with a semicolon: {source(cell)[:60]}"


def shows_what_it_says(notebook: dict) -> Iterator[str]:
    """A sentence is shown where `page.say` is the last thing of its cell, and in no branch."""
    for cell in code_cells(notebook):
        last = source(cell)[source(cell).rfind("\npage.say(") + 1 :]
        if "page.say(" in source(cell) and not (last.startswith("page.say(") and cell["outputs"]):
            yield f"a sentence is said and not shown: {source(cell)[:60]}"


RULES: list[Callable[[dict], Iterator[str]]] = [
    starts_with_label_and_title,
    cites_the_paper_and_says_what_differs,
    has_one_cell_of_documented_literal_parameters,
    was_executed_from_top_to_bottom,
    stores_no_error_and_nothing_on_stderr,
    stores_nothing_that_depends_on_the_machine,
    draws_labelled_captioned_described_figures,
    answers_before_it_shows,
    leaves_training_to_the_core,
    ends_no_cell_with_a_semicolon,
    shows_what_it_says,
]


# ---------------------------------------------------------------- the chapters


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", notebooks.chapters())
def test_chapter(name, rule):
    assert list(rule(notebooks.read_notebook(notebooks.chapter(name)))) == []


def test_there_are_chapters_to_check():
    assert {"07_layerwise_ratios", "01_depth"} <= set(notebooks.chapters())


def test_labels_and_figure_names_are_unique_in_the_book():
    names = Counter()
    for path in notebooks.chapters().values():
        notebook = notebooks.read_notebook(path)
        names.update(re.findall(r"^\(([\w-]+)\)=", prose(notebook), re.MULTILINE))
        names.update(re.findall(r"^:(?:name|label): (\S+)", prose(notebook), re.MULTILINE))
        for cell in code_cells(notebook):
            if name := cell["metadata"].get("mystnb", {}).get("figure", {}).get("name"):
                names[name] += 1
    assert names
    assert [name for name, count in names.items() if count > 1] == []


def test_every_downloadable_csv_is_committed_with_results():
    wanted = set()
    for path in notebooks.chapters().values():
        text = prose(notebooks.read_notebook(path))
        wanted.update(re.findall(r"results/figures/(\w+\.csv)", text))
    assert wanted
    assert [
        name for name in sorted(wanted) if not (paths.ROOT / "results/figures" / name).exists()
    ] == []


# ---------------------------------------------------------------- the rules can fail


def good() -> dict:
    """A notebook that keeps every rule."""
    figure = {"name": "fig-line", "caption": "Accuracy against sparsity, one line a network."}
    mystnb = {"figure": figure, "image": {"alt": "A line that falls from left to right, slowly."}}
    picture = {"image/png": "aGk=", "text/plain": "<Figure size 640x480 with 1 Axes>"}
    cells = [
        markdown("(chapter-line)=\n# A line\n\nThey claim {cite}`liu2022unreasonable`."),
        cell('profile = "auto"\nseeds = [0, -1]', tags=["parameters"]),
        cell("import time\nprint(time.time())", "12:00:01", tags=["nbval-ignore-output"]),
        cell("page.say(*answer)", picture={"text/markdown": "So it is."}, tags=["answer"]),
        cell("plot()", "0.9 0.8", picture=picture, mystnb=mystnb),
        markdown("## What differs\n\n{download}`numbers </results/figures/line.csv>`"),
        cell("plots.provenance(runs)", "commit 0123abc, 12 s, n = 3"),
    ]
    for number, each in enumerate((c for c in cells if c["cell_type"] == "code"), start=1):
        each["execution_count"] = number
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return notebooks.normalise(json.loads(json.dumps(notebook)))


def markdown(text: str) -> dict:
    return {"cell_type": "markdown", "id": text[:8].strip(), "metadata": {}, "source": [text]}


def cell(text: str, printed: str = "", picture: dict | None = None, **metadata) -> dict:
    outputs = []
    if printed:
        outputs.append({"output_type": "stream", "name": "stdout", "text": [printed]})
    if picture:
        outputs.append({"output_type": "display_data", "data": picture, "metadata": {}})
    return {"cell_type": "code", "metadata": metadata, "outputs": outputs, "source": [text]}


BREAKAGES = {
    "no label": lambda nb: nb["cells"][0]["source"].insert(0, "Hello.\n\n"),
    "two titles": lambda nb: nb["cells"][5]["source"].insert(0, "# Another\n\n"),
    "no citation": lambda nb: nb["cells"][0].update(source=["(chapter-line)=\n# A line"]),
    "nothing differs": lambda nb: nb["cells"][5].update(source=["results/figures/line.csv"]),
    "no provenance": lambda nb: nb["cells"][6].update(source=["footer(runs)"]),
    "no parameters": lambda nb: nb["cells"][1]["metadata"].clear(),
    "unknown parameter": lambda nb: nb["cells"][1].update(source=["seed = 0"]),
    "computed parameter": lambda nb: nb["cells"][1].update(source=["seeds = range(3)"]),
    "import in parameters": lambda nb: nb["cells"][1].update(source=["import torch"]),
    "not executed": lambda nb: nb["cells"][4].update(execution_count=None),
    "error": lambda nb: nb["cells"][4]["outputs"].append(
        {"output_type": "error", "ename": "KeyError", "evalue": "", "traceback": []}
    ),
    "stderr": lambda nb: nb["cells"][6]["outputs"][0].update(name="stderr"),
    "path": lambda nb: nb["cells"][6]["outputs"][0].update(text=["read /home/a/b"]),
    "address": lambda nb: nb["cells"][6]["outputs"][0].update(text=["<A at 0x7f00aa00>"]),
    "time of day": lambda nb: nb["cells"][2]["metadata"].clear(),
    "timestamps": lambda nb: nb["cells"][4]["metadata"].update(execution={"iopub": "now"}),
    "kernel version": lambda nb: nb["metadata"]["language_info"].update(version="3.11.7"),
    "no figure": lambda nb: nb["cells"][4].update(outputs=[]),
    "no name": lambda nb: nb["cells"][4]["metadata"]["mystnb"]["figure"].pop("name"),
    "no caption": lambda nb: nb["cells"][4]["metadata"]["mystnb"]["figure"].pop("caption"),
    "no alt": lambda nb: nb["cells"][4]["metadata"]["mystnb"].pop("image"),
    "svg": lambda nb: nb["cells"][4]["outputs"][1]["data"].update({"image/svg+xml": "<svg/>"}),
    "numbers not printed": lambda nb: nb["cells"][4]["outputs"].pop(0),
    "training loop": lambda nb: nb["cells"][4].update(source=["loss.backward()"]),
    "shell": lambda nb: nb["cells"][4].update(source=["!pip install torch"]),
    "own path": lambda nb: nb["cells"][4].update(source=["open('../results/runs')"]),
    "no answer": lambda nb: nb["cells"][3]["metadata"].clear(),
    "words first": lambda nb: nb["cells"].insert(4, markdown("Before the figure, something.")),
    "said in a branch": lambda nb: nb["cells"][3].update(
        source=["if answer:\n    page.say(*answer)"]
    ),
    "said and not shown": lambda nb: nb["cells"][2].update(
        source=["page.say(*answer)"], outputs=[]
    ),
    "semicolon": lambda nb: nb["cells"][4].update(source=["plot();"]),
}


def test_notebook_that_keeps_every_rule_passes():
    assert [problem for rule in RULES for problem in rule(good())] == []


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES)
def test_broken_notebook_is_reported_by_one_rule(breakage):
    notebook = good()
    breakage(notebook)
    assert len([rule for rule in RULES if list(rule(notebook))]) == 1
