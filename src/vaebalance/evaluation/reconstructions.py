"""Quality of reconstructions: RMSE, PSNR, SSIM.

A reconstruction is the mean of p(x|z) at z = E[z|x]. Pixels are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vaebalance.evaluation.measured_images import MeasuredImages, gathered
from vaebalance.vae.model import VAE

WINDOW_RADIUS = 5  # of the 11×11 window with σ = 1.5 of Wang et al. 2004
LUMINANCE, CONTRAST = 0.01**2, 0.03**2  # their constants, for pixels in [0, 1]
SMOOTHED_AT_ONCE = 64
"""Images whose SSIM is computed at once: the window smooths 5 products of each image and its
reconstruction, and needs three times their memory."""


@dataclass(frozen=True)
class ReconstructionQuality:
    """Quality of the reconstructions of a split."""

    rmse: float
    """Root mean squared error of each image, averaged over images."""
    psnr: float
    """−10·log10 of the mean squared error over all images, in dB.

    (The mean of the images' own PSNRs is higher, and infinite as soon as one image, such as a black
    one, is reconstructed exactly.)
    """
    ssim: float | None
    """Structural similarity of each image, averaged over images; None below 3 pixels a side, or if
    not requested."""


@torch.inference_mode()
def reconstruction_quality(
    model: VAE, images: MeasuredImages, *, batch_size: int, with_ssim: bool = True
) -> ReconstructionQuality:
    """Compare images with their reconstructions; SSIM takes half of the time."""
    has_window = with_ssim and ssim_window(images.stored.shape) is not None

    def blocks() -> Iterator[tuple[Tensor, ...]]:
        for x, posterior in images.encoded_blocks(model, batch_size, "reconstructions"):
            reconstruction = model.decode(posterior.mean).mean
            errors = (reconstruction - x).square().flatten(1).mean(1).cpu().double()
            if not has_window:
                yield (errors,)
                continue
            pairs = zip(
                reconstruction.split(SMOOTHED_AT_ONCE), x.split(SMOOTHED_AT_ONCE), strict=True
            )
            parts = ((structural_similarity(a, b).cpu().double(),) for a, b in pairs)
            yield errors, *gathered(parts, len(x))

    squared_error, *similarities = gathered(blocks(), len(images))
    return ReconstructionQuality(
        rmse=float(squared_error.sqrt().mean()),
        psnr=float(-10 * squared_error.mean().log10()),
        ssim=float(similarities[0].mean()) if has_window else None,
    )


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Compute the SSIM of images a, b [B, C, H, W] in [0, 1]: [B] (Wang et al. 2004).

    It is averaged over channels and all positions of the window; images are mirrored at their
    borders. The Gaussian window is 11×11 with σ = 1.5. A smaller image has the largest odd window
    that fits, with σ in proportion (7×7 with σ = 0.9 for 8×8).

    (Importing torchmetrics for this takes longer than evaluating a small model.)
    """
    moments = torch.stack([a, b, a * a, b * b, a * b])
    down, across = (_smoothing(side, a.shape).to(a) for side in a.shape[-2:])
    smoothed = down @ moments @ across.T
    mean_a, mean_b, square_a, square_b, product = smoothed.unbind()
    variances = (square_a - mean_a**2).clamp(min=0) + (square_b - mean_b**2).clamp(min=0)
    similarity = (2 * mean_a * mean_b + LUMINANCE) * (2 * (product - mean_a * mean_b) + CONTRAST)
    similarity = similarity / ((mean_a**2 + mean_b**2 + LUMINANCE) * (variances + CONTRAST))
    return similarity.flatten(1).mean(1)


def _smoothing(side: int, shape: torch.Size) -> Tensor:
    """Build the matrix [side, side] that applies the window along one axis of images [..., H, W].

    (The window is a product of two lines. Matrix products are 3 to 13 times as fast as a
    convolution of one channel: sides of 128, 28.)
    """
    radius = _window_radius(shape)
    squares = torch.arange(-radius, radius + 1).square()
    line = torch.softmax(-squares / (2 * (1.5 * radius / WINDOW_RADIUS) ** 2), 0)
    mirrored = torch.nn.functional.pad(torch.eye(side)[None], [radius] * 2, mode="reflect")[0]
    smoothing: Tensor = (mirrored.unfold(1, 2 * radius + 1, 1) @ line).T
    return smoothing


def ssim_window(shape: torch.Size) -> int | None:
    """Return the side of the window for images [..., H, W]; None if none fits."""
    radius = _window_radius(shape)
    return 2 * radius + 1 if radius else None


def _window_radius(shape: torch.Size) -> int:
    return min(WINDOW_RADIUS, (min(shape[-2:]) - 1) // 2)
