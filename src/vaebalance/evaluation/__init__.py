"""What the weights did: bounds, latents, reconstructions, samples, factors on the test split.

    spec             the `evaluate` section of params.yaml
    images           a split as evaluation reads it: the same pixels at every reading
    bounds           distortion, rate, importance-weighted nll, bits/dim
    calibration      the Gaussian by which models of any likelihood compare
    reconstructions  RMSE, PSNR, SSIM
    latents          posterior moments, active units
    surgery          the rate as index-code mutual information and marginal KL
    prior_match      symmetric about the origin, no gaps: the aggregate posterior and the prior
    neighbours       precision, recall, density, coverage of one set of points by another
    two_sample       the classifier two-sample test
    probe            what of the label a linear classifier reads
    features         spaces in which images are compared; none needs a download
    samples          decoded prior samples against test images
    disentanglement  MIG, DCI, SAP, … where factors of variation are known
    vocabulary       what each number is called, and how to read it
    results          what was found, as plain data, and its files
    stage            `evaluate`: all of it

pandas, scikit-learn and torchvision are imported where they are used.
"""

from vaebalance.evaluation.bounds import elbo_parts, importance_weighted_nll
from vaebalance.evaluation.images import MeasuredImages, measured_images
from vaebalance.evaluation.results import (
    Codes,
    Evaluation,
    describe,
    read_codes,
    write,
    write_seconds,
)
from vaebalance.evaluation.spec import EvaluateSpec
from vaebalance.evaluation.stage import evaluate

__all__ = [
    "Codes",
    "EvaluateSpec",
    "Evaluation",
    "MeasuredImages",
    "describe",
    "elbo_parts",
    "evaluate",
    "importance_weighted_nll",
    "measured_images",
    "read_codes",
    "write",
    "write_seconds",
]
