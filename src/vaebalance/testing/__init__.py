"""Conformance suites: does a class of your own meet the requirements that the rest relies on?

    from vaebalance.testing import check_likelihood
    check_likelihood(StudentT(freedom=4.0))

Each suite raises an AssertionError that lists every violation: what is required, what was found and
what to do. The project's own tests run them over every member of the unions `Likelihood`,
`Balance`, `Penalty` and `Architecture`. Neither pytest nor hypothesis is needed.

likelihoods   `check_likelihood`
balances      `check_balance`
penalties     `check_penalty`
networks      `check_network`
requirements  how requirements are checked and reported
"""

from vaebalance.testing.balances import check_balance
from vaebalance.testing.likelihoods import check_likelihood
from vaebalance.testing.networks import check_network
from vaebalance.testing.penalties import check_penalty

__all__ = ["check_balance", "check_likelihood", "check_network", "check_penalty"]
