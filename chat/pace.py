"""A token bucket: how long somebody who sends too fast has to be held up.

Pure: the time comes in. What is counted is not known here.
"""


class TokenBucket:
    """Fills with `rate` tokens a second up to `burst`; an overdraft takes time to repay."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def spend(self, cost: float, now: float) -> float:
        """Take `cost` tokens; returns for how many seconds nothing more should be taken."""
        filled = self._tokens + (now - self._filled_at) * self._rate
        self._tokens = min(self._burst, filled) - cost
        self._filled_at = now
        return max(0.0, -self._tokens / self._rate)
