"""The comparison's panels. To add one, write a function of the runs and call it in `panels`.

differences  the list of runs, verdicts, every number, settings that differ
trade_offs   the runs in the rate–distortion plane
rows         reconstructions of the same images, samples of the same noise
codes        the rate of each latent, latent planes
"""

from __future__ import annotations

from collections.abc import Sequence

from vaebalance.pages.comparison.compared_runs import ComparedRun
from vaebalance.pages.comparison.panels.codes import latent_planes, rates
from vaebalance.pages.comparison.panels.differences import differences, measures, run_list, verdicts
from vaebalance.pages.comparison.panels.rows import reconstructions, samples
from vaebalance.pages.comparison.panels.trade_offs import plane
from vaebalance.pages.kit.blocks import Panel
from vaebalance.settings import ReportSpec


def panels(runs: Sequence[ComparedRun], spec: ReportSpec, seed: int) -> list[Panel]:
    """Make all panels, in the order of the page."""
    return [
        run_list(runs),
        verdicts(runs),
        measures(runs),
        differences(runs),
        plane(runs),
        reconstructions(runs, spec, seed),
        samples(runs, spec, seed),
        rates(runs),
        latent_planes(runs, spec),
    ]
