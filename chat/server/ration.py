"""A ration of lines: a few are shown one by one, and the others are summed up.

What the lines say, and where they go, is not known here.
"""

from collections.abc import Callable

from chat.reactor import Reactor


class Ration:
    """Lets a few lines through in a period. The others are counted, and summed up in one line when
    the period is over.

    The first line after a quiet time begins a period. While there is a sum to show, no single line
    is let through, so the sum never names lines that came before a single one."""

    def __init__(
        self, reactor: Reactor, lines: int, seconds: float, show_sum: Callable[[int], None]
    ) -> None:
        """`lines` in a period of `seconds`. `show_sum` is given the count of the others."""
        self._reactor = reactor
        self._lines = lines
        self._seconds = seconds
        self._show_sum = show_sum
        self._begun = float("-inf")
        self._lines_left = 0
        self._summed = 0

    def take(self, count: int) -> bool:
        """Whether so many lines may be shown one by one. If not, they are added to the sum."""
        now = self._reactor.clock()
        if now - self._begun >= self._seconds and not self._summed:
            self._begun = now
            self._lines_left = self._lines
        if count <= self._lines_left and not self._summed:
            self._lines_left -= count
            return True
        if count and not self._summed:
            self._reactor.call_at(self._begun + self._seconds, self.sum_up)
        self._summed += count
        return False

    def sum_up(self) -> None:
        """Show the sum, if there is one."""
        if not self._summed:
            return
        count, self._summed = self._summed, 0
        self._begun = self._reactor.clock()
        self._lines_left = 0
        self._show_sum(count)
