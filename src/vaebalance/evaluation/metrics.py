"""The catalogue of metrics: name, unit and meaning of each number in metrics/evaluation.json.

It is plain data, in the order in which readers want the numbers; `rows` turns the file's content
into a table. Numbers that only qualify another one have no entry of their own: they have its name
with a suffix of `COMPANIONS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Better = Literal["lower", "higher"]
NATS = "nats"
STANDARD_ERROR = "standard_error"
COMPANIONS = {
    STANDARD_ERROR: "standard error",
    "null": "prior against prior",
    "floor": "training images against test images",
    "chance": "chance",
    "ceiling": "largest measurable value",
}
"""Suffix -> how the number qualifies the one before it."""
SAMPLES = "samples"
"""The section that has a group of numbers for each feature space."""


@dataclass(frozen=True)
class Measure:
    """How a number is presented to people."""

    name: str
    unit: str
    """Nats are per image; empty for a number without a unit."""
    better: Better | None
    """The better direction; None for a number that only describes."""
    reading: str
    """How to read it, in one sentence."""


class Row(NamedTuple):
    """A number and what qualifies it."""

    key: str
    """The name in MLflow: test/rate, samples/own/frechet."""
    section: str
    space: str
    """Description of the feature space of a number in `samples`; empty elsewhere."""
    measure: Measure
    value: float | None
    """None if it does not apply."""
    standard_error: float | None
    reference: float | None
    """What to compare it with: the null, the floor, chance or the ceiling."""
    reference_name: str
    """Which of these it is; empty if there is none."""


VOCABULARY: dict[str, Measure] = {
    "test/distortion": Measure(
        "distortion D", NATS, "lower", "The reconstruction error: −log p(x|z) for z ~ q(z|x)."
    ),
    "test/rate": Measure(
        "rate R",
        NATS,
        None,
        "The cost of the code: KL(q(z|x) ‖ p(z)); more of it lowers distortion.",
    ),
    "test/negative_elbo": Measure(
        "negative ELBO D + R", NATS, "lower", "An upper bound on the nll, for any weights."
    ),
    "test/importance_weighted_nll": Measure(
        "importance-weighted nll",
        NATS,
        "lower",
        "An upper bound on −log p(x) from K samples: tighter than the ELBO, and comparable "
        "between models of the same likelihood.",
    ),
    "test/effective_sample_size": Measure(
        "effective samples of K",
        "",
        None,
        "How many of the K samples determine the nll, on average; near 1 its bound is loose.",
    ),
    "test/bits_per_dim": Measure(
        "nll in bits/dim", "bits/dim", "lower", "The nll per pixel and channel of discrete pixels."
    ),
    "test/negative_elbo_bits_per_dim": Measure(
        "negative ELBO in bits/dim", "bits/dim", "lower", "D + R per pixel and channel."
    ),
    "test/calibrated_nll": Measure(
        "calibrated nll",
        NATS,
        "lower",
        "The nll under a Gaussian around the decoder's mean, σ fitted to validation images: "
        "comparable between any likelihoods, α and β on the same grey pixels; for black and "
        "white pixels use the Bernoulli's own nll.",
    ),
    "test/calibrated_effective_sample_size": Measure(
        "effective samples of the calibrated nll", "", None, "The same for the calibrated nll."
    ),
    "test/calibrated_sigma": Measure(
        "calibrated σ", "pixel values", "lower", "σ of that Gaussian: the typical error of a pixel."
    ),
    "test/rmse": Measure(
        "RMSE", "pixel values", "lower", "Root mean squared error of an image at z = E[z|x]."
    ),
    "test/psnr": Measure("PSNR", "dB", "higher", "The mean squared error over all images, in dB."),
    "test/ssim": Measure(
        "SSIM",
        "",
        "higher",
        "Structural similarity of image and reconstruction; 1 for equal images.",
    ),
    "latents/active_units": Measure(
        "active latents", "", None, "Latents whose mean depends on the image; 0 is a collapse."
    ),
    "latents/latent_size": Measure("latents", "", None, "The number of all latents."),
    "latents/mutual_information": Measure(
        "index-code mutual information",
        NATS,
        None,
        "The part of the rate that identifies the image; N images show at most ln N, so near that "
        "ceiling neither it nor the marginal KL means anything.",
    ),
    "latents/marginal_kl": Measure(
        "marginal KL over these images",
        NATS,
        "lower",
        "The rest of the rate: how far the aggregate posterior is from the prior; too large for "
        "few images.",
    ),
    "latents/held_out_marginal_kl": Measure(
        "marginal KL, held out",
        NATS,
        "lower",
        "A lower bound on how far the codes of new images are from the prior: prior samples get "
        "worse as it grows. The more reliable of the two.",
    ),
    "latents/mean_norm": Measure(
        "distance of the codes' mean from the origin",
        "",
        "lower",
        "0 if the codes are symmetric about the origin.",
    ),
    "latents/covariance_deviation": Measure(
        "codes' covariance minus the identity",
        "",
        "lower",
        "Root mean square over the principal axes; 0 for the prior.",
    ),
    "latents/smallest_variance": Measure(
        "least variance along an axis", "", None, "Of the codes; the prior has 1 along every axis."
    ),
    "latents/largest_variance": Measure(
        "largest variance along an axis", "", None, "Of the codes; the prior has 1 along all axes."
    ),
    "latents/energy_symmetry": Measure(
        "energy distance of z to −z",
        "",
        "lower",
        "0 if symmetric about the origin; two or three times its null still is.",
    ),
    "latents/energy_to_prior": Measure(
        "energy distance to the prior",
        "",
        "lower",
        "0 if the codes are distributed like the prior; compare with its null.",
    ),
    "latents/coverage": Measure(
        "coverage of the prior by codes",
        "",
        "higher",
        "Share of prior draws with an image's code nearby; the others fall into gaps.",
    ),
    "latents/density": Measure(
        "density of codes in the prior",
        "",
        None,
        "About 1 if codes are distributed like the prior.",
    ),
    "latents/precision": Measure(
        "codes inside the prior", "", "higher", "Share of codes where the prior has draws."
    ),
    "latents/recall": Measure(
        "prior inside the codes",
        "",
        None,
        "Share of prior draws near the codes; misleading if codes are sparse, because their "
        "neighbourhoods are then wide: see coverage.",
    ),
    "latents/two_sample_accuracy": Measure(
        "accuracy of telling codes from the prior",
        "",
        "lower",
        "Held-out accuracy of a small network: 0.5 if indistinguishable, 1 if separate.",
    ),
    "latents/probe_accuracy": Measure(
        "accuracy of a linear probe for the label",
        "",
        "higher",
        "Test accuracy of logistic regression on posterior means; compare with chance.",
    ),
    "samples/*/frechet": Measure(
        "Fréchet distance",
        "",
        "lower",
        "Distance of Gaussians fitted to the features of prior samples and of test images; usually "
        "best at a medium β, and no lower than its floor.",
    ),
    "samples/*/coverage": Measure(
        "coverage of test images by samples",
        "",
        "higher",
        "Share of test images with a prior sample nearby; measures both variety and quality.",
    ),
    "samples/*/density": Measure(
        "density of samples in test images",
        "",
        None,
        "About 1 if samples are distributed like test images; above 1 if only typical ones occur.",
    ),
    "samples/*/precision": Measure(
        "precision of samples",
        "",
        "higher",
        "Share of samples that look like a test image; misleading alone, because a collapsed "
        "decoder's average image scores near 1.",
    ),
    "samples/*/recall": Measure(
        "recall of samples", "", "higher", "Share of test images that the samples could include."
    ),
    "disentanglement/mig": Measure(
        "mutual information gap",
        "",
        "higher",
        "The best latent's information on a factor minus the second best's, over its entropy.",
    ),
    "disentanglement/dci_disentanglement": Measure(
        "DCI disentanglement", "", "higher", "1 if each latent matters to only one factor."
    ),
    "disentanglement/dci_completeness": Measure(
        "DCI completeness", "", "higher", "1 if each factor needs only one latent."
    ),
    "disentanglement/dci_informativeness": Measure(
        "DCI informativeness", "", "higher", "Accuracy of boosted trees that predict the factors."
    ),
    "disentanglement/sap": Measure(
        "SAP",
        "",
        "higher",
        "How much better the best latent predicts a factor linearly than the second best; low for "
        "every code if factors have many values.",
    ),
    "disentanglement/modularity": Measure(
        "modularity",
        "",
        "higher",
        "1 if each latent has information on only one factor; noise also scores high.",
    ),
    "disentanglement/factor_vae": Measure(
        "FactorVAE score",
        "",
        "higher",
        "How often the latent that varies least identifies the factor that was held fixed.",
    ),
    "disentanglement/beta_vae": Measure(
        "β-VAE score",
        "",
        "higher",
        "How often a linear classifier identifies the factor that two images share.",
    ),
}


def rows(evaluation: Mapping[str, Any]) -> list[Row]:
    """List the numbers of metrics/evaluation.json by section and feature space, with companions.

    Numbers that the file does not have (an older version, or switched off) are left out; those that
    do not apply to the model are None.
    """
    spaces = (evaluation.get("settings") or {}).get("feature_spaces") or {}
    table = [
        row
        for pattern, measure in VOCABULARY.items()
        for section, space, numbers in _groups(evaluation, pattern)
        if (row := _row(pattern, section, space, measure, numbers, spaces)) is not None
    ]
    groups = list(dict.fromkeys((row.section, row.space) for row in table))
    return sorted(table, key=lambda row: groups.index((row.section, row.space)))


def measure(key: str) -> tuple[Measure, str] | None:
    """Look up the measure of a number's key (samples/own/frechet_floor), and its companion suffix.

    The suffix is empty for the number itself; the result is None for an unknown key.
    """
    section, _, rest = key.partition("/")
    pattern = f"{SAMPLES}/*/{rest.rpartition('/')[2]}" if section == SAMPLES else key
    for suffix in ("", *COMPANIONS):
        base = pattern.removesuffix(f"_{suffix}") if suffix else pattern
        if base in VOCABULARY and (base != pattern or not suffix):
            return VOCABULARY[base], suffix
    return None


def _groups(
    evaluation: Mapping[str, Any], pattern: str
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Iterate over the sections, or their feature spaces, that may have the number `pattern`."""
    section, *middle, _ = pattern.split("/")
    numbers = evaluation.get(section)
    if numbers is None:
        return
    if middle:
        yield from ((section, space, group) for space, group in numbers.items() if group)
    else:
        yield section, "", numbers


def _row(
    pattern: str,
    section: str,
    space: str,
    measure: Measure,
    numbers: Mapping[str, Any],
    spaces: Mapping[str, str],
) -> Row | None:
    name = pattern.rpartition("/")[2]
    if name not in numbers:
        return None
    references = [
        (numbers[f"{name}_{suffix}"], words)
        for suffix, words in COMPANIONS.items()
        if suffix != STANDARD_ERROR and numbers.get(f"{name}_{suffix}") is not None
    ]
    reference, reference_name = references[0] if references else (None, "")
    return Row(
        key="/".join(part for part in (section, space, name) if part),
        section=section,
        space=spaces.get(space, space),
        measure=measure,
        value=numbers[name],
        standard_error=numbers.get(f"{name}_{STANDARD_ERROR}"),
        reference=reference,
        reference_name=reference_name,
    )
