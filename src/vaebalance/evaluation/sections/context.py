"""What an evaluation measures: model, data, settings, seed, and a clock for its parts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vaebalance.base.errors import UserError
from vaebalance.data import Dataset
from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.measured_images import MeasuredImages, measured_images
from vaebalance.evaluation.posterior_moments import PosteriorMoments, posterior_moments
from vaebalance.vae.model import VAE


class Clock:
    """Wall time of named parts, added up. No result depends on it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time the block as part `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent


@dataclass(frozen=True)
class EvaluationContext:
    """A model and a data set, with the settings of the evaluation."""

    model: VAE
    dataset: Dataset
    spec: EvaluateSpec
    seed: int
    clock: Clock = field(default_factory=Clock)

    def images(self, split: str) -> MeasuredImages:
        """Open all of a split."""
        return measured_images(self.dataset, split, self.seed)

    @property
    def is_binarised(self) -> bool:
        """Whether pixels are 0 or 1."""
        return self.dataset.info.binarisation != "none"

    def moments(self, images: MeasuredImages) -> PosteriorMoments:
        """Compute the moments of the posteriors of these images.

        Raises:
            UserError: they are not finite.
        """
        moments = posterior_moments(self.model, images, batch_size=self.spec.batch_size)
        if not (moments.mean.isfinite().all() and moments.std.isfinite().all()):
            raise UserError(
                "the encoder's outputs are not finite. Train again with a lower "
                "train.learning_rate, or with weights in balance nearer to each other."
            )
        return moments
