"""A feature space for comparing images, learned here: no download, and the same for every model.

If the images have labels, it is the last hidden layer of a small classifier of them, otherwise the
code of a small autoencoder. It depends only on the training images and the seed, so models of any
α, β and likelihood on the same data are compared in the same space. Its distances are not
comparable with those of any other space.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, mse_loss

from vaebalance.base.adam import Adam
from vaebalance.base.seeds import derive_seed, forked
from vaebalance.evaluation.measured_images import MeasuredImages, gathered, spread
from vaebalance.vae.networks import Conv

CPU = torch.device("cpu")
FEATURES = 64
STEPS = 300
"""Training steps: they take seconds, and are enough to distinguish digits."""
BATCH = 128
LEARNING_RATE = 3e-3
"""Peak of the one-cycle schedule."""
SMALLEST_SIDE, LARGEST_SIDE = 8, 32
"""Smaller images are scaled up. Larger ones are averaged down, else training takes minutes."""
CHANNELS = (16, 32)
"""Channels after each halving of the image."""
LARGEST_TRAINING = 10_000
"""Largest number of images that the network learns from: 120 MB in colour."""


@dataclass(frozen=True)
class FeatureSpace:
    """A map from images to points."""

    name: str
    """A description for readers of the numbers."""
    network: nn.Module
    """Pixels [B, C, H, W] in [0, 1] -> features [B, F]."""
    device: torch.device

    @torch.inference_mode()
    def points(self, blocks: Iterable[Tensor]) -> Tensor:
        """Compute the features of all images in `blocks` of pixels, [N, F] float64 on the CPU."""
        return torch.cat([self.network(x.to(self.device)).cpu().double() for x in blocks])


class Standardised(nn.Module):
    """A network whose input pixels and output features have mean 0 and variance 1."""

    def __init__(self, image_shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, *sides = image_shape
        self.side = min(max(*sides, SMALLEST_SIDE), LARGEST_SIDE)
        self.input_shape = (channels, self.side, self.side)
        self.architecture = Conv(channels=CHANNELS, hidden=())
        self.torso = self.architecture.encoder(self.input_shape, FEATURES)
        self.pixel_mean, self.pixel_std = torch.zeros(()), torch.ones(())
        self.feature_mean, self.feature_std = torch.zeros(FEATURES), torch.ones(FEATURES)

    def scaled(self, x: Tensor) -> Tensor:
        """Resize pixels [B, C, H, W] in [0, 1] to [B, C, side, side] in [0, 1]."""
        side = (self.side, self.side)
        return x if x.shape[-2:] == side else interpolate(x, side, mode="area")

    def of_scaled(self, x: Tensor) -> Tensor:
        """Map [B, C, side, side] in [0, 1] to [B, FEATURES]."""
        features: Tensor = self.torso((x - self.pixel_mean) / self.pixel_std)
        return (features - self.feature_mean) / self.feature_std

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] in [0, 1] to [B, FEATURES]."""
        return self.of_scaled(self.scaled(x))


def own_features(images: MeasuredImages, labels: Tensor | None, seed: int) -> FeatureSpace:
    """Train the network on `images`, with their labels [N] (−1: none) if at least two differ.

    It runs on the CPU, where the same seed gives the same space whatever the model's device. A
    repeated call with the same inputs, as from each trial of a study, does not train again.
    """
    kept = spread(len(images), LARGEST_TRAINING)
    images, labels = images.at(kept), None if labels is None else labels[kept]
    return _learned(Lesson(_digest(images, labels, seed), images, labels, seed))


@dataclass(frozen=True)
class Lesson:
    """What a network learns from; equal if the content is equal."""

    digest: str
    images: MeasuredImages = field(compare=False)
    labels: Tensor | None = field(compare=False)
    seed: int = field(compare=False)


def _digest(images: MeasuredImages, labels: Tensor | None, seed: int) -> str:
    """Hash everything that the network depends on."""
    digest = hashlib.sha256(
        repr(
            (seed, images.seed, images.binarisation, images.positions, images.stored.shape)
        ).encode()
    )
    for content in (images.stored, labels):
        if content is not None:
            digest.update(content.contiguous().numpy().data)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _learned(lesson: Lesson) -> FeatureSpace:
    images, labels, seed = lesson.images, lesson.labels, lesson.seed
    with forked(derive_seed(seed, "features")):
        network = Standardised(tuple(images.stored.shape[1:]))
        blocks = images.blocks(BATCH, CPU, "features")
        (x,) = gathered(((network.scaled(block),) for block in blocks), len(images))
        network.pixel_mean, network.pixel_std = x.mean(), x.std().clamp(min=1e-3)
        if labels is not None and len(labels[labels >= 0].unique()) > 1:
            kind = "classifier"
            _classify(network, x[labels >= 0], labels[labels >= 0])
        else:
            kind = "autoencoder"
            _reconstruct(network, x)
    _standardise(network, x)
    name = f"own {kind}, {FEATURES} features"
    if images.stored.shape[-2:] != x.shape[-2:]:
        name += f" of images at {network.side}×{network.side}"
    return FeatureSpace(name, network.eval(), CPU)


def _classify(network: Standardised, x: Tensor, labels: Tensor) -> None:
    """Train the network to classify images [N, C, side, side] by their labels [N]."""
    classes, targets = labels.unique(return_inverse=True)
    head = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, len(classes)))

    def loss(index: Tensor) -> Tensor:
        return cross_entropy(head(network.of_scaled(x[index])), targets[index])

    _train([network, head], len(x), loss)


def _reconstruct(network: Standardised, x: Tensor) -> None:
    """Train the network to encode images [N, C, side, side]."""
    decoder = network.architecture.decoder(FEATURES, network.input_shape)
    targets = (x - network.pixel_mean) / network.pixel_std

    def loss(index: Tensor) -> Tensor:
        return mse_loss(decoder(network.of_scaled(x[index])), targets[index])

    _train([network, decoder], len(x), loss)


def _train(networks: list[nn.Module], count: int, loss: Callable[[Tensor], Tensor]) -> None:
    """Run Adam over `STEPS` random batches of `count` images; the learning rate rises and falls."""
    optimizer = Adam(nn.ModuleList(networks).parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(torch.randint(count, (BATCH,))).backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def _standardise(network: Standardised, x: Tensor) -> None:
    """Scale every feature to mean 0 and variance 1 over images [N, C, side, side]."""
    features = torch.cat([network.of_scaled(part) for part in x.split(BATCH)])
    network.feature_mean = features.mean(0)
    network.feature_std = features.std(0, correction=0).clamp(min=1e-6)
