"""What each number of metrics/evaluation.json is called, its unit, and how to read it.

Declared once, as plain data, in the order in which a reader wants them; `rows` turns the file's
content into a table. Numbers that only qualify another one have no entry of their own: they are
its name with a suffix of `COMPANIONS`.
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
    "ceiling": "most that can be seen",
}
"""Suffix -> what it says of the number before it."""
SAMPLES = "samples"
"""The section with one group of numbers for each feature space."""


@dataclass(frozen=True)
class Measure:
    """How people are told of a number."""

    name: str
    unit: str
    """Per image where it is nats; empty for a bare number."""
    better: Better | None
    """None where neither end is: it describes."""
    reading: str
    """One sentence."""


class Row(NamedTuple):
    """A number with what qualifies it."""

    key: str
    """As in MLflow: test/rate, samples/own/frechet."""
    section: str
    space: str
    """Feature space of a number of `samples`, in words; empty elsewhere."""
    measure: Measure
    value: float | None
    """None where it does not apply."""
    standard_error: float | None
    reference: float | None
    """What to hold it against: the null, the floor, chance or the ceiling."""
    reference_name: str
    """Which of these; empty where there is none."""


VOCABULARY: dict[str, Measure] = {
    "test/distortion": Measure(
        "distortion D", NATS, "lower", "What the decoder gets wrong: −log p(x|z) for z ~ q(z|x)."
    ),
    "test/rate": Measure(
        "rate R", NATS, None, "What the code costs: KL(q(z|x) ‖ p(z)); it buys distortion."
    ),
    "test/negative_elbo": Measure(
        "negative ELBO D + R", NATS, "lower", "An upper bound on the nll, whatever the weights."
    ),
    "test/importance_weighted_nll": Measure(
        "importance-weighted nll",
        NATS,
        "lower",
        "−log p(x), bounded from above with K samples: tighter than the ELBO, and comparable "
        "between models of one likelihood.",
    ),
    "test/effective_sample_size": Measure(
        "effective samples of K",
        "",
        None,
        "How many of the K samples carry the nll, on average; near 1 its bound is loose.",
    ),
    "test/bits_per_dim": Measure(
        "nll in bits/dim", "bits/dim", "lower", "The nll per pixel and channel, of discrete pixels."
    ),
    "test/negative_elbo_bits_per_dim": Measure(
        "negative ELBO in bits/dim", "bits/dim", "lower", "D + R per pixel and channel."
    ),
    "test/calibrated_nll": Measure(
        "calibrated nll",
        NATS,
        "lower",
        "The nll under a Gaussian about the decoder's mean whose σ is fitted to validation images: "
        "comparable between any likelihoods, α and β on the same grey pixels; for black and white "
        "ones the Bernoulli's own nll is the one to go by.",
    ),
    "test/calibrated_effective_sample_size": Measure(
        "effective samples of the calibrated nll", "", None, "As above, for the calibrated nll."
    ),
    "test/calibrated_sigma": Measure(
        "calibrated σ", "pixel values", "lower", "σ of that Gaussian: the typical error of a pixel."
    ),
    "test/rmse": Measure(
        "RMSE", "pixel values", "lower", "Root mean squared error of an image at z = E[z|x]."
    ),
    "test/psnr": Measure("PSNR", "dB", "higher", "The mean squared error over all images, in dB."),
    "test/ssim": Measure(
        "SSIM", "", "higher", "Structural similarity of image and reconstruction; 1 is equal."
    ),
    "latents/active_units": Measure(
        "active latents", "", None, "Latents whose mean moves with the image: none is a collapse."
    ),
    "latents/latent_size": Measure("latents", "", None, "All there are."),
    "latents/mutual_information": Measure(
        "index-code mutual information",
        NATS,
        None,
        "The part of the rate that tells these images apart; no more than ln N of N images can be "
        "seen, so near that ceiling it and the marginal KL say nothing.",
    ),
    "latents/marginal_kl": Measure(
        "marginal KL over these images",
        NATS,
        "lower",
        "The rest of the rate, by which the aggregate posterior misses the prior; too large for "
        "few images.",
    ),
    "latents/held_out_marginal_kl": Measure(
        "marginal KL, held out",
        NATS,
        "lower",
        "How far the codes of new images are from the prior, a lower bound: prior samples suffer "
        "as it grows; the one to trust of the two.",
    ),
    "latents/mean_norm": Measure(
        "distance of the codes' mean from the origin",
        "",
        "lower",
        "Symmetric about the origin means 0.",
    ),
    "latents/covariance_deviation": Measure(
        "codes' covariance less the identity",
        "",
        "lower",
        "Root mean square over the principal axes: 0 is the prior's round cloud.",
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
        "0 is symmetric about the origin; within two or three of its null it is.",
    ),
    "latents/energy_to_prior": Measure(
        "energy distance to the prior",
        "",
        "lower",
        "0 when codes are distributed as the prior; compare with its null.",
    ),
    "latents/coverage": Measure(
        "coverage of the prior by codes",
        "",
        "higher",
        "Share of prior draws with an image's code nearby: the rest falls into gaps.",
    ),
    "latents/density": Measure(
        "density of codes in the prior", "", None, "About 1 where codes lie as the prior does."
    ),
    "latents/precision": Measure(
        "codes inside the prior", "", "higher", "Share of codes in places that the prior draws."
    ),
    "latents/recall": Measure(
        "prior inside the codes",
        "",
        None,
        "Share of prior draws within reach of the codes; misleads where codes are spread thin, for "
        "their neighbourhoods are wide: see coverage.",
    ),
    "latents/two_sample_accuracy": Measure(
        "classifier told codes from the prior",
        "",
        "lower",
        "Held-out accuracy of a small network: 0.5 is indistinguishable, 1 is apart.",
    ),
    "latents/probe_accuracy": Measure(
        "label read by a linear probe",
        "",
        "higher",
        "Test accuracy of logistic regression on posterior means, against chance.",
    ),
    "samples/*/frechet": Measure(
        "Fréchet distance",
        "",
        "lower",
        "Between Gaussians fitted to the features of prior samples and of test images; best at "
        "some β inside the range, and no lower than its floor.",
    ),
    "samples/*/coverage": Measure(
        "coverage of test images by samples",
        "",
        "higher",
        "Share of test images with a prior sample nearby: variety and quality at once.",
    ),
    "samples/*/density": Measure(
        "density of samples in test images",
        "",
        None,
        "About 1 for samples that lie as test images do; above 1 for samples of what is typical.",
    ),
    "samples/*/precision": Measure(
        "precision of samples",
        "",
        "higher",
        "Share of samples that look like some test image; alone it misleads, for a collapsed "
        "decoder's average image scores near 1.",
    ),
    "samples/*/recall": Measure(
        "recall of samples", "", "higher", "Share of test images that the samples could be."
    ),
    "disentanglement/mig": Measure(
        "mutual information gap",
        "",
        "higher",
        "How much more the best latent knows of a factor than the second best, over its entropy.",
    ),
    "disentanglement/dci_disentanglement": Measure(
        "DCI disentanglement", "", "higher", "1 when each latent matters to one factor only."
    ),
    "disentanglement/dci_completeness": Measure(
        "DCI completeness", "", "higher", "1 when each factor needs one latent only."
    ),
    "disentanglement/dci_informativeness": Measure(
        "DCI informativeness", "", "higher", "Accuracy of boosted trees that read the factors."
    ),
    "disentanglement/sap": Measure(
        "SAP",
        "",
        "higher",
        "By how much the best latent predicts a factor better than the second best, by a line; "
        "low for all codes of factors with many values.",
    ),
    "disentanglement/modularity": Measure(
        "modularity",
        "",
        "higher",
        "1 when each latent has information on one factor only; high for noise, too.",
    ),
    "disentanglement/factor_vae": Measure(
        "FactorVAE score",
        "",
        "higher",
        "How often the latent that varies least tells which factor was held fixed.",
    ),
    "disentanglement/beta_vae": Measure(
        "β-VAE score",
        "",
        "higher",
        "How often a linear classifier tells which factor two images share.",
    ),
}


def rows(evaluation: Mapping[str, Any]) -> list[Row]:
    """The numbers of metrics/evaluation.json, by section and feature space, with their companions.

    Numbers that it does not have (of an older version, or switched off) are left out; those that
    do not apply to the model are there as None.
    """
    spaces = (evaluation.get("settings") or {}).get("feature_spaces") or {}
    found = [
        row
        for pattern, measure in VOCABULARY.items()
        for section, space, numbers in _groups(evaluation, pattern)
        if (row := _row(pattern, section, space, measure, numbers, spaces)) is not None
    ]
    groups = list(dict.fromkeys((row.section, row.space) for row in found))
    return sorted(found, key=lambda row: groups.index((row.section, row.space)))


def measure(key: str) -> tuple[Measure, str] | None:
    """The measure behind a number's key (samples/own/frechet_floor), and its companion suffix.

    The suffix is empty for the number itself; None for a key that the vocabulary does not know.
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
    """The sections, or the feature spaces of a section, that may have the number `pattern`."""
    section, *middle, _ = pattern.split("/")
    numbers = evaluation.get(section)
    if numbers is None:
        return
    if middle:
        yield from ((section, space, found) for space, found in numbers.items() if found)
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
