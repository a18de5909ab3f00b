"""A weight chosen on a curve -> params.yaml, with everything else in that file as it was."""

from __future__ import annotations

from vaebalance.curve.choice import Chosen
from vaebalance.errors import UserError
from vaebalance.params_file import content, edit_section, rewrite
from vaebalance.settings import PARAMS, Settings, parse


def promote(chosen: Chosen) -> str:
    """Write the fixed balance α = 1, β into params.yaml; what changed, in words.

    Raises:
        UserError: the file cannot take it.
    """
    diff = rewrite(PARAMS, lambda text: _with_balance(text, chosen.beta))
    changed = diff or f"{PARAMS} has α = 1, β = {chosen.beta:g} already."
    return f"{chosen.why}\n{changed}\nTrain with it: `dvc repro`."


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
