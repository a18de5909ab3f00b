"""What a study asks of a trained model; always of validation images, never of test images.

min over α of (α·D + R) has the derivative D ≥ 0: the weighted loss always picks the end of its own
weight's range, so it is no objective. These are. A new one is a class here and its name in
`Objective`. Each measures from the same seed, so that trials share their noise, and a model trained
again has the same numbers to the bit. Nats are per image.
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
from vaebalance.evaluation.sections.known_factors import measure_disentanglement
from vaebalance.evaluation.sections.latent_space import measure_latents
from vaebalance.evaluation.sections.prior_samples import INCEPTION, OWN, measure_samples
from vaebalance.evaluation.sections.split import measure_split
from vaebalance.evaluation.sections.subject import Subject
from vaebalance.evaluation.surgery import held_out_marginal_kl
from vaebalance.vae.model import VAE

BATCH = 1024
"""Images decoded at once; it changes no number."""


class Goal(NamedTuple):
    """A number that a study makes as small or as large as it can."""

    key: str
    """In tables and in MLflow."""
    name: str
    """In words."""
    unit: str
    better: Better

    def loss(self, value: float) -> float:
        """The value, or its negative where higher is better: the least is best."""
        return value if self.better == "lower" else -value


@dataclass(frozen=True)
class Trained:
    """A trained model, and what it is measured by."""

    model: VAE  # the kept epoch's weights, in evaluation mode
    validation: SplitReport  # of that epoch
    dataset: Dataset
    evaluate: EvaluateSpec
    seed: int


@dataclass(frozen=True)
class Measurement:
    """What an objective found."""

    values: tuple[float, ...]
    """One for each goal."""
    violation: float | None = None
    """At most 0 where the objective's target is met; None: it has none."""
    results: Mapping[str, float | None] = field(default_factory=dict)
    """Other numbers worth keeping."""


class AbstractObjective(Spec, ABC):
    """One question, or two that pull in opposite directions."""

    needs_rate: ClassVar[bool] = True
    """Whether a plain autoencoder, which has no rate, has no answer."""
    kind: str
    """Which one."""

    @property
    @abstractmethod
    def goals(self) -> tuple[Goal, ...]:
        """What is made small or large."""

    @abstractmethod
    def measure(self, trained: Trained) -> Measurement:
        """The answer of a trained model."""

    @property
    def is_of_own_likelihood(self) -> bool:
        """Whether its nats are of the model's own likelihood, so that two kinds do not compare."""
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
        """As training reported it."""
        return Measurement((trained.validation.negative_elbo,))


class Nll(AbstractObjective):
    """The calibrated importance-weighted nll: comparable whatever α, β and the likelihood.

    p(x|z) is a Gaussian about the decoder's mean, with σ fitted after training, so that neither the
    weights nor the likelihood's scale can flatter the number. Where the posteriors are far too
    narrow (β ≪ 1), K samples leave the bound loose, and the model looks worse than it is.
    """

    kind: Literal["nll"] = "nll"
    samples: int = Field(default=64, ge=1, le=100_000)
    """K, codes drawn for each validation image."""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The nll."""
        return (Goal("nll", f"validation nll (calibrated, K = {self.samples})", NATS, "lower"),)

    def measure(self, trained: Trained) -> Measurement:
        """The nll, its standard error over images, and the held-out marginal KL, which ties."""
        model, seed = trained.model, trained.seed
        images = measured_images(trained.dataset, "validation", seed)
        cost = {"batch_size": BATCH, "seed": seed}
        gaussian = calibrate(model, images, **cost)
        (found,) = importance_weighted_nlls(model, images, [gaussian], samples=self.samples, **cost)
        return Measurement(
            (found.mean,),
            results={
                "nll_standard_error": found.standard_error,
                "effective_sample_size": float(found.effective_sample_size.mean()),
                "calibrated_sigma": gaussian.sigma,
                "held_out_marginal_kl": _marginal_kl(trained),
            },
        )

    @property
    def is_of_own_likelihood(self) -> bool:
        """It is of the calibrated Gaussian."""
        return False


def _marginal_kl(trained: Trained) -> float:
    """How far the codes of validation images are from the prior, a lower bound."""
    subject = Subject(trained.model, trained.dataset, trained.evaluate, trained.seed)
    training, validation = (
        subject.moments(subject.images(split).spread(trained.evaluate.latent_samples)).sample(
            derive_seed(trained.seed, "codes", split)
        )
        for split in ("train", "validation")
    )
    return held_out_marginal_kl(training, validation, trained.seed).value


class Frontier(AbstractObjective):
    """Distortion and rate at once: the study finds what can be had, and a person chooses."""

    kind: Literal["frontier"] = "frontier"
    largest_rate: float = Field(default=100.0, gt=0)
    """Rate of the hypervolume's reference point, nats per image: points beyond count nothing."""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """Both terms, unweighted."""
        return (DISTORTION, RATE)

    def measure(self, trained: Trained) -> Measurement:
        """As training reported them."""
        return Measurement((trained.validation.distortion, trained.validation.rate))


class Constrained(AbstractObjective):
    """The least rate whose reconstructions are good enough, or the least distortion at a rate."""

    kind: Literal["constrained"] = "constrained"
    minimise: Literal["rate", "distortion"] = "rate"
    """rate: give distortion, rmse or psnr; distortion: give rate."""
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
        """In words."""
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
        """The term, and by how much the target is missed."""
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
        """Rate, RMSE and PSNR are not."""
        return self.minimise == "distortion" or self.distortion is not None


class Metric(AbstractObjective):
    """Any number of the evaluation that has a better end, of validation images."""

    needs_rate: ClassVar[bool] = False
    kind: Literal["metric"] = "metric"
    name: str
    """As in metrics/evaluation.json: samples/own/frechet, latents/coverage, test/ssim, …"""

    @field_validator("name")
    @classmethod
    def _has_a_direction(cls, name: str) -> str:
        found = find_measure(name)
        spaces = (OWN, INCEPTION)
        section, *rest = name.split("/")
        in_its_place = rest[:-1] in ([[space] for space in spaces] if section == SAMPLES else [[]])
        if found is None or found[1] or not in_its_place:
            names = [
                pattern.replace("*", space)
                for pattern, measure in VOCABULARY.items()
                if measure.better
                for space in (spaces if "*" in pattern else ("",))
            ]
            raise ValueError(f"not a metric of the evaluation. Allowed: {', '.join(names)}")
        if found[0].better is None:
            raise ValueError(f"neither end of it is better, since it describes: {found[0].reading}")
        return name

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The metric, in the direction that the vocabulary gives it."""
        found = find_measure(self.name)
        assert found is not None
        assert found[0].better is not None
        name = f"validation {found[0].name}"
        return (Goal(self.name.rpartition("/")[2], name, found[0].unit, found[0].better),)

    def measure(self, trained: Trained) -> Measurement:
        """The metric, by measuring no more than its section.

        Raises:
            UserError: it does not apply to this model or data.
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
        """Those of section `test` in nats or bits, but for the calibrated nll."""
        own = ("distortion", "negative_elbo", "importance_weighted_nll", "bits_per_dim")
        return self.name.partition("/")[2].startswith(own)

    @property
    def reads_evaluate(self) -> bool:
        """All of it."""
        return True


def _measure_section(section: str, trained: Trained) -> Mapping[str, Any]:
    """The numbers of a section of the evaluation, without its test images."""
    if section == "disentanglement":
        subject = _subject(trained, WithoutTest)
        scores = measure_disentanglement(subject)[0]
        return {} if scores is None else asdict(scores)
    subject = _subject(trained, ValidationForTest)
    images = subject.images("test")
    if section == "test":
        return asdict(measure_split(subject, images)[0])
    if section == "latents":
        training = subject.images("train").spread(subject.spec.latent_samples)
        moments = (subject.moments(images), subject.moments(training))
        return asdict(measure_latents(subject, *moments)[0])
    found = measure_samples(subject, images)[0] or {}
    return {space: asdict(metrics) for space, metrics in found.items()}


def _subject(trained: Trained, view: type[Dataset]) -> Subject:
    dataset = view(trained.dataset.folder, trained.dataset.info)
    return Subject(trained.model, dataset, trained.evaluate, trained.seed)


class ValidationForTest(Dataset):
    """Has validation images where the evaluation looks for test images."""

    def _map(self, split: str, what: str) -> NDArray[Any]:
        return super()._map("validation" if split == "test" else split, what)


class WithoutTest(Dataset):
    """Has no test images."""

    def _map(self, split: str, what: str) -> NDArray[Any]:
        array = super()._map(split, what)
        return array[:0] if split == "test" else array


Objective = Annotated[
    NegativeElbo | Nll | Frontier | Constrained | Metric, Field(discriminator="kind")
]
"""What `tune.objective` may name."""
