"""Every balance, likelihood and penalty, trained alike: one table and one picture of all.

    python benchmarks/rules.py [--data digits mnist] [--out benchmarks/results]

MNIST is torchvision's layout in $VAEBALANCE_MNIST or ../shared/data. Balances and penalties have
the Gaussian of σ = 0.1, so that their D compare; likelihoods have α = β = 1 but for RMSE and SSE,
which have the α of that Gaussian. D is in the nats of each row's own likelihood; the picture has
RMSE in the place of D, which is the same for all, and goes to benchmarks/scratch.
"""

from __future__ import annotations

import argparse
from typing import Any, get_args

import trainings
from results import SCRATCH, parse_options, write_result

from vaebalance.balancing import Balance
from vaebalance.balancing.penalties import Penalty
from vaebalance.vae.likelihoods import Likelihood

SIGMA = 0.1
GAUSSIAN = {"kind": "gaussian", "sigma": SIGMA}
PIXELS = {"digits": 64, "mnist": 784}
AIMS = {
    "digits": {"rate": 8.0, "rmse": 0.15, "psnr": 17.0},
    "mnist": {"rate": 40.0, "rmse": 0.13, "psnr": 18.0},
}
"""What the rules with a target aim at."""
IMAGES, SAMPLES = 2000, 64
"""Test images, and K of the nll."""


def balances(aims: dict[str, float]) -> list[dict[str, Any]]:
    """One of each kind, and of each of its ways."""
    return [
        {"kind": "fixed", "alpha": 1.0, "beta": 1.0},
        {"kind": "warm_up"},
        {"kind": "warm_up", "shape": "cosine"},
        {"kind": "warm_up", "shape": "sigmoid"},
        {"kind": "warm_up", "of": "alpha"},
        {"kind": "cyclical", "share": 0.8},
        {"kind": "free_bits", "nats": 0.5},
        {"kind": "free_bits", "nats": 2.0, "group_size": 4},
        {"kind": "capacity", "capacity": aims["rate"]},
        {"kind": "geco", "rmse": aims["rmse"]},
        {"kind": "geco", "psnr": aims["psnr"]},
        {"kind": "control_vae", "rate": aims["rate"]},
        {"kind": "optimal_sigma"},
    ]


def likelihoods(pixels: int) -> list[tuple[dict[str, Any], float]]:
    """One of each kind, with its α."""
    return [
        ({"kind": "bernoulli"}, 1.0),
        ({"kind": "continuous_bernoulli"}, 1.0),
        (GAUSSIAN, 1.0),
        ({"kind": "gaussian_learned", "initial_sigma": 0.2}, 1.0),
        ({"kind": "gaussian_optimal"}, 1.0),
        ({"kind": "gaussian_per_pixel"}, 1.0),
        ({"kind": "laplace", "scale": 0.1}, 1.0),
        ({"kind": "laplace_learned", "initial_scale": 0.2}, 1.0),
        ({"kind": "discretised_logistic"}, 1.0),
        ({"kind": "discretised_logistic", "components": 3}, 1.0),
        ({"kind": "rmse"}, pixels / SIGMA),
        ({"kind": "sse"}, 0.5 / SIGMA**2),
    ]


PENALTIES: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "total_correlation", "weight": 5.0},
    {"kind": "total_correlation", "weight": 5.0, "estimator": "minibatch_weighted"},
    {"kind": "dip_vae", "weight": 10.0},
    {"kind": "dip_vae", "weight": 10.0, "variant": "ii"},
    {"kind": "mmd", "weight": 100.0},
]


def cases(source: str) -> list[tuple[str, str, trainings.Sections]]:
    """(seam, name, sections) of every training."""
    found: list[tuple[str, str, trainings.Sections]] = []
    for balance in balances(AIMS[source]):
        found.append(("balance", _name(balance), {"balance": balance, "likelihood": GAUSSIAN}))
    for likelihood, alpha in likelihoods(PIXELS[source]):
        fixed = {"kind": "fixed", "alpha": alpha, "beta": 1.0}
        sections = {"likelihood": likelihood, "balance": fixed}
        found.append(("likelihood", _name(likelihood), sections))
    for penalty in PENALTIES[1:]:
        found.append(("penalty", _name(penalty), {"penalty": penalty, "likelihood": GAUSSIAN}))
    return found


def check_all_are_there() -> None:
    """Every member of the unions has a row."""
    for union, rows in (
        (Balance, balances(AIMS["mnist"])),
        (Likelihood, [row for row, _ in likelihoods(1)]),
        (Penalty, PENALTIES),
    ):
        kinds = {member.model_fields["kind"].default for member in get_args(get_args(union)[0])}
        missing = kinds - {row["kind"] for row in rows}
        if missing:
            raise SystemExit(f"error: no row for {', '.join(sorted(missing))}; add one here.")


def picture(rows: list[dict[str, Any]]) -> dict[str, bytes]:
    """All rows in the plane of rate and RMSE, a plane a data set: PNG and SVG."""
    import altair as alt
    import vl_convert

    points = [row | {"number": str(index)} for index, row in enumerate(rows, start=1)]
    base = alt.Chart(alt.Data(values=points)).encode(
        alt.X("R:Q", title="rate R, nats per image").scale(zero=False),
        alt.Y("RMSE:Q", title="distortion as RMSE, pixel values").scale(zero=False),
    )
    seams = alt.Color("seam:N", title=None).scale(range=["#2458a6", "#b5541c", "#3b7d4f"])
    dots = base.mark_point(size=70, filled=True, opacity=0.8).encode(seams, alt.Shape("seam:N"))
    text = base.mark_text(dx=9, dy=-7, fontSize=10).encode(alt.Text("number:N"))
    plane = (dots + text).properties(width=560, height=420)
    chart = plane.facet(alt.Column("data:N", title=None)).resolve_scale(
        x="independent", y="independent"
    )
    spec = chart.to_dict() | {"config": {"font": "DejaVu Sans"}}
    return {
        "png": vl_convert.vegalite_to_png(spec, scale=2),
        "svg": vl_convert.vegalite_to_svg(spec).encode(),
    }


def _name(section: dict[str, Any]) -> str:
    """Return the kind, and what else was said."""
    rest = ", ".join(f"{key} {value}" for key, value in section.items() if key != "kind")
    return f"{section['kind']} ({rest})" if rest else str(section["kind"])


def main() -> None:
    """Train all, print the table, write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=list(AIMS), default=list(AIMS))
    options = parse_options(parser)
    check_all_are_there()
    rows = []
    for source in options.data:
        dataset = trainings.data(source)
        for seam, name, sections in cases(source):
            trainings.say(f"{source}: {name}")
            settings = trainings.settings_of(trainings.SCALES[source], sections)
            training, seconds = trainings.train(dataset, settings)
            numbers = trainings.row_of(training, seconds, dataset, SAMPLES, IMAGES)
            rows.append({"data": source, "seam": seam, "rule": name, **numbers})
    numbered = [{"": index, **row} for index, row in enumerate(rows, start=1)]
    print(trainings.table(numbered))
    numbers = [{k: v for k, v in row.items() if k != "seconds"} for row in numbered]
    write_result("rules", numbers, options.out)
    SCRATCH.mkdir(exist_ok=True)
    for ending, content in picture(rows).items():
        (SCRATCH / f"rules.{ending}").write_bytes(content)
    print(f"\nD and nll in nats per image, K = {SAMPLES}; the picture: {SCRATCH / 'rules.png'}")


if __name__ == "__main__":
    main()
