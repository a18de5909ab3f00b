"""The objectives of a study, measured on validation images and never on test images.

The weighted loss itself is no objective: min over α of (α·D + R) has the derivative D ≥ 0, so it
always picks the end of its own weight's range. To add an objective, write a class here and add its
name to `Objective`. All measure with the same seed, so trials share their noise, and a model that
is trained again has the same numbers to the bit. Nats are per image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from vaebalance.base.errors import UserError
from vaebalance.base.reports import SplitReport
from vaebalance.base.seeds import derive_seed
from vaebalance.base.specs import Spec
from vaebalance.data import Dataset
from vaebalance.evaluation.bounds import importance_weighted_nlls
from vaebalance.evaluation.calibration import calibrate
from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.evaluation.metrics import NATS, SAMPLES, VOCABULARY, Better
from vaebalance.evaluation.metrics import measure as find_measure
from vaebalance.evaluation.reconstructions import reconstruction_quality
from vaebalance.evaluation.sections.context import EvaluationContext
from vaebalance.evaluation.sections.known_factors import measure_disentanglement
from vaebalance.evaluation.sections.latent_space import measure_latents
from vaebalance.evaluation.sections.prior_samples import INCEPTION, OWN, measure_samples
from vaebalance.evaluation.sections.split import measure_split
from vaebalance.evaluation.surgery import held_out_marginal_kl
from vaebalance.vae.model import VAE

BATCH = 1024
"""Images decoded at once; it changes no number."""


class Goal(NamedTuple):
    """A number that a study minimises or maximises."""

    key: str
    """Name in tables and in MLflow."""
    name: str
    """Description for people."""
    unit: str
    better: Better

    def loss(self, value: float) -> float:
        """Return the value, or its negative if higher is better: the lowest is best."""
        return value if self.better == "lower" else -value


@dataclass(frozen=True)
class Trained:
    """A trained model, and what it is measured on."""

    model: VAE  # with the kept epoch's weights, in evaluation mode
    validation: SplitReport  # of that epoch
    dataset: Dataset
    evaluate: EvaluateSpec
    seed: int


@dataclass(frozen=True)
class Measurement:
    """The result of an objective."""

    values: tuple[float, ...]
    """One value per goal."""
    violation: float | None = None
    """At most 0 if the objective's target is met; None if it has none."""
    results: Mapping[str, float | None] = field(default_factory=dict)
    """Other numbers worth keeping."""


class AbstractObjective(Spec, ABC):
    """One goal, or two that compete."""

    needs_rate: ClassVar[bool] = True
    """Whether it does not apply to a plain autoencoder, which has no rate."""
    kind: str
    """Name of the objective."""

    @property
    @abstractmethod
    def goals(self) -> tuple[Goal, ...]:
        """The numbers to minimise or maximise."""

    @abstractmethod
    def measure(self, trained: Trained) -> Measurement:
        """Measure a trained model."""

    @property
    def is_of_own_likelihood(self) -> bool:
        """Whether its nats are of the model's own likelihood, so that kinds are not comparable."""
        return True

    @property
    def reads_evaluate(self) -> bool:
        """Whether section `evaluate` of params.yaml changes its numbers."""
        return False


DISTORTION = Goal("distortion", "validation D", NATS, "lower")
RATE = Goal("rate", "validation R", NATS, "lower")


class NegativeElbo(AbstractObjective):
    """D + R at α = β = 1 of the kept epoch: an upper bound on the nll."""

    kind: Literal["negative_elbo"] = "negative_elbo"

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The bound."""
        return (Goal("negative_elbo", "validation D + R (α = β = 1)", NATS, "lower"),)

    def measure(self, trained: Trained) -> Measurement:
        """Return the number that training reported."""
        return Measurement((trained.validation.negative_elbo,))


class Nll(AbstractObjective):
    """The calibrated importance-weighted nll, comparable between any α, β and likelihood.

    p(x|z) is a Gaussian around the decoder's mean with σ fitted after training, so neither the
    weights nor the likelihood's scale can improve the number. If posteriors are far too narrow (β ≪
    1), K samples leave the bound loose, and the model seems worse than it is.
    """

    kind: Literal["nll"] = "nll"
    samples: int = Field(default=64, ge=1, le=100_000)
    """Number of codes K drawn for each validation image."""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The nll."""
        return (Goal("nll", f"validation nll (calibrated, K = {self.samples})", NATS, "lower"),)

    def measure(self, trained: Trained) -> Measurement:
        """Measure the nll, its standard error over images, and the held-out marginal KL."""
        model, seed = trained.model, trained.seed
        images = measured_images(trained.dataset, "validation", seed)
        cost = {"batch_size": BATCH, "seed": seed}
        gaussian = calibrate(model, images, **cost)
        (nll,) = importance_weighted_nlls(model, images, [gaussian], samples=self.samples, **cost)
        return Measurement(
            (nll.mean,),
            results={
                "nll_standard_error": nll.standard_error,
                "effective_sample_size": float(nll.effective_sample_size.mean()),
                "calibrated_sigma": gaussian.sigma,
                "held_out_marginal_kl": _marginal_kl(trained),
            },
        )

    @property
    def is_of_own_likelihood(self) -> bool:
        """False: the nats are of the calibrated Gaussian."""
        return False


def _marginal_kl(trained: Trained) -> float:
    """Estimate a lower bound on the distance of validation codes from the prior, in nats."""
    context = EvaluationContext(trained.model, trained.dataset, trained.evaluate, trained.seed)
    training, validation = (
        context.moments(context.images(split).spread(trained.evaluate.latent_samples)).sample(
            derive_seed(trained.seed, "codes", split)
        )
        for split in ("train", "validation")
    )
    return held_out_marginal_kl(training, validation, trained.seed).value


class Frontier(AbstractObjective):
    """Distortion and rate at once: the study finds the trade-offs, and a person chooses one."""

    kind: Literal["frontier"] = "frontier"
    largest_rate: float = Field(default=100.0, gt=0)
    """Rate of the hypervolume's reference point, in nats per image; points beyond it count
    nothing."""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """Both terms, unweighted."""
        return (DISTORTION, RATE)

    def measure(self, trained: Trained) -> Measurement:
        """Return both terms as training reported them."""
        return Measurement((trained.validation.distortion, trained.validation.rate))


class Constrained(AbstractObjective):
    """The lowest rate with sufficient reconstructions, or the lowest distortion at a rate."""

    kind: Literal["constrained"] = "constrained"
    minimise: Literal["rate", "distortion"] = "rate"
    """rate: give distortion, rmse or psnr as the target; distortion: give rate."""
    distortion: float | None = None
    """Nats per image, at most."""
    rmse: float | None = Field(default=None, gt=0)
    """Pixel values (in [0, 1]), at most."""
    psnr: float | None = None
    """dB, at least."""
    rate: float | None = Field(default=None, gt=0)
    """Nats per image, at most."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        fit = ("distortion", "rmse", "psnr") if self.minimise == "rate" else ("rate",)
        given = [
            name
            for name in ("distortion", "rmse", "psnr", "rate")
            if getattr(self, name) is not None
        ]
        if len(given) != 1 or given[0] not in fit:
            raise ValueError(
                f"minimise = {self.minimise} needs exactly one target: {' or '.join(fit)} (given: "
                f"{', '.join(given) or 'none'})"
            )
        return self

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The term that is minimised."""
        return (RATE if self.minimise == "rate" else DISTORTION,)

    @property
    def target(self) -> str:
        """The target in words."""
        for name, unit in (
            ("distortion", " nats"),
            ("rate", " nats"),
            ("rmse", ""),
            ("psnr", " dB"),
        ):
            limit = getattr(self, name)
            if limit is not None:
                return f"{name} at {'least' if name == 'psnr' else 'most'} {limit:g}{unit}"
        raise AssertionError("checked in _one_target")

    def measure(self, trained: Trained) -> Measurement:
        """Measure the term, and by how much the target is missed."""
        report = trained.validation
        images = measured_images(trained.dataset, "validation", trained.seed)
        quality = reconstruction_quality(trained.model, images, batch_size=BATCH, with_ssim=False)
        violation = next(
            excess
            for limit, excess in (
                (self.distortion, report.distortion - (self.distortion or 0.0)),
                (self.rate, report.rate - (self.rate or 0.0)),
                (self.rmse, quality.rmse - (self.rmse or 0.0)),
                (self.psnr, (self.psnr or 0.0) - quality.psnr),
            )
            if limit is not None
        )
        value = report.rate if self.minimise == "rate" else report.distortion
        return Measurement((value,), violation, {"rmse": quality.rmse, "psnr": quality.psnr})

    @property
    def is_of_own_likelihood(self) -> bool:
        """Whether a distortion is involved; rate, RMSE and PSNR do not depend on the likelihood."""
        return self.minimise == "distortion" or self.distortion is not None


class Metric(AbstractObjective):
    """Any number of the evaluation that has a better direction, measured on validation images."""

    needs_rate: ClassVar[bool] = False
    kind: Literal["metric"] = "metric"
    name: str
    """Name in metrics/evaluation.json: samples/own/frechet, latents/coverage, test/ssim, …"""

    @field_validator("name")
    @classmethod
    def _has_a_direction(cls, name: str) -> str:
        known = find_measure(name)
        spaces = (OWN, INCEPTION)
        section, *rest = name.split("/")
        in_its_place = rest[:-1] in ([[space] for space in spaces] if section == SAMPLES else [[]])
        if known is None or known[1] or not in_its_place:
            names = [
                pattern.replace("*", space)
                for pattern, measure in VOCABULARY.items()
                if measure.better
                for space in (spaces if "*" in pattern else ("",))
            ]
            raise ValueError(f"not a metric of the evaluation. Allowed: {', '.join(names)}")
        if known[0].better is None:
            raise ValueError(f"neither end of it is better. It describes: {known[0].reading}")
        return name

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The metric, in the direction that the catalogue of metrics gives."""
        known = find_measure(self.name)
        assert known is not None
        measure, _ = known
        assert measure.better is not None
        name = f"validation {measure.name}"
        return (Goal(self.name.rpartition("/")[2], name, measure.unit, measure.better),)

    def measure(self, trained: Trained) -> Measurement:
        """Measure the metric's section, and return the metric.

        Raises:
            UserError: the metric does not apply to this model or data.
        """
        section, _, rest = self.name.partition("/")
        numbers = _measure_section(section, trained)
        if section == SAMPLES:
            space, _, rest = rest.partition("/")
            numbers = numbers.get(space) or {}
        value = numbers.get(rest)
        if value is None:
            raise UserError(
                f"tune.objective.name = {self.name!r}: it does not apply to this model and data "
                "(no labels, factors or posterior, too few images, or switched off in section "
                "evaluate); choose another."
            )
        error = numbers.get(f"{rest}_standard_error")
        return Measurement((float(value),), results={f"{rest}_standard_error": error})

    @property
    def is_of_own_likelihood(self) -> bool:
        """Whether it is in nats or bits of section `test`, except for the calibrated nll."""
        names = ("distortion", "negative_elbo", "importance_weighted_nll", "bits_per_dim")
        return self.name.partition("/")[2].startswith(names)

    @property
    def reads_evaluate(self) -> bool:
        """True: all of it."""
        return True


def _measure_section(section: str, trained: Trained) -> Mapping[str, Any]:
    """Measure a section of the evaluation without using test images."""
    if section == "disentanglement":
        context = _context(trained, WithoutTest)
        scores = measure_disentanglement(context)[0]
        return {} if scores is None else asdict(scores)
    context = _context(trained, ValidationForTest)
    images = context.images("test")
    if section == "test":
        return asdict(measure_split(context, images)[0])
    if section == "latents":
        training = context.images("train").spread(context.spec.latent_samples)
        moments = (context.moments(images), context.moments(training))
        return asdict(measure_latents(context, *moments)[0])
    samples = measure_samples(context, images)[0] or {}
    return {space: asdict(metrics) for space, metrics in samples.items()}


def _context(trained: Trained, view: type[Dataset]) -> EvaluationContext:
    dataset = view(trained.dataset.folder, trained.dataset.info)
    return EvaluationContext(trained.model, dataset, trained.evaluate, trained.seed)


class ValidationForTest(Dataset):
    """A view of a data set with validation images as its test images."""

    def _map(self, split: str, what: str) -> NDArray[Any]:
        return super()._map("validation" if split == "test" else split, what)


class WithoutTest(Dataset):
    """A view of a data set without test images."""

    def _map(self, split: str, what: str) -> NDArray[Any]:
        array = super()._map(split, what)
        return array[:0] if split == "test" else array


Objective = Annotated[
    NegativeElbo | Nll | Frontier | Constrained | Metric, Field(discriminator="kind")
]
"""Every objective that `tune.objective` may name."""
