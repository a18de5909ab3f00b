"""A trained model on disk: safetensors, and a description to build it again. No pickled code."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter
from torch import Tensor

from vaebalance.base.errors import UserError
from vaebalance.base.files import replacing, write_json
from vaebalance.vae.likelihoods import Likelihood
from vaebalance.vae.model import VAE, ModelSpec

WEIGHTS = "weights.safetensors"
DESCRIPTION = "model.json"


def save_model(folder: Path, model: VAE, weights: dict[str, Tensor]) -> None:
    """Write `weights` of `model`, and a description to build it again, into `folder`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    with replacing(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    write_json(
        folder / DESCRIPTION,
        {
            "image_shape": list(model.image_shape),
            "likelihood": model.likelihood.model_dump(mode="json"),
            "model": model.spec.model_dump(mode="json"),
        },
    )


def load_model(folder: Path | str) -> VAE:
    """Load the VAE saved in `folder`, on the CPU, in evaluation mode.

    Raises:
        UserError: there is no model, or its files do not fit together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        spec = ModelSpec.model_validate_json(json.dumps(description["model"]))
        likelihood = TypeAdapter(Likelihood).validate_json(json.dumps(description["likelihood"]))
        model = VAE(spec, likelihood, tuple(description["image_shape"]))
        model.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError as error:
        raise UserError(
            f"{folder}: no trained model here ({DESCRIPTION} or {WEIGHTS} is missing); "
            "run `dvc repro train` first."
        ) from error
    except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"{folder}: the model's files do not fit together ({error}); "
            "run `dvc repro --force train`."
        ) from error
    return model.eval()
