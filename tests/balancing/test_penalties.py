"""Every penalty: the conformance suite, then each penalty's own mathematics."""

import itertools
import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from tests.helpers.members import examples
from vaebalance.balancing import Fixed
from vaebalance.balancing.penalties import Codes, DipVae, Mmd, NoPenalty, Penalty, TotalCorrelation
from vaebalance.testing import check_penalty
from vaebalance.training.loader import Images
from vaebalance.training.step import Learner, Step
from vaebalance.vae.elbo import elbo_terms
from vaebalance.vae.likelihoods import Bernoulli
from vaebalance.vae.model import VAE, ModelSpec
from vaebalance.vae.networks import Mlp

EXAMPLES = examples(
    Penalty,
    NoPenalty(),
    TotalCorrelation(weight=5.0),
    TotalCorrelation(weight=5.0, estimator="minibatch_weighted"),
    DipVae(weight=10.0),
    DipVae(weight=10.0, variant="ii"),
    DipVae(weight=10.0, diagonal=0.0),
    Mmd(weight=100.0),
    Mmd(weight=100.0, bandwidth=0.5),
)
IMAGES = 50
PRIOR = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)


def normal(mean, std) -> Independent:
    return Independent(Normal(mean, std), 1)


def make_posterior(batch=8, seed=0, latents=3) -> Independent:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(batch, latents, generator=generator)
    return normal(mean, 0.2 + torch.rand(batch, latents, generator=generator))


def measure(penalty, posterior=None, z=None, images=IMAGES):
    posterior = posterior or make_posterior()
    torch.manual_seed(1)
    prior = normal(*(value(posterior.event_shape) for value in (torch.zeros, torch.ones)))
    return penalty.measure(Codes(posterior, posterior.rsample() if z is None else z, prior, images))


@pytest.mark.parametrize("penalty", EXAMPLES, ids=lambda p: f"{p.kind}-{EXAMPLES.index(p)}")
class TestEveryExample:
    def test_it_meets_the_requirements(self, penalty):
        check_penalty(penalty)

    def test_a_step_with_it_can_be_compiled(self, penalty, step_compiled):
        torch.testing.assert_close(*step_compiled(penalty=penalty), rtol=1e-4, atol=1e-5)

    def test_a_step_trains_and_reports_it(self, penalty):
        spec = ModelSpec(architecture=Mlp(hidden=(8,)), latent_size=3, posterior="gaussian")
        model = VAE(spec, Bernoulli(), (1, 4, 4))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        learner = Learner(model, optimizer, Fixed(), {}, penalty)
        images = Images(torch.randint(0, 256, (IMAGES, 1, 4, 4)).byte(), "none")
        learner.step = Step(learner, images, None)
        result = learner.take_step(images.stored[:6])
        assert len(result.sums) == 5 + len(penalty.coefficients())


class TestTotalCorrelation:
    @pytest.mark.parametrize("estimator", ["stratified", "minibatch_weighted"])
    def test_the_parts_add_up_to_the_sampled_rate(self, estimator):
        posterior = make_posterior()
        z = posterior.sample()
        parts = measure(TotalCorrelation(weight=1.0, estimator=estimator), posterior, z)
        rate = (posterior.log_prob(z) - PRIOR.log_prob(z)).mean()
        torch.testing.assert_close(sum(parts.values()), rate)

    @pytest.mark.parametrize(("batch", "images"), [(2, 2), (5, 5), (5, 50), (64, 60_000)])
    def test_stratified_weights_are_a_distribution_with_the_image_itself_at_one_in_n(
        self, batch, images
    ):
        weights = TotalCorrelation(weight=1.0).log_weights(batch, images).exp()
        torch.testing.assert_close(weights.sum(1), torch.ones(batch))
        torch.testing.assert_close(weights.diagonal(), torch.full((batch,), 1 / images))

    def test_stratified_is_unbiased_over_all_batches(self):
        """Compare the mean of q̂(z) over all batches with image 0 with q(z), for z of image 0."""
        posterior = make_posterior(5)
        z = posterior.sample()[0]
        densities = posterior.log_prob(z).exp()  # q(z|x_m) of all 5 images
        weights = TotalCorrelation(weight=1.0).log_weights(3, 5).exp()
        estimates = [
            (weights[0] * densities[[0, *others]]).sum()
            for others in itertools.permutations(range(1, 5), 2)
        ]
        torch.testing.assert_close(torch.stack(estimates).mean(), densities.mean())

    def test_minibatch_weighted_is_the_published_formula(self):
        """Compute log q̂(z_i) = logsumexp_m log q(z_i|x_m) − ln(BN) by loops."""
        posterior = make_posterior(4)
        z = posterior.sample()
        by_latent = torch.stack(
            [torch.stack([posterior.base_dist.log_prob(z[i])[m] for m in range(4)]) for i in (0, 1)]
        )
        aggregate = by_latent.sum(-1).logsumexp(1) - math.log(4 * IMAGES)
        product = (by_latent.logsumexp(1) - math.log(4 * IMAGES)).sum(-1)
        one = TotalCorrelation(weight=1.0, estimator="minibatch_weighted")
        log_weights = one.log_weights(4, IMAGES)
        torch.testing.assert_close(
            (by_latent.sum(-1) + log_weights[:2]).logsumexp(1) - product, aggregate - product
        )
        mean = measure(one, posterior, z)["total_correlation"]
        everything = torch.stack([posterior.base_dist.log_prob(row) for row in z])
        expected = (
            everything.sum(-1).logsumexp(1) - everything.logsumexp(1).sum(-1)
        ).mean() + 2 * math.log(4 * IMAGES)  # Z − 1 = 2
        torch.testing.assert_close(mean, expected)

    def test_of_a_gaussian_aggregate_posterior_it_is_known(self):
        """Take means from N(0, C − s²I) and q(z|x) = N(m, s²I), so that q(z) = N(0, C).

        The total correlation is −½ ln det of the correlations.
        """
        covariance = torch.tensor([[1.5, 0.9], [0.9, 1.0]])
        noise = 0.25 * torch.eye(2)
        torch.manual_seed(0)
        means = MultivariateNormal(torch.zeros(2), covariance - noise).sample((3000,))
        posterior = normal(means, torch.full_like(means, 0.5))
        parts = measure(TotalCorrelation(weight=1.0), posterior, posterior.sample(), images=3000)
        correlation = 0.9 / math.sqrt(1.5)
        aggregate = MultivariateNormal(torch.zeros(2), covariance)
        entropy = aggregate.entropy() - normal(torch.zeros(2), torch.full((2,), 0.5)).entropy()
        marginals = Normal(torch.zeros(2), covariance.diagonal().sqrt())
        known = {
            "index_code_mi": float(entropy),
            "total_correlation": -0.5 * math.log(1 - correlation**2),
            "dimension_wise_kl": float(kl_divergence(marginals, Normal(0.0, 1.0)).sum()),
        }
        for name, value in known.items():
            assert float(parts[name]) == pytest.approx(value, abs=0.05), name

    def test_the_loss_has_the_gradient_of_beta_tcvaes(self):
        """Write out D + I + β·TC + Σ_j KL_j (the paper's equation 4); `weight` is β − 1."""
        spec = ModelSpec(architecture=Mlp(hidden=(8,)), latent_size=3, posterior="gaussian")
        model = VAE(spec, Bernoulli(), (1, 4, 4))
        terms = elbo_terms(model, torch.rand(6, 1, 4, 4))
        penalty = TotalCorrelation(weight=5.0, estimator="minibatch_weighted")
        ours = penalty.measure(Codes(terms.posterior, terms.z, model.prior, IMAGES))
        sampled_rate = (terms.posterior.log_prob(terms.z) - model.prior.log_prob(terms.z)).mean()
        loss = terms.distortion.mean() + sampled_rate + penalty.weighted(ours)
        q = terms.posterior.base_dist
        matrix = torch.stack([q.log_prob(z) for z in terms.z])
        constant = math.log(6 * IMAGES)
        log_q = matrix.sum(2).logsumexp(1) - constant
        log_product = (matrix.logsumexp(1) - constant).sum(1)
        mutual = (terms.posterior.log_prob(terms.z) - log_q).mean()
        theirs = (
            terms.distortion.mean()
            + mutual
            + 6 * (log_q - log_product).mean()
            + (log_product - model.prior.log_prob(terms.z)).mean()
        )
        parameters = list(model.parameters())
        for a, b in zip(
            torch.autograd.grad(loss, parameters, retain_graph=True),
            torch.autograd.grad(theirs, parameters),
            strict=True,
        ):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)

    def test_a_code_without_a_density_is_refused(self):
        assert "mmd" in TotalCorrelation(weight=1.0).misfit("deterministic")
        assert TotalCorrelation(weight=1.0).misfit("gaussian") is None
        assert Mmd(weight=1.0).misfit("deterministic") is None


class TestDipVae:
    @pytest.mark.parametrize("variant", ["i", "ii"])
    def test_it_is_the_covariance_by_numpy(self, variant):
        posterior = make_posterior(40)
        parts = measure(DipVae(weight=1.0, variant=variant), posterior)
        covariance = np.cov(posterior.mean.numpy().T, bias=True)
        if variant == "ii":
            covariance = covariance + np.diag(posterior.variance.mean(0).numpy())
        off = covariance - np.diag(np.diag(covariance))
        assert float(parts["covariance"]) == pytest.approx((off**2).sum(), rel=1e-4)
        expected = ((np.diag(covariance) - 1) ** 2).sum()
        assert float(parts["variance"]) == pytest.approx(expected, rel=1e-4)

    def test_the_published_costs_of_the_diagonal(self):
        assert DipVae(weight=3.0).coefficients() == {"covariance": 3.0, "variance": 30.0}
        assert DipVae(weight=3.0, variant="ii").coefficients()["variance"] == 3.0
        assert DipVae(weight=3.0, diagonal=0.0).coefficients()["variance"] == 0.0


class TestMmd:
    def test_it_is_the_u_statistic_by_loops(self):
        penalty = Mmd(weight=1.0, bandwidth=0.7)
        z = make_posterior(6).mean
        torch.manual_seed(1)
        found = penalty.measure(Codes(make_posterior(6), z, PRIOR, IMAGES))["mmd"]
        torch.manual_seed(1)
        drawn = PRIOR.sample((6,))

        def kernel(a, b):
            unit = 2 * 3 * 0.49
            distance = float((a - b).square().sum())
            return sum(s * unit / (s * unit + distance) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

        pairs = [(i, j) for i in range(6) for j in range(6)]
        own = sum(kernel(s[i], s[j]) for s in (z, drawn) for i, j in pairs if i != j) / 30
        cross = sum(kernel(z[i], drawn[j]) for i, j in pairs) / 36
        assert float(found) == pytest.approx(own - 2 * cross, rel=1e-4)

    def test_alike_it_is_about_zero_and_apart_it_is_not(self):
        torch.manual_seed(0)
        penalty, posterior = Mmd(weight=1.0), make_posterior(200)
        alike = [
            float(penalty.measure(Codes(posterior, PRIOR.sample((200,)), PRIOR, IMAGES))["mmd"])
            for _ in range(30)
        ]
        assert abs(np.mean(alike)) < 3 * np.std(alike) / math.sqrt(30) + 1e-4
        apart = penalty.measure(Codes(posterior, PRIOR.sample((200,)) + 1.0, PRIOR, IMAGES))["mmd"]
        assert float(apart) > 20 * np.std(alike)


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "total_correlation"},
        {"kind": "total_correlation", "weight": 0.0},
        {"kind": "total_correlation", "weight": 1.0, "estimator": "exact"},
        {"kind": "dip_vae", "weight": -1.0},
        {"kind": "mmd", "weight": 1.0, "bandwidth": 0.0},
        {"kind": "none", "weight": 1.0},
    ],
)
def test_impossible_values_are_refused(values):
    with pytest.raises(ValidationError):
        TypeAdapter(Penalty).validate_python(values)
