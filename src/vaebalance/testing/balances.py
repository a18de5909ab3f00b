"""Check the requirements on a balance."""

from __future__ import annotations

import io
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vaebalance.balancing import AbstractBalance, RunFacts, State
from vaebalance.base.reports import SplitReport
from vaebalance.testing.requirements import (
    is_close,
    knob_requirements,
    report,
    shown,
    spec_requirements,
)
from vaebalance.vae.elbo import ElboTerms, Weights, weighted_loss

RUN = RunFacts(dimensions=16, latent_size=4, steps=40, steps_per_epoch=4, sigma=0.5)
STEPS = 60
"""Number of steps, more than planned in `RUN`."""
SPLIT = 5
"""Number of steps before a state is saved and loaded."""
BATCH = 5


def check_balance(balance: AbstractBalance, run: RunFacts = RUN) -> None:
    """Check the requirements of `AbstractBalance`.

    Args:
        balance: the balance to check.
        run: facts about the run, passed to the balance.

    Raises:
        AssertionError: lists the violations.
    """
    report(balance, _requirements(balance, run))


def _requirements(balance: AbstractBalance, run: RunFacts) -> Iterator[str]:
    yield from spec_requirements(balance)
    yield from _weights(balance, run)
    yield from _state(balance, run)
    yield from _settled(balance, run)
    yield from _stacked(balance, run)
    yield from _advice(balance, run)


def make_terms(run: RunFacts, step: int) -> ElboTerms:
    """Make the terms of a batch, without a graph; they differ from step to step."""
    generator = torch.Generator().manual_seed(step)
    distortion = 60 + 60 * torch.rand(BATCH, generator=generator)
    rates = 3 * torch.rand(BATCH, run.latent_size, generator=generator)
    error = (0.5 + step % 3) / run.dimensions
    return _terms(distortion, rates, torch.full((BATCH, 1, 1, run.dimensions), error**0.5))


def _terms(distortion: Tensor, rates: Tensor, mean: Tensor) -> ElboTerms:
    likelihood = Independent(Normal(mean, 1.0, validate_args=False), 3, validate_args=False)
    return ElboTerms(distortion, rates, likelihood, torch.zeros_like(mean))


def follow(
    balance: AbstractBalance, run: RunFacts, state: State, steps: range
) -> tuple[list[Weights], State]:
    """Take `steps`; return the weights of each step and the final state."""
    used = []
    for step in steps:
        terms = make_terms(run, step)
        used.append(balance.weights(state, terms))
        state = balance.next_state(state, terms)
    return used, state


def _weights(balance: AbstractBalance, run: RunFacts) -> Iterator[str]:
    """Check values and shapes of α and β, and report the first step that violates them."""
    used, _ = follow(balance, run, balance.initial_state(run), range(STEPS))
    for step, weights in enumerate(used):
        wrong = list(_wrong_weights(balance, run, weights))
        if wrong:
            yield from (f"{text} (Step {step}.)" for text in wrong)
            return
        if weighted_loss(make_terms(run, 0), weights).shape != ():
            yield f"α·D + β·R is one number, but not with {weights}."
            return


def _wrong_weights(balance: AbstractBalance, run: RunFacts, weights: Weights) -> Iterator[str]:
    alpha, beta = (torch.as_tensor(weight) for weight in weights)
    if alpha.shape != () or beta.shape not in {(), (run.latent_size,)}:
        yield (
            f"α is one number, and β one or one a latent, {(run.latent_size,)}; they are "
            f"{shown(alpha)} and {shown(beta)}: average over the batch."
        )
    if not (alpha.isfinite().all() and beta.isfinite().all()):
        yield f"α and β are finite, not {shown(alpha)} and {shown(beta)}: clamp them."
    if (alpha < 0).any():
        yield f"α ≥ 0, not {shown(alpha)}: a negative one rewards errors."
    if (beta < 0).any() and not balance.negative_beta:
        yield (
            f"β ≥ 0, not {shown(beta)}: clamp it; or, if it shall raise the rate, set "
            "`negative_beta: ClassVar[bool] = True`."
        )


def _state(balance: AbstractBalance, run: RunFacts) -> Iterator[str]:
    """Check that the state holds only tensors, is not changed in place and is complete."""
    start = balance.initial_state(run)
    wrong = sorted(name for name, value in start.items() if not isinstance(value, Tensor))
    if wrong:
        yield f"the state holds only tensors, but not in {wrong}: use `torch.tensor(…)`."
        return
    before = {name: value.clone() for name, value in start.items()}
    balance.next_state(start, make_terms(run, 0))
    if start.keys() != before.keys() or not all(
        torch.equal(start[name], value) for name, value in before.items()
    ):
        yield "`next_state` does not change its argument: return a new state (`state | {…}`)."
        return
    whole, end = follow(balance, run, start, range(2 * SPLIT))
    if _types(end) != _types(start):
        yield (
            f"the state keeps its names, shapes and dtypes, {_types(start)}, but after "
            f"{2 * SPLIT} steps has {_types(end)}: let `initial_state` return all entries."
        )
        return
    _, half = follow(balance, run, balance.initial_state(run), range(SPLIT))
    rest, _ = follow(balance, run, _reloaded(half), range(SPLIT, 2 * SPLIT))
    if not all(map(_is_same, rest, whole[SPLIT:])):
        yield (
            "a training resumes exactly, but the weights differ after the state is saved and "
            "loaded: keep everything that changes in the state, and draw no random numbers."
        )


def _types(state: State) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (tuple(value.shape), str(value.dtype)) for name, value in state.items()}


def _reloaded(state: State) -> State:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: State = torch.load(file, weights_only=True)
    return loaded


def _is_same(first: Weights, second: Weights) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


def _settled(balance: AbstractBalance, run: RunFacts) -> Iterator[str]:
    """Check shape and type of `settled`, which early stopping waits for."""
    for steps in (0, 1, STEPS):
        state = follow(balance, run, balance.initial_state(run), range(steps))[1]
        settled = balance.settled(state)
        if not isinstance(settled, Tensor) or settled.shape != () or settled.dtype != torch.bool:
            yield f"`settled` is a tensor [] of bool, not {settled!r}: compare tensors."
            return


def _stacked(balance: AbstractBalance, run: RunFacts) -> Iterator[str]:
    """Check that several learners' steps can be computed as one, by `torch.vmap`."""
    start = balance.initial_state(run)
    states = [follow(balance, run, start, range(steps))[1] for steps in (3, STEPS // 2)]
    batches = [make_terms(run, step) for step in (1, 2)]

    def step(
        state: State, distortion: Tensor, rates: Tensor, mean: Tensor
    ) -> tuple[tuple[Tensor, Tensor], State]:
        terms = _terms(distortion, rates, mean)
        alpha, beta = balance.weights(state, terms)
        after = balance.next_state(state, terms) | {"settled": balance.settled(state)}
        return (torch.as_tensor(alpha), torch.as_tensor(beta)), after

    inputs = [_inputs(terms) for terms in batches]
    stacked = {name: torch.stack([state[name] for state in states]) for name in start}
    columns = [torch.stack(column) for column in zip(*inputs, strict=True)]
    try:
        together, after = torch.vmap(step)(stacked, *columns)
    except RuntimeError as error:
        yield (
            "no tensor is converted to a number, so that trials can be trained together and steps "
            f"compiled; `torch.vmap` reports: {str(error).splitlines()[0]} Use `torch.where` "
            "instead of `if`, and neither `float()` nor `.item()`."
        )
        return
    for index, (state, row) in enumerate(zip(states, inputs, strict=True)):
        weights, following = step(state, *row)
        pairs = [(together[place][index], weights[place]) for place in (0, 1)]
        pairs += [(after[name][index], value) for name, value in following.items()]
        if not all(is_close(first, second) for first, second in pairs):
            yield "a step under `torch.vmap` equals a separate one, but here it differs."
            return


def _inputs(terms: ElboTerms) -> tuple[Tensor, Tensor, Tensor]:
    assert terms.likelihood is not None  # see `make_terms`
    return terms.distortion, terms.rate_by_latent, terms.likelihood.mean


def _advice(balance: AbstractBalance, run: RunFacts) -> Iterator[str]:
    """Check that the knobs named in advice exist."""
    state = follow(balance, run, balance.initial_state(run), range(STEPS))[1]
    epoch = SplitReport(
        distortion=80.0,
        rate=20.0,
        weighted_distortion=80.0,
        weighted_rate=0.0,
        weighted_loss=80.0,
        negative_elbo=100.0,
        alpha=1.0,
        beta=0.0,
    )
    finding = balance.finding(state, epoch)
    advice = [balance.for_more_rate, balance.for_less_rate]
    advice += [] if finding is None else [finding.remedy]
    yield from knob_requirements(balance, "balance", advice)
