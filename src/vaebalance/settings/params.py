"""params.yaml, checked whole before any stage touches data; one view per stage.

A stage sees only its view, whose fields are the keys that dvc.yaml declares for it, so that no
stage can read a knob that DVC does not track for it.
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
    "the weighted loss has derivative D ≥ 0 in α, so over its own weight it always picks the end "
    "of the range; use nll, or frontier to see what can be had"
)


class ReportSpec(Spec):
    """The `report` section."""

    images: int = Field(ge=1, le=40)
    """Columns of reconstructions, and rows of prior samples."""
    traversal_steps: int = Field(ge=2, le=40)
    """Pictures along each traversed latent, and along each interpolation."""
    manifold_steps: int = Field(ge=2, le=40)
    """Pictures a side of the decoded manifold."""
    interpolations: int = Field(ge=0, le=20)
    """Pairs of test images that are interpolated."""
    scatter_images: int = Field(ge=2, le=20_000)
    """Test images in the latent plane, at most."""


class Span(Spec):
    """What a study may put where one knob stands: numbers from low to high, or one of `choices`."""

    low: float | None = None
    """Least value."""
    high: float | None = None
    """Largest value."""
    log: bool = False
    """Whether values are spread evenly on a log scale; then low must be above 0."""
    choices: tuple[str | bool | int | float | None, ...] | None = None
    """The values to choose from, at least two, in the place of low and high."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("choices stand alone: leave out low, high and log")
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
    """The `tune` section."""

    method: Literal["trials", "curve"]
    """trials: a study, a training for each; curve: the answer from one training at all weights."""
    study: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$")
    """Name of letters, digits, dot, dash, underscore; the same name continues the same study."""
    storage: str | None
    """URL of a PostgreSQL database that keeps the study; null: a file in studies/."""
    objective: Objective
    """What is asked of each trained model, of validation images."""
    space: dict[str, Span] = Field(min_length=1)
    """Path of a knob, as balance.beta, to the values that the study may try."""
    sampler: Literal["gp", "tpe", "quasi_random"]
    """gp: Gaussian process; tpe: tree-structured Parzen estimator; quasi_random: evenly spread."""
    pruner: Literal["none", "halving"]
    """halving: stop a trial after 1/9 or 1/3 of its epochs if too many others do better there."""
    trials: int = Field(ge=1)
    """Trials that the study shall have, finished or pruned."""
    workers: int = Field(ge=1, le=256)
    """Processes that train at once, which share the cores."""
    together: Literal["auto"] | Annotated[int, Field(ge=1, le=256)]
    """Trials that a process trains at once, as one stacked model; auto: as many as pay."""

    @field_validator("storage")
    @classmethod
    def _refuse_storage(cls, url: str | None) -> str | None:
        if url is not None and (reason := refusal(url)):
            raise ValueError(reason)
        if url is not None and has_password(url):
            raise ValueError(
                "a password does not belong in a file that is committed; leave it to ~/.pgpass or "
                f"PGPASSWORD, or give the whole URL in the environment variable {ENVIRONMENT}"
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
    """The `curve` section."""

    method: Literal["conditioned", "continuation"]
    """conditioned: one model that is told β; continuation: one plain model swept through β."""
    conditioning: Conditioning
    """How a conditioned model is told β."""
    low: float = Field(gt=0)
    """Least β, at α = 1."""
    high: float = Field(gt=0)
    """Largest β, at α = 1."""
    sharing: float = Field(ge=0, le=1)
    """Of one model between its β: 0: the largest count most, 1: the least."""
    group: int = Field(ge=1)
    """Images of a batch that share a β: fewer small operations; 1: each has its own."""
    points: int = Field(ge=2, le=1000)
    """Numbers of β at which the curve is traced, and through which a continuation is swept."""
    factor: float = Field(gt=0)
    """Epochs, as a multiple of train.epochs."""
    nll_samples: int = Field(ge=1, le=100_000)
    """K of the importance-weighted nll along the curve."""

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        return self


class PrepareSettings(Spec):
    """What the prepare stage reads."""

    seed: Seed
    data: DataSpec


class TrainSettings(Spec):
    """What the train stage reads."""

    seed: Seed
    model: ModelSpec
    likelihood: Likelihood
    balance: Balance
    penalty: Penalty
    train: TrainSpec


class EvaluateSettings(Spec):
    """What the evaluate stage reads."""

    seed: Seed
    evaluate: EvaluateSpec


class ReportSettings(Spec):
    """What the report stage reads."""

    seed: Seed
    report: ReportSpec


class CurveSettings(Spec):
    """What the curve stage reads: not `balance`, since it goes through all of β at α = 1."""

    seed: Seed
    model: ModelSpec
    likelihood: Likelihood
    penalty: Penalty
    train: TrainSpec
    evaluate: EvaluateSpec
    curve: CurveSpec


class Settings(Spec):
    """The whole of params.yaml."""

    seed: Seed
    """Every random number derives from it."""
    data: DataSpec
    model: ModelSpec
    likelihood: Likelihood
    balance: Balance
    penalty: Penalty
    train: TrainSpec
    evaluate: EvaluateSpec
    report: ReportSpec
    tune: TuneSpec
    curve: CurveSpec

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
    """Check all of `path` and return the part of it that `view` names.

    Raises:
        UserError: names every wrong key with its value, what is allowed and the nearest spelling.
    """
    raw = read_yaml(path)
    settings = parse(raw, path.name)
    values = {name: getattr(settings, name) for name in view.model_fields}
    return view.model_validate(values)


def read_yaml(path: Path) -> Any:
    """The plain content of a YAML 1.2 file.

    (YAML 1.1 readers take `1e-3` for a string.)

    Raises:
        UserError: the file is missing or is no YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run from the project's root folder.") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error


def parse(raw: Any, name: str = PARAMS.name) -> Settings:
    """Check the plain content of params.yaml.

    Raises:
        UserError: see `load`.
    """
    try:
        # In JSON mode a list is a fine tuple, and nothing else is converted.
        return Settings.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        complaints = [_complaint(detail, raw) for detail in error.errors()]
        raise UserError("\n       ".join(f"{name}: {text}" for text in complaints)) from error


def _complaint(error: ErrorDetails, raw: Any) -> str:
    """One line: path, value, what is allowed, nearest spelling."""
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
    if kind == "value_error" and not path:  # of keys in several sections, which it names itself
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
    """The path in the file (without the union tags that pydantic puts in) and the Spec it is in."""
    path: list[str] = []
    annotation: Any = Settings
    spec: type[Spec] | None = Settings
    for part in loc:
        if isinstance(raw, dict) and part not in raw and raw.get("kind") == part:
            continue
        path.append(str(part))
        spec = _spec(annotation, raw)
        if get_origin(annotation) is dict:  # its keys are anyone's
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
    """The Spec class that `raw` is read as where `annotation` stands."""
    if get_origin(annotation) is Annotated:
        return _spec(get_args(annotation)[0], raw)
    if get_origin(annotation) in (Union, types.UnionType):
        members = [_spec(member, raw) for member in get_args(annotation)]
        kind = raw.get("kind") if isinstance(raw, dict) else None
        return next((m for m in members if m and m.model_fields["kind"].default == kind), None)
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    return None
