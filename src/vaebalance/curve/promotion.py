"""Promote a chosen β: write its weights to params.yaml and leave the rest unchanged."""

from __future__ import annotations

from functools import partial

from vaebalance.base.errors import UserError
from vaebalance.base.provenance import TRAINING_ROOMS, Provenance, stage_provenance
from vaebalance.curve.chosen_beta import Chosen
from vaebalance.data import Dataset
from vaebalance.settings import PARAMS, Settings, TrainSettings, load, parse, view_of
from vaebalance.settings.params_file import content, edit_section, rewrite
from vaebalance.tracking import CurveOrigin, Selection
from vaebalance.tracking import promote as promote_selection


def promote(chosen: Chosen, origin: Provenance, dataset: Dataset) -> str:
    """Write the fixed balance α = 1, β to params.yaml and the reason beside it.

    The next `dvc repro` trains with it and registers the model, as after a study. A model that is
    already trained is registered now.

    Args:
        chosen: the β.
        origin: provenance of the curve.
        dataset: data that the curve was trained on.

    Returns:
        A description of the change.

    Raises:
        UserError: the balance in params.yaml cannot be edited.
    """
    balance = {"kind": "fixed", "alpha": 1.0, "beta": chosen.beta}
    wanted = parse(load(Settings).model_dump(mode="json") | {"balance": balance})
    params = view_of(TrainSettings, wanted).model_dump(mode="json")
    provenance = stage_provenance(params, dataset.info.to_json(), TRAINING_ROOMS)
    write = partial(rewrite, PARAMS, partial(_edit_balance, wanted=wanted))
    return promote_selection(_selection(chosen, origin), provenance, write).report()


def _selection(chosen: Chosen, origin: Provenance) -> Selection:
    curve = origin.params["curve"]
    return Selection(
        curve=CurveOrigin(origin.fingerprint, curve["method"], chosen.rule, chosen.beta),
        values={f"curve/{name}": value for name, value in chosen.values.items()},
        point={"balance.alpha": 1.0, "balance.beta": chosen.beta},
        why=f"{chosen.why}; on a {curve['method']} curve of β from {curve['low']:g} to "
        f"{curve['high']:g}, and of its own model there: a plain training differs a little",
    )


def _edit_balance(text: str, wanted: Settings) -> str:
    """Return the text of params.yaml with the balance of `wanted`.

    Raises:
        UserError: the edited file does not read as `wanted`.
    """
    knobs = wanted.balance.model_dump(mode="json")
    text = edit_section(text, "balance", knobs, name=PARAMS.name)
    if parse(content(text), PARAMS.name) != wanted:
        beta = knobs["beta"]
        raise UserError(f"{PARAMS}: balance cannot be changed alone; write β = {beta!r} by hand.")
    return text
