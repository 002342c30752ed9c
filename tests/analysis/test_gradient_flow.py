import math

import numpy as np
import pytest
from made_up_runs import EPOCHS, curve, falls_then_flat, rises_falls_flat

from randprune_core.analysis.gradient_flow import (
    dip,
    find_flat_phase,
    first_stage,
    highest_epoch,
    highest_slice,
    mean_until,
    moving_median,
    peak_until,
)


def test_constant_curve_is_flat_from_the_start():
    phase = find_flat_phase(EPOCHS, [2.0] * len(EPOCHS), 8)
    assert phase == (0.0, 2.0)
    assert math.isnan(mean_until(EPOCHS, [2.0] * len(EPOCHS), 0.0))


@pytest.mark.parametrize("shape", [lambda t: 4 - 0.4 * t, lambda t: 3 * 0.7**t, lambda t: 1 + t])
def test_curve_that_goes_on_falling_or_rising_is_never_flat(shape):
    assert find_flat_phase(EPOCHS, curve(shape), 8) is None


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize(("shape", "start"), [(falls_then_flat, 0.95), (rises_falls_flat, 1.9)])
def test_flat_phase_begins_where_the_curve_reaches_its_level(shape, start, noise):
    phase = find_flat_phase(EPOCHS, curve(shape, noise), 8)
    assert phase.start == pytest.approx(start, abs=0.25)
    assert phase.level == pytest.approx(1, abs=0.05)


def test_hump_before_the_flat_phase_is_not_taken_for_it_though_it_crosses_the_level_twice():
    phase = find_flat_phase(EPOCHS, curve(rises_falls_flat), 8)
    assert phase.start > 1.5
    assert peak_until(EPOCHS, curve(rises_falls_flat), 8, phase.start) > 2


def test_highest_epoch_is_a_mean_of_ten_slices_and_highest_slice_one_of_them():
    norms = [1.0] * len(EPOCHS)
    norms[3], norms[12] = 6.0, 3.0  # slices of the first and of the second epoch
    assert highest_epoch(EPOCHS, norms, 8, 2.0) == pytest.approx(1.5)
    assert highest_slice(EPOCHS, norms, 8, 2.0) == 6.0


def test_flat_at_once_the_first_epoch_is_the_highest():
    norms = [1.0] * 10 + [2.0] * (len(EPOCHS) - 10)
    assert highest_epoch(EPOCHS, norms, 8, 0.0) == highest_slice(EPOCHS, norms, 8, 0.0) == 1.0
    assert highest_epoch(EPOCHS, norms, 8, 1.1) == highest_slice(EPOCHS, norms, 8, 1.1) == 2.0


def test_highest_epoch_of_a_level_curve_is_hardly_above_it_and_its_highest_slice_is():
    """A largest value of many noisy ones lies above their mean: less so where they are means."""
    norms = curve(lambda epoch: 1.0, noise=0.1)
    epoch, part = (take(EPOCHS, norms, 8, 5.0) for take in (highest_epoch, highest_slice))
    assert 1 < epoch < 1.1 and part > 1.15


def test_slices_out_of_line_change_nothing():
    norms = curve(falls_then_flat)
    spoilt = list(norms)
    for place in (19, 29, 30, 39, 49):
        spoilt[place] *= 5
    assert find_flat_phase(EPOCHS, spoilt, 8) == find_flat_phase(EPOCHS, norms, 8)


def test_epochs_out_of_line_in_a_long_training_change_nothing():
    epochs = [*EPOCHS[:50], *range(6, 161)]
    norms = [falls_then_flat(epoch) for epoch in epochs]
    spoilt = [
        norm * (3 if epoch in (30, 61, 62) else 1)
        for epoch, norm in zip(epochs, norms, strict=True)
    ]
    assert find_flat_phase(epochs, spoilt, 80) == find_flat_phase(epochs, norms, 80)
    assert find_flat_phase(epochs, norms, 80).start < 2


def test_what_comes_after_the_stage_changes_nothing():
    norms = curve(lambda epoch: falls_then_flat(epoch) * (1 if epoch < 8 else 0.1))
    phase = find_flat_phase(EPOCHS, norms, 8)
    assert phase == find_flat_phase(EPOCHS, curve(falls_then_flat), 8)
    assert find_flat_phase(EPOCHS, norms, 16).start == 8


def test_first_fall_is_seen_although_most_of_its_first_half_epoch_is_flat():
    assert find_flat_phase(EPOCHS, [3.0, 2.0] + [1.0] * 59, 8).start == 0.2


def test_curve_that_becomes_flat_after_half_of_the_stage_has_no_flat_phase():
    late = curve(lambda epoch: 1 + 3 * max(0, 1 - epoch / 5))
    assert find_flat_phase(EPOCHS, late, 8) is None
    assert find_flat_phase(EPOCHS, late, 16).start == pytest.approx(5, abs=0.5)


def test_wider_tolerance_begins_no_later():
    norms = curve(lambda epoch: 1 + 3 * 0.2**epoch)
    starts = [find_flat_phase(EPOCHS, norms, 8, width).start for width in (0.1, 0.15, 0.3)]
    assert starts[0] > starts[1] > starts[2]


def test_short_stage_has_a_short_window():
    tenths = [tenth / 10 for tenth in range(1, 41)]
    norms = [3.0] * 5 + [1.0] * 35
    assert find_flat_phase(tenths, norms, 2) == (0.5, 1.0)


def test_moving_median_shrinks_towards_the_start_only():
    values = np.array([9.0, 5, 1, 1, 1, 1, 1, 1, 7])
    assert moving_median(values, 8)[:3].tolist() == [9, 5, 1]
    assert moving_median(values, 8)[-1] == 1


def test_mean_until_weights_by_time():
    norms = [4.0] * 10 + [2.0] * 10 + [1.0] * 41
    assert mean_until(EPOCHS, norms, 2.0) == 3.0
    assert mean_until(EPOCHS, norms, 7.0) == pytest.approx((4 + 2 + 5) / 7)


def test_first_stage_is_the_epochs_before_the_rate_first_changes():
    assert first_stage([0.1, 0.1, 0.01, 0.1]) == 2
    assert first_stage([0.1, 0.1]) == 2


@pytest.mark.parametrize(
    ("epochs", "norms", "stage"),
    [
        ([], [], 1),
        ([1, 2], [1.0], 1),
        ([1, 1], [1.0, 1.0], 1),
        ([0, 1], [1.0, 1.0], 1),
        ([1, 2], [1.0, math.nan], 1),
        ([1, 2], [1.0, 1.0], 3),
        ([1, 2], [1.0, 1.0], 0),
    ],
)
def test_what_is_no_curve_raises(epochs, norms, stage):
    with pytest.raises(ValueError, match="curve"):
        find_flat_phase(epochs, norms, stage)


def test_tolerance_out_of_range_raises():
    with pytest.raises(ValueError, match="tolerance 0 "):
        find_flat_phase(EPOCHS, [1.0] * len(EPOCHS), 8, 0)


def test_the_dip_is_the_lowest_moving_median_below_the_flat_level():
    epochs = [float(epoch) for epoch in range(1, 33)]
    norms = [4.0, 3.0] + [0.75] * 6 + [1.0] * 24
    share, epoch = dip(epochs, norms, 32)
    assert share == pytest.approx(0.25) and 2 < epoch < 8
    share, epoch = dip(epochs, [4.0, 3.0, 2.0] + [1.0] * 29, 32)
    assert share == 0.0
