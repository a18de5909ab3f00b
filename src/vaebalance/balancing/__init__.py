"""Who sets α and β at each step.

    balance      what all balances share
    schedules    rules that follow the step alone, and free bits
    controllers  rules that react to the terms of each batch
    penalties    terms that the loss has beside the KL

To add a balance, write its class in one of these files and add its name to `Balance`.
"""

from typing import Annotated

from pydantic import Field

from vaebalance.balancing.balance import (
    NOT_HELD,
    OUT_OF_REACH,
    UNFINISHED,
    AbstractBalance,
    RunFacts,
    State,
)
from vaebalance.balancing.controllers import ControlVae, Geco, OptimalSigma
from vaebalance.balancing.schedules import Capacity, Cyclical, Fixed, FreeBits, WarmUp

__all__ = [
    "NOT_HELD",
    "OUT_OF_REACH",
    "UNFINISHED",
    "AbstractBalance",
    "Balance",
    "Capacity",
    "ControlVae",
    "Cyclical",
    "Fixed",
    "FreeBits",
    "Geco",
    "OptimalSigma",
    "RunFacts",
    "State",
    "WarmUp",
]

Balance = Annotated[
    Fixed | WarmUp | Cyclical | FreeBits | Capacity | Geco | ControlVae | OptimalSigma,
    Field(discriminator="kind"),
]
"""Every balance that `balance.kind` may name."""
