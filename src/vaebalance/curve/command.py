"""What the arguments of pipelines/curve.py ask for: train, find a target, promote or distill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vaebalance import tracking
from vaebalance.curve.choice import Target, best_of, find, knee_of
from vaebalance.curve.cli import BEST, KNEE, Choice, Options
from vaebalance.curve.curves import AbstractCurve
from vaebalance.curve.saved import COMMAND, load_curve, read_rows, save
from vaebalance.curve.screen import describe_choices, make_console, make_table, progress
from vaebalance.curve.trace import CurveRow, trace
from vaebalance.curve.training import curve_training
from vaebalance.data import Dataset, open_dataset
from vaebalance.errors import UserError
from vaebalance.files import write_json
from vaebalance.params_file import content, edit_section, rewrite
from vaebalance.provenance import (
    Provenance,
    digest_code,
    make_provenance,
    read_provenance,
    stage_dependencies,
    write_provenance,
)
from vaebalance.saved_model import save_model
from vaebalance.settings import PARAMS, CurveSettings, Settings, load, parse
from vaebalance.tracking.points import flatten

PREPARED = Path("data/prepared")
FOLDER = Path("artifacts/curve")
METRICS = Path("metrics/curve.json")
STAGE = "curve/dvc.yaml"
VALIDATION, TEST = "validation", "test"
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
    _refuse_other(settings, dataset)
    curve, rows = load_curve(FOLDER), read_rows(FOLDER)
    if options.target is not None:
        say_target(curve, rows, Target(*options.target), settings, dataset, console)
    elif options.promote is not None:
        promote(curve, rows, options.promote, console)
    elif options.distill is not None:
        distill(curve, rows, *options.distill, console)


def train(settings: CurveSettings, dataset: Dataset, console: Console) -> None:
    """Train the curve, trace it on validation and test images, write, tell MLflow, and print."""
    provenance = provenance_of(settings, dataset)
    spec = settings.evaluate.replace(nll_samples=settings.curve.nll_samples)
    with tracking.curve(provenance) as tracker:
        training = curve_training(settings, dataset)
        for _ in progress(training):
            pass
        curve = training.curve
        betas = curve.betas(settings.curve.points)
        rows = [
            row
            for split in (VALIDATION, TEST)
            for row in trace(curve, betas, dataset, split, spec, settings.seed)
        ]
        save(FOLDER, curve, rows, provenance)
        from vaebalance.curve.show import PAGE, show  # altair and Pillow: for this alone

        show(FOLDER, curve, _validation(rows), dataset, settings.seed)
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
    _say(console, f"chosen on validation images:\n{describe_choices(_validation(rows))}")
    _say(
        console,
        f"{FOLDER / PAGE} has the curve under a slider. Go on with `{COMMAND} --target-rate X`, "
        "`--promote knee|best|BETA`, or `--distill knee|best|BETA FOLDER`.",
    )


def provenance_of(settings: CurveSettings, dataset: Dataset) -> Provenance:
    """Fingerprint of a curve."""
    code = digest_code(Path(), stage_dependencies(Path(), "curve", STAGE))
    return make_provenance(settings.model_dump(mode="json"), dataset.info.to_json(), code)


def summary(rows: Sequence[CurveRow]) -> dict[str, dict[str, float]]:
    """What the rules choose on validation images, measured on test images."""
    chosen = {KNEE: knee_of(_validation(rows)), BEST: best_of(_validation(rows))}
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
        _validation(rows),
        target,
        dataset,
        batch_size=settings.evaluate.batch_size,
        seed=settings.seed,
    )
    _say(
        console,
        f"{target}: β = {found.beta:.6g} (at α = 1), {target.quantity} {found.value:.4f} on "
        f"validation images. Take it with `{COMMAND} --promote {found.beta:.6g}`.",
    )


def promote(
    curve: AbstractCurve, rows: Sequence[CurveRow], choice: Choice, console: Console
) -> None:
    """Write the fixed balance α = 1, β into params.yaml, and say what changed."""
    beta = beta_of(curve, rows, choice)
    diff = rewrite(PARAMS, lambda text: _with_balance(text, beta))
    _say(console, diff or f"{PARAMS} has α = 1, β = {beta:g} already.")
    _say(console, "Train with it: `dvc repro`.")


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


def distill(
    curve: AbstractCurve, rows: Sequence[CurveRow], choice: Choice, folder: Path, console: Console
) -> None:
    """Write the model at a β into `folder`, as the train stage would, with where it comes from."""
    beta = beta_of(curve, rows, choice)
    model = curve.model_at(beta)
    save_model(folder, model, model.state_dict())
    origin = read_provenance(FOLDER)
    balance = {"kind": "fixed", "alpha": 1.0, "beta": beta}
    params = origin.params | {"balance": balance}
    write_provenance(folder, make_provenance(params, origin.dataset, origin.code_digest))
    _say(console, f"{folder}: an ordinary model at α = 1, β = {beta:g}.")


def beta_of(curve: AbstractCurve, rows: Sequence[CurveRow], choice: Choice) -> float:
    """The β that `choice` means, chosen on validation images.

    Raises:
        UserError: there is no knee, or the curve does not reach that β.
    """
    validation = _validation(rows)
    if choice == KNEE:
        knee = knee_of(validation)
        if knee is None:
            raise UserError(
                "knee: D and R have no bend over this curve's range; give best or a β, or train "
                "one with a wider curve.low and curve.high."
            )
        return knee.beta
    if choice == BEST:
        return best_of(validation).beta
    beta = float(choice)
    if not curve.low <= beta <= curve.high:
        raise UserError(
            f"β = {beta:g}: this curve is of β from {curve.low:g} to {curve.high:g}; stay within, "
            "or train one with another curve.low or curve.high."
        )
    return beta


def _refuse_other(settings: CurveSettings, dataset: Dataset) -> None:
    """Check that the curve on disk is of these settings and data.

    Raises:
        UserError: there is none, or it is not; says what differs.
    """
    if not FOLDER.exists():
        raise UserError(f"{FOLDER}: no curve here; train one with `{COMMAND}`.")
    made = read_provenance(FOLDER)
    before = _compared(made.params, made.dataset)
    now = _compared(provenance_of(settings, dataset).params, dataset.info.to_json())
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if keys:
        changes = "".join(
            f"\n         {key}: {before.get(key, 'absent')} in the curve, "
            f"{now.get(key, 'absent')} now"
            for key in keys
        )
        raise UserError(
            f"{FOLDER} was trained with other settings or data:{changes}\n       Set them back, or "
            f"train it anew with `{COMMAND}`."
        )


def _compared(params: dict[str, Any], dataset: dict[str, Any]) -> dict[str, Any]:
    flat = flatten(params, ".") | {"data/prepared (digest)": dataset["digest"]}
    return {key: value for key, value in flat.items() if not key.startswith(NO_EFFECT)}


def _validation(rows: Sequence[CurveRow]) -> list[CurveRow]:
    return [row for row in rows if row.split == VALIDATION]


def _flat(chosen: dict[str, dict[str, float]]) -> dict[str, float | None]:
    return {f"{word}/{name}": value for word, row in chosen.items() for name, value in row.items()}


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
