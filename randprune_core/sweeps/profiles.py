"""How large an experiment is: the settings of each profile, and which runs belong to it."""

from ..config import RunConfig, config_to_dict, image_side

PROFILES = {
    "quick": {
        "dataset": "digits",
        "variant": "original",
        "train_images": 500,
        "epochs": 4,
        "batch_size": 50,
    },
    "mini": {"dataset": "cifar10", "train_images": 5_000, "image_size": 16},
    "cpu": {"dataset": "cifar10", "train_images": 10_000, "epochs": 16},
    "paper": {"dataset": "cifar10", "precision": "bfloat16"},
}
"""What sets a profile apart from the protocol's defaults.

`mini` is the paper's experiment with less data: its networks have from 14 to 216 weights for each
training image, the paper's 6 to 38, and it keeps the paper's schedule, so that they fit what they
are trained on.

The precision is fixed so that the records of one figure compare: `paper` trains in bfloat16, which
every GPU of its class has, and the others in float32, which every processor has.
"""

PURPOSE = {
    "quick": "there to show that the machinery runs, and says nothing else",
    "mini": "the paper's experiment scaled down: its schedule, on fewer and smaller images, with "
    "smaller networks",
    "cpu": "a short schedule on fewer images: it shows a direction, not the paper's accuracies",
    "control of mini": "profile mini on twice or half its images, for as many image-steps, to see "
    "whether the gap to dense follows the weights for each training image",
    "paper": "the paper's own schedule",
}
"""What the runs of a profile, or of the control of one, are good for, as the end of a sentence."""

CONTROL = ({"train_images": 10_000, "epochs": 80}, {"train_images": 2_500, "epochs": 320})
"""What the control of `mini` has in place of its 5,000 images and 160 epochs: twice and half as
many images, for as many image-steps. The smaller sets are the first images of the larger ones."""


def in_profile(config: dict | RunConfig, profile: str) -> bool:
    """Whether a config (or a record's config) belongs to a profile, whatever its variant."""
    values = config if isinstance(config, dict) else config_to_dict(config)
    expected = {"precision": "float32", "train_images": 45_000, "epochs": 160, "batch_size": 128}
    expected |= {"image_size": None} | PROFILES[profile]
    expected.pop("variant", None)
    expected["image_size"] = image_side(expected)
    return all(
        value == (image_side(values) if name == "image_size" else values[name])
        for name, value in expected.items()
    )


def in_control(config: dict | RunConfig) -> bool:
    """Whether a config (or a record's config) is one of the control of `mini`.

    Such a run is in no profile: figures, tables and verdicts of `mini` do not count it.
    """
    values = config if isinstance(config, dict) else config_to_dict(config)
    changed = {name: values[name] for name in CONTROL[0]}
    usual = {"train_images": PROFILES["mini"]["train_images"], "epochs": RunConfig.epochs}
    return changed in CONTROL and in_profile(values | usual, "mini")
