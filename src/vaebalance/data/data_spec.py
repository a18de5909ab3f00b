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
    """Which pictures, and how they become tensors."""

    source: Source
    """digits, mnist, fashion_mnist, kmnist, cifar10, sprites, or image_folder: your own."""
    root: str = Field(min_length=1)
    """Where torchvision keeps (or downloads) its files, or the folder of your pictures; digits and
    sprites need none."""
    validation_fraction: float = Field(ge=0, lt=1)
    """Share of the training pictures held out for validation."""
    test_fraction: float = Field(ge=0, lt=1)
    """Share held out for test; only where the source has no published test set of its own."""
    max_images: int | None = Field(ge=1)
    """Use at most this many pictures of each published part, a random but stable choice; null:
    all."""
    max_bad_fraction: float = Field(ge=0, le=1)
    """Fail when more than this share of the pictures cannot be read."""
    max_pixels: int = Field(ge=1, le=PILLOW_LIMIT)
    """A picture of more pixels is set aside, unread, as a decompression bomb."""
    binarisation: Binarisation
    """none; threshold: white from 0.5 up; static: drawn once; dynamic: drawn at each step."""
    workers: int | None = Field(ge=1)
    """Decoding processes; null: one a core."""

    @model_validator(mode="after")
    def _some_left_to_train_on(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction ({self.validation_fraction}) + test_fraction "
                f"({self.test_fraction}) must be less than 1, to leave something to train on"
            )
        return self
