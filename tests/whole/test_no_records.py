"""Every chapter on a store where nothing is recorded, as in a study of one's own."""

import pytest
from conftest import files_under, outputs_of

from randprune_core.bookmaking import build, notebooks

pytestmark = pytest.mark.slow
CHAPTERS = notebooks.chapters()


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_is_executed_to_its_end(store, request, name):
    if name == "07_layerwise_ratios":  # it measures masks on images
        request.getfixturevalue("real_data")
    asked = notebooks.default_parameters(notebooks.chapter(name)).keys() & {"profile"}
    made = build.run_notebook(name, dict.fromkeys(asked, "cpu"))
    outputs = outputs_of(made)
    assert outputs and not [out for out in outputs if out.get("name") == "stderr"]
    assert not [path for path in files_under(store) if path.startswith("runs/")]
