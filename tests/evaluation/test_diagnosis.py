"""Verdicts on made-up histories, and on trainings with deliberate faults."""

from dataclasses import replace
from pathlib import Path

import pytest

from vaebalance.balancing import NOT_HELD, OUT_OF_REACH, UNFINISHED, ControlVae, Fixed
from vaebalance.base.errors import UserError
from vaebalance.base.reports import EpochReport, GradientNorms, PosteriorStats, SplitReport
from vaebalance.base.verdicts import HEALTHY, Verdict, names, read_verdicts
from vaebalance.evaluation.diagnosis import (
    COLLAPSED,
    DWARFED,
    KL_IGNORED,
    MISSPECIFIED,
    DiagnosisContext,
    diagnose,
    diagnose_so_far,
    implied_sigma,
)
from vaebalance.run.training_run import Training, describe
from vaebalance.settings import TrainSettings, parse, read_yaml
from vaebalance.vae.likelihoods import Bernoulli, Gaussian

PARAMS = Path(__file__).parents[2] / "params.yaml"
CONTEXT = DiagnosisContext(Fixed(), Gaussian(sigma=0.1), is_variational=True, dimensions=64)


def epoch(number=1, rates=(1.0, 2.0, 0.01), norms=(3.0, 2.0), **changes) -> EpochReport:
    """Make a healthy epoch except for the changes; one latent of three is spare."""
    split = SplitReport(80.0, 3.0, 80.0, 3.0, 83.0, 83.0, 1.0, 1.0)
    posterior_stats = PosteriorStats(0.12, 0.1, tuple(rates), tuple(0.5 for _ in rates))
    report = EpochReport(
        number, number, split, split, posterior_stats, GradientNorms(*norms), 1e-3, 1.0, 1.0, 0
    )
    return replace(report, **changes)


def said(history, context=CONTEXT) -> list[str]:
    return [verdict.name for verdict in diagnose(context, history, len(history) - 1)]


def test_a_healthy_training_gets_no_verdict():
    assert said([epoch(number) for number in range(1, 9)]) == []


class TestCollapse:
    def test_it_names_the_latents_and_since_when(self):
        history = [epoch(1), epoch(2, (0.2, 0.3, 0.01)), *(epoch(n, (0, 2, 0)) for n in (3, 4, 5))]
        (verdict,) = diagnose(CONTEXT, history, 4)
        assert verdict.name == COLLAPSED
        assert "2 of 3 latents (z0, z2)" in verdict.evidence
        assert verdict.since_epoch == 3
        assert "lower balance.beta" in verdict.remedy

    def test_spare_latents_are_no_collapse(self):
        assert said([epoch(1, (1.0, 2.0, 0.0, 0.0))]) == []

    def test_the_kept_epoch_is_judged_not_the_last(self):
        history = [epoch(1), epoch(2, (0, 0, 0))]
        assert diagnose(CONTEXT, history, 0) == []

    def test_many_latents_are_not_all_listed(self):
        (verdict,) = diagnose(CONTEXT, [epoch(1, [0.0] * 40 + [1.0] * 5)], 0)
        assert verdict.evidence.count("z") == 12
        (verdict,) = diagnose(CONTEXT, [epoch(1, [0.0] * 40)], 0)
        assert "40 of 40 latents (all)" in verdict.evidence


class TestGradients:
    def test_the_kl_is_ignored(self):
        history = [epoch(1), *(epoch(n, norms=(5.0, 0.01)) for n in range(2, 9))]
        (verdict,) = diagnose(CONTEXT, history, 7)
        assert (verdict.name, verdict.since_epoch) == (KL_IGNORED, 2)
        assert "500 times" in verdict.evidence
        assert "raise balance.beta" in verdict.remedy

    def test_one_odd_epoch_is_nothing(self):
        history = [*(epoch(n) for n in range(1, 9)), epoch(9, norms=(5.0, 0.01))]
        assert said(history) == []

    def test_the_rate_dwarfs_the_distortion(self):
        (verdict,) = diagnose(CONTEXT, [epoch(1, norms=(0.01, 4.0))], 0)
        assert verdict.name == DWARFED
        assert "400 times" in verdict.evidence

    def test_a_penalty_dwarfs_both(self):
        (verdict,) = diagnose(CONTEXT, [epoch(1, norms=(1.0, 1.0, 1000.0))], 0)
        assert verdict.name == DWARFED
        assert "penalty.weight" in verdict.remedy

    def test_a_plain_autoencoder_has_nothing_to_balance(self):
        alone = replace(CONTEXT, is_variational=False)
        assert said([epoch(1, (0, 0, 0), (5.0, 0.0))], alone) == []


class TestLikelihood:
    @pytest.mark.parametrize(("beta", "ill"), [(1.0, False), (4.0, False), (16.0, True)])
    def test_sigma_of_weights_against_the_residual(self, beta, ill):
        """Compare σ√β of 0.1, 0.2, 0.4 with a residual of 0.12."""
        split = replace(epoch().validation, beta=beta)
        assert said([epoch(validation=split)]) == ([MISSPECIFIED] if ill else [])

    def test_the_advice_is_the_residual(self):
        posterior_stats = PosteriorStats(0.012, 0.1, (1.0, 1.0), (0.5, 0.5))
        (verdict,) = diagnose(CONTEXT, [epoch(posterior_stats=posterior_stats)], 0)
        assert "0.1, but the residual is 0.012" in verdict.evidence
        assert "69.4 times too much" in verdict.evidence
        assert "likelihood.sigma to about 0.012" in verdict.remedy

    def test_without_a_weight_nothing_is_implied(self):
        split = replace(epoch().validation, beta=0.0)
        assert implied_sigma(CONTEXT, epoch(validation=split)) is None
        assert said([epoch(validation=split)]) == []


def test_an_obstacle_is_that_of_the_last_epoch():
    finding = Verdict(OUT_OF_REACH, "R is 1.", "Lower it.")
    assert said([epoch(1), epoch(2, finding=finding)]) == [OUT_OF_REACH]
    assert said([epoch(1, finding=finding), epoch(2)]) == []


def test_an_obstacle_explains_what_follows_from_the_weights():
    finding = Verdict(OUT_OF_REACH, "R is 1.", "Lower it.")
    assert said([epoch(1, norms=(1.0, 0.0))]) == [KL_IGNORED]
    assert said([epoch(1, norms=(1.0, 0.0), finding=finding)]) == [OUT_OF_REACH]
    assert said([epoch(1, (0, 0, 0), finding=finding)]) == [OUT_OF_REACH, COLLAPSED]


def test_while_training_only_what_lasts_is_said():
    collapsed = (0.0, 0.0, 0.0)
    history = [epoch(n, collapsed if n > 2 else (1, 1, 1)) for n in range(1, 6)]
    counts = [len(diagnose_so_far(CONTEXT, history[:n], planned=10)) for n in range(1, 6)]
    assert counts == [0, 0, 0, 0, 1]
    assert diagnose_so_far(CONTEXT, history, planned=40) == []  # a tenth of them is 4
    way = Verdict(NOT_HELD, "R is 1.", "Wait.")
    assert diagnose_so_far(CONTEXT, [epoch(n, finding=way) for n in range(1, 6)], 10) == []


def test_names_and_files_of_verdicts(tmp_path):
    verdict = Verdict("collapsed", "Two do.", "Lower β.", 3)
    assert str(verdict) == "collapsed (since epoch 3). Two do. Lower β."
    assert names([]) == HEALTHY
    assert names([verdict, verdict]) == "collapsed; collapsed"
    path = tmp_path / "verdicts.json"
    path.write_text('[{"name": "collapsed", "evidence": "Two do.", "remedy": "x"}]')
    assert read_verdicts(path) == [Verdict("collapsed", "Two do.", "x")]
    for damaged in ('[{"name": 1, "who": 2}]', "[{"):
        path.write_text(damaged)
        with pytest.raises(UserError, match=r"verdicts\.json cannot be read"):
            read_verdicts(path)


ILL = {
    "beta of 100": ({"balance": {"kind": "fixed", "alpha": 1.0, "beta": 100.0}}, COLLAPSED),
    "alpha of 1e-4": ({"balance": {"kind": "fixed", "alpha": 1e-4, "beta": 1.0}}, COLLAPSED),
    "alpha of 1e6": ({"balance": {"kind": "fixed", "alpha": 1e6, "beta": 1.0}}, KL_IGNORED),
    "endless warm-up": ({"balance": {"kind": "warm_up", "steps": 10_000}}, UNFINISHED),
    "capacity": ({"balance": {"kind": "capacity", "capacity": 5000.0}}, OUT_OF_REACH),
    "rate": ({"balance": {"kind": "control_vae", "rate": 2000.0}}, OUT_OF_REACH),
    "healthy": ({"balance": {"kind": "fixed", "alpha": 1.0, "beta": 0.5}}, None),
}


@pytest.mark.parametrize("case", ILL, ids=str)
def test_trainings_that_are_ill_on_purpose(case, digits):
    """Train on the embedded binary digits; benchmarks/pathologies.py has MNIST and 3 seeds."""
    sections, expected = ILL[case]
    raw = read_yaml(PARAMS)
    raw["model"] |= {"latent_size": 3, "architecture": {"kind": "mlp", "hidden": [64]}}
    raw["train"] |= {"epochs": 12, "learning_rate": 3e-3, "device": "cpu"}
    raw |= {"likelihood": {"kind": "gaussian", "sigma": 0.2}} | sections
    settings = parse(raw)
    view = {name: getattr(settings, name) for name in TrainSettings.model_fields}
    training = Training(TrainSettings(**view), digits)
    for _ in training:
        pass
    found = {verdict.name for verdict in training.verdicts} - {MISSPECIFIED}
    assert found == ({expected} if expected else set()), describe(training)
    assert f"verdict: {expected or HEALTHY}" in describe(training)


def test_bce_on_pixels_that_are_no_coins():
    """Check that BCE implies a pixel's σ of √(p(1 − p)), far from a small residual."""
    context = replace(CONTEXT, likelihood=Bernoulli())
    posterior_stats = PosteriorStats(0.1, 0.4, (1.0, 1.0), (0.5, 0.5))
    (verdict,) = diagnose(context, [epoch(posterior_stats=posterior_stats)], 0)
    assert verdict.name == MISSPECIFIED
    assert "discretised_logistic" in verdict.remedy


def test_a_controllers_advice_is_its_own():
    context = replace(CONTEXT, balance=ControlVae(rate=3.0))
    (verdict,) = diagnose(context, [epoch(1, (0, 0, 0))], 0)
    assert "raise balance.rate" in verdict.remedy
