"""Loss conventions of other projects, and conversion of their weights from and to ours.

Only the ratio of the two weights matters to the optimum. For a squared error the balance is one
number, the variance σ² of the Gaussian with α = β = 1; for an absolute error it is the scale b of
the Laplace distribution, and for a cross-entropy it is β/α. Conventions write that number in
different ways, because projects differ in what they sum and what they average. Here, terms are
summed over an image's dimensions and over latents, and averaged over images.

To add a convention, add one entry to `CONVENTIONS`.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from vaebalance.base.errors import UserError
from vaebalance.vae.likelihoods import AbstractLikelihood, Bernoulli, Gaussian, Laplace, Rmse

Measure = Literal["SSE", "RMSE of an image", "RMSE of a batch", "L1", "BCE"]
"""Reconstruction error that a project's loss measures."""

Family = Literal["squared error", "absolute error", "cross-entropy"]
FAMILIES: dict[Measure, Family] = {
    "SSE": "squared error",
    "RMSE of an image": "squared error",
    "RMSE of a batch": "squared error",
    "L1": "absolute error",
    "BCE": "cross-entropy",
}
BALANCES: dict[Family, str] = {
    "squared error": "σ²",
    "absolute error": "b",
    "cross-entropy": "β/α",
}
WORDS: dict[Measure, str] = {
    "SSE": "squared error",
    "RMSE of an image": "root mean squared error of each image",
    "RMSE of a batch": "root mean squared error of the whole batch",
    "L1": "absolute error",
    "BCE": "cross-entropy",
}

Axis = Literal["pixels", "channels", "latents", "images"]


@dataclass(frozen=True)
class Scene:
    """Quantities that a convention may depend on besides its weight; None if unknown."""

    dimensions: int | None = None
    """Number of pixels, n = C·H·W."""
    latent_size: int | None = None
    """Number of latents, Z."""
    rmse: float | None = None
    """RMSE of the run's reconstructions, in the unit range; needed by losses with an RMSE."""
    channels: int | None = None
    """Number of channels, C."""
    batch_size: int | None = None
    """Batch size B of the other project; needed by losses that sum one term over images."""
    pixel_span: float | None = None
    """White minus black in the other project's pixels (2 for −1…1); None: as loaded there."""


SYMBOLS = {
    "n": "dimensions",
    "Z": "latent_size",
    "RMSE": "rmse",
    "C": "channels",
    "B": "batch_size",
    "span": "pixel_span",
}
"""Symbol in formulas -> field of a Scene."""


@dataclass(frozen=True)
class Product:
    """A product: coefficient · Π symbol^power."""

    coefficient: Fraction
    powers: dict[str, int]

    def value(self, numbers: dict[str, float]) -> float:
        """Evaluate the product for the given number of each symbol."""
        powers = (numbers[name] ** power for name, power in self.powers.items())
        return float(self.coefficient) * math.prod(powers)

    def without(self, symbol: str) -> Product:
        """Return the product with `symbol` set to 1."""
        return Product(
            self.coefficient, {name: p for name, p in self.powers.items() if name != symbol}
        )

    def text(self, write: dict[str, str]) -> str:
        """Format the product as a fraction, with each symbol replaced by `write`."""
        above = [_power(write[name], power) for name, power in self.powers.items() if power > 0]
        below = [_power(write[name], -power) for name, power in self.powers.items() if power < 0]
        if self.coefficient.numerator != 1 or not above:
            above.insert(0, str(self.coefficient.numerator))
        if self.coefficient.denominator != 1:
            below.insert(0, str(self.coefficient.denominator))
        divisor = "·".join(below)
        if not below:
            return "·".join(above)
        return f"{'·'.join(above)} / {f'({divisor})' if len(below) > 1 else divisor}"


@dataclass(frozen=True)
class Convention:
    """A loss with one weight, as a project writes it."""

    names: tuple[str, ...]
    """Names in lower case with dashes; the first is the main one, the others have the same loss."""
    loss: str
    weight: str
    """Symbol of the weight."""
    used_by: str
    measure: Measure
    distortion_averaged: tuple[Axis, ...] = ("images",)
    """Axes over which the loss averages the measure; it sums over the others."""
    rate_averaged: tuple[Axis, ...] = ("images",)
    """Axes over which the loss averages the KL; it sums over the others."""
    coefficient: Fraction = Fraction(1)
    """Factor of the measure."""
    weighs: Literal["rate", "distortion"] = "rate"
    """Term that the weight multiplies."""
    power: int = 1
    """Power of the weight in that factor, such as −2 for the σ of SSE/(2σ²)."""
    pixel_span: float = 1.0
    """White minus black in the pixels of the project's own loader."""
    only: float | None = None
    """The only weight that the project's code uses; None if the weight is a setting."""
    note: str = ""
    """Remark on the loss, such as terms that are left out."""

    @property
    def name(self) -> str:
        """Main name."""
        return self.names[0]

    @property
    def family(self) -> Family:
        """Family of the error, which determines the balance (see `BALANCES`)."""
        return FAMILIES[self.measure]

    @property
    def formula(self) -> Product:
        """Balance as a product of the weight ("w") and of the symbols of the scene."""
        powers = dict.fromkeys(("w", *SYMBOLS), 0)
        powers["w"] = self.power if self.weighs == "rate" else -self.power
        powers["n"] += "pixels" in self.distortion_averaged
        powers["C"] += "channels" in self.distortion_averaged
        powers["Z"] -= "latents" in self.rate_averaged
        powers["B"] += ("images" in self.distortion_averaged) - ("images" in self.rate_averaged)
        coefficient = 1 / self.coefficient
        if self.measure == "SSE":  # SSE / (2σ²)
            coefficient /= 2
            powers["span"] = -2
        elif self.family == "squared error":  # d RMSE = d SSE / (2n·RMSE)
            powers["n"] += 1
            powers["RMSE"] = 1
            powers["span"] = -1
        elif self.measure == "L1":
            powers["span"] = -1
        return Product(coefficient, {name: power for name, power in powers.items() if power})

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of a Scene that the balance depends on."""
        used = self.formula.powers
        return tuple(f for s, f in SYMBOLS.items() if s in used and f != "pixel_span")

    def lacks(self, scene: Scene) -> tuple[str, ...]:
        """Return the fields of `needs` that are unknown in `scene`."""
        return tuple(field for field in self.needs if getattr(scene, field) is None)

    def span(self, scene: Scene) -> float:
        """Return white minus black in the project's pixels."""
        return self.pixel_span if scene.pixel_span is None else scene.pixel_span

    def balance(self, weight: float, scene: Scene) -> float:
        """Return the balance (σ², b or β/α) for a weight in this convention.

        Raises:
            ValueError: the scene lacks a field of `needs`.
        """
        return self.formula.value(self._numbers(scene) | {"w": float(weight)})

    def translate(self, balance: float, scene: Scene) -> float:
        """Return the weight in this convention for a balance: the inverse of `balance`."""
        factor = self.formula.value(self._numbers(scene) | {"w": 1.0})
        return float((balance / factor) ** (1 / self.formula.powers["w"]))

    def derivation(self, weight: float, scene: Scene) -> str:
        """Explain in one sentence which reductions the project uses and the balance they give."""
        numbers = self._numbers(scene) | {"w": float(weight)}
        span = numbers["span"]
        formula = self.formula.without("span") if span == 1 else self.formula
        digits = {name: f"{numbers[name]:.6g}" for name in formula.powers}
        parts = [BALANCES[self.family], self._written(formula), formula.text(digits)]
        equation = " = ".join(dict.fromkeys([*parts, f"{formula.value(numbers):.6g}"]))
        pixels = "" if span == 1 else f", with pixels that span {span:g} where ours span 1"
        note = f" ({self.note})" if self.note else ""
        return f"{self._reductions()}{pixels}{note}; so {equation}."

    def equation(self) -> str:
        """Write the balance as a formula of weight and sizes, for the project's own pixel span."""
        formula = self.formula.without("span") if self.pixel_span == 1 else self.formula
        return f"{BALANCES[self.family]} = {self._written(formula)}"

    def _written(self, formula: Product) -> str:
        return formula.text({name: name for name in formula.powers} | {"w": self.weight})

    def _reductions(self) -> str:
        axes: list[Axis] = ["pixels", "images"]
        if "channels" in self.distortion_averaged:
            axes.insert(1, "channels")
        if self.measure == "RMSE of an image":
            axes = ["images"]
        if self.measure == "RMSE of a batch":
            axes = []
        amount = "" if self.coefficient == 1 else f"{self.coefficient} × ".replace("1/2", "½")
        distortion = _reduced(f"{amount}{WORDS[self.measure]}", axes, self.distortion_averaged)
        return f"{distortion}; {_reduced('KL', ['latents', 'images'], self.rate_averaged)}"

    def _numbers(self, scene: Scene) -> dict[str, float]:
        if lacking := self.lacks(scene):
            raise ValueError(f"{self.name} depends on {', '.join(lacking)}")
        values = {symbol: getattr(scene, field) for symbol, field in SYMBOLS.items()}
        known = {symbol: float(value) for symbol, value in values.items() if value is not None}
        return known | {"span": self.span(scene)}


HALF = Fraction(1, 2)

CONVENTIONS = (
    Convention(
        ("sigma", "sigma-vae"),
        "SSE/(2σ²) + KL",
        "σ",
        "a Gaussian decoder; σ-VAE",
        "SSE",
        coefficient=HALF,
        weighs="distortion",
        power=-2,
    ),
    Convention(
        ("alpha-sse",),
        "α·SSE + KL",
        "α",
        "losses that weight the reconstruction",
        "SSE",
        weighs="distortion",
    ),
    Convention(
        ("alpha-mse",),
        "α·MSE + KL",
        "α",
        "the same with the mean over pixels",
        "SSE",
        distortion_averaged=("pixels", "images"),
        weighs="distortion",
    ),
    Convention(
        ("alpha-rmse",),
        "α·RMSE + KL",
        "α",
        "audio-VAE courses, one RMSE per image; equal only at this run's RMSE",
        "RMSE of an image",
        weighs="distortion",
    ),
    Convention(
        ("alpha-rmse-batch",),
        "α·√(MSE of the batch) + KL",
        "α",
        "the same with one RMSE per batch, which is never smaller (Jensen)",
        "RMSE of a batch",
        weighs="distortion",
    ),
    Convention(
        ("pythae-mse", "multivae-normal", "half-sse"),
        "½·SSE + β·KL",
        "β",
        "pythae, MultiVae",
        "SSE",
        coefficient=HALF,
    ),
    Convention(
        ("1konny-gaussian", "disentanglement-lib-l2", "sse"),
        "SSE + β·KL",
        "β",
        "1Konny's β-VAE, disentanglement_lib (L2)",
        "SSE",
    ),
    Convention(
        ("disentangling-vae-gaussian",),
        "255·SSE + β·KL",
        "β",
        "disentangling-vae (gaussian)",
        "SSE",
        coefficient=Fraction(255),
    ),
    Convention(
        ("antixk", "mse-mean"),
        "MSE + w·KL",
        "w",
        "AntixK/PyTorch-VAE's kld_weight in training",
        "SSE",
        distortion_averaged=("pixels", "images"),
    ),
    Convention(
        ("antixk-validation",),
        "MSE + M_N·KL",
        "M_N",
        "AntixK/PyTorch-VAE in validation, whatever kld_weight is",
        "SSE",
        distortion_averaged=("pixels", "images"),
        only=1.0,
    ),
    Convention(
        ("bolts", "mse-mean-kl-mean"),
        "MSE + w·KL/Z",
        "w",
        "bolts' kl_coeff, which also averages over latents",
        "SSE",
        distortion_averaged=("pixels", "images"),
        rate_averaged=("latents", "images"),
    ),
    Convention(
        ("mse-mean-kl-sum",),
        "MSE + w·ΣKL",
        "w",
        'reduction="mean" beside a plain torch.sum for the KL of the whole batch',
        "SSE",
        distortion_averaged=("pixels", "images"),
        rate_averaged=(),
    ),
    Convention(
        ("diffusers-l2",),
        "SSE + kl_scale·KL",
        "kl_scale",
        "diffusers' train_autoencoderkl (L2), pixels −1…1",
        "SSE",
        pixel_span=2.0,
        note="without its perceptual and adversarial terms",
    ),
    Convention(
        ("disentangling-vae-laplace", "multivae-laplace", "l1"),
        "Σ|x−x̂| + β·KL",
        "β",
        "disentangling-vae, MultiVae (laplace)",
        "L1",
    ),
    Convention(
        ("diffusers-l1", "latent-diffusion"),
        "Σ|x−x̂| + kl_weight·KL",
        "kl_weight",
        "latent diffusion's first stage, diffusers' train_autoencoderkl (L1), pixels −1…1",
        "L1",
        pixel_span=2.0,
        note="without its perceptual and adversarial terms",
    ),
    Convention(
        (
            "pythae-bce",
            "multivae-bernoulli",
            "1konny-bernoulli",
            "disentangling-vae-bernoulli",
            "disentanglement-lib-bernoulli",
            "bce",
        ),
        "BCE + β·KL",
        "β",
        "β-VAE, pythae, disentangling-vae, disentanglement_lib",
        "BCE",
    ),
    Convention(
        ("torch-example",),
        "ΣBCE + β·ΣKL",
        "β",
        "pytorch/examples (β = 1)",
        "BCE",
        distortion_averaged=(),
        rate_averaged=(),
    ),
    Convention(
        ("keras-example",),
        "BCE/C + β·KL",
        "β",
        "the Keras example (β = 1), whose binary_crossentropy is a mean over channels",
        "BCE",
        distortion_averaged=("channels", "images"),
    ),
    Convention(
        ("alpha-bce",),
        "α·BCE + KL",
        "α",
        "losses that weight the reconstruction",
        "BCE",
        weighs="distortion",
    ),
    Convention(
        ("bce-mean",),
        "BCE/n + w·KL",
        "w",
        'reduction="mean", which divides D by the number of pixels',
        "BCE",
        distortion_averaged=("pixels", "images"),
    ),
    Convention(
        ("bce-mean-kl-sum",),
        "BCE/n + w·ΣKL",
        "w",
        'reduction="mean" beside a plain torch.sum for the KL of the whole batch',
        "BCE",
        distortion_averaged=("pixels", "images"),
        rate_averaged=(),
    ),
    Convention(
        ("beta-norm", "bce-mean-kl-mean"),
        "BCE/n + β_norm·KL/Z",
        "β_norm",
        "the β-VAE paper's normalised β; means over everything",
        "BCE",
        distortion_averaged=("pixels", "images"),
        rate_averaged=("latents", "images"),
    ),
)


def find(name: str) -> Convention:
    """Find the convention called `name`, in any case and with dashes, underscores or spaces.

    Raises:
        UserError: there is none. The message lists the nearest spellings and all names.
    """
    named = {known: convention for convention in CONVENTIONS for known in convention.names}
    wanted = "-".join(name.lower().replace("_", " ").replace("-", " ").split())
    if wanted in named:
        return named[wanted]
    close = [known for known in named if wanted and known.startswith(wanted)]
    close = close or difflib.get_close_matches(wanted, named, n=2)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    raise UserError(
        f"{name!r} is not a known convention; {hint}Allowed: {', '.join(sorted(named))}."
    )


@dataclass(frozen=True)
class Ported:
    """A converted balance: minimise α·D + β·R with this likelihood."""

    likelihood: AbstractLikelihood
    alpha: float
    beta: float
    balance: float | None
    """σ², b or β/α, see the module; None if it depends on an unknown RMSE."""


def port(convention: Convention, weight: float, scene: Scene) -> Ported:
    """Convert a weight to our likelihood and weights, with the same gradient up to a factor.

    A squared or absolute error becomes a density with α = β = 1, so the loss is a negative ELBO. An
    RMSE per image is not a density; it stays an RMSE, with the project's α.

    Raises:
        UserError: the convention does not allow the weight, or the scene lacks a field.
    """
    if not (math.isfinite(weight) and weight > 0):
        raise UserError(
            f"{convention.name}: weight {convention.weight} = {weight:g}: must be a number above 0."
        )
    if convention.only is not None and weight != convention.only:
        raise UserError(
            f"{convention.name}: weight {convention.weight} = {weight:g}: its code always uses "
            f"{convention.only:g}; give {convention.only:g}."
        )
    if convention.measure == "RMSE of an image":
        known = not convention.lacks(scene)
        balance = convention.balance(weight, scene) if known else None
        return Ported(Rmse(), weight * convention.span(scene), 1.0, balance)
    if lacking := convention.lacks(scene):
        needs = " and ".join(dict.fromkeys(OPTIONS[field] for field in lacking))
        raise UserError(f"{convention.name} ({convention.loss}) depends on {needs}; give it.")
    balance = convention.balance(weight, scene)
    if not (math.isfinite(balance) and balance > 0):
        raise UserError(
            f"{convention.name}: weight {convention.weight} = {weight:g} gives "
            f"{BALANCES[convention.family]} = {balance:g}, out of the range of floats; give a less "
            "extreme weight."
        )
    if convention.family == "cross-entropy":
        return Ported(Bernoulli(), 1.0, balance, balance)
    if convention.family == "absolute error":
        return Ported(Laplace(scale=balance), 1.0, 1.0, balance)
    return Ported(Gaussian(sigma=math.sqrt(balance)), 1.0, 1.0, balance)


OPTIONS = {
    "dimensions": "the image shape (--shape 3x64x64)",
    "channels": "the image shape (--shape 3x64x64)",
    "latent_size": "the number of latents (--latents 128)",
    "batch_size": "its batch size (--batch 64)",
    "rmse": "the RMSE of the run's reconstructions in pixel values (--rmse 0.1)",
}
"""Fields of a Scene in words, with the option of `vaebalance port` that sets each."""


@dataclass(frozen=True)
class Row:
    """A convention and the weight at which it is equivalent to this run."""

    loss: str
    weight: str
    value: float
    used_by: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Gap:
    """A convention of the same error whose weight is unknown."""

    names: tuple[str, ...]
    lacks: tuple[str, ...]
    """Fields of the scene that are unknown."""


@dataclass(frozen=True)
class Translation:
    """A run expressed in the weights of other projects."""

    summary: str
    sigma: float | None
    """σ of the equivalent Gaussian with α = β = 1; None for any other error."""
    rows: tuple[Row, ...]
    unknown: tuple[Gap, ...] = ()


def translate(
    likelihood: AbstractLikelihood, alpha: float, beta: float, scene: Scene
) -> Translation:
    """Express a run in the weights of other projects.

    Args:
        likelihood: likelihood of the run.
        alpha: weight of D.
        beta: weight of R.
        scene: sizes of the run, and its RMSE, at which RMSE losses equal squared errors.
    """
    if alpha == 0 or beta == 0:
        zero, left = ("α", "rate") if alpha == 0 else ("β", "distortion")
        return Translation(
            f"{zero} = 0: only the {left} is minimised, so there is no balance to convert.",
            None,
            (),
        )
    ratio = beta / alpha
    if isinstance(likelihood, Bernoulli):
        summary = f"Only β/α = {ratio:.4g} matters. A cross-entropy has no σ."
        return _translation(summary, None, "cross-entropy", ratio, scene)
    if isinstance(likelihood, Laplace):
        scale = likelihood.scale * ratio
        summary = (
            f"Only β/α = {ratio:.4g} and the scale matter: the run is equivalent to a Laplace "
            f"likelihood with b = {scale:.4g} and α = β = 1."
        )
        return _translation(summary, None, "absolute error", scale, scene)
    variance = effective_variance(likelihood, alpha, beta, scene)
    if variance is None:
        summary = (
            f"Only β/α = {ratio:.4g} matters. Other projects have no equivalent of this likelihood."
        )
        return Translation(summary, None, ())
    if not variance > 0:  # NaN or 0 if the RMSE or n is unknown
        return _unknown_variance(likelihood, ratio, scene)
    sigma = variance**0.5
    summary = f"The run is equivalent to a Gaussian with σ = {sigma:.4g} and α = β = 1"
    if scene.rmse is None or scene.dimensions is None:
        summary += "."
    else:
        summary += (
            f". It trains for pixel errors of {sigma:.4g}; its reconstructions have an RMSE of "
            f"{scene.rmse:.4g}. In α·RMSE + KL the two would be equal at α = n/RMSE = "
            f"{scene.dimensions / scene.rmse:.4g}."
        )
    return _translation(summary, sigma, "squared error", variance, scene)


def effective_variance(
    likelihood: AbstractLikelihood, alpha: float, beta: float, scene: Scene
) -> float | None:
    """Return σ² of the Gaussian whose D + R has the gradient of α·D + β·R, up to a factor.

    For RMSE it is n·RMSE·β/α, and for a fitted σ it is RMSE²·β/α. Both hold at the scene's RMSE and
    are NaN or 0 if that is unknown. None for a likelihood that is not a function of the squared
    error.
    """
    rmse = math.nan if scene.rmse is None else scene.rmse
    variance = likelihood.equivalent_variance(rmse, scene.dimensions or 0)
    return None if variance is None else variance * beta / alpha


def _translation(
    summary: str, sigma: float | None, family: Family, balance: float, scene: Scene
) -> Translation:
    same = [c for c in CONVENTIONS if c.family == family and c.only is None]
    rows = [_row(c, c.translate(balance, scene)) for c in same if not c.lacks(scene)]
    gaps = [Gap(c.names, c.lacks(scene)) for c in same if c.lacks(scene)]
    return Translation(summary, sigma, tuple(rows), tuple(gaps))


def _unknown_variance(likelihood: AbstractLikelihood, ratio: float, scene: Scene) -> Translation:
    """Translate a squared error whose σ² depends on an unknown RMSE."""
    unknown = tuple(f for f in ("dimensions", "rmse") if getattr(scene, f) is None)
    rows, gaps = [], []
    for convention in CONVENTIONS:
        if isinstance(likelihood, Rmse) and convention.measure == "RMSE of an image":
            rows.append(_row(convention, 1 / (ratio * convention.span(scene))))
        elif convention.family == "squared error" and convention.only is None:
            lacks = dict.fromkeys([*unknown, *convention.lacks(scene)])
            gaps.append(Gap(convention.names, tuple(lacks)))
    summary = (
        f"Only β/α = {ratio:.4g} matters. The equivalent in other squared errors depends on the "
        "RMSE of the run's reconstructions."
    )
    return Translation(summary, None, tuple(rows), tuple(gaps))


def _row(convention: Convention, value: float) -> Row:
    c = convention
    return Row(c.loss, c.weight, value, c.used_by, c.names)


def _reduced(what: str, axes: list[Axis], averaged: tuple[Axis, ...]) -> str:
    summed = [axis for axis in axes if axis not in averaged]
    meant = [axis for axis in axes if axis in averaged]
    parts = [
        f"{verb} over {' and '.join(some)}"
        for verb, some in (("summed", summed), ("averaged", meant))
        if some
    ]
    return " ".join([what, ", ".join(parts)]).strip()


def _power(text: str, power: int) -> str:
    exponents = {2: "²"}
    return text if power == 1 else f"{text}{exponents.get(power, f'^{power}')}"
