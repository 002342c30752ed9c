"""The loop shows a bar on request only."""

from conftest import tiny

from randprune_core.training import loop
from randprune_core.training.train import train


def test_a_bar_is_shown_on_request_only(unmeasured, capsys, monkeypatch):
    shown = []
    real = loop.tqdm

    def spy(**options):
        shown.append(options["disable"])
        return real(**options)

    monkeypatch.setattr(loop, "tqdm", spy)
    train(tiny(epochs=1, train_images=50), "cpu", progress=True)
    train(tiny(epochs=1, train_images=50), "cpu")
    assert shown == [None, True]
    assert capsys.readouterr() == ("", "")  # no terminal here, so no bar at all
