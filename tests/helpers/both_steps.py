"""A training step as torch's compiler traces it, beside the plain one."""

import torch
from torch import Tensor

from vaebalance.balancing import Fixed, RunFacts
from vaebalance.balancing.penalties import NoPenalty
from vaebalance.training.loop import (
    Learner,
    Step,
    TrainSpec,
    choose_update,
    step_objective,
    train_step,
)
from vaebalance.training.step import CompiledUpdate
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

RUN = RunFacts(dimensions=48, latent_size=4, steps=20, steps_per_epoch=5, sigma=0.1)
IMAGES = 50
SPEC = TrainSpec(
    epochs=1,
    batch_size=6,
    learning_rate=1e-3,
    gradient_clip=1.0,
    patience=None,
    checkpoint_every=1,
    device="cpu",
    precision="fp32",
    compile="on",
)


def take_both(balance=None, likelihood=None, penalty=None) -> tuple[list[Tensor], list[Tensor]]:
    """All that three steps leave: weights, sums, weights of the loss, state of the balance.

    Traced, but run as it is: no code is generated.
    """
    balance, likelihood = balance or Fixed(), likelihood or Bernoulli()
    found = []
    for how in ("on", "off"):
        torch.manual_seed(0)
        architecture = Mlp(hidden=(8,))
        spec = ModelSpec(architecture=architecture, latent_size=4, posterior="gaussian")
        model = VAE(spec, likelihood, (3, 4, 4)).train()
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        state = balance.initial_state(RUN)
        learner = Learner(model, optimizer, balance, state, penalty or NoPenalty())
        objective = step_objective(learner, IMAGES)
        update = choose_update(objective, model, optimizer, SPEC.replace(compile=how), 1)
        if isinstance(update, CompiledUpdate):
            update = CompiledUpdate(objective, optimizer, 1.0, backend="eager")
        learner.update = update
        steps = [train_step(learner, torch.rand(6, 3, 4, 4)) for _ in range(3)]
        assert getattr(update, "failure", None) is None, update.failure
        found.append(_all_of(learner, steps))
    traced, plain = found
    return traced, plain


def _all_of(learner: Learner, steps: list[Step]) -> list[Tensor]:
    kept = [value for step in steps for value in (step.sums, *step.weights)]
    kept += learner.balance_state.values()
    kept += learner.model.state_dict().values()
    return [torch.as_tensor(value).detach() for value in kept]
