"""Pictures in, uint8 tensors on disk out.

    spec          the `data` section of params.yaml
    collection    what every source offers: a list, and a way to read it
    sources       digits, MNIST and its kin, CIFAR-10: published arrays
    sprites       dSprites' factors, drawn by us
    folder        a person's own pictures
    pictures      one file -> one square of pixels, or the reason why not
    pool          a function over many tasks, on all cores
    splits        who is in which split, by content
    binarisation  grey levels -> black and white
    preparation   the stage: source -> tensors, manifest, statistics
    dataset       the tensors again, memory-mapped

Nothing heavier than torch is imported here; pandas, torchvision, scikit-learn and Pillow are
imported where they are used.
"""

from vaebalance.data.binarisation import Binarisation, to_pixels
from vaebalance.data.collection import AbstractSource, Batch, Collection
from vaebalance.data.data_spec import DataSpec, Source
from vaebalance.data.dataset import Dataset, DatasetInfo, open_dataset
from vaebalance.data.folder import ImageFolder
from vaebalance.data.preparation import prepare
from vaebalance.data.sources import CIFAR10, KMNIST, MNIST, Digits, FashionMNIST
from vaebalance.data.splits import SPLITS, Split
from vaebalance.data.sprites import Sprites

__all__ = [
    "CIFAR10",
    "KMNIST",
    "MNIST",
    "SPLITS",
    "AbstractSource",
    "Batch",
    "Binarisation",
    "Collection",
    "DataSpec",
    "Dataset",
    "DatasetInfo",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "Source",
    "Split",
    "Sprites",
    "open_dataset",
    "prepare",
    "to_pixels",
]
