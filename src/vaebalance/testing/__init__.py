"""Conformance suites, which check that your own class meets the requirements of its base class.

    from vaebalance.testing import check_likelihood
    check_likelihood(StudentT(freedom=4.0))

Each suite raises an AssertionError that lists every violation: the requirement, the value found and
the remedy. The project's tests run them on every member of the unions `Likelihood`, `Balance`,
`Penalty` and `Architecture`. They need neither pytest nor hypothesis.

likelihoods   `check_likelihood`
balances      `check_balance`
penalties     `check_penalty`
networks      `check_network`
requirements  functions that check and report requirements
"""

from vaebalance.testing.balances import check_balance
from vaebalance.testing.likelihoods import check_likelihood
from vaebalance.testing.networks import check_network
from vaebalance.testing.penalties import check_penalty

__all__ = ["check_balance", "check_likelihood", "check_network", "check_penalty"]
