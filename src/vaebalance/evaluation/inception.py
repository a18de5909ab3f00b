"""Inception-v3 features from weights on disk (Szegedy et al. 2015).

The features are the 2,048 pooled ones of the network that torchvision publishes, at 299×299.
Fréchet distances in them differ from those in the literature, which use another port of the
network.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vaebalance.base.errors import UserError
from vaebalance.evaluation.features import FeatureSpace

SIDE = 299
AT_ONCE = 32
"""Images in the network at once: about 300 MB."""


class InceptionFeatures(nn.Module):
    """A network from grey or colour pixels of any size to features [B, 2048]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 1 or 3, H, W] in [0, 1] to [B, 2048]."""
        return torch.cat([self.network(self._prepared(part)) for part in x.split(AT_ONCE)])

    def _prepared(self, x: Tensor) -> Tensor:
        """Convert pixels to [B, 3, 299, 299] in [−1, 1], the network's training domain."""
        x = interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)
        return (2 * x - 1).expand(-1, 3, -1, -1)


def inception_features(path: Path, device: torch.device) -> FeatureSpace:
    """Load the network with the weights of torchvision's file at `path`.

    Raises:
        UserError: the file is missing or holds something else.
    """
    from torchvision.models import inception_v3  # type: ignore[import-untyped]

    key = f"evaluate.inception_weights = {str(path)!r}"
    require_weights(path)
    network = inception_v3(weights=None, init_weights=False, transform_input=False)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{key}: not the weights of torchvision's inception_v3 ({reason}). Give the file "
            "inception_v3_google-*.pth that torchvision downloads, or null."
        ) from error
    network.fc = nn.Identity()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:8]
    name = f"Inception-v3 (torchvision, weights {digest}), 2,048 features"
    return FeatureSpace(name, InceptionFeatures(network).eval().to(device), device)


def require_weights(path: Path) -> None:
    """Check that the file exists, before a long computation.

    Raises:
        UserError: it does not.
    """
    if not path.is_file():
        raise UserError(
            f"evaluate.inception_weights = {str(path)!r}: no such file. Give the path of "
            "torchvision's inception_v3_google-*.pth (an absolute path if experiments run in "
            "copies), or null."
        )
