"""What a curve is measured against: plain models, one at each β, alone or all trained at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaebalance.curve.curve_training import AbstractCurveTraining, AbstractLearnerTraining
from vaebalance.curve.curves import ContinuationCurve
from vaebalance.data import Dataset, to_pixels
from vaebalance.run.checkpoints import learner_state, restore_learner
from vaebalance.settings import CurveSettings
from vaebalance.stacking.stack import Stack
from vaebalance.training.cuda_graphs import Recorded
from vaebalance.training.precision import bf16_terms
from vaebalance.vae.elbo import Weights
from vaebalance.vae.model import VAE


class PlainTraining(AbstractLearnerTraining):
    """A plain model at one β, trained like a curve."""

    def __init__(self, settings: CurveSettings, dataset: Dataset, beta: float) -> None:
        super().__init__(settings, dataset)
        self._begin(self._plain_learner(beta))
        self._beta = beta

    def _step(self, step: int, batch: Tensor) -> tuple[Tensor, Weights]:
        sums, _ = self._take(batch, step / self._steps)
        return sums, Weights(1.0, self._beta)

    def _beta_of(self, epoch: int) -> float | None:
        return self._beta

    def _state(self) -> dict[str, Any]:
        return learner_state(self._learner)

    def _restore(self, state: dict[str, Any]) -> None:
        restore_learner(self._learner, state)

    @property
    def model(self) -> VAE:
        """The model as it is now."""
        return self._learner.model.eval()

    @property
    def curve(self) -> ContinuationCurve:
        """A curve of one point."""
        return ContinuationCurve(((self._beta, self.model),))


class SeparateTraining(AbstractCurveTraining):
    """Plain models, one for each β: each comes to what `PlainTraining` does, to float tolerance."""

    def __init__(self, settings: CurveSettings, dataset: Dataset, betas: Sequence[float]) -> None:
        """Begin.

        Raises:
            UserError: as for a curve.
        """
        super().__init__(settings, dataset)
        self._betas = tuple(betas)
        first = self._vae
        self._learners = []
        for beta in self._betas:
            self._vae = copy.deepcopy(first)  # all begin alike, as lone ones of one seed do
            self._learners.append(self._plain_learner(beta))
        self._rate = torch.zeros((), device=self._device)
        clip = settings.train.gradient_clip
        size = (len(self._betas),)
        self._clips = None if clip is None else torch.full(size, clip, device=self._device)
        self._beta = torch.tensor(self._betas, device=self._device)
        self._stack: Stack | None = None
        self._update = Recorded(self._take_step) if self._device.type == "cuda" else self._take_step

    def _step(self, step: int, batch: Tensor) -> tuple[Tensor, Weights]:
        stack = self._stacked()
        self._set_rate(stack.learners[0].optimizer, step / self._steps)
        self._rate.fill_(stack.learners[0].optimizer.param_groups[0]["lr"])
        whole = len(batch) == self._spec.batch_size  # an epoch's last one may be an odd one
        sums: Tensor = self._update(batch) if whole else self._take_step(batch)
        return sums, Weights(1.0, sum(self._betas) / len(self._betas))

    def _take_step(self, batch: Tensor) -> Tensor:
        """Return the models' mean of `running_means.batch_sums`."""
        stack = self._stacked()
        x = to_pixels(self._images.read(batch), self._images.binarisation)
        noise = torch.randn(len(x), self._vae.latent_size, device=self._device)
        in_bf16 = self._terms is bf16_terms
        terms = stack.terms(x[None], noise[None], in_bf16=in_bf16).terms
        distortion, rate = terms.distortion.mean(1), terms.rate_by_latent.sum(-1).mean(1)
        weighted_rate = self._beta * rate
        stack.step((distortion + weighted_rate).sum(), self._clips, self._rate)
        means = [each.detach().mean() for each in (distortion, rate, weighted_rate)]
        return len(x) * torch.stack([means[0], means[0].square(), means[1], means[0], means[2]])

    def _stacked(self) -> Stack:
        """Make the stack at the first step: a resume comes before."""
        if self._stack is None:
            for learner in self._learners:
                learner.model.train()
            self._stack = Stack(self._learners)
        return self._stack

    def _beta_of(self, epoch: int) -> float | None:
        return None

    def _state(self) -> dict[str, Any]:
        return {"learners": [learner_state(learner) for learner in self._learners]}

    def _restore(self, state: dict[str, Any]) -> None:
        for learner, known in zip(self._learners, state["learners"], strict=True):
            restore_learner(learner, known)

    @property
    def curve(self) -> ContinuationCurve:
        """The models as they are now."""
        models = [learner.model.eval() for learner in self._learners]
        return ContinuationCurve(tuple(zip(self._betas, models, strict=True)))
