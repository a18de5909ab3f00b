"""The sections of params.yaml, their validation, and one view per stage.

The whole file is checked before any stage reads data. A stage receives only its view, whose fields
are the keys that dvc.yaml declares for it, so it cannot read a key that DVC does not track for it.
"""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from vaebalance.balancing import Balance
from vaebalance.balancing.penalties import Penalty
from vaebalance.base.errors import UserError
from vaebalance.base.specs import Spec
from vaebalance.data import DataSpec
from vaebalance.evaluation.evaluate_spec import EvaluateSpec
from vaebalance.objectives.objectives import Objective
from vaebalance.settings.storage_url import ENVIRONMENT, has_password, refusal, without_passwords
from vaebalance.training.loop import TrainSpec
from vaebalance.vae.conditioning import Conditioning
from vaebalance.vae.likelihoods import Likelihood
from vaebalance.vae.model import ModelSpec

PARAMS = Path("params.yaml")

Seed = Annotated[int, Field(ge=0, lt=2**63)]


WEIGHTED_LOSS_REFUSED = (
    "the weighted loss has derivative D ≥ 0 in α, so minimising it over its own weight always "
    "picks the end of the range; use nll, or frontier to see the whole trade-off"
)


class ReportSpec(Spec):
    """Sizes of the latent-space report."""

    images: int = Field(ge=1, le=40)
    """Columns of reconstructions and rows of prior samples."""
    traversal_steps: int = Field(ge=2, le=40)
    """Pictures along each latent traversal and each interpolation."""
    manifold_steps: int = Field(ge=2, le=40)
    """Pictures per side of the decoded manifold of two latents."""
    interpolations: int = Field(ge=0, le=20)
    """Pairs of test images to interpolate between."""
    scatter_images: int = Field(ge=2, le=20_000)
    """Maximum number of test images in the latent scatter plot."""


class Span(Spec):
    """Values that a study may try for one key: a range from low to high, or a list of choices."""

    low: float | None = None
    """Smallest value of the range."""
    high: float | None = None
    """Largest value of the range."""
    log: bool = False
    """Whether to search on a log scale, which needs low > 0."""
    choices: tuple[str | bool | int | float | None, ...] | None = None
    """At least two different values to choose from, instead of low and high."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("choices exclude low, high and log: leave those out")
            if len(self.choices) < 2 or len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError("choices must be at least two different values")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be less than high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low}) must be above 0 on a log scale")
        return self


class TuneSpec(Spec):
    """The Optuna study: what it searches, what it optimises, and how."""

    method: Literal["trials", "curve"]
    """trials: one training per trial; curve: one training of section `curve`, for α or β alone."""
    study: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$")
    """Name of the study (letters, digits, `.`, `-`, `_`); a study that exists already continues."""
    storage: str | None
    """URL of a PostgreSQL database that stores the study; null: a file in studies/."""
    objective: Objective
    """What the study optimises, measured on validation images."""
    space: dict[str, Span] = Field(min_length=1)
    """The keys to search, by path such as `balance.beta`, and the values to try for each."""
    sampler: Literal["gp", "tpe", "quasi_random"]
    """gp: Gaussian process; tpe: tree-structured Parzen estimator; quasi_random: evenly spread
    points."""
    pruner: Literal["none", "halving"]
    """none; halving: stop a trial after 1/9 or 1/3 of its epochs if too many others are ahead."""
    trials: int = Field(ge=1)
    """Total number of trials of the study, finished or pruned."""
    workers: int = Field(ge=1, le=256)
    """Number of processes that train in parallel and share the cores."""
    together: Literal["auto"] | Annotated[int, Field(ge=1, le=256)]
    """Trials that each process trains at once, as one stacked model; auto: as many as is best."""

    @field_validator("storage")
    @classmethod
    def _refuse_storage(cls, url: str | None) -> str | None:
        if url is not None and (reason := refusal(url)):
            raise ValueError(reason)
        if url is not None and has_password(url):
            raise ValueError(
                "a committed file must not contain a password; put it in ~/.pgpass or PGPASSWORD, "
                f"or give the whole URL in the environment variable {ENVIRONMENT}"
            )
        return url

    @field_validator("objective", mode="before")
    @classmethod
    def _refuse_weighted_loss(cls, objective: object) -> object:
        kind = objective.get("kind") if isinstance(objective, dict) else objective
        if kind == "weighted_loss":
            raise ValueError(WEIGHTED_LOSS_REFUSED)
        return objective


class CurveSpec(Spec):
    """One training that yields models for all β, at α = 1."""

    method: Literal["conditioned", "continuation"]
    """conditioned: one model that takes β as an input; continuation: one model swept through β."""
    conditioning: Conditioning
    """How a conditioned model takes β as an input."""
    low: float = Field(gt=0)
    """Smallest β, at α = 1."""
    high: float = Field(gt=0)
    """Largest β, at α = 1."""
    sharing: float = Field(ge=0, le=1)
    """How the shared model trades off its β: 0 favours the largest, 1 the smallest."""
    group: int = Field(ge=1)
    """Images of a batch that share one β. With 1, each image has its own, and steps are slower."""
    points: int = Field(ge=2, le=1000)
    """Number of β values at which the curve is measured, and through which a continuation is
    swept."""
    factor: float = Field(gt=0)
    """Length of the training, as a multiple of train.epochs."""
    nll_samples: int = Field(ge=1, le=100_000)
    """Number K of samples of the importance-weighted nll along the curve."""

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        return self


class PrepareSettings(Spec):
    """Settings of the prepare stage."""

    seed: Seed
    data: DataSpec


class TrainSettings(Spec):
    """Settings of the train stage."""

    seed: Seed
    model: ModelSpec
    likelihood: Likelihood
    balance: Balance
    penalty: Penalty
    train: TrainSpec


class EvaluateSettings(Spec):
    """Settings of the evaluate stage."""

    seed: Seed
    evaluate: EvaluateSpec


class ReportSettings(Spec):
    """Settings of the report stage."""

    seed: Seed
    report: ReportSpec


class SliderSettings(Spec):
    """What the slider stage reads."""

    seed: Seed


class CurveSettings(Spec):
    """Settings of the curve stage; without `balance`, because it covers all β at α = 1."""

    seed: Seed
    model: ModelSpec
    likelihood: Likelihood
    penalty: Penalty
    train: TrainSpec
    evaluate: EvaluateSpec
    curve: CurveSpec


class Settings(Spec):
    """All settings of vaebalance."""

    seed: Seed
    """Seed of all random numbers."""
    data: DataSpec
    """Which pictures to read, and how to turn them into tensors (stage prepare)."""
    model: ModelSpec
    """Encoder, latent code and decoder."""
    likelihood: Likelihood
    """The decoder's distribution p(x|z), which defines the distortion D."""
    balance: Balance
    """The rule that sets α and β in α·D + β·R."""
    penalty: Penalty
    """A rate term added to α·D + β·R."""
    train: TrainSpec
    """How to train."""
    evaluate: EvaluateSpec
    """How to measure the trained model on the test split."""
    report: ReportSpec
    """What the latent-space report shows."""
    tune: TuneSpec
    """The Optuna study; no DVC stage reads this section."""
    curve: CurveSpec
    """One training that yields models for all β; not part of `dvc repro`."""

    @model_validator(mode="after")
    def _likelihood_fits_the_pixels(self) -> Self:
        if misfit := self.likelihood.misfit(self.data.binarisation):
            raise ValueError(misfit)
        return self

    @model_validator(mode="after")
    def _balance_fits_the_model(self) -> Self:
        binarised = self.data.binarisation != "none"
        latent_size = self.model.latent_size
        if misfit := self.balance.misfit(self.likelihood, latent_size, binarised=binarised):
            raise ValueError(misfit)
        return self

    @model_validator(mode="after")
    def _penalty_fits_the_posterior(self) -> Self:
        if misfit := self.penalty.misfit(self.model.posterior):
            raise ValueError(misfit)
        return self


View = TypeVar("View", bound=Spec)


def load(view: type[View], path: Path = PARAMS) -> View:
    """Check the whole file at `path` and return the sections of `view`.

    Raises:
        UserError: the file is missing or a key is wrong. The message gives each wrong key with its
            value, the allowed values and the nearest spelling.
    """
    return view_of(view, parse(read_yaml(path), path.name))


def view_of(view: type[View], settings: Settings) -> View:
    """Return the part of the settings that `view` names."""
    return view.model_validate({name: getattr(settings, name) for name in view.model_fields})


def load_settings(path: Path | str = PARAMS) -> TrainSettings:
    """Check all of params.yaml and return what a training reads of it.

    Raises:
        UserError: see `load`.
    """
    return load(TrainSettings, Path(path))


def read_yaml(path: Path) -> Any:
    """Return the plain content of a YAML 1.2 file.

    (YAML 1.1 readers take `1e-3` for a string.)

    Raises:
        UserError: the file is missing or is not valid YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run from the project's root folder.") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error


def parse(raw: Any, name: str = PARAMS.name) -> Settings:
    """Check the plain content of params.yaml and return it as `Settings`.

    Raises:
        UserError: see `load`.
    """
    try:
        # JSON mode accepts a list for a tuple and converts nothing else.
        return Settings.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        complaints = [_complaint(detail, raw) for detail in error.errors()]
        raise UserError("\n       ".join(f"{name}: {text}" for text in complaints)) from error


def _complaint(error: ErrorDetails, raw: Any) -> str:
    """Describe one error in one line: path, value, allowed values, nearest spelling."""
    path, spec = _locate(error["loc"], raw)
    kind, context = error["type"], error.get("ctx", {})
    key = ".".join(path) or "the file"
    shown = without_passwords(repr(error["input"]))
    if kind == "extra_forbidden":
        allowed = list(spec.model_fields) if spec else []
        return f"{key} = {shown}: unknown key{_nearest(path[-1], allowed)}"
    if kind == "missing":
        return f"{key}: missing; add it.{_describe(path, spec)}"
    if kind in ("union_tag_invalid", "literal_error"):
        allowed = [part.strip(" '") for part in _expected(context).replace(" or ", ", ").split(",")]
        wrong = error["input"]
        if kind == "union_tag_invalid":
            key, wrong = f"{key}.kind", context["tag"]
        return f"{key} = {wrong!r}: not one of the choices{_nearest(str(wrong), allowed)}"
    if kind == "union_tag_not_found":
        return f"{key} = {shown}: needs a kind, as in {{kind: …}}"
    message = error["msg"].removeprefix("Value error, ")
    if kind == "value_error" and not path:  # concerns several sections, and names their keys itself
        return f"{message}."
    return f"{key} = {shown}: {message[:1].lower()}{message[1:]}.{_describe(path, spec)}"


def _expected(context: Mapping[str, Any]) -> str:
    return str(context.get("expected_tags", context.get("expected", "")))


def _nearest(wrong: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(wrong, allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"{hint} Allowed: {', '.join(sorted(allowed))}."


def _describe(path: list[str], spec: type[Spec] | None) -> str:
    field = spec.model_fields.get(path[-1]) if spec and path else None
    return f" {field.description}" if field and field.description else ""


def _locate(loc: tuple[int | str, ...], raw: Any) -> tuple[list[str], type[Spec] | None]:
    """Return the path in the file, without pydantic's union tags, and the Spec that holds it."""
    path: list[str] = []
    annotation: Any = Settings
    spec: type[Spec] | None = Settings
    for part in loc:
        if isinstance(raw, dict) and part not in raw and raw.get("kind") == part:
            continue
        path.append(str(part))
        spec = _spec(annotation, raw)
        if get_origin(annotation) is dict:  # its keys are free
            annotation, raw = get_args(annotation)[1], _child(raw, part)
            continue
        field = spec.model_fields.get(str(part)) if spec else None
        annotation = field.annotation if field else None
        raw = _child(raw, part)
    return path, spec


def _child(raw: Any, part: int | str) -> Any:
    if isinstance(raw, dict):
        return raw.get(part)
    if isinstance(raw, list) and isinstance(part, int) and part < len(raw):
        return raw[part]
    return None


def _spec(annotation: Any, raw: Any) -> type[Spec] | None:
    """Return the Spec class that `annotation` selects for `raw`; None if it is not a Spec."""
    if get_origin(annotation) is Annotated:
        return _spec(get_args(annotation)[0], raw)
    if get_origin(annotation) in (Union, types.UnionType):
        members = [_spec(member, raw) for member in get_args(annotation)]
        kind = raw.get("kind") if isinstance(raw, dict) else None
        return next((m for m in members if m and m.model_fields["kind"].default == kind), None)
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    return None
