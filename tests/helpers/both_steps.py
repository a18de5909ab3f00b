"""A training step as traced by torch's compiler, next to the plain one."""

import torch
from torch import Tensor

from vaebalance.balancing import Fixed, RunFacts
from vaebalance.balancing.penalties import NoPenalty
from vaebalance.training.graph_steps import CompiledStep
from vaebalance.training.loader import Images
from vaebalance.training.loop import TrainSpec, make_step
from vaebalance.training.step import Learner, StepResult
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
    """Return the results of three steps: weights, sums, loss weights, state of the balance.

    The compiled step is traced, and runs without generated code.
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
        images = Images(torch.randint(0, 256, (IMAGES, 3, 4, 4)).byte(), "none")
        learner.step = make_step(learner, images, SPEC.replace(compile=how), 1)
        if isinstance(learner.step, CompiledStep):
            learner.step = CompiledStep(learner, images, 1.0, backend="eager")
        steps = [learner.take_step(images.stored[at : at + 6]) for at in range(3)]
        failure = getattr(learner.step, "failure", None)
        assert failure is None, failure
        found.append(_all_of(learner, steps))
    traced, plain = found
    return traced, plain


def _all_of(learner: Learner, steps: list[StepResult]) -> list[Tensor]:
    kept = [value for step in steps for value in (step.sums, *step.weights)]
    kept += learner.balance_state.values()
    kept += learner.model.state_dict().values()
    return [torch.as_tensor(value).detach() for value in kept]
