"""The top of the page: a description of the run and its main numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaebalance.base.verdicts import Verdict
from vaebalance.pages.kit.blocks import Table
from vaebalance.pages.kit.words import counted, number, weight
from vaebalance.pages.report.inputs import Inputs

STYLES = ("distortion", "rate", "penalty")  # CSS classes of a bar's parts


@dataclass(frozen=True)
class Figure:
    """A number with its name, unit and note."""

    name: str
    value: str
    unit: str
    note: str
    style: str = ""
    """CSS class that sets the colour."""


@dataclass(frozen=True)
class Part:
    """A segment of a bar."""

    name: str
    value: str
    percent: float
    style: str


@dataclass(frozen=True)
class Bar:
    """A sum of terms, drawn to scale."""

    name: str
    value: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Summary:
    """The top of the page."""

    title: str
    lead: str
    caution: str | None
    verdicts: tuple[Verdict, ...] | None = None
    """Empty if the training is healthy, None if no verdict was given."""
    bars: tuple[Bar, ...] = ()
    bars_note: str = ""
    has_penalty: bool = False
    """Whether the weighted loss has a penalty besides αD + βR."""
    figures: tuple[Figure, ...] = ()
    figures_note: str = ""
    settings: Table | None = None
    fingerprint: str = ""
    kind: str = "vaebalance report"
    """Kind of page."""


def summarise(inputs: Inputs) -> Summary:
    """Summarise the run for the top of the page."""
    best = inputs.best
    epoch, epochs = int(best["epoch"]), int(max(inputs.history["epoch"]))
    images = int(inputs.evaluation["settings"]["images"])
    return Summary(
        title=_title(inputs),
        lead=_lead(inputs),
        caution=inputs.model.likelihood.caution(binarised=inputs.is_binarised),
        verdicts=inputs.verdicts,
        bars=_bars(inputs),
        has_penalty="validation/weighted_penalty" in best,
        bars_note=f"validation, epoch {epoch} of {epochs}, nats per image",
        figures=tuple(_figures(inputs)),
        figures_note=f"{counted(images, 'test image')}; weights of epoch {epoch} of {epochs}, "
        "which training kept",
        settings=_settings(inputs),
        fingerprint=inputs.provenance.fingerprint,
    )


def _weights(inputs: Inputs) -> str:
    best = inputs.best
    alpha = f"α = {weight(best['validation/alpha'])}"
    if not inputs.model.is_variational:
        return alpha
    return f"{alpha}, β = {weight(best['validation/beta'])}"


def _title(inputs: Inputs) -> str:
    return f"{inputs.dataset.info.name} at {_weights(inputs)}"


def _lead(inputs: Inputs) -> str:
    model, info = inputs.model, inputs.dataset.info
    channels, height, width = info.image_shape
    colour = "grey" if channels == 1 else "colour"
    pixels = f"{colour} images of {height} × {width} pixels"
    if inputs.is_binarised:
        pixels += f", binarised ({info.binarisation})"
    kind = "variational autoencoder" if model.is_variational else "plain autoencoder"
    likelihood = model.likelihood.model_dump(mode="json")
    details = ", ".join(
        f"{name} {weight(value) if isinstance(value, float) else value}"
        for name, value in likelihood.items()
        if name != "kind"
    )
    what = f"{likelihood['kind']} ({details})" if details else likelihood["kind"]
    balance = inputs.provenance.params.get("balance", {}).get("kind", "fixed")
    network = model.spec.architecture.model_dump()["kind"]
    return (
        f"A {kind} ({network}, {counted(model.latent_size, 'latent')}) trained on "
        f"{info.splits['train']:,} {pixels}. Likelihood: {what}. Balance: {balance}."
    )


def _bars(inputs: Inputs) -> tuple[Bar, ...]:
    """Return bars of the negative ELBO and the weighted loss; negative terms cannot be drawn."""
    best = inputs.best
    rate = best["validation/rate"]
    raw = (best["validation/negative_elbo"] - rate, rate)
    weighted = [best["validation/weighted_distortion"], best["validation/weighted_rate"]]
    if "validation/weighted_penalty" in best:
        weighted.append(best["validation/weighted_penalty"])
    bars = [
        _bar("negative ELBO", ("D", "R"), raw),
        _bar("weighted loss", ("αD", "βR", "penalty"), weighted),
    ]
    return tuple(bar for bar in bars if bar) if inputs.model.is_variational else ()


def _bar(name: str, names: Sequence[str], values: Sequence[float]) -> Bar | None:
    total = sum(values)
    if min(values) < 0 or total <= 0:
        return None
    parts = (
        Part(part, number(value), round(100 * value / total, 2), style)
        for part, value, style in zip(names, values, STYLES, strict=False)
    )
    return Bar(name, number(total), tuple(parts))


def _figures(inputs: Inputs) -> Iterator[Figure]:
    """Yield the most important numbers; the measures panel has all of them."""
    test, latents = inputs.evaluation["test"], inputs.evaluation["latents"]
    settings = inputs.evaluation["settings"]
    nats = "nats"
    of = "" if inputs.model.likelihood.is_density else " of a calibrated Gaussian"
    note = f"−log p(x|z){of}"
    yield Figure("Distortion D", number(test["distortion"]), nats, note, "distortion")
    if _has(test, "rate"):
        bits = number(test["rate"] / math.log(2), 3)
        yield Figure("Rate R", number(test["rate"]), nats, f"{bits} bits of code", "rate")
    if _has(test, "negative_elbo"):
        yield Figure("Negative ELBO", number(test["negative_elbo"]), nats, "D + R", "total")
    if _has(test, "importance_weighted_nll"):
        yield Figure(
            "nll, importance-weighted",
            number(test["importance_weighted_nll"]),
            nats,
            _nll_note(test, settings),
        )
    if _has(test, "bits_per_dim"):
        yield Figure("Bits per dimension", number(test["bits_per_dim"]), "bits", "of the nll")
    if _has(test, "calibrated_nll"):
        sigma = f"σ {number(test['calibrated_sigma'], 3)}, comparable across likelihoods"
        yield Figure("nll, calibrated Gaussian", number(test["calibrated_nll"]), nats, sigma)
    yield Figure("RMSE", number(test["rmse"]), "", "pixel values in [0, 1]")
    if _has(test, "ssim"):
        window = settings.get("ssim_window")
        yield Figure(
            "SSIM", number(test["ssim"], 3), "", f"{window} × {window} window" if window else ""
        )
    yield Figure(
        "Active latents",
        f"{latents['active_units']} of {latents['latent_size']}",
        "",
        f"Var(E[z|x]) > {weight(settings['active_threshold'])}",
    )


def _nll_note(test: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    parts = [f"K = {settings['nll_samples']}"]
    if _has(test, "importance_weighted_nll_standard_error"):
        parts.insert(0, f"± {number(test['importance_weighted_nll_standard_error'], 2)}")
    if _has(test, "effective_sample_size"):
        parts.append(f"{number(test['effective_sample_size'], 3)} effective")
    return ", ".join(parts)


def _has(values: Mapping[str, Any], name: str) -> bool:
    return values.get(name) is not None


def _settings(inputs: Inputs) -> Table:
    info = inputs.dataset.info
    rows = [
        ("data.name", info.name),
        ("data.digest", info.digest[:16]),
        *((f"data.splits.{split}", f"{count:,}") for split, count in info.splits.items()),
        ("data.binarisation", info.binarisation),
        *_flat(inputs.provenance.params),
    ]
    return Table("All settings of this run", ("setting", "value"), tuple(rows), is_folded=True)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
