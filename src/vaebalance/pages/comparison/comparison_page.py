"""Build the comparison's folder from the compared runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaebalance.pages.comparison.compared_runs import ComparedRun
from vaebalance.pages.comparison.panels import panels
from vaebalance.pages.report.build import write_page
from vaebalance.pages.report.summary import Summary
from vaebalance.settings import ReportSpec


def build(runs: Sequence[ComparedRun], spec: ReportSpec, seed: int, folder: Path) -> Path:
    """Write the page and its figures into `folder`, all or nothing; returns the page's path.

    The same runs give the same bytes.
    """
    return write_page(summarise(runs), panels(runs, spec, seed), folder)


def summarise(runs: Sequence[ComparedRun]) -> Summary:
    """Summarise the comparison, with a caution about numbers that are not comparable."""
    names = [str(run.evaluated.provenance.dataset.get("name")) for run in runs]
    of = f" of {names[0]}" if len(set(names)) == 1 else ""
    data = len({run.digest for run in runs}) == 1
    likelihood = len({run.likelihood_key for run in runs}) == 1
    return Summary(
        title=f"{len(runs)} runs{of} side by side",
        lead="This page refers to each run by a letter. "
        + (
            "Same images and likelihood: all numbers are comparable." if data and likelihood else ""
        ),
        caution=_caution(same_data=data, same_likelihood=likelihood),
        kind="vaebalance comparison",
    )


def _caution(*, same_data: bool, same_likelihood: bool) -> str | None:
    if not same_data:
        return "These runs have different images, so no number is comparable and none is marked."
    if not same_likelihood:
        return (
            "These runs have different likelihoods, so D, the negative ELBO and the nll are not "
            "comparable, and none of them is marked. The calibrated nll is comparable, and so is "
            "everything that is not in nats."
        )
    return None
