"""How large an experiment is: the settings of each profile, and which runs belong to it."""

from ..config import RunConfig, config_to_dict, image_side

PROFILES = {
    "quick": {
        "dataset": "digits",
        "variant": "original",
        "train_images": 1_000,
        "epochs": 4,
        "batch_size": 50,
    },
    "mini": {"dataset": "cifar10", "train_images": 5_000, "image_size": 16},
    "cpu": {"dataset": "cifar10", "train_images": 10_000, "epochs": 16},
    "paper": {"dataset": "cifar10", "precision": "bfloat16"},
}
"""What sets a profile apart from the protocol's defaults.

`mini` is the paper's experiment with less data: its networks have as many weights for each training
image as the paper's, and it keeps the paper's schedule, so that they fit what they are trained on.

The precision is fixed so that the records of one figure compare: `paper` trains in bfloat16, which
every GPU of its class has, and the others in float32, which every processor has.
"""

PURPOSE = {
    "quick": "there to show that the machinery runs, and says nothing else",
    "mini": "the paper's experiment scaled down: its schedule, and about as many weights for each "
    "training image, on smaller images",
    "cpu": "a short schedule on fewer images: it shows a direction, not the paper's accuracies",
    "paper": "the paper's own schedule",
}
"""What a profile is good for, as the end of a sentence."""


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
