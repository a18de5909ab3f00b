"""What is measured: model, data, settings, seed, clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from vaebalance.base.errors import UserError
from vaebalance.data import Dataset
from vaebalance.evaluation.clock import Clock
from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.measured_images import MeasuredImages, measured_images
from vaebalance.evaluation.posterior_moments import PosteriorMoments, posterior_moments
from vaebalance.vae.model import VAE


@dataclass(frozen=True)
class Subject:
    """One model on one data set."""

    model: VAE
    dataset: Dataset
    spec: EvaluateSpec
    seed: int
    clock: Clock = field(default_factory=Clock)

    def images(self, split: str) -> MeasuredImages:
        """All of a split."""
        return measured_images(self.dataset, split, self.seed)

    @property
    def is_binarised(self) -> bool:
        """Whether pixels are 0 or 1."""
        return self.dataset.info.binarisation != "none"

    def moments(self, images: MeasuredImages) -> PosteriorMoments:
        """Of the posteriors of these images.

        Raises:
            UserError: they are no numbers.
        """
        moments = posterior_moments(self.model, images, batch_size=self.spec.batch_size)
        if not (moments.mean.isfinite().all() and moments.std.isfinite().all()):
            raise UserError(
                "the encoder's outputs are not finite. Train again with a lower "
                "train.learning_rate, or with weights in balance nearer to each other."
            )
        return moments
