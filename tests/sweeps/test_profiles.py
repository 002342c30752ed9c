"""Which runs belong to which profile."""

from randprune_core.config import RunConfig, config_to_dict
from randprune_core.sweeps.grids import grid
from randprune_core.sweeps.profiles import PROFILES, in_profile


def test_in_profile_looks_at_the_schedule_and_not_at_the_variant():
    for profile in PROFILES:
        config = grid("depth", profile, variant="jpeg75")[0]
        others = set(PROFILES) - {profile}
        assert in_profile(config, profile) and in_profile(config_to_dict(config), profile)
        assert not any(in_profile(config, other) for other in others)
    assert not in_profile(RunConfig(precision="bfloat16", epochs=16), "paper")
    assert not in_profile(RunConfig(), "paper")  # float32
    assert in_profile(RunConfig(precision="bfloat16", lr=0.05), "paper")
