"""Pictures in, uint8 tensors on disk out.

    data_spec      the `data` section of params.yaml
    collection     the interface of a source: a list of pictures and a way to read them
    sources        published arrays: digits, the MNIST family, CIFAR-10
    sprites        pictures drawn from the dSprites factors
    folder         a folder of the user's own pictures
    picture_files  one file -> one square of pixels, or the reason why not
    pool           a parallel map over processes
    splits         the assignment of pictures to splits, by content
    binarisation   grey levels -> black and white
    preparation    the stage: source -> tensors, manifest, statistics
    dataset        the prepared tensors, memory-mapped

Importing this package imports nothing heavier than torch; pandas, torchvision, scikit-learn and
Pillow are imported where they are used.
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
