"""The comparison's panels. A new one is a function of the contenders, and its place in `panels`.

tables   who is who, verdicts, every number, settings that differ
plane    the runs between rate and distortion
rows     reconstructions of the same images, samples of the same noise
latents  rate of each latent, latent planes
"""

from __future__ import annotations

from collections.abc import Sequence

from vaebalance.pages.comparison.compared_runs import Contender
from vaebalance.pages.comparison.panels.codes import latent_planes, rates
from vaebalance.pages.comparison.panels.differences import differences, measures, runs, verdicts
from vaebalance.pages.comparison.panels.rows import reconstructions, samples
from vaebalance.pages.comparison.panels.trade_offs import plane
from vaebalance.pages.kit.blocks import Panel
from vaebalance.settings import ReportSpec


def panels(contenders: Sequence[Contender], spec: ReportSpec, seed: int) -> list[Panel]:
    """All panels, in the order of the page."""
    return [
        runs(contenders),
        verdicts(contenders),
        measures(contenders),
        differences(contenders),
        plane(contenders),
        reconstructions(contenders, spec, seed),
        samples(contenders, spec, seed),
        rates(contenders),
        latent_planes(contenders, spec),
    ]
