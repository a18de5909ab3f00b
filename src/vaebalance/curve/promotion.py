"""A weight chosen on a curve -> params.yaml, with everything else in that file as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.base.provenance import TRAINING_ROOMS, Provenance, stage_provenance
from vaebalance.curve.chosen_beta import Chosen
from vaebalance.data import Dataset
from vaebalance.settings import PARAMS, Settings, TrainSettings, load, parse
from vaebalance.settings.params_file import content, edit_section, rewrite
from vaebalance.tracking import CurveOrigin, Promotion, write_promotion


def promote(chosen: Chosen, origin: Provenance, dataset: Dataset) -> str:
    """Write the fixed balance α = 1, β into params.yaml, and why beside it; what it did, in words.

    The `dvc repro` that trains with it registers the model, as after a study; one that was trained
    before is registered at once.

    Args:
        chosen: which β.
        origin: of the curve.
        dataset: what it was trained on.

    Raises:
        UserError: the file cannot take it.
    """
    diff = rewrite(PARAMS, lambda text: _with_balance(text, chosen.beta))
    settings = load(TrainSettings)
    params = settings.model_dump(mode="json")
    provenance = stage_provenance(params, dataset.info.to_json(), TRAINING_ROOMS)
    promotion = _promotion(chosen, origin, provenance)
    write_promotion(Path(), promotion)
    address = tracking.register_trained(provenance, promotion)
    return "\n".join(
        [
            promotion.why,
            diff or f"{PARAMS} has α = 1, β = {chosen.beta:g} already.",
            "Train with it: `dvc repro`, which registers the model."
            if address is None
            else f"It was trained before, and is {address} in MLflow's registry.",
        ]
    )


def _promotion(chosen: Chosen, origin: Provenance, provenance: Provenance) -> Promotion:
    curve = origin.params["curve"]
    return Promotion(
        curve=CurveOrigin(origin.fingerprint, curve["method"], chosen.rule, chosen.beta),
        values={f"curve/{name}": value for name, value in chosen.values.items()},
        point={"balance.alpha": 1.0, "balance.beta": chosen.beta},
        why=f"{chosen.why}; on a {curve['method']} curve of β from {curve['low']:g} to "
        f"{curve['high']:g}, and of its own model there: a plain training differs a little",
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        params=provenance.params,
        dataset_digest=str(provenance.dataset["digest"]),
    )


def _with_balance(text: str, beta: float) -> str:
    """The text of params.yaml with a fixed balance.

    Raises:
        UserError: the file cannot take it.
    """
    knobs: dict[str, str | float | None] = {"kind": "fixed", "alpha": 1.0, "beta": beta}
    before = parse(content(text), PARAMS.name)
    text = edit_section(text, "balance", knobs, name=PARAMS.name)
    after = parse(content(text), PARAMS.name)
    others = [name for name in Settings.model_fields if name != "balance"]
    if any(getattr(before, name) != getattr(after, name) for name in others):
        raise UserError(f"{PARAMS}: balance cannot be changed alone; write β = {beta!r} by hand.")
    return text
