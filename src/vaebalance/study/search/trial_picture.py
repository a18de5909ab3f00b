"""Draw a trial's reconstructions and samples in one small picture: numbers hide blur and noise.

All trials are shown the same images and the same codes, so that their pictures compare.
"""

from __future__ import annotations

import torch

from vaebalance.base.seeds import derive_seed
from vaebalance.data import Dataset
from vaebalance.evaluation.measured_images import measured_images
from vaebalance.pages.figures.picture_sheets import on_paper, png, sheet
from vaebalance.vae.model import VAE

PICTURE = "reconstructions.png"
COLUMNS = 6  # still legible in the dashboard's small cards


@torch.inference_mode()
def draw(model: VAE, dataset: Dataset, seed: int) -> bytes:
    """Draw validation images, their reconstructions and prior samples, in rows, as a PNG file.

    Args:
        model: trained, in evaluation mode; one without a prior is not sampled.
        dataset: of the study.
        seed: the study's.
    """
    device = model.prior_mean.device
    images = measured_images(dataset, "validation", seed).spread(COLUMNS)
    x = images.pixels(slice(None), device)
    rows = {"image": x, "reconstruction": model.decode(model.encode(x).mean).mean}
    if model.is_variational:
        generator = torch.Generator().manual_seed(derive_seed(seed, "prior samples"))
        z = torch.randn((len(x), model.latent_size), generator=generator)
        rows["prior sample"] = model.decode(z.to(device)).mean
    return png(on_paper(sheet(torch.stack(list(rows.values()))), list(rows)))
