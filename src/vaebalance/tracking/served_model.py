"""The model as MLflow loads it: this file is copied into the logged model and runs there.

Nothing imports it. The rest of the package is beside it, in the logged model's `code` folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from vaebalance.base.errors import UserError
from vaebalance.tracking.serving import Answer, Request, answer
from vaebalance.vae.saved_model import load_model


class ServedModel(PythonModel):
    """Answers `reconstruct`, `encode`, `decode` and `sample`: see `vaebalance.tracking.serving`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Build the VAE from its settings and its safetensors weights."""
        self.model = load_model(Path(context.artifacts["model"]))

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> Answer:
        """Answer one request; errors in it return HTTP status 400."""
        columns = {str(name): list(model_input[name]) for name in model_input.columns}
        request = Request(
            images=columns.get("images"), latents=columns.get("latents"), **(params or {})
        )
        try:
            return answer(self.model, request)
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


set_model(ServedModel())
