"""Output of `vaebalance port` as tables or JSON."""

from __future__ import annotations

import json
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from vaebalance.porting.conventions import (
    BALANCES,
    CONVENTIONS,
    OPTIONS,
    Convention,
    Ported,
    Scene,
    Translation,
)
from vaebalance.settings.params_file import Knobs
from vaebalance.terminal.console import say


def show_ours(
    console: Console,
    sections: dict[str, Knobs],
    convention: Convention,
    weight: float,
    scene: Scene,
) -> None:
    """Print another project's weight as our likelihood and balance, with the reason."""
    say(console, f"{convention.loss} with {convention.weight} = {weight:g} ({convention.used_by})")
    table = Table(box=box.SIMPLE)
    table.add_column("params.yaml")
    table.add_column("value", justify="right")
    for section, knobs in sections.items():
        for name, value in knobs.items():
            shown = value if isinstance(value, str) else f"{value:g}"
            table.add_row(f"{section}.{name}", shown)
    console.print(table)
    say(console, reason(convention, weight, scene))


def reason(convention: Convention, weight: float, scene: Scene) -> str:
    """Explain the conversion in one sentence."""
    if convention.measure == "RMSE of an image":
        span = convention.span(scene)
        alpha = f"α = {weight:.6g}" if span == 1 else f"α = {weight:.6g}·{span:g} (its pixel span)"
        return (
            "The project takes the root mean squared error of each image, as our rmse does, sums "
            f"KL over latents and averages both over images; so {alpha}. (RMSE is not a "
            "log-likelihood: negative ELBO and nll are those of a Gaussian.)"
        )
    return f"The project's loss: {convention.derivation(weight, scene)}"


def show_theirs(console: Console, title: str, found: Translation) -> None:
    """Print our weights in the conventions of other projects."""
    say(console, title)
    say(console, found.summary)
    if found.rows:
        table = Table(box=box.SIMPLE)
        table.add_column("convention", no_wrap=True)
        table.add_column("they minimise", no_wrap=True)
        table.add_column("this run there", justify="right", no_wrap=True)
        table.add_column("seen in", overflow="fold")
        for row in found.rows:
            value = f"{row.weight} = {row.value:.5g}"
            table.add_row("\n".join(row.names), row.loss, value, row.used_by)
        console.print(table)
    for gap in found.unknown:
        what = " and ".join(dict.fromkeys(OPTIONS[field] for field in gap.lacks))
        say(console, f"{gap.names[0]}: depends on {what}")


def show_list(console: Console) -> None:
    """Print all conventions."""
    table = Table(box=box.SIMPLE)
    table.add_column("convention", no_wrap=True)
    table.add_column("they minimise", no_wrap=True)
    table.add_column("makes", no_wrap=True)
    table.add_column("seen in", overflow="fold")
    for c in CONVENTIONS:
        table.add_row("\n".join(c.names), c.loss, c.equation(), c.used_by)
    console.print(table)
    say(
        console,
        "n = C·H·W pixels, Z latents, B images per batch, C channels, span = white minus black in "
        "the project's pixels (--pixel-span, if not that of its loader). Terms without Σ are "
        "averages over images.",
    )


def describe_ours(
    sections: dict[str, Knobs],
    ported: Ported,
    convention: Convention,
    weight: float,
    scene: Scene,
) -> dict[str, Any]:
    """Return the content of `show_ours` as plain data."""
    return {
        "convention": convention.name,
        "weight": weight,
        **{section: dict(knobs) for section, knobs in sections.items()},
        "balances_as": BALANCES[convention.family],
        "amounts_to": ported.balance,
        "derivation": reason(convention, weight, scene),
    }


def describe_theirs(sections: dict[str, Any], found: Translation) -> dict[str, Any]:
    """Return the content of `show_theirs` as plain data."""
    return {
        **sections,
        "summary": found.summary,
        "sigma": found.sigma,
        "conventions": [
            {"names": row.names, "loss": row.loss, "weight": row.weight, "value": row.value}
            for row in found.rows
        ],
        "unknown": [{"names": gap.names, "depends_on": gap.lacks} for gap in found.unknown],
    }


def describe_list() -> list[dict[str, Any]]:
    """Return the content of `show_list` as plain data."""
    return [
        {"names": c.names, "loss": c.loss, "weight": c.weight, "used_by": c.used_by}
        for c in CONVENTIONS
    ]


def print_json(value: Any) -> None:
    """Print indented JSON on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
