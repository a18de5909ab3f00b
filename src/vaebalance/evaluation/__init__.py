"""What the weights did: bounds, latents, reconstructions on the test split.

    spec             the `evaluate` section of params.yaml
    images           a split as evaluation reads it: the same pixels at every reading
    bounds           distortion, rate, importance-weighted nll, bits/dim
    calibration      the Gaussian that scores a likelihood which is no density
    latents          posterior moments, active units
    reconstructions  RMSE, PSNR, SSIM
    results          what was found, as plain data, and its files
    stage            `evaluate`: all of it

pandas and torchmetrics are imported where they are used.
"""

from vaebalance.evaluation.bounds import elbo_parts, importance_weighted_nll
from vaebalance.evaluation.images import MeasuredImages, measured_images
from vaebalance.evaluation.results import Codes, Evaluation, describe, read_codes, write
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
]
