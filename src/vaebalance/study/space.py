"""Describe the values that a study may try, each rounded: what is tried is what is shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

DIGITS = 4
SYMBOLS = {"balance.alpha": "α", "balance.beta": "β"}

Value = float | int | str | bool | None
Point = Mapping[str, Value]
"""A value for each searched knob, by its path in params.yaml."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, evenly spread, on a log scale if `log`."""

    knob: str
    """Path in params.yaml, as `balance.beta`."""
    low: float
    high: float
    log: bool = True
    whole: bool = False

    def at(self, fraction: float) -> float | int:
        """Return the number at `fraction` (0 to 1) of the range."""
        if self.log:
            return self.rounded(self.low * (self.high / self.low) ** fraction)
        if self.whole:  # all as likely as each other, the ends too
            return int(min(self.low + int(fraction * (self.high - self.low + 1)), self.high))
        return self.rounded(self.low + fraction * (self.high - self.low))

    def fraction(self, value: float) -> float:
        """Return the position of a number between the ends, 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def rounded(self, value: float) -> float | int:
        """Round `value` to as many digits as distinguish values."""
        if self.whole:
            return int(min(max(round(value), self.low), self.high))
        if self.log:
            digits = max(DIGITS, DIGITS - 1 + math.ceil(-math.log10(self.high / self.low - 1)))
            short = float(f"{value:.{digits}g}")
        else:
            short = round(value, DIGITS - 1 - math.floor(math.log10(self.high - self.low)))
        return min(max(short, self.low), self.high)

    def contains(self, value: Value) -> bool:
        """Return whether a study may try `value`."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high  # type: ignore[operator]

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that reveal a mistake, to be checked before the search."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def __str__(self) -> str:
        scale = ", log scale" if self.log else ""
        return f"{short_name(self.knob)} from {self.low:g} to {self.high:g}{scale}"


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    knob: str
    choices: tuple[Value, ...]

    def at(self, fraction: float) -> Value:
        """Return the value at `fraction` (0 to 1) of the list."""
        return self.choices[min(int(fraction * len(self.choices)), len(self.choices) - 1)]

    def rounded(self, value: Value) -> Value:
        """Return the value itself."""
        return value

    def contains(self, value: Value) -> bool:
        """Return whether a study may try `value`."""
        return value in self.choices

    @property
    def ends(self) -> tuple[Value, ...]:
        """All choices."""
        return self.choices

    def __str__(self) -> str:
        return f"{short_name(self.knob)} of {', '.join(map(str, self.choices))}"


Dimension = Range | Choices


@dataclass(frozen=True)
class Space:
    """The searched knobs with their values."""

    dimensions: tuple[Dimension, ...]

    @property
    def names(self) -> dict[str, str]:
        """Each knob's name in tables, as β or latent_size; its path where that is ambiguous."""
        knobs = [dimension.knob for dimension in self.dimensions]
        short = [short_name(knob) for knob in knobs]
        return {
            knob: name if short.count(name) == 1 else knob
            for knob, name in zip(knobs, short, strict=True)
        }

    def at(self, fractions: Sequence[float]) -> dict[str, Value]:
        """Return the point at `fractions` [dimensions] of the ranges."""
        return {
            dimension.knob: dimension.at(fraction)
            for dimension, fraction in zip(self.dimensions, fractions, strict=True)
        }

    def rounded(self, point: Point) -> dict[str, Value]:
        """Round the values of `point` to as many digits as distinguish them."""
        return {d.knob: d.rounded(point[d.knob]) for d in self.dimensions}  # type: ignore[arg-type]

    def contains(self, point: Point) -> bool:
        """Return whether a study may try `point`."""
        return all(dimension.contains(point[dimension.knob]) for dimension in self.dimensions)

    def describe(self, point: Point) -> str:
        """Describe a point, as `β = 0.5, latent_size = 8`."""
        return ", ".join(f"{name} = {shown(point[knob])}" for knob, name in self.names.items())

    def to_json(self) -> list[dict[str, Any]]:
        """Convert to plain values."""
        plain: list[dict[str, Any]] = json.loads(json.dumps([asdict(d) for d in self.dimensions]))
        return plain

    @classmethod
    def from_json(cls, dimensions: Sequence[Mapping[str, Any]]) -> Space:
        """Convert back from `to_json`, also after storing it in a file."""
        return cls(
            tuple(
                Choices(values["knob"], tuple(values["choices"]))
                if "choices" in values
                else Range(**values)
                for values in dimensions
            )
        )


def short_name(knob: str) -> str:
    """Return a short name: β for balance.beta, likelihood for likelihood.kind."""
    section, _, last = knob.rpartition(".")
    return SYMBOLS.get(knob, section.rpartition(".")[2] if last == "kind" else last)


def shown(value: Value) -> str:
    """Format a value for tables."""
    return f"{value:g}" if isinstance(value, float) else str(value)
