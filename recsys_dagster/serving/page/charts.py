"""Where marks of charts lie; templates draw them as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Axis:
    """A scale of numbers.

    Attributes:
        low: where it begins.
        high: where it ends.
        ticks: round numbers on it.
    """

    low: float
    high: float
    ticks: Sequence[float]

    @classmethod
    def over(cls, values: Sequence[float], ticks: int = 4) -> "Axis":
        """One from 0, or below, on which every value has a place."""
        low, high = min(0.0, *values), max(*values, 1e-9)
        rough = (high - low) / ticks
        power = 10.0 ** floor(log10(rough))
        step = next(each * power for each in STEPS if each * power >= rough * 0.999)
        first, last = floor(low / step), ceil(high / step - 1e-9)
        marks = [round(place * step, 10) for place in range(first, last + 1)]
        return cls(marks[0], marks[-1], marks)

    def place(self, value: float) -> float:
        """Where a value lies, in percent of the axis."""
        return round(100 * (value - self.low) / (self.high - self.low), 3)


def bar(value: float, whole: float = 1.0) -> float:
    """How long a bar is, in percent."""
    return round(100 * min(1.0, max(0.0, value / whole)), 2) if whole > 0 else 0.0
