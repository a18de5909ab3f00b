"""A likelihood that violates one requirement gets a report of this requirement."""

import math
from typing import ClassVar, Literal

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from vaebalance.testing import check_likelihood
from vaebalance.vae.likelihoods import AbstractLikelihood, Gaussian


class Shape(Gaussian):
    """log_prob has one number per pixel."""

    def distribution(self, raw, parameters):
        return Normal(torch.sigmoid(raw), self.sigma)


class Unbounded(Gaussian):
    """The mean is unbounded."""

    def distribution(self, raw, parameters):
        return Independent(Normal(raw, self.sigma), 3, validate_args=False)


class Wasteful(Gaussian):
    """Half of the decoder's output is not read."""

    def raw_channels(self, channels):
        return 2 * channels

    def distribution(self, raw, parameters):
        return super().distribution(raw.chunk(2, dim=-3)[0], parameters)


class Overflowing(Gaussian):
    """The scale is unbounded."""

    def raw_channels(self, channels):
        return 2 * channels

    def distribution(self, raw, parameters):
        mean, log_sigma = raw.chunk(2, dim=-3)
        normal = Normal(torch.sigmoid(mean), log_sigma.exp(), validate_args=False)
        return Independent(normal, 3, validate_args=False)


class FromTheFront(Gaussian):
    """Dimensions are counted from the wrong end."""

    def distribution(self, raw, parameters):
        return super().distribution(raw - raw.flatten(1).mean(1)[:, *[None] * (raw.ndim - 1)], None)


class Unnormalised(Gaussian):
    """A constant of log_prob is missing."""

    def distribution(self, raw, parameters):
        return Scaled(super().distribution(raw, parameters), 2.0, 1.0)


class WrongVariance(Gaussian):
    """The variance is wrong."""

    def distribution(self, raw, parameters):
        return Scaled(super().distribution(raw, parameters), 1.0, 2.0)


class Scaled(Independent):
    """A normal distribution whose density and variance are multiplied by `density` and `spread`."""

    def __init__(self, whole, density, spread):
        super().__init__(whole.base_dist, 3, validate_args=False)
        self._density, self._spread = density, spread

    @property
    def variance(self):
        return super().variance * self._spread

    def log_prob(self, value):
        return super().log_prob(value) + math.log(self._density)


class Forgetful(Gaussian):
    """A constructor argument is lost in a file."""

    _scale: float = 1.0

    def model_post_init(self, context):
        object.__setattr__(self, "_scale", id(self))

    def __eq__(self, other):
        return self._scale == other._scale

    __hash__ = Gaussian.__hash__


class Nameless(AbstractLikelihood):
    """There is no `kind`."""

    def distribution(self, raw, parameters):
        return Gaussian().distribution(raw, parameters)


class MassWithoutDensity(Gaussian):
    """`is_mass` and `is_density` contradict each other."""

    is_density: ClassVar[bool] = False

    def is_mass(self, *, binarised):
        return True


class Mumbling(Gaussian):
    """`misfit` gives no reason."""

    def misfit(self, binarisation):
        return None if binarisation == "none" else "no"


class BadAdvice(Gaussian):
    """The advice names a knob that does not exist."""

    def to_calibrate(self, rmse, dimensions, beta):
        return "Raise likelihood.scale."


class Crashing(Gaussian):
    """It raises an exception in one of the two modes."""

    def distribution(self, raw, parameters):
        if not parameters.training:
            raise KeyError("variance")
        return super().distribution(raw, parameters)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Shape, r"batch and event shape are .* wrap the pixels in `Independent"),
        (Unbounded, r"the mean is an image with pixels in \[0, 1\].*torch\.sigmoid"),
        (Wasteful, r"no gradient in channels \[2, 3\] of 4: lower `raw_channels`"),
        (Overflowing, r"for any finite raw output, but not at raw = -1000.*soft_clip"),
        (FromTheFront, r"has the log_prob of K separate batches"),
        (Unnormalised, r"integrates to 1 .* not to \[2, 2, 2, 2, …\]"),
        (WrongVariance, r"`variance` is that of p\(x\|z\), \[0\.01, .* not \[0\.02"),
        (Forgetful, r"a saved object is equal when read back"),
        (Nameless, r'Nameless has none: add `kind: Literal\["name"\] = "name"`'),
        (MassWithoutDensity, r"set `is_density`, or `is_mass` returns False"),
        (Mumbling, r"names the likelihood's kind and `data.binarisation = 'threshold'`"),
        (BadAdvice, r"\['scale'\] are none of \['kind', 'sigma'\]"),
        (Crashing, r"a check ended in KeyError: 'variance'"),
    ],
)
def test_a_violation_is_named_with_its_remedy(kind, words):
    with pytest.raises(AssertionError, match=words) as caught:
        check_likelihood(kind())
    assert kind.__name__ in str(caught.value).splitlines()[0]
    assert "violates" in str(caught.value)


def test_all_violations_are_listed():
    class Both(WrongVariance):
        def to_calibrate(self, rmse, dimensions, beta):
            return "Raise likelihood.scale."

    with pytest.raises(AssertionError) as caught:
        check_likelihood(Both())
    first, *lines = str(caught.value).splitlines()
    assert f"violates {len(lines)} requirement(s)" in first
    assert len(lines) > 1


def test_a_kind_is_one_name():
    class Two(Gaussian):
        kind: Literal["a", "b"] = "a"

    with pytest.raises(AssertionError, match="`kind` has one value, its default"):
        check_likelihood(Two())


def test_random_state_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    check_likelihood(Gaussian())
    assert torch.equal(torch.rand(3), expected)


def test_a_heavy_tail_is_integrated():
    class StudentT(AbstractLikelihood):
        kind: Literal["student_t"] = "student_t"

        def distribution(self, raw, parameters: nn.Module):
            pixels = torch.distributions.StudentT(3.0, torch.sigmoid(raw), 0.1, validate_args=False)
            return Independent(pixels, 3, validate_args=False)

    check_likelihood(StudentT())
