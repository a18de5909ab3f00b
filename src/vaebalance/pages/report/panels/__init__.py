"""The report's panels. To add one, write a function of the inputs and call it in `panels`.

decoder    reconstructions, traversals, samples
loss       the terms of the loss over epochs
posterior  the aggregate posterior of each latent
between    a manifold of two latents, interpolations
plane      the run and comparable runs in the rate–distortion plane
latents    the rate of each latent, and the codes in a plane
measures   every number of the evaluation
weights    the run's weights in the conventions of other projects
"""

from __future__ import annotations

from vaebalance.pages.kit.blocks import Panel
from vaebalance.pages.report.inputs import Inputs
from vaebalance.pages.report.panels.between import interpolations, manifold
from vaebalance.pages.report.panels.decoder import reconstructions, samples, traversals
from vaebalance.pages.report.panels.latents import latent_plane, latents
from vaebalance.pages.report.panels.loss import loss_components
from vaebalance.pages.report.panels.measures import measures
from vaebalance.pages.report.panels.plane import rate_distortion_plane
from vaebalance.pages.report.panels.posterior import aggregate_posterior
from vaebalance.pages.report.panels.weights import other_weights
from vaebalance.settings import ReportSpec


def panels(inputs: Inputs, spec: ReportSpec, seed: int) -> list[Panel]:
    """Make all panels, in the order of the page."""
    return [
        reconstructions(inputs, spec, seed),
        rate_distortion_plane(inputs),
        measures(inputs),
        loss_components(inputs),
        latents(inputs),
        aggregate_posterior(inputs),
        traversals(inputs, spec),
        latent_plane(inputs, spec, seed),
        manifold(inputs, spec),
        interpolations(inputs, spec, seed),
        samples(inputs, spec, seed),
        other_weights(inputs),
    ]
