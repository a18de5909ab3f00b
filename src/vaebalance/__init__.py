"""vaebalance: how much should reconstruction weigh against the KL term of a VAE?

    weighted loss = α · D + β · R

For your own loop or notebook, `import vaebalance as vb` gives these names. They are loaded on first
use, so that the import itself is cheap, and they are all that is public: everything else is
internal and may change.

The loss
    elbo_terms      D and R of a batch, from a model with `prior`, `encode` and `decode`
    ElboTerms       the same from numbers of your own: D [B] and the rate of each latent [B, Z]
    Weights         α and β
    weighted_loss   α·D + β·R, to call `backward` on
    VAE, ModelSpec  a model with such methods, and what it is built from

Who sets α and β: `initial_state`, then at each step `weights` and `next_state`
    balancing       all balances, and `AbstractBalance` for one of your own
    Fixed, WarmUp, Geco, ControlVae
    RunFacts        what a balance may know of the run
    penalties       terms that the loss has beside the KL

What the decoder says about a pixel
    likelihoods     all of them, and `AbstractLikelihood` for one of your own
    Bernoulli, Gaussian
    networks        encoders and decoders
    testing         conformance suites for classes of your own

What the commands do, from Python
    load_settings   params.yaml, checked
    open_dataset    the data that the stage `prepare` wrote
    Training        `Training(settings, dataset)`; iterating it trains, and yields a report an epoch
    diagnose        what is wrong with a training, in words; `Training.verdicts` calls it
    load_model      a trained VAE
    report          the HTML report on a project's trained and evaluated model

The tree is the architecture. Imports point down this list only:

    cli          the command `vaebalance`
    study        Optuna studies: which weights, and which other knobs
    pages        report, slider, comparison
    curve        all β from one training
    stacking     several trainings as one
    terminal     progress and tables in the terminal
    porting      weights of other projects
    run          one training, whole
    tracking     runs in MLflow
    settings     params.yaml, checked
    objectives   what a study asks of a trained model
    evaluation   what the weights did
    testing      conformance suites for likelihoods, balances, penalties and networks of your own
    training     the step and the loop
    balancing    who sets α and β
    vae          the model and its loss
    data         pictures to tensors on disk
    base         errors, files, seeds, devices, provenance
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaebalance import balancing as balancing
    from vaebalance import testing as testing
    from vaebalance.balancing import ControlVae as ControlVae
    from vaebalance.balancing import Fixed as Fixed
    from vaebalance.balancing import Geco as Geco
    from vaebalance.balancing import RunFacts as RunFacts
    from vaebalance.balancing import WarmUp as WarmUp
    from vaebalance.balancing import penalties as penalties
    from vaebalance.data import open_dataset as open_dataset
    from vaebalance.evaluation.diagnosis import diagnose as diagnose
    from vaebalance.pages.report.build import report as report
    from vaebalance.run.training_run import Training as Training
    from vaebalance.settings import load_settings as load_settings
    from vaebalance.vae import likelihoods as likelihoods
    from vaebalance.vae import networks as networks
    from vaebalance.vae.elbo import ElboTerms as ElboTerms
    from vaebalance.vae.elbo import Weights as Weights
    from vaebalance.vae.elbo import elbo_terms as elbo_terms
    from vaebalance.vae.elbo import weighted_loss as weighted_loss
    from vaebalance.vae.likelihoods import Bernoulli as Bernoulli
    from vaebalance.vae.likelihoods import Gaussian as Gaussian
    from vaebalance.vae.model import VAE as VAE
    from vaebalance.vae.model import ModelSpec as ModelSpec
    from vaebalance.vae.saved_model import load_model as load_model

# OpenMP's threads spin while they wait for each other: beside any other busy process a net then
# trains several times slower. If they sleep at once, a net on two quiet cores takes twice its
# time. So GNU's, which Linux has, spin for some microseconds, as long as the small operations of a
# step take, and others sleep. Read once, when torch is loaded; a user's own setting stands.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # goes before the policy

# Tensors of megabytes in pages of 2 MB, of which far fewer are to be asked for, cleared and found
# again: torch asks for them, where the system has such. A user's own setting stands here, too.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_HOMES = {
    "Bernoulli": "vae.likelihoods",
    "ControlVae": "balancing",
    "ElboTerms": "vae.elbo",
    "Fixed": "balancing",
    "Gaussian": "vae.likelihoods",
    "Geco": "balancing",
    "ModelSpec": "vae.model",
    "RunFacts": "balancing",
    "Training": "run.training_run",
    "VAE": "vae.model",
    "WarmUp": "balancing",
    "Weights": "vae.elbo",
    "balancing": "balancing",
    "diagnose": "evaluation.diagnosis",
    "elbo_terms": "vae.elbo",
    "likelihoods": "vae.likelihoods",
    "load_model": "vae.saved_model",
    "load_settings": "settings",
    "networks": "vae.networks",
    "open_dataset": "data",
    "penalties": "balancing.penalties",
    "report": "pages.report.build",
    "testing": "testing",
    "weighted_loss": "vae.elbo",
}
"""Each public name and the module that has it, or that it is. The imports above tell type checkers
the same."""

__all__ = sorted(_HOMES)


if not TYPE_CHECKING:  # or a type checker would take any name for a public one

    def __getattr__(name: str) -> Any:
        """Load a public name on first use (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = _HOMES[name]
        module = importlib.import_module(f"{__name__}.{home}")
        value = module if home.split(".")[-1] == name else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List what is public, loaded or not."""
    return __all__
