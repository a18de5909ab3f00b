"""The `data` section of params.yaml."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from vaebalance.base.specs import Spec
from vaebalance.data.binarisation import Binarisation
from vaebalance.data.folder import ImageFolder
from vaebalance.data.picture_files import PILLOW_LIMIT
from vaebalance.data.sources import CIFAR10, KMNIST, MNIST, Digits, FashionMNIST
from vaebalance.data.sprites import Sprites

Source = Annotated[
    Digits | MNIST | FashionMNIST | KMNIST | CIFAR10 | Sprites | ImageFolder,
    Field(discriminator="kind"),
]


class DataSpec(Spec):
    """Which pictures to read, and how to turn them into tensors."""

    source: Source
    """Source of the pictures; image_folder reads your own."""
    root: str = Field(min_length=1)
    """Folder of torchvision's files (downloaded if missing), or of your own pictures. digits and
    sprites do not use it."""
    validation_fraction: float = Field(ge=0, lt=1)
    """Fraction of the training pictures held out for validation."""
    test_fraction: float = Field(ge=0, lt=1)
    """Fraction held out for test, if the source has no published test set."""
    max_images: int | None = Field(ge=1)
    """Maximum number of pictures from each published part, chosen at random by the seed; null:
    all."""
    max_bad_fraction: float = Field(ge=0, le=1)
    """Largest fraction of unreadable pictures that is tolerated."""
    max_pixels: int = Field(ge=1, le=PILLOW_LIMIT)
    """Skip pictures with more pixels, as possible decompression bombs."""
    binarisation: Binarisation
    """none; threshold: white from 0.5 up; static: sampled once; dynamic: sampled at each step."""
    workers: int | None = Field(ge=1)
    """Number of decoding processes; null: one per core."""

    @model_validator(mode="after")
    def _some_left_to_train_on(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction ({self.validation_fraction}) + test_fraction "
                f"({self.test_fraction}) must be less than 1, to leave images for training"
            )
        return self
