"""Contenders -> the comparison's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vaebalance.pages.comparison.compared_runs import Contender
from vaebalance.pages.comparison.panels import panels
from vaebalance.pages.report.build import write_page
from vaebalance.pages.report.summary import Summary
from vaebalance.settings import ReportSpec


def build(contenders: Sequence[Contender], spec: ReportSpec, seed: int, folder: Path) -> Path:
    """Write the page and its figures into `folder`, all or nothing; returns the page's path.

    The same contenders give the same bytes.
    """
    return write_page(summarise(contenders), panels(contenders, spec, seed), folder)


def summarise(contenders: Sequence[Contender]) -> Summary:
    """What is compared, and what is not comparable."""
    names = [str(c.evaluated.provenance.dataset.get("name")) for c in contenders]
    of = f" of {names[0]}" if len(set(names)) == 1 else ""
    data = len({c.digest for c in contenders}) == 1
    likelihood = len({c.nats_of for c in contenders}) == 1
    return Summary(
        title=f"{len(contenders)} runs{of} side by side",
        lead="Each has a letter, by which it is called on this page. "
        + ("Same images, same likelihood: every number compares." if data and likelihood else ""),
        caution=_caution(same_data=data, same_likelihood=likelihood),
        kind="vaebalance comparison",
    )


def _caution(*, same_data: bool, same_likelihood: bool) -> str | None:
    if not same_data:
        return "These runs are of different images, so that no number compares and none is marked."
    if not same_likelihood:
        return (
            "These runs have different likelihoods: the nats of D, the negative ELBO and the nll "
            "are of different things, and none of them is marked. The calibrated nll compares, and "
            "so does everything that is not in nats."
        )
    return None
