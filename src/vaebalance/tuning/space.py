"""The weights that may be tried: log-uniform, and short enough to write down."""

from __future__ import annotations

import math
from dataclasses import dataclass

DIGITS = 4


@dataclass(frozen=True)
class Range:
    """Weights from `low` to `high`, evenly spread on a log scale."""

    knob: str
    """Path in params.yaml, as `balance.beta`."""
    low: float
    high: float

    @property
    def weight(self) -> str:
        """`alpha` or `beta`."""
        return self.knob.rpartition(".")[2]

    def at(self, fraction: float) -> float:
        """The weight that lies at `fraction` (0 to 1) of the range."""
        return self.rounded(self.low * (self.high / self.low) ** fraction)

    def fraction(self, weight: float) -> float:
        """The inverse of `at`."""
        return math.log(weight / self.low) / math.log(self.high / self.low)

    def rounded(self, weight: float) -> float:
        """`weight` with as many digits as tell weights apart: what is tried is what is shown."""
        digits = max(DIGITS, DIGITS - 1 + math.ceil(-math.log10(self.high / self.low - 1)))
        return min(max(float(f"{weight:.{digits}g}"), self.low), self.high)

    def contains(self, weight: float) -> bool:
        """Whether a study may try `weight`."""
        return self.low <= weight <= self.high
