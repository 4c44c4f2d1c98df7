"""The rate of a run over the last minutes, and the time that is left."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

_WINDOW = 300.0  # seconds
_SECONDS_BEFORE_A_RATE = 10.0
_BUCKET = 10.0  # seconds at least, of the pieces of the window whose rates are compared
_BUCKETS = 10
_ERRORS = 2.0  # standard errors: about 95 %


@dataclass(frozen=True)
class Estimate:
    """A rate with an interval.

    Attributes:
        rate: pairs per second.
        low, high: 95 % interval, from the rates of pieces of the window; equal to `rate` if the
            window is too short to know.

    """

    rate: float
    low: float
    high: float

    def left(self, pairs: int) -> str:
        """How long `pairs` will take: `about 40 s`, `5 to 7 min`."""
        short, usual, long = (pairs / max(rate, 1e-9) for rate in (self.high, self.rate, self.low))
        if self.low <= 0 or self.low == self.high:
            return f"about {duration(usual)}"
        unit, name = next((u, n) for u, n in _UNITS if long >= 2 * u or u == 1)
        few, many = (round(seconds / unit) for seconds in (short, long))
        return f"{few} to {many} {name}" if few < many else f"about {duration(usual)}"


_UNITS = ((3600, "h"), (60, "min"), (1, "s"))


class Rate:
    """Counts pairs over time. Memory grows with the parts of five minutes."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, now: float, pairs: int) -> None:
        """At `now` (seconds), `pairs` were done in all."""
        self._seen.append((now, pairs))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()

    def estimate(self, now: float) -> Estimate | None:
        """The rate until `now`; None in the first ten seconds, and before the second part."""
        if len(self._seen) < 2 or now - self._seen[0][0] < _SECONDS_BEFORE_A_RATE:
            return None
        times, pairs = (np.array(each, float) for each in zip(*self._seen, strict=True))
        span = now - times[0]
        rate = float(pairs[-1] - pairs[0]) / span
        number = min(_BUCKETS, int(span // _BUCKET))
        if number < 3:
            return Estimate(rate, rate, rate)
        edges = np.interp(np.linspace(times[0], now, number + 1), times, pairs)
        error = float(np.std(np.diff(edges) / (span / number), ddof=1)) / number**0.5
        return Estimate(rate, rate - _ERRORS * error, rate + _ERRORS * error)


def duration(seconds: float) -> str:
    """`45 s`, `3 min 5 s`, `2 h 10 min`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    first, second = (
        ((hours, "h"), (minutes, "min")) if hours else ((minutes, "min"), (seconds, "s"))
    )
    parts = [f"{number:,} {unit}" for number, unit in (first, second) if number]
    return " ".join(parts) or "0 s"
