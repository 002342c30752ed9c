"""Registered names: what is refused, what their hash covers, and how another process knows them."""

import subprocess
import sys

import pytest

from randprune_core import datasets, models, paths, ratios, registry
from randprune_core.config import RunConfig, check_code, config_from_dict, config_to_dict, run_id

pytestmark = pytest.mark.usefixtures("registering")


def own_ratio(shapes, sparsity):
    return ratios.uniform(shapes, sparsity)


def own_model(num_classes):
    return None


def own_data():
    return None


KINDS = {
    "ratio": (ratios.register, ratios.unregister, own_ratio, "erk"),
    "model": (models.register, models.unregister, own_model, "resnet-20-16"),
    "dataset": (datasets.register, datasets.unregister, own_data, "cifar10"),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param, *KINDS[request.param]


def test_a_name_that_exists_is_refused_in_one_line(kind):
    name, register, unregister, function, built_in = kind
    with pytest.raises(ValueError, match=f"^{name} '{built_in}' is built in.*$"):
        register(built_in, function)
    register("mine", function)
    with pytest.raises(ValueError, match=rf"^{name} 'mine' is registered already.*unregister.*$"):
        register("mine", function)
    unregister("mine")
    register("mine", function)


@pytest.mark.parametrize("wrong", ["", "1st", "a b", "../up", "a/b", "<b>", ".hidden", "x" * 61, 3])
def test_what_cannot_be_a_folder_and_a_key_is_no_name(kind, wrong):
    with pytest.raises(ValueError, match="is no name"):
        kind[1](wrong, kind[3])
    with pytest.raises(ValueError, match="is not registered"):
        kind[2](wrong)


@pytest.mark.parametrize("wrong", [None, "erk", len, 3.0])
def test_what_is_no_function_of_the_users_is_refused(kind, wrong):
    with pytest.raises(ValueError, match="needs a function"):
        kind[1]("mine", wrong)


def test_code_without_a_source_is_refused():
    space = {"__name__": "nowhere"}
    exec("def made(shapes, sparsity): return {}", space)
    with pytest.raises(ValueError, match="source of made cannot be read"):
        ratios.register("mine", space["made"])


STUDY = """
import numpy as np
from helpers import scale

POWER = 2
TABLE = {}
TABLE["a"] = 1
TABLE.update(b=2)

def raised(x):
    return x ** POWER

def mine(shapes, sparsity):
    total = scale(raised(len(TABLE)))
    return {name: sparsity for name in shapes}

class Unused:
    pass

total = 3
print(total)
"""
HELPERS = "import deeper\ndef scale(x): return x\n"


def code_of(folder, text=STUDY, helpers=HELPERS, deeper="A = 1\n"):
    """The hash of `mine`, as a new process has it."""
    folder.mkdir(exist_ok=True)
    for name, content in (("study", text), ("helpers", helpers), ("deeper", deeper)):
        (folder / f"{name}.py").write_text(content)
    ask = (
        "import study; from randprune_core import registry as r; print(r.code_hash(study.mine, {}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=folder, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": f"{paths.ROOT}:{folder}", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "edit",
    [
        {"text": STUDY.replace("return {name: sparsity", "return {name: sparsity / 1")},
        {"text": STUDY.replace("POWER = 2", "POWER = 3")},
        {"text": STUDY.replace("x ** POWER", "x * POWER")},
        {"text": STUDY.replace('["a"] = 1', '["a"] = 2')},
        {"text": STUDY.replace("b=2", "b=3")},
        {"helpers": HELPERS.replace("return x", "return 2 * x")},
        {"deeper": "A = 2\n"},
    ],
)
def test_an_edit_of_what_the_function_uses_changes_the_hash(tmp_path, edit):
    assert code_of(tmp_path / "a") != code_of(tmp_path / "b", **edit)


def test_an_edit_of_what_it_does_not_use_changes_nothing(tmp_path):
    other = STUDY.replace("pass", "x = 1").replace("total = 3", "total = 4")
    assert code_of(tmp_path / "a") == code_of(tmp_path / "b", text="# moved\n" + other)


def test_in_a_notebook_the_cells_count_that_the_function_uses(tmp_path):
    from IPython.core.interactiveshell import InteractiveShell

    def hashed(*cells):
        shell = InteractiveShell()
        for cell in cells:
            shell.run_cell(cell).raise_error()
        return registry.code_hash(shell.user_ns["mine"], {})

    mine = "def mine(shapes, sparsity):\n    return helper(shapes, POWER)"
    first = hashed("POWER = 2", "def helper(a, b): return a", mine)
    assert first == hashed("POWER = 2", "def helper(a, b): return a", mine)
    assert first != hashed("POWER = 3", "def helper(a, b): return a", mine)
    assert first != hashed("POWER = 2", "def helper(a, b): return b", mine)
    assert first == hashed("POWER = 2", "i = 5", "def helper(a, b): return a", mine)
    InteractiveShell.clear_instance()


def test_a_run_of_edited_code_is_another_run_and_one_of_other_code_is_not_trained():
    ratios.register("mine", own_ratio)
    config = RunConfig(dataset="digits", ratio="mine", sparsity=0.5)
    assert len(config.code) == 12
    ratios.unregister("mine")
    ratios.register("mine", lambda shapes, sparsity: dict.fromkeys(shapes, sparsity))
    edited = RunConfig(dataset="digits", ratio="mine", sparsity=0.5)
    assert run_id(edited) != run_id(config)
    check_code(edited)
    with pytest.raises(ValueError, match="other code of ratio 'mine'"):
        check_code(config)


@pytest.mark.parametrize("forgotten", [True, False])
def test_the_config_of_a_record_is_read_whether_or_not_its_names_are_known(forgotten):
    ratios.register("mine", own_ratio)
    models.register("net", own_model)
    config = RunConfig(dataset="digits", model="net", ratio="mine", sparsity=0.5, seed_init=3)
    values = config_to_dict(config)
    if forgotten:
        ratios.unregister("mine")
        models.unregister("net")
        with pytest.raises(ValueError, match="'net' is not known|unknown model 'net'|'mine'"):
            RunConfig(**values)
    assert config_from_dict(values) == config and run_id(config_from_dict(values)) == run_id(config)


@pytest.mark.parametrize(
    "change",
    [
        {"code": "0" * 12, "ratio": "erk"},  # nothing registered is used
        {"code": ""},
        {"code": "x" * 12},
        {"ratio": "<script>"},
        {"ratio": "a b"},
        {"dataset": "../up"},
        {"dataset": "own", "image_size": None},
    ],
)
def test_a_record_with_a_name_or_code_that_cannot_be_is_refused(change):
    ratios.register("mine", own_ratio)
    values = config_to_dict(RunConfig(dataset="digits", ratio="mine", sparsity=0.5))
    ratios.unregister("mine")
    with pytest.raises(ValueError):
        config_from_dict(values | change)


def test_what_uses_nothing_registered_has_no_code_in_its_record():
    ratios.register("mine", own_ratio)
    assert "code" not in config_to_dict(RunConfig()) and RunConfig(code="0" * 12).code == ""
    with pytest.raises(ValueError, match="code 'abc' is no hash"):
        RunConfig(code="abc")


def test_a_file_that_cannot_run_is_named_and_registers_nothing(tmp_path):
    cases = {
        "broken.py": "def (",
        "raising.py": "from randprune_core import ratios\n"
        "def f(a, b): return a\nratios.register('mine', f)\n1 / 0",
        "leaving.py": "import sys; sys.exit(3)",
    }
    for name, text in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"cannot import .*{name}: ") as caught:
            registry.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert registry.names("ratio") == ()
    for name in ("absent.py", "notes.txt"):
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(ValueError, match="cannot import"):
            registry.load(tmp_path / name)


def test_another_process_knows_what_was_packed_without_the_files(tmp_path):
    study = tmp_path / "packed_study.py"
    study.write_text(
        "from randprune_core import models, ratios\nfrom torch import nn\nLAYERS = 2\n"
        "def even(shapes, sparsity): return ratios.uniform(shapes, sparsity)\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n        self.linear = nn.Linear(LAYERS, classes)\n"
        "ratios.register('even', even)\nmodels.register('net', Net)\n"
    )
    registry.load(study)
    content, codes = registry.packed(), [entry.code for entry in registry._ENTRIES.values()]
    study.unlink()
    ask = (
        "import sys; from randprune_core import registry as r, ratios, build_model\n"
        "r.unpack(sys.stdin.buffer.read())\n"
        "print([e.code for e in r._ENTRIES.values()] == "
        f"{codes}, build_model('net', 3).linear, ratios.shape_ratio('even')({{'a': (4, 4)}}, 0.5))"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask], input=content, capture_output=True, check=True, cwd=tmp_path,
        env={"PYTHONPATH": str(paths.ROOT)},
    )  # fmt: skip
    linear = "Linear(in_features=2, out_features=3, bias=True)"
    assert done.stdout.decode().strip() == f"True {linear} {{'a': 0.5}}"
