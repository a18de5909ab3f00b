"""Numbers and counts formatted for readers."""

from __future__ import annotations

import math

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 4) -> str:
    """Format to `digits` significant digits, with a minus sign and powers of ten far from 1."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number")
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa} · 10{str(int(exponent)).translate(SUPERSCRIPTS)}".replace("-", "−")
    decimals = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace("-", "−")


def weight(value: float) -> str:
    """Format a setting as briefly as possible: 1, 0.25, 12.5."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "·" not in text else text


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Format a count with its noun: `1 image`, `2,000 images`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def shortened(text: str, most: int) -> str:
    """Shorten text to at most `most` characters, ending in an ellipsis if it is cut."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
