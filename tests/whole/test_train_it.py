"""The page on which a reader trains: its network against PyTorch, and the page in a browser."""

import os
import time

import numpy as np
import pytest
import torch
from pages import centre, words
from torch import nn
from whole.test_book_in_browser import inaccessible, overflow

from randprune_core import paths
from randprune_core.bookmaking import train_it
from randprune_core.pruning.ratios import SHAPE_RATIOS, kept_counts

WIDTHS = (16, 32, 64, 128, 256, 512)
PAIR = {"width": 64, "sparsity": 0.9, "ratio": "erk", "seed": 3}

# ---------------------------------------------------------------- the network


@pytest.fixture(scope="module")
def network(browser):
    """A blank page with the network, its data, and functions that show a layer as a matrix."""
    page = browser.new_page()
    page.add_script_tag(content=train_it.script())
    page.add_script_tag(path=paths.BOOK / "_static" / "train_it_worker.js")
    page.add_script_tag(
        content="""
        const network = perceptron();
        const data = {
          images: Uint8Array.from(atob(TRAIN_IT.images), (letter) => letter.charCodeAt(0)),
          labels: Uint8Array.from(TRAIN_IT.labels, Number),
          test: TRAIN_IT.test,
        };
        function built(pair, sparsity) {
          const sizes = network.shapes(pair.width);
          return network.build(sizes, network.keptCounts(sizes, sparsity, pair.ratio), pair.seed);
        }
        function matrices(layers, key) {  // NaN where no weight is stored
          return layers.map(({ outputs, inputs, starts, from, [key]: values }) =>
            Array.from({ length: outputs }, (_, output) => {
              const row = Array(inputs).fill(NaN);
              for (let k = starts[output]; k < starts[output + 1]; k += 1) row[from[k]] = values[k];
              return row;
            }));
        }
        """
    )
    yield page
    page.close()


class Perceptron(nn.Module):
    """The same network in PyTorch, from matrices that have NaN where a weight is pruned."""

    def __init__(self, matrices):
        super().__init__()
        self.hidden, self.output = (nn.Linear(len(rows[0]), len(rows)) for rows in matrices)
        self.masks = [~torch.tensor(rows).isnan() for rows in matrices]
        with torch.no_grad():
            for layer, rows in zip((self.hidden, self.output), matrices, strict=True):
                layer.weight.copy_(torch.tensor(rows).nan_to_num(0.0))
                layer.bias.zero_()

    def forward(self, images):
        return self.output(self.hidden(images).relu())

    def loss_backward(self, images, labels):
        """Gradients of one batch, zero where a weight is pruned."""
        self.zero_grad()
        nn.functional.cross_entropy(self(images), labels).backward()
        for layer, mask in zip((self.hidden, self.output), self.masks, strict=True):
            layer.weight.grad.mul_(mask)


def digits():
    from sklearn.datasets import load_digits

    found = load_digits()
    images = torch.tensor(found.images.reshape(-1, 64) / 16, dtype=torch.float32)
    return images, torch.tensor(found.target)


@pytest.mark.parametrize("ratio", ["uniform", "erk"])
@pytest.mark.parametrize("sparsity", [0.0, 0.2, 0.5, 0.8, 0.9, 0.95])
def test_layers_keep_as_many_weights_as_in_the_library(network, ratio, sparsity):
    for width in (1, 7, *WIDTHS):
        shapes = {"hidden.weight": (width, 64), "output.weight": (10, width)}
        expected = kept_counts(shapes, SHAPE_RATIOS[ratio](shapes, sparsity))
        call = "([width, ...rest]) => network.keptCounts(network.shapes(width), ...rest)"
        assert network.evaluate(call, [width, sparsity, ratio]) == [*expected.values()]


def test_twins_share_the_weights_that_stay(network):
    call = "([pair, sparsity]) => matrices(built(pair, sparsity), 'weight')"
    dense = [np.array(rows) for rows in network.evaluate(call, [PAIR, 0])]
    pruned = [np.array(rows) for rows in network.evaluate(call, [PAIR, 0.9])]
    for whole, part in zip(dense, pruned, strict=True):
        stay = ~np.isnan(part)
        assert not np.isnan(whole).any() and 0 < stay.mean() < 0.5
        assert (whole[stay] == part[stay]).all()
        assert whole.std() == pytest.approx((2 / whole.shape[1]) ** 0.5, rel=0.1)
        rows = stay.mean(1)  # a mask of random places favours no output
        assert abs(rows - stay.mean()).max() < 5 * (stay.mean() / stay.shape[1]) ** 0.5


@pytest.mark.parametrize("sparsity", [0, 0.9])
def test_gradients_are_those_of_pytorch_before_and_after_a_step(network, sparsity):
    first, *gradients = network.evaluate(
        """([pair, sparsity]) => {
          const layers = built(pair, sparsity);
          const found = [matrices(layers, "weight")];
          const order = Uint32Array.from({ length: 93 }, (_, place) => place);
          for (const start of [0, 64]) {  // a whole batch, then one of 29 images
            const batch = new Float32Array(network.SIDE * network.SCHEDULE.batch);
            const count = network.gather(data, order, start, batch);
            network.gradients(layers, batch, data.labels.subarray(start, start + count), count);
            found.push([...matrices(layers, "gradient"),
              ...layers.map((layer) => [...layer.biasGradient])]);
            network.update(layers, 0.3);
          }
          return found;
        }""",
        [PAIR, sparsity],
    )
    model = Perceptron(first)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    images, labels = digits()
    for batch, found in zip((slice(0, 64), slice(64, 93)), gradients, strict=True):
        model.loss_backward(images[batch], labels[batch])
        layers = (model.hidden, model.output)
        expected = [layer.weight.grad for layer in layers] + [layer.bias.grad for layer in layers]
        for ours, theirs in zip(found, expected, strict=True):
            ours = torch.tensor(ours).nan_to_num(0.0)
            assert theirs.abs().max() > 1e-3
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        optimizer.step()


def test_accuracy_is_that_of_pytorch_within_two_points(network):
    twins, orders, last = network.evaluate(
        """(pair) => {
          const twins = [0, pair.sparsity].map((s) => matrices(built(pair, s), "weight"));
          const random = network.generator(pair.seed, "order");
          const orders = Array.from({ length: network.SCHEDULE.epochs }, () =>
            [...network.shuffled(data.labels.length - data.test, random)]);
          return [twins, orders, [...network.trainTwins(data, pair)].pop()];
        }""",
        PAIR,
    )
    images, labels = digits()
    assert sorted(orders[0]) == [*range(1_437)]
    for name, matrices in zip(("dense", "pruned"), twins, strict=True):
        model = Perceptron(matrices)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
        for epoch, order in enumerate(orders):
            optimizer.param_groups[0]["lr"] = 0.3 * (1 - epoch / len(orders))
            for batch in torch.tensor(order).split(64):
                model.loss_backward(images[batch], labels[batch])
                optimizer.step()
        with torch.no_grad():
            accuracy = (model(images[1_437:]).argmax(1) == labels[1_437:]).double().mean().item()
        assert abs(accuracy - last[name]) < 0.02
        assert accuracy > 0.7


def test_same_seed_gives_the_same_result_and_another_seed_another(network):
    train = "(pair) => [...network.trainTwins(data, pair)]"
    small = PAIR | {"width": 16}
    first = network.evaluate(train, small)
    assert len(first) == 30
    assert network.evaluate(train, small) == first
    assert network.evaluate(train, small | {"seed": 4}) != first


@pytest.mark.slow
def test_gap_shrinks_with_width_over_five_seeds(network):
    def gaps(width: int) -> list[float]:
        found = []
        for seed in range(5):
            pair = PAIR | {"width": width, "seed": seed}
            last = network.evaluate("(pair) => [...network.trainTwins(data, pair)].pop()", pair)
            found.append(100 * (last["dense"] - last["pruned"]))
        print(f"width {width}: {np.mean(found):.1f} points, {np.round(found, 1)}")
        return found

    narrow, wide = gaps(16), gaps(512)
    assert min(narrow) > max(wide)
    assert np.mean(wide) < 5


# ---------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def address(html) -> str:
    """The built page, as a file."""
    return (html / "book/train_it.html").as_uri()


@pytest.fixture
def tab(browser, address):
    """The page with `workers`, all that it starts; it must not complain.

    What workers say waits while the page's `held` is a list.
    """
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    complaints = []
    page.on(
        "console",
        lambda note: complaints.append(note.text) if note.type in ("warning", "error") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.clock.install()
    page.add_init_script(
        """window.workers = [];
        window.held = null;
        window.Worker = class extends Worker {
          constructor(...options) { super(...options); workers.push(this); this.live = true; }
          terminate() { super.terminate(); this.live = false; }
          set onmessage(hear) {
            super.onmessage = (said) => (held ? held.push(() => hear(said)) : hear(said));
          }
        };"""
    )
    page.goto(address)
    yield page
    page.close()
    assert complaints == []


def choose(tab, **values) -> None:
    for name, value in values.items():
        if name == "seed":
            tab.get_by_label("Seed", exact=True).fill(str(value))
        else:
            tab.locator(f"#train-it-{name}").select_option(str(value))


def button(tab, name: str):
    return tab.get_by_role("button", name=name, exact=True)


def rows(tab, count: int) -> list[list[str]]:
    """The table of finished pairs, once it has `count` rows."""
    tab.wait_for_function(
        "(n) => document.querySelectorAll('#train-it-root tbody tr').length === n", arg=count
    )
    found = tab.locator("#train-it-root tbody tr").all()
    return [row.locator("th, td").all_inner_texts() for row in found]


def status(tab) -> str:
    return tab.get_by_role("status").inner_text()


def started(tab) -> list[bool]:
    """For each worker so far, whether it still runs."""
    return tab.evaluate("workers.map((worker) => worker.live)")


def test_pair_is_trained_with_the_keyboard_and_is_that_of_the_network(tab, network):
    tab.get_by_label("Width (hidden units)").focus()
    tab.keyboard.press("ArrowDown")
    for _ in range(3):
        tab.keyboard.press("Tab")
    tab.keyboard.type("3")  # replaces the 0, which is selected
    tab.keyboard.press("Enter")
    (row,) = rows(tab, 1)
    pair = PAIR | {"width": 32}
    last = network.evaluate("(pair) => [...network.trainTwins(data, pair)].pop()", pair)
    dense, pruned = 100 * last["dense"], 100 * last["pruned"]
    expected = ["32", "ERK", "3", f"{dense - pruned:.1f}", f"{dense:.1f}", f"{pruned:.1f}", "0.9"]
    assert row == expected
    assert f"gap {row[3]} points" in status(tab)
    about = tab.locator("#train-it-gaps-about").text_content()
    assert f"{row[3]} at width 32 (one seed)" in about
    choose(tab, sparsity=0.5)
    assert "No pair of sparsity 0.5" in tab.locator("#train-it-gaps-about").text_content()


def test_axes_say_that_they_are_empty_and_then_have_a_key_above_them(tab):
    empty = tab.locator("#train-it-root svg .nothing")
    assert empty.all_text_contents() == ["no epoch is finished yet", "no pair is finished yet"]
    button(tab, "Train").click()
    rows(tab, 1)
    assert empty.count() == 0
    frames = [frame.bounding_box()["y"] for frame in tab.locator("#train-it-root .frame").all()]
    for label, frame in (("dense", frames[0]), ("pruned, ERK", frames[0]), ("ERK", frames[1])):
        key = tab.locator("#train-it-root svg text").get_by_text(label, exact=True).bounding_box()
        assert key["y"] + key["height"] < frame


def test_point_says_its_pair_and_keeps_the_focus_while_another_trains(tab):
    choose(tab, seed=7)
    button(tab, "Train").click()
    gap = rows(tab, 1)[0][3]
    said = [f"Width 16, sparsity 0.9, ERK, seed 7: {gap} points"]
    points = tab.locator("svg[aria-describedby=train-it-gaps-about] [role=img]")
    tab.mouse.move(*centre(points))
    assert words(tab) == said
    tab.mouse.move(1, 1)
    assert words(tab) == []
    choose(tab, width=32)
    button(tab, "Train").click()
    points.first.focus()  # the other pair may be there by now
    rows(tab, 2)
    assert words(tab) == said
    tab.keyboard.press("End")
    assert words(tab)[0].startswith("Width 32, ")
    tab.keyboard.press("Escape")
    assert words(tab) == []


def test_second_click_trains_nothing_twice_and_other_pairs_wait(tab):
    tab.evaluate("held = []")  # the first pair is not finished before the second click
    choose(tab, width=128)
    button(tab, "Train").dblclick()
    assert started(tab) == [True]
    choose(tab, width=16, seeds=3)
    button(tab, "Train").click()
    assert started(tab) == [True]
    assert "3 pairs wait" in status(tab)
    tab.evaluate("() => { const said = held; held = null; said.forEach((word) => word()); }")
    assert [row[:3] for row in rows(tab, 4)] == [
        ["16", "ERK", "0"],
        ["16", "ERK", "1"],
        ["16", "ERK", "2"],
        ["128", "ERK", "0"],
    ]
    assert started(tab) == [False] * 4
    button(tab, "Train").click()
    assert "trained already" in status(tab)
    assert started(tab) == [False] * 4


def test_stop_ends_the_training_and_what_waits(tab):
    choose(tab, width=512, seeds=5)
    button(tab, "Train").click()
    tab.locator(".train-it-live", has_text="Epoch 1").wait_for()
    button(tab, "Stop").click()
    assert status(tab).startswith("Stopped")
    assert started(tab) == [False]
    choose(tab, width=16, seeds=1)
    button(tab, "Train").click()
    assert rows(tab, 1)[0][0] == "16"


def test_killed_worker_is_told_and_the_page_trains_on(tab):
    choose(tab, width=512)
    button(tab, "Train").click()
    tab.evaluate("Worker.prototype.__proto__.terminate.call(workers[0])")  # says nothing itself
    tab.clock.run_for(21_000)
    assert "has not answered for 20 seconds" in status(tab)
    assert "finished pairs are kept" in status(tab)
    choose(tab, width=16)
    button(tab, "Train").click()
    assert rows(tab, 1)[0][0] == "16"


def test_worker_that_cannot_start_or_fails_is_told_and_the_page_trains_on(tab):
    tab.evaluate(
        """() => {
          window.real = Worker;
          window.Worker = function () { throw new Error("no workers here"); };
        }"""
    )
    button(tab, "Train").click()
    assert "starts no training: no workers here" in status(tab)
    tab.evaluate(
        """() => {
          const text = "data:text/javascript,onmessage = () => { throw new Error('no memory'); }";
          window.Worker = class extends real { constructor() { super(text); } };
        }"""
    )
    button(tab, "Train").click()
    tab.get_by_role("status").get_by_text("no memory").wait_for()
    tab.evaluate("() => { window.Worker = real; }")
    button(tab, "Train").click()
    rows(tab, 1)


def test_wrong_seed_starts_nothing(tab):
    for wrong in ("-1", "0.5", ""):
        choose(tab, seed=wrong)
        button(tab, "Train").click()
        assert started(tab) == []


def test_page_with_results_fits_and_is_accessible(tab):
    choose(tab, seeds=3)
    button(tab, "Train").click()
    rows(tab, 3)
    small = (
        "[...document.querySelectorAll('#train-it-root :is(select, input, button)')]"
        ".map((node) => node.getBoundingClientRect())"
        ".filter(({ width, height }) => Math.min(width, height) < 40).length"
    )
    for width in (1400, 390):
        tab.set_viewport_size({"width": width, "height": 844})
        for mode in ("light", "dark"):
            tab.evaluate(f"Object.assign(document.documentElement.dataset, {{theme: '{mode}'}})")
            tab.clock.run_for(400)
            tab.wait_for_function(
                "document.querySelector('#train-it-root svg').clientWidth < innerWidth"
            )
            tab.evaluate("document.getAnimations().forEach((each) => each.finish())")
            assert [*overflow(tab), *inaccessible(tab)] == []
        assert tab.evaluate(small) == 0


@pytest.mark.slow
def test_first_result_comes_in_three_seconds_and_a_wide_pair_in_fifteen(browser, address):
    page = browser.new_page()
    start = time.monotonic()
    page.goto(address)
    choose(page, width=512)
    button(page, "Train").click()
    page.locator(".train-it-live", has_text="Epoch 1").wait_for()
    first = time.monotonic() - start
    rows(page, 1)
    whole = time.monotonic() - start
    page.close()
    load = os.getloadavg()[0] / os.cpu_count()
    print(f"load {load:.1f} a core: first accuracy after {first:.1f} s, all after {whole:.1f} s")
    busy = max(1, load)  # on a busy machine a core does less of this work
    assert first < 3 * busy
    assert whole < 15 * busy
