"""Which epoch's weights are the trained model."""

from __future__ import annotations

from collections.abc import Sequence


def best_epoch(negative_elbo: Sequence[float], settled: Sequence[bool]) -> int:
    """The index of the epoch whose weights are kept.

    The least validation negative ELBO (α = β = 1) of the unbroken run of settled epochs that ends
    with the last one; the last epoch itself while the balance has not settled. A schedule or a
    controller on its way passes weights that the negative ELBO likes better, and targets that it
    does not hold: the models of those epochs are not what was asked for.

    Args:
        negative_elbo: of each epoch so far, nats per image; at least one.
        settled: whether the balance's schedule was over, or its controller held its target.
    """
    last = len(settled) - 1
    first = last
    while first > 0 and settled[last] and settled[first - 1]:
        first -= 1
    return min(range(first, last + 1), key=negative_elbo.__getitem__)
