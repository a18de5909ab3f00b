"""The port command: their weight as ours, our weights as theirs, or the list of conventions."""

from __future__ import annotations

import math
from pathlib import Path

from vaebalance.balancing import AbstractBalance, Fixed
from vaebalance.base.errors import UserError
from vaebalance.data import open_dataset
from vaebalance.porting import wording as screen
from vaebalance.porting.conventions import Ported, Scene, find, port, translate
from vaebalance.porting.options import Options, Shape
from vaebalance.settings import PARAMS, Settings, load, params_file, parse
from vaebalance.settings.params_file import Knobs
from vaebalance.terminal.console import make_console, say
from vaebalance.vae.likelihoods import AbstractLikelihood, Bernoulli, Gaussian, Laplace, Rmse

PREPARED = Path("data/prepared")
DIGITS = 6
"""Significant digits of a written number; a balance is not known to a millionth."""


def run(options: Options) -> None:
    """Run the command.

    Raises:
        UserError: the convention, its weight or params.yaml is wrong.
    """
    if options.list:
        _show_list(options)
    elif options.convention is None:
        _show_theirs(options)
    else:
        _show_ours(options)


def _show_list(options: Options) -> None:
    if options.json:
        screen.print_json(screen.describe_list())
    else:
        screen.show_list(make_console())


def _show_ours(options: Options) -> None:
    assert options.convention is not None
    assert options.weight is not None
    convention, weight, scene = find(options.convention), options.weight, scene_of(options)
    ported = port(convention, weight, scene)
    sections = sections_of(ported)
    diff = write(PARAMS, sections) if options.write else None
    if options.json:
        found = screen.describe_ours(sections, ported, convention, weight, scene)
        screen.print_json(found if diff is None else found | {"diff": diff})
        return
    console = make_console()
    screen.show_ours(console, sections, convention, weight, scene)
    if diff is not None:
        say(console, diff or f"{PARAMS} already has these values.")
        say(console, "Train with it: `dvc repro`.")


def _show_theirs(options: Options) -> None:
    settings = load(Settings)
    if settings.model.posterior == "deterministic":
        raise UserError(
            f"{PARAMS}: model.posterior = 'deterministic': a plain autoencoder has no KL term, so "
            "there is no balance to convert; set model.posterior: gaussian."
        )
    alpha, beta = weights_of(settings.balance)
    shape = options.shape or _prepared_shape()
    scene = scene_of(options, shape, settings.model.latent_size, settings.train.batch_size)
    found = translate(settings.likelihood, alpha, beta, scene)
    if options.json:
        sections = {
            "likelihood": settings.likelihood.model_dump(mode="json"),
            "balance": settings.balance.model_dump(mode="json"),
        }
        screen.print_json(screen.describe_theirs(sections, found))
        return
    sizes = [
        "images " + ("of unknown shape" if shape is None else "x".join(map(str, shape))),
        f"{scene.latent_size} latents",
        f"batches of {scene.batch_size}",
    ]
    title = f"{PARAMS}: {_describe(settings.likelihood)}, α = {alpha:g}, β = {beta:g}; "
    screen.show_theirs(make_console(), title + ", ".join(sizes), found)


def scene_of(
    options: Options,
    shape: Shape | None = None,
    latent_size: int | None = None,
    batch_size: int | None = None,
) -> Scene:
    """Build a Scene from the options, with the other arguments as defaults."""
    shape = options.shape or shape
    return Scene(
        dimensions=None if shape is None else math.prod(shape),
        latent_size=options.latents or latent_size,
        rmse=options.rmse,
        channels=None if shape is None else shape[0],
        batch_size=options.batch or batch_size,
        pixel_span=options.pixel_span,
    )


def sections_of(ported: Ported) -> dict[str, Knobs]:
    """Return the sections of params.yaml for a converted balance."""
    balance = Fixed(alpha=ported.alpha, beta=ported.beta)
    specs = {"likelihood": ported.likelihood, "balance": balance}
    return {
        section: {name: _short(value) for name, value in spec.model_dump().items()}
        for section, spec in specs.items()
    }


def write(path: Path, sections: dict[str, Knobs]) -> str:
    """Write the sections into the file, keeping its comments; return the diff (may be empty).

    Raises:
        UserError: the edit is impossible or its result invalid; the file then stays unchanged.
    """

    def edit(text: str) -> str:
        for section, knobs in sections.items():
            text = params_file.edit_section(text, section, knobs, _comments(), path.name)
        parse(params_file.content(text), path.name)
        return text

    if not path.is_file():
        raise UserError(f"{path}: no such file; run from the project's root folder.")
    return params_file.rewrite(path, edit)


def weights_of(balance: AbstractBalance) -> tuple[float, float]:
    """Return (α, β) that a balance sets or ends with.

    Raises:
        UserError: the balance determines its weights during training.
    """
    alpha, beta = getattr(balance, "alpha", None), getattr(balance, "beta", None)
    if isinstance(alpha, float) and isinstance(beta, float):
        return alpha, beta
    raise UserError(
        f"{PARAMS}: balance.kind = {getattr(balance, 'kind', '')!r} sets its weights in training, "
        "so there are none to convert; read the final weights in the report, or set "
        "balance: {kind: fixed, alpha: …, beta: …}."
    )


def _prepared_shape() -> Shape | None:
    """Return the shape of the prepared images; None if there are none."""
    return open_dataset(PREPARED).info.image_shape if PREPARED.is_dir() else None


def _describe(likelihood: AbstractLikelihood) -> str:
    values = likelihood.model_dump()
    details = [f"{name} {value:g}" for name, value in values.items() if isinstance(value, float)]
    return ", ".join([str(values["kind"]), *details])


def _short(value: str | float) -> str | float:
    return value if isinstance(value, str) else float(f"{value:.{DIGITS}g}")


def _comments() -> dict[str, str]:
    """Return a comment for each key that may be added: the first line of its description."""
    fields = [
        (name, field.description or "")
        for spec in (Gaussian, Laplace, Rmse, Bernoulli, Fixed)
        for name, field in spec.model_fields.items()
    ]
    lines = {name: text.split("\n")[0].rstrip(".") for name, text in fields if text}
    return {name: line[:1].lower() + line[1:] for name, line in lines.items()}
