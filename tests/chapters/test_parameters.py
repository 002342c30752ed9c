"""A parameter of a wrong kind is refused in one line with the form to write, in every chapter.

papermill's command line gives what it cannot read as a string. So the check is in the functions
that the first cells of a chapter call, which are run here as they stand in the notebook.
"""

import json

import numpy as np
import pytest

from randprune_core.bookmaking import notebooks
from randprune_core.chapters.shared.records import PARAMETERS, as_list
from randprune_core.sweeps import run, sweep

CHAPTERS = sorted(notebooks.chapters())
NO_NAMES = [0, 1.5, True, False, ["a", 1], [None], {}, {"a": 1}, {"resnet-8"}, b"resnet-8", ""]
NO_NAMES += ["none", "None", "true", "[resnet-8]", "resnet-8,resnet-14", "['erk']", "erk uniform"]
NO_NUMBERS = ["0", "0.5", "[0.5]", "0.5, 0.9", "none", "false", "", True, [0, True], [None], ["0"]]
NO_NUMBERS += [{0: 1}, {0}, b"0", -1, float("nan"), float("inf"), 1j, np.array([True]), [[0]]]
WRONG = {
    "profile": [None, 0, 1.5, True, ["quick"], {"quick": 1}, "", "none", "[quick]", "no-profile"],
    "models": NO_NAMES,
    "ratios": NO_NAMES,
    "sparsities": [*NO_NUMBERS, 1, 1.0, [0.5, 1.0]],
    "seeds": [*NO_NUMBERS, 0.0, 0.5, [0, 1.0], 2**32],
    "train_missing": [
        *("false", "False", "true", "no", "none", "None", "0", "", 0, 1, 0.0, [], [False], {}),
        np.False_,
    ],
    "device": [None, 0, True, ["cpu"], "", "none", "gpu", "cuda:x", "CPU", {"cpu": 1}],
}
RIGHT = {
    "profile": ["auto", "quick", "cpu"],
    "models": [None, "resnet-8", ["resnet-8"], ("resnet-8", "resnet-14"), np.array(["resnet-8"])],
    "ratios": [None, "erk", ["erk"], ["dense", "uniform"]],
    "sparsities": [None, 0.5, [0.5], (0.5, 0.9), np.array([0.5, 0.9])],
    "seeds": [None, 0, [0], range(2), np.arange(2), np.int64(1)],
    "train_missing": [None, False],
    "device": ["auto", "cpu"],
}


class Trained(Exception):
    """Something was trained, or is about to be."""


def begin(name: str, **parameters) -> dict:
    """Run the cells of a chapter with these parameters, to the end of the first after them."""
    cells = notebooks.read_notebook(notebooks.chapter(name))["cells"]
    sources = [("".join(c["source"]), c["metadata"]) for c in cells if c["cell_type"] == "code"]
    place = next(i for i, (_, about) in enumerate(sources) if "parameters" in about.get("tags", ()))
    scope = {}
    for source, _ in sources[: place + 1]:
        exec(source, scope)
    scope |= parameters
    exec("\n".join(sources[place + 1][0].splitlines()), scope)
    return scope


def parameters_of(name: str) -> list[str]:
    return list(notebooks.default_parameters(notebooks.chapter(name)))


@pytest.fixture(autouse=True)
def nothing_is_trained(store, monkeypatch):
    def refuse(*_, **__):
        raise Trained

    monkeypatch.setattr(run, "train_and_store", refuse)
    monkeypatch.setattr(sweep, "sweep", refuse)
    monkeypatch.setattr("randprune_core.training.train.train", refuse)


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_has_the_parameters_that_are_checked(name):
    expected = PARAMETERS[-1:] if name == "14_speed" else PARAMETERS
    assert tuple(parameters_of(name)) == expected


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_value_of_a_wrong_kind_is_refused_with_the_form_to_write(name):
    for parameter in parameters_of(name):
        for value in WRONG[parameter]:
            with pytest.raises(ValueError) as refused:
                begin(name, **{parameter: value})
            message = str(refused.value)
            assert parameter in message and len(message.splitlines()) == 1, (parameter, value)
            assert any(word in message for word in ("write", "known are", "choose")), message
            assert len(message) < 300, message


@pytest.mark.parametrize("name", CHAPTERS)
def test_values_of_a_right_kind_are_taken(name):
    for parameter in parameters_of(name):
        for value in RIGHT[parameter]:
            usual = {} if name == "14_speed" else {"profile": "cpu", "train_missing": False}
            try:
                begin(name, **usual | {parameter: value})
            except Trained:  # chapter 12 trains small networks on made pictures
                assert name == "12_imagenet" or usual.get(parameter, 0) is not value


def test_sparsities_of_numpy_are_those_that_one_types():
    assert as_list("sparsities", np.array([0.5, 0.9], np.float32)) == [0.5, 0.9]
    assert [type(seed) for seed in as_list("seeds", np.arange(2))] == [int, int]


@pytest.mark.parametrize("value", ["false", "0", 0, "none"])
def test_no_string_and_no_number_trains(value):
    """They are no False, which is what chapter 05 compares with, nor what trains."""
    for name in CHAPTERS:
        if "train_missing" in parameters_of(name):
            with pytest.raises(ValueError, match="train_missing is .* write True, False or None"):
                begin(name, profile="quick", train_missing=value)


def test_a_list_in_a_string_is_answered_with_the_form_of_papermill():
    with pytest.raises(ValueError, match="-y 'seeds: ") as refused:
        begin("01_depth", seeds=json.dumps([0, 1]))
    assert "seeds is '[0, 1]'" in str(refused.value)
