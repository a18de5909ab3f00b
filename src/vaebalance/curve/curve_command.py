"""`vaebalance curve`: train, find a target, promote or distill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vaebalance import tracking
from vaebalance.base.errors import UserError
from vaebalance.base.files import write_json
from vaebalance.base.provenance import (
    CURVE_ROOMS,
    Provenance,
    make_provenance,
    read_provenance,
    stage_provenance,
    write_provenance,
)
from vaebalance.base.provenance import FILE as PROVENANCE
from vaebalance.curve.chosen_beta import Target, best_of, choose, find, knee_of
from vaebalance.curve.curve_training import curve_training
from vaebalance.curve.curves import AbstractCurve
from vaebalance.curve.options import BEST, KNEE, Choice, Options
from vaebalance.curve.promotion import promote
from vaebalance.curve.saved_curve import COMMAND, FOLDER, load_curve, read_rows, save
from vaebalance.curve.screen import describe_choices, make_table
from vaebalance.curve.trace import TEST, VALIDATION, CurveRow, trace, validation_rows
from vaebalance.data import Dataset, open_dataset
from vaebalance.settings import CurveSettings, load
from vaebalance.terminal.console import make_console, say
from vaebalance.terminal.progress import progress
from vaebalance.tracking.points import flatten
from vaebalance.vae.saved_model import save_model

PREPARED = Path("data/prepared")
METRICS = Path("metrics/curve.json")
CHECKPOINTS = Path("checkpoints")
NO_EFFECT = ("train.checkpoint_every", "train.device", "train.patience", "evaluate.")
"""Knobs that change no model of a curve."""


def run(options: Options) -> None:
    """Do what was asked for.

    Raises:
        UserError: the settings, the data or the curve do not allow it.
    """
    settings = load(CurveSettings)
    dataset = open_dataset(PREPARED)
    console = make_console()
    if options == Options():
        train(settings, dataset, console)
        return
    refuse_other(settings, dataset)
    curve, rows = load_curve(FOLDER), read_rows(FOLDER)
    if options.target is not None:
        say_target(curve, rows, Target(*options.target), settings, dataset, console)
    elif options.promote is not None:
        chosen = choose(curve, validation_rows(rows), options.promote)
        say(console, promote(chosen, read_provenance(FOLDER), dataset))
    elif options.distill is not None:
        distill(curve, rows, *options.distill, console)


def train(settings: CurveSettings, dataset: Dataset, console: Console) -> None:
    """Train the curve, measure it on validation and test images, write, log and print it.

    A training of the same fingerprint that was killed goes on from its last checkpoint.
    """
    provenance = provenance_of(settings, dataset)
    checkpoint = CHECKPOINTS / f"curve-{provenance.fingerprint[:16]}.pt"
    spec = settings.evaluate.replace(nll_samples=settings.curve.nll_samples)
    with tracking.curve(provenance) as tracker:
        training = curve_training(settings, dataset)
        training.resume(checkpoint, provenance.fingerprint)
        for _ in progress(training, "curve"):
            pass
        curve = training.curve
        betas = curve.betas(settings.curve.points)
        rows = [
            row
            for split in (VALIDATION, TEST)
            for row in trace(curve, betas, dataset, split, spec, settings.seed)
        ]
        save(FOLDER, curve, rows, provenance)
        write_json(METRICS, summary(rows))
        numbers = {
            split: [row.numbers() for row in rows if row.split == split]
            for split in (VALIDATION, TEST)
        }
        tracking.log_along(tracker, provenance, numbers)
        tracker.log_metrics(_flat(summary(rows)))
        tracker.log_artifacts(FOLDER, tracking.CURVE_FOLDER)
    test = [row for row in rows if row.split == TEST]
    console.print(make_table(test, f"{len(dataset.images(TEST)):,} test images, nats per image"))
    say(console, f"chosen on validation images:\n{describe_choices(validation_rows(rows))}")
    say(
        console,
        f"Go on with `{COMMAND} --target-rate X`, `--promote knee|best|BETA`, or "
        "`--distill knee|best|BETA FOLDER`.",
    )
    checkpoint.unlink(missing_ok=True)  # the last thing: until then, a new start needs it


def provenance_of(settings: CurveSettings, dataset: Dataset) -> Provenance:
    """Return the fingerprint of a curve."""
    params = settings.model_dump(mode="json")
    return stage_provenance(params, dataset.info.to_json(), CURVE_ROOMS)


def summary(rows: Sequence[CurveRow]) -> dict[str, dict[str, float]]:
    """Return what the rules choose on validation images, measured on test images."""
    chosen = {KNEE: knee_of(validation_rows(rows)), BEST: best_of(validation_rows(rows))}
    test = {row.beta: row for row in rows if row.split == TEST}
    return {word: test[row.beta].numbers() for word, row in chosen.items() if row is not None}


def say_target(
    curve: AbstractCurve,
    rows: Sequence[CurveRow],
    target: Target,
    settings: CurveSettings,
    dataset: Dataset,
    console: Console,
) -> None:
    """Print the β that meets the target."""
    found = find(
        curve,
        validation_rows(rows),
        target,
        dataset,
        batch_size=settings.evaluate.batch_size,
        seed=settings.seed,
    )
    say(
        console,
        f"{target}: β = {found.beta:.6g} (at α = 1), {target.quantity} {found.value:.4f} on "
        f"validation images. Take it with `{COMMAND} --promote {found.beta:.6g}`.",
    )


def distill(
    curve: AbstractCurve, rows: Sequence[CurveRow], choice: Choice, folder: Path, console: Console
) -> None:
    """Write the model at a β into `folder`, as the train stage would, with where it comes from.

    It registers nothing in MLflow: the registry has models of runs, and this one has none.
    """
    beta = choose(curve, validation_rows(rows), choice).beta
    model = curve.model_at(beta)
    save_model(folder, model, model.state_dict())
    origin = read_provenance(FOLDER)
    balance = {"kind": "fixed", "alpha": 1.0, "beta": beta}
    params = origin.params | {"balance": balance}
    write_provenance(folder, make_provenance(params, origin.dataset, origin.code_digest))
    say(console, f"{folder}: an ordinary model at α = 1, β = {beta:g}.")


def differences(settings: CurveSettings, dataset: Dataset) -> list[str]:
    """List how the settings and data of the curve on disk differ from these.

    Raises:
        UserError: there is none.
    """
    if not (FOLDER / PROVENANCE).exists():
        raise UserError(f"{FOLDER}: no curve here; train one with `{COMMAND}`.")
    made = read_provenance(FOLDER)
    before = _compared(made.params, made.dataset)
    now = _compared(provenance_of(settings, dataset).params, dataset.info.to_json())
    return [
        f"{key}: {before.get(key, 'absent')} in the curve, {now.get(key, 'absent')} now"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]


def refuse_other(settings: CurveSettings, dataset: Dataset) -> None:
    """Check that the curve on disk is of these settings and data.

    Raises:
        UserError: there is none, or it is not; says what differs.
    """
    if found := differences(settings, dataset):
        changes = "".join(f"\n         {line}" for line in found)
        raise UserError(
            f"{FOLDER} was trained with other settings or data:{changes}\n       Set them back, or "
            f"train it anew with `{COMMAND}`."
        )


def _compared(params: dict[str, Any], dataset: dict[str, Any]) -> dict[str, Any]:
    flat = flatten(params, ".") | {"data/prepared (digest)": dataset["digest"]}
    return {key: value for key, value in flat.items() if not key.startswith(NO_EFFECT)}


def _flat(chosen: dict[str, dict[str, float]]) -> dict[str, float | None]:
    return {f"{word}/{name}": value for word, row in chosen.items() for name, value in row.items()}
