"""What is known of each data set, one row a data set: a new one begins with a row here.

Nothing here reads an image: `data/` finds and loads them.
"""

from dataclasses import dataclass

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Facts:
    """One data set: its name in the text, its images, and how they are prepared for training."""

    label: str
    classes: int
    side: int  # pixels a side as a network gets them, unless it is given a size
    train_images: int  # of a full run; what is left of the training files validates
    mean: Triple  # of the training pixels per channel, in units of the [0, 1] range
    std: Triple
    padding: int  # pixels of reflection on each side before the random crop
    mirrored: bool  # whether an image may be mirrored without becoming something else
    ood_sets: tuple[str, ...]  # out-of-distribution sets; every run records all of them
    smaller_sides: tuple[int, ...] = ()  # sizes it can be reduced to, by means of whole blocks

    @property
    def normalization(self) -> tuple[Triple, Triple]:
        """Mean and standard deviation per channel."""
        return self.mean, self.std


DATASETS = {
    "digits": Facts(
        label="digits",
        classes=10,
        side=16,
        train_images=1_294,
        mean=(0.305,) * 3,
        std=(0.376,) * 3,
        padding=2,
        mirrored=False,
        ood_sets=("photos",),
    ),
    "cifar10": Facts(
        label="CIFAR-10",
        classes=10,
        side=32,
        train_images=45_000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        padding=4,
        mirrored=True,
        ood_sets=("cifar100",),
        smaller_sides=(8, 16),
    ),
    "cifar100": Facts(
        label="CIFAR-100",
        classes=100,
        side=32,
        train_images=45_000,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        padding=4,
        mirrored=True,
        ood_sets=("cifar10",),
        smaller_sides=(8, 16),
    ),
    # A folder in its place may have other classes and images; `data.imagenet` crops and mirrors.
    "imagenet": Facts(
        label="ImageNet",
        classes=1_000,
        side=224,
        train_images=1_281_167,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        padding=0,
        mirrored=True,
        ood_sets=(),
    ),
}


def padding(dataset: str, image_size: int | None = None) -> int:
    """Pixels of reflection on each side before the random crop.

    Four of the 32 pixels of CIFAR, as in the authors' code, and as large a share of smaller images.
    """
    facts = DATASETS[dataset]
    return facts.padding * (image_size or facts.side) // facts.side
